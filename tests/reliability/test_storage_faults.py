"""Disks that are full, read-only or gone for a while, for real: small file systems that are mounted for the test."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.helpers import datasets
from tests.helpers.site import Site, stored_files
from tests.helpers.waiting import wait_until

NAME = "PAT1-FamilyPAT1-1"
# Drops every event of the file system, as a full queue of inotify does.
DEAF = "from autorthanc_spool import watch; watch.Doorbell.on_any_event = lambda *_: None; "

Mount = Callable[..., None]


@pytest.fixture
def mount() -> Iterator[Mount]:
    """Mounts a file system, and unmounts at the end what was."""
    mounted: list[Path] = []

    def do(place: Path, *options: str) -> None:
        assert os.geteuid() == 0, "these tests mount small disks: run them as root"
        place.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", *options, str(place)], check=True)
        mounted.append(place)

    yield do
    for place in reversed(mounted):
        subprocess.run(["umount", "-l", str(place)], check=False, stderr=subprocess.DEVNULL)


def small_disk(mount: Mount, place: Path, size: str) -> None:
    mount(place, "-t", "tmpfs", "-o", f"size={size},mode=2770", "tmpfs")


def remount(place: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(place)], check=True)


def send_and_touch(site: Site, **keywords: int) -> str:
    study = site.orthanc.upload_all(datasets.make_study(**keywords))
    site.orthanc.wait_stable(f"/studies/{study}")
    site.touch(study)
    return study


def wait_deferred(site: Site, kind: str) -> None:
    def is_told() -> bool:
        return [(record["attempts"], record["error"]["kind"]) for record in site.records("deferred")] == [(0, kind)]

    wait_until(is_told, 30, f"it waits as {kind}, without an attempt: {site.states()} {site.log_end()}")


def fill(path: Path) -> None:
    """Write until the disk is full."""
    with suppress(OSError), path.open("ab", buffering=0) as stream:
        while True:
            stream.write(bytes(4096))
    assert os.statvfs(path).f_bavail == 0


def said(site: Site, text: str) -> int:
    return site.log.read_text().count(text)


def test_a_full_output_is_waited_for_and_said_once(site: Site, mount: Mount) -> None:
    small_disk(mount, site.output, "300k")
    site.rule("all")
    with site.processor():
        study = send_and_touch(site, series=1, instances=4, size=256)
        wait_deferred(site, "OutputUnavailable")
        assert site.published("all") == []
        remount(site.output, "size=20m")
        site.wait_states(done=1)
    assert site.tree("all", NAME) == stored_files(site.orthanc, study)
    assert (said(site, "what would be published waits"), said(site, "the output: all right again")) == (1, 1)
    assert site.leftovers() == []


def test_a_read_only_output_is_waited_for(site: Site, mount: Mount) -> None:
    small_disk(mount, site.output, "20m")
    site.rule("all")
    site.once()
    remount(site.output, "ro")
    with site.processor():
        study = send_and_touch(site)
        wait_deferred(site, "OutputUnavailable")
        remount(site.output, "rw")
        site.wait_states(done=1)
    assert site.tree("all", NAME) == stored_files(site.orthanc, study)


@pytest.mark.parametrize("role", ["output", "automation_scripts"])
def test_a_share_that_is_unmounted_for_a_while_is_waited_for(site: Site, mount: Mount, role: str) -> None:
    share, place = site.root / "share", site.root / role
    share.mkdir(parents=True)
    mount(place, "--bind", str(share))
    site.rule("all")
    site.once()
    subprocess.run(["umount", str(place)], check=True)
    with site.processor():
        study = send_and_touch(site)
        wait_deferred(site, "FolderMissing")
        assert os.listdir(place) == [], "nothing is written into the empty mount point"
        mount(place, "--bind", str(share))
        site.wait_states(done=1)
    assert site.tree("all", NAME) == stored_files(site.orthanc, study)
    assert said(site, "all right again") == 1


def test_a_full_spool_loses_no_marker_and_goes_on_by_itself(site: Site, mount: Mount) -> None:
    small_disk(mount, site.spool, "2m")
    site.rule("all")
    site.once()
    filler = site.spool / "filler"
    with site.processor():
        study = site.orthanc.upload_all(datasets.make_study())
        site.orthanc.wait_stable(f"/studies/{study}")
        site.touch(study)
        site.wait_states(done=1)
        again = next(iter(site.markers("done")))
        fill(filler)
        # A rename needs no room: this is how a person asks for it again.
        again.rename(site.spool / "incoming" / again.name)
        wait_until(lambda: "the disk is full" in site.log_end(), 30, f"it says so: {site.log_end()}")
        assert sum(site.states().values()) == 1, "the marker is somewhere"
        filler.unlink()
        site.wait_states(done=1)
    assert site.tree("all", NAME) == stored_files(site.orthanc, study)


def test_a_spool_that_is_read_only_for_a_while_keeps_its_markers(site: Site, mount: Mount) -> None:
    small_disk(mount, site.spool, "5m")
    site.rule("all")
    site.once()
    study = send_and_touch(site)
    remount(site.spool, "ro")
    with site.processor():
        wait_until(lambda: "read-only" in site.log_end().lower(), 30, f"it says so: {site.log_end()}")
        assert site.states() == {"incoming": 1}
        remount(site.spool, "rw")
        site.wait_states(done=1)
    assert site.tree("all", NAME) == stored_files(site.orthanc, study)


@pytest.mark.parametrize("folder", ["incoming", "tmp", "locks", "processing"])
def test_a_directory_of_the_spool_that_is_removed_is_made_again(site: Site, folder: str) -> None:
    site.rule("all")
    with site.processor():
        wait_until(lambda: (site.spool / "state" / "contact.json").exists(), 30, "it is at work")
        shutil.rmtree(site.spool / folder)
        wait_until(lambda: (site.spool / folder).is_dir(), 30, f"{folder} is made again")
        send_and_touch(site)
        site.wait_published("all")


def test_lost_events_are_made_up_for_by_polling(site: Site) -> None:
    site.rule("all")
    main = DEAF + "from autorthanc_spool.cli import main; main(['run'])"
    site.root.mkdir(exist_ok=True)
    with site.log.open("ab") as log:
        deaf = subprocess.Popen(
            [sys.executable, "-c", main], cwd=site.root, env=site.environment, stdout=log, stderr=log
        )
    try:
        wait_until(lambda: (site.spool / "state" / "contact.json").exists(), 30, "it is at work")
        send_and_touch(site)
        site.wait_published("all")
    finally:
        deaf.terminate()
        assert deaf.wait(timeout=30) == 0


def test_a_file_system_without_events_is_polled(site: Site) -> None:
    site.variables["AUTORTHANC_OBSERVER"] = "polling"
    site.rule("all")
    with site.processor():
        send_and_touch(site)
        site.wait_published("all")


def test_two_thousand_markers_at_once_are_all_filed(site: Site) -> None:
    site.rule("all")
    study = send_and_touch(site)
    site.once()
    for number in range(2000):
        name = f"20261123T212459Z-series-{number:08x}-7fce45ca-4f722f72-de2a24df-92abc740.json"
        (site.spool / "incoming" / name).write_text('{"source": "lua"}')
    with site.processor():
        site.wait_states(done=2001, timeout_s=120)
    assert site.tree("all", NAME) == stored_files(site.orthanc, study)
    assert site.leftovers() == []
