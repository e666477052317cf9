"""How `run` ends: by signals, and with which exit code."""

import errno
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers import datasets
from tests.helpers.proxy import Fault, Proxy
from tests.helpers.site import Site
from tests.helpers.waiting import wait_until


@pytest.fixture(autouse=True)
def _hangs_up() -> Iterator[None]:
    """Have what is started notice the end of its terminal, also where the tests themselves were asked not to."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def send(site: Site) -> str:
    study = site.orthanc.upload_all(datasets.make_study(size=512))
    site.orthanc.wait_stable(f"/studies/{study}")
    site.touch(study)
    return study


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT], ids=["SIGHUP", "SIGTERM", "SIGINT"])
@pytest.mark.parametrize("action", ["DOWNLOAD", "ANONYMISE"])
def test_a_signal_in_mid_export_ends_it_in_order(site: Site, number: int, action: str) -> None:
    site.rule("all", Action=action)
    with Proxy(site.orthanc.http_port) as proxy:
        stalled = proxy.add(Fault("/attachments/dicom/data", stall_after=1000))
        site.variables["ORTHANC_URL"] = proxy.url
        send(site)
        process = site.start_processor()
        wait_until(lambda: stalled.hits > 0, 30, "the export has begun")
        process.send_signal(number)
        proxy.heal()
        assert process.wait(timeout=60) == 0, site.log.read_text()
    assert site.leftovers() == []
    assert not (site.spool / "processing").exists() or not list((site.spool / "processing").iterdir())
    log = site.log.read_text()
    assert "thread is inactive" not in log
    assert "Traceback" not in log


def test_without_a_terminal_it_lives_on_where_it_was_asked_to(site: Site) -> None:
    """`nohup autorthanc-spool run`: SIGHUP is ignored already."""
    site.rule("all")
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process = site.start_processor()
    finally:
        signal.signal(signal.SIGHUP, former)
    wait_until(lambda: (site.spool / "state" / "contact.json").exists(), 30, "it works")
    process.send_signal(signal.SIGHUP)
    send(site)
    site.wait_states(done=1)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 0


def test_once_says_75_while_the_output_cannot_be_written(site: Site) -> None:
    site.rule("all")
    site.once()
    send(site)
    # The folder that was the output is gone, as an unmounted one is.
    site.output.rename(site.root / "elsewhere")
    site.output.mkdir()
    site.run("run", "--once", expect=75)
    assert site.states() == {"deferred": 1}
    # What isn't due yet waits for the same, and cron is told again.
    site.run("run", "--once", expect=75)
    site.output.rmdir()
    (site.root / "elsewhere").rename(site.output)
    site.run("run", "--once")
    assert site.states() == {"done": 1}


def test_once_says_75_while_the_audit_log_cannot_be_written(site: Site) -> None:
    site.variables["AUTORTHANC_AUDIT_LOG"] = str(site.root / "nowhere" / "audit.log")
    site.rule("all")
    send(site)
    done = site.run("run", "--once", expect=75)
    assert "audit log" in done.stderr
    assert site.states() == {"deferred": 1}
    # What isn't due yet waits for the same, and cron is told again.
    site.run("run", "--once", expect=75)
    (site.root / "nowhere").mkdir()
    site.run("run", "--once")
    assert site.states() == {"done": 1}


SHIM = r"""
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/stat.h>
#include <stdio.h>

/* The first TIMES listings of a directory in the spool end with ERRNO. */
static int left = -1;

DIR *opendir(const char *name) {
    DIR *(*real)(const char *) = dlsym(RTLD_NEXT, "opendir");
    if (left < 0) left = atoi(getenv("TIMES"));
    if (left > 0 && strstr(name, getenv("PLACE"))) {
        left--;
        errno = atoi(getenv("ERRNO"));
        return NULL;
    }
    return real(name);
}
"""


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that lets listing a directory fail, as a network file system does."""
    folder = tmp_path_factory.mktemp("shim")
    (folder / "shim.c").write_text(SHIM)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", "shim.so", "shim.c", "-ldl"], cwd=folder, check=True)
    return folder / "shim.so"


@pytest.mark.parametrize(("name", "times", "code"), [("ESTALE", 3, 0), ("ENOTCONN", 1000, 75), ("EIO", 1000, 75)])
def test_what_a_network_file_system_says_is_understood(
    site: Site, shim: Path, name: str, times: int, code: int
) -> None:
    site.rule("all")
    send(site)
    site.variables |= {
        "LD_PRELOAD": str(shim), "TIMES": str(times), "PLACE": "spool/deferred", "ERRNO": str(getattr(errno, name)),
    }  # fmt: skip
    done = site.run("run", "--once", expect=code)
    if code == 0:
        assert site.states() == {"done": 1}
    else:
        assert "the network share" in done.stderr or "the disk" in done.stderr
        assert "the spool" in done.stderr


def test_a_file_system_that_is_away_is_said_once_and_its_return_once(site: Site, shim: Path) -> None:
    site.rule("all")
    send(site)
    # About as many listings as come in some looks.
    site.variables |= {
        "LD_PRELOAD": str(shim), "TIMES": "9", "PLACE": "spool/deferred", "ERRNO": str(errno.ETIMEDOUT),
    }  # fmt: skip
    with site.processor():
        site.wait_states(done=1)
    log = site.log.read_text()
    assert log.count("the spool can't be used") == 1, log
    assert log.count("the spool: all right again") == 1, log


def test_what_was_there_before_and_has_a_marker_is_not_said_to_be_left_alone(site: Site) -> None:
    site.rule("all")
    send(site)
    site.orthanc.upload_all(datasets.make_study("PAT2", "2"))
    (other,) = {one["ID"] for one in site.orthanc.get("/studies?expand")} - {
        path.stem.removeprefix("study-") for path in site.markers("incoming")
    }
    site.orthanc.wait_stable(f"/studies/{other}", margin_s=11, timeout_s=40)
    done = site.once()
    assert "what was there before is left alone (1 study; see" in done.stderr
    assert "what has a marker is worked on (1 study)" in done.stderr
    assert len(site.published("all")) == 1
