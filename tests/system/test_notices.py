"""Notices of a real processor: to a command, a mail server and a webhook."""

import email
import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from autorthanc_spool.core.dicom import Level
from tests.helpers import datasets
from tests.helpers.destinations import add_modality, dead_port, storescp
from tests.helpers.orthanc_server import free_port
from tests.helpers.site import Site
from tests.helpers.waiting import wait_until

MISSING = "0a4b249f-7fce45ca-4f722f72-de2a24df-92abc740"
SECRET = "s3cret-token"


def notices(site: Site) -> list[dict[str, Any]]:
    path = site.root / "told"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def script(site: Site, text: str) -> None:
    """Have a command run for each notice; it appends what it gets to `told`, unless it is another text."""
    path = site.root / "tell"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    site.variables["AUTORTHANC_NOTIFY_COMMAND"] = str(path)


@pytest.fixture
def telling(site: Site) -> Site:
    script(site, f"{{ cat; echo; }} >> '{site.root}/told'; env > '{site.root}/environ'")
    return site


def test_a_failed_marker_is_reported_once_and_names_nobody(telling: Site) -> None:
    site = telling
    site.rule("all")
    site.once()
    site.touch(MISSING)
    (site.spool / "incoming" / "Mueller^Hans.json").write_text('{"level": "Mueller^Hans", "id": "Mueller^Hans"}')
    os.utime(site.spool / "incoming" / "Mueller^Hans.json")
    site.once(expect=1)
    (told,) = notices(site)
    assert (told["event"], told["count"]) == ("failed", 2)
    assert told["resources"] == [f"study-{MISSING}"]
    assert "Mueller" not in json.dumps(told)
    site.once()
    assert len(notices(site)) == 1


def test_the_command_has_the_notice_in_variables_and_no_password(telling: Site) -> None:
    site = telling
    site.variables |= {"ORTHANC_PASSWORD": SECRET}
    site.rule("all")
    site.once()
    site.touch(MISSING)
    site.once(expect=1)
    environ = (site.root / "environ").read_text()
    assert "AUTORTHANC_NOTICE_EVENT=failed\n" in environ
    assert "PATH=" in environ
    assert SECRET not in environ


def test_a_kind_of_error_that_a_person_wrote_holds_up_no_notice(telling: Site) -> None:
    site = telling
    site.once()
    (site.spool / "failed" / f"study-{MISSING}.json").write_text('{"filed": {}, "error": {"kind": "a\\u0000b\\nc"}}')
    site.once()
    (told,) = notices(site)
    assert told["title"] == r"1 failed: 1 × a\x00b c"


def test_orthanc_away_and_back_is_reported_once_each_by_two_processors(telling: Site) -> None:
    site = telling
    site.rule("all")
    away = {"ORTHANC_URL": f"http://127.0.0.1:{free_port()}"}
    there = site.variables.copy()
    site.variables |= away
    with site.processor(), site.processor():
        wait_until(lambda: notices(site), 30, "it is reported")
        wait_until(lambda: site.log.read_text().count("markers wait until it is back") == 2, 30, "both found it")
    site.variables.clear()
    site.variables |= there
    with site.processor(), site.processor():
        wait_until(lambda: len(notices(site)) == 2, 30, "its end is reported")
    assert [(one["event"], one["about"]) for one in notices(site)] == [
        ("trouble-began", "Orthanc"),
        ("trouble-ended", "Orthanc"),
    ]


def test_a_broken_rule_is_reported_and_its_fix(telling: Site) -> None:
    site = telling
    path = site.rule("all")
    good = path.read_text()
    with site.processor():
        path.write_text("{")
        wait_until(lambda: len(notices(site)) == 1, 30, "it is reported")
        path.write_text(good)
        wait_until(lambda: len(notices(site)) == 2, 30, "its end is reported")
    assert {one["about"] for one in notices(site)} == {"the rule all"}


@pytest.mark.parametrize("action", ["DOWNLOAD", "ZIP"])
@pytest.mark.parametrize("name", ["{PatientID}", "{StudyDate:%Y}/{StudyDate:%m}/{PatientID}"])
def test_what_nobody_collects_is_reported_by_study_and_rule(telling: Site, action: str, name: str) -> None:
    site = telling
    site.variables["AUTORTHANC_UNCOLLECTED_AFTER_S"] = "0.001"
    site.rule("all", Action=action, Name=name)
    study = site.orthanc.upload(datasets.make_instance(patient="CANARY"))
    site.orthanc.wait_stable(f"/studies/{study}")
    site.make_spool()
    site.touch(study)
    site.once()
    site.once()
    (told,) = [one for one in notices(site) if one["event"] == "uncollected"]
    assert told["resources"] == [f"{Level.STUDY}-{study}"]
    assert "CANARY" not in json.dumps(told) + (site.spool / "state" / "notices.json").read_text()


@pytest.mark.parametrize(
    ("text", "said"), [("exit 3", "exit code 3"), ("#!/nowhere", "")], ids=["fails", "does nothing"]
)
def test_a_command_that_fails_is_said_once_and_stops_nothing(site: Site, text: str, said: str) -> None:
    script(site, text)
    site.rule("all")
    study = site.orthanc.upload(datasets.make_instance())
    site.orthanc.wait_stable(f"/studies/{study}")
    site.make_spool()
    site.touch(MISSING)
    site.touch(study)
    log = site.once(expect=1).stderr
    assert len(site.published("all")) == 1
    assert log.count("can't be sent") == (1 if said else 0)
    assert said in log


def test_a_command_that_hangs_delays_no_work(site: Site) -> None:
    script(site, f"echo $$ > '{site.root}/hangs'; sleep 3600")
    site.rule("all")
    site.make_spool()
    site.touch(MISSING)
    site.rule("broken").write_text("{")
    with site.processor():
        wait_until(lambda: (site.root / "hangs").exists() and (site.root / "hangs").read_text(), 30, "it hangs")
        study = site.orthanc.upload(datasets.make_instance())
        site.orthanc.wait_stable(f"/studies/{study}")
        site.touch(study)
        site.wait_published("all")
    command = Path(f"/proc/{(site.root / 'hangs').read_text().strip()}")
    wait_until(lambda: not command.exists(), 10, "it ends with the processor")


def test_a_kill_while_a_notice_is_sent_doubles_it_and_forgets_none(site: Site) -> None:
    script(site, f"cat > /dev/null; echo $$ > '{site.root}/begun'; sleep 3600")
    path = site.rule("all")
    site.make_spool()
    path.write_text("{")
    killed = site.start_processor()
    begun = site.root / "begun"
    wait_until(lambda: begun.exists() and begun.read_text(), 30, "the notice is being sent")
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    os.killpg(int(begun.read_text()), signal.SIGKILL)
    script(site, f"{{ cat; echo; }} >> '{site.root}/told'")
    with site.processor():
        wait_until(lambda: notices(site), 30, "the next one sends it")
    assert [(one["event"], one["about"]) for one in notices(site)] == [("trouble-began", "the rule all")]


class _Mailbox:
    def __init__(self) -> None:
        self.messages: list[Any] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.messages.append(email.message_from_bytes(envelope.content))
        return "250 OK"


@contextmanager
def webhook(status: int = 200) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    got: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(status)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port, got
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_apprise_addresses_reach_a_mail_server_and_a_webhook(site: Site) -> None:
    mailbox, port = _Mailbox(), free_port()
    with ExitStack() as stack:
        controller = Controller(mailbox, hostname="127.0.0.1", port=port)
        controller.start()
        stack.callback(controller.stop)
        hook, got = stack.enter_context(webhook())
        mail = f"mailto://127.0.0.1:{port}/?from=spool@example.org&to=lab@example.org&mode=insecure"
        site.variables["AUTORTHANC_NOTIFY_URLS"] = f"{mail} json://127.0.0.1:{hook}/{SECRET}"
        site.rule("all")
        site.once()
        site.touch(MISSING)
        site.once(expect=1)
    (message,) = mailbox.messages
    assert "1 failed" in str(email.header.make_header(email.header.decode_header(message["Subject"])))
    (posted,) = got
    assert MISSING in posted["message"]


def test_a_webhook_that_refuses_is_said_without_its_secret(site: Site) -> None:
    with webhook(500) as (hook, got):
        site.variables["AUTORTHANC_NOTIFY_URLS"] = f"json://user:{SECRET}@127.0.0.1:{hook}/{SECRET}"
        site.rule("all")
        site.once()
        site.touch(MISSING)
        log = site.once(expect=1).stderr
    assert got
    assert log.count("can't be sent by address 1: json:// didn't take it") == 1
    assert SECRET not in log + (site.spool / "state" / "notices.json").read_text()


def test_check_says_which_address_isnt_understood_without_its_secret(site: Site) -> None:
    site.rule("all")
    site.variables["AUTORTHANC_NOTIFY_URLS"] = f"json://127.0.0.1/ nosuch://{SECRET}"
    done = site.run("check", expect=2)
    assert "address 2 in AUTORTHANC_NOTIFY_URLS (nosuch://…) isn't understood" in done.stderr
    assert SECRET not in done.stderr


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB; needs root, as CI has it."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_is_reported_although_nothing_can_be_noted(telling: Site, small_disk: Path) -> None:
    site = telling
    site.variables["AUTORTHANC_SPOOL_PATH"] = str(small_disk / "spool")
    path = site.rule("all")
    with site.processor():
        wait_until(lambda: (small_disk / "spool" / "locks" / "notices.lock").exists(), 30, "it sends notices")
        with pytest.raises(OSError, match="No space left"):
            (small_disk / "filler").write_bytes(bytes(1 << 21))
        path.write_text("{")
        wait_until(lambda: notices(site), 60, "it is reported")
        (small_disk / "filler").unlink()
    assert notices(site)[0]["event"] == "trouble-began"


def test_a_destination_that_is_down_is_reported_when_it_begins_and_ends(telling: Site) -> None:
    site = telling
    add_modality(site.orthanc, "pacs", "PACS", port := dead_port())
    site.rule("send", Action="FORWARD", DestinationModality="pacs")
    study = site.orthanc.upload(datasets.make_instance())
    site.orthanc.wait_stable(f"/studies/{study}")
    site.make_spool()
    site.touch(study)
    site.once(expect=None)
    assert [(one["event"], one["about"]) for one in notices(site)] == [("trouble-began", "the destination pacs")]
    with storescp(site.root / "pacs", port):
        (waiting,) = site.markers("deferred")
        os.utime(waiting)
        site.once(expect=None)
    assert [one["event"] for one in notices(site)] == ["trouble-began", "trouble-ended"]


def test_what_waits_for_too_long_is_reported_when_it_begins_and_ends(telling: Site) -> None:
    site = telling
    site.variables["AUTORTHANC_ALERT_AGE_S"] = "1"
    add_modality(site.orthanc, "pacs", "PACS", dead_port())
    site.rule("send", Action="FORWARD", DestinationModality="pacs")
    study = site.orthanc.upload(datasets.make_instance())
    site.orthanc.wait_stable(f"/studies/{study}")
    site.make_spool()
    marker = {"level": "study", "id": study, "time": "2026-01-02T03:04:05Z"}
    (site.spool / "incoming" / "any.json").write_text(json.dumps(marker))
    site.once(expect=None)
    about = [one["about"] for one in notices(site) if one["event"] == "trouble-began"]
    assert "what waits for DestinationUnavailable" in about
    for path in site.markers("deferred"):
        path.unlink()
    site.once()
    assert {one["about"] for one in notices(site) if one["event"] == "trouble-ended"} == set(about)
