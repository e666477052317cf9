"""What others see of a processor: that it lives, that it was stopped, killed, or hangs, and that it works for long."""

import json
import os
import shutil
import signal
import socket
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from autorthanc_spool.core.pulse import Pulse
from autorthanc_spool.monitor import health
from autorthanc_spool.monitor.heartbeat import here
from autorthanc_spool.monitor.systemd import Systemd
from tests.helpers import datasets
from tests.helpers.disks import silent
from tests.helpers.proxy import Fault, Proxy
from tests.helpers.site import Site
from tests.helpers.waiting import wait_until

# As soon as a hang must show; a heartbeat is written every 5 s.
SHOWS_S = 90


def written(site: Site) -> list[Path]:
    # What is about to be renamed has a hidden name.
    return sorted(path for path in (site.spool / "state" / "processors").glob("*.json") if path.name[0] != ".")


def heartbeats(site: Site) -> list[dict[str, Any]]:
    found = []
    for path in written(site):
        try:
            found.append(json.loads(path.read_text()))
        except FileNotFoundError:
            continue
    return found


def status(site: Site) -> dict[str, Any]:
    return json.loads(site.run("status", "--json").stdout)


def wait_alive(site: Site, count: int = 1) -> None:
    wait_until(lambda: [one for one in heartbeats(site) if one["looked"]][count - 1 :], 30, "the heartbeat is there")


def wait_check(site: Site, code: int, says: str) -> str:
    def shows() -> bool:
        done = site.run("status", "--check", expect=None)
        seen[:] = [done.stdout + done.stderr]
        return done.returncode == code and says in seen[0]

    seen: list[str] = []
    wait_until(shows, SHOWS_S, f"status --check says {says!r} with {code}")
    return seen[0]


def send(site: Site, **keywords: Any) -> str:
    study = site.orthanc.upload_all(datasets.make_study(**keywords))
    site.orthanc.wait_stable(f"/studies/{study}")
    return study


def test_without_a_processor_everybody_says_so(site: Site) -> None:
    first = site.run("status").stdout.splitlines()[0]
    assert "NOT RUNNING" in first
    assert "no processor is running" in site.run("status", "--check", expect=1).stdout
    assert "broken   processor: no processor is running" in site.run("doctor", expect=1).stdout
    assert status(site)["healthy"] is False
    assert list((site.spool / "locks").iterdir()) == []


def test_a_processor_shows_itself_and_leaves_nothing_behind(site: Site) -> None:
    with site.processor() as processor:
        wait_alive(site)
        [beat] = heartbeats(site)
        assert (beat["host"], beat["pid"]) == (socket.gethostname(), processor.pid)
        assert {"version", "since", "looked", "marker", "marker_since"} <= beat.keys()
        [path] = (site.spool / "state" / "processors").iterdir()
        assert path.name == f"{socket.gethostname()}-{processor.pid}.json"
        assert (site.spool / "locks" / f"processor-{path.stem}.lock").exists()
        first = site.run("status").stdout.splitlines()[0]
        assert f"process {processor.pid}" in first
        assert "last look" in first
        site.run("status", "--check")
        assert "ok       processor" in site.run("doctor").stdout
    assert list((site.spool / "state" / "processors").iterdir()) == []
    assert list((site.spool / "locks").iterdir()) == []


def test_a_killed_processor_is_dead_at_once_and_named_until_the_next_one_starts(site: Site) -> None:
    killed = site.start_processor()
    wait_alive(site)
    killed.kill()
    killed.wait()
    lines = site.run("status").stdout.splitlines()
    assert f"process {killed.pid} DIED" in lines[0]
    assert "NOT RUNNING" in lines[1]
    assert "no processor is running" in site.run("status", "--check", expect=1).stdout
    with site.processor() as other:
        wait_until(lambda: [one["pid"] for one in heartbeats(site)] == [other.pid], 30, "the dead one is forgotten")
        site.run("status", "--check")


def test_beside_a_living_processor_a_dead_one_is_named_and_no_alarm(site: Site) -> None:
    dead = site.start_processor()
    wait_alive(site)
    with site.processor():
        wait_alive(site, 2)
        dead.kill()
        dead.wait()
        done = site.run("status", "--check")
        assert f"process {dead.pid} died" in done.stderr
        assert done.stdout == ""


@pytest.fixture
def proxy(site: Site) -> Any:
    with Proxy(site.orthanc.http_port) as made:
        site.variables["ORTHANC_URL"] = made.url
        yield made


def page(site: Site) -> dict[str, Any]:
    path = site.spool / "state" / "status.json"
    return json.loads(path.read_text()) if path.exists() else {"findings": []}


def kinds(site: Site) -> list[tuple[str, bool]]:
    """What the page says, and whether it is an alarm."""
    return [(one["kind"], one["alarm"]) for one in page(site)["findings"]]


@pytest.fixture
def told(site: Site) -> Path:
    """Where the notices go, one a line."""
    command, path = site.root / "tell", site.root / "told"
    command.write_text(f"#!/bin/sh\n{{ cat; echo; }} >> '{path}'\n")
    command.chmod(0o755)
    path.touch()
    site.variables["AUTORTHANC_NOTIFY_COMMAND"] = str(command)
    site.variables["AUTORTHANC_METRICS_FILE"] = str(site.root / "autorthanc.prom")
    return path


def notices(told: Path) -> list[tuple[str, str]]:
    lines = [json.loads(line) for line in told.read_text().splitlines()]
    return [(one["event"], one["about"]) for one in lines]


def metrics(site: Site) -> str:
    path = site.root / "autorthanc.prom"
    return path.read_text() if path.exists() else ""


def process_numbers(found: list[dict[str, Any]]) -> set[int]:
    return {one["pid"] for one in found}


def test_a_hang_in_a_request_one_before_a_disk_and_a_stop_are_an_alarm_everywhere(
    site: Site, proxy: Proxy, told: Path
) -> None:
    site.rule("all")
    share = site.root / "share"
    share.mkdir()
    study, other = send(site), send(site, patient="OTHER")
    stall = proxy.add(Fault(f"GET /studies/{study} ", stall_after=0))
    site.variables["AUTORTHANC_ORTHANC_STORAGE_PATH"] = str(share)
    started = [site.start_processor() for _ in range(3)]
    del site.variables["AUTORTHANC_ORTHANC_STORAGE_PATH"]
    hanging = ExitStack()
    try:
        wait_alive(site, 3)
        hanging.enter_context(silent(share))
        # Whoever looks there for a stored file waits in the kernel, as before a disk that doesn't answer.
        markers = [site.touch(one) for one in (study, other)]
        wait_until(lambda: sum(bool(one["marker"]) for one in heartbeats(site)) == 2, 30, "two have work")
        wait_until(lambda: stall.hits, 30, "the request hangs")
        idle = next(one["pid"] for one in heartbeats(site) if not one["marker"])
        os.kill(idle, signal.SIGSTOP)
        said = wait_check(site, 1, f"process {idle}")
        wait_until(lambda: site.run("status", "--check", expect=None).stdout.count("has moved in") == 3, 30, "of all")
        assert "no processor looked at the spool lately" in said
        assert all(marker.name in site.run("status", "--check", expect=1).stdout for marker in markers)
        assert site.run("status").stdout.count("SILENT") == 3
        assert site.run("doctor", expect=1).stdout.count("broken   processor: no processor looked") == 3
        wait_until(lambda: kinds(site).count(("silent", True)) == 3, 60, "the page says so")
        wait_until(lambda: 'autorthanc_processors{state="silent"} 3' in metrics(site), 60, "the metrics say so")
        assert "autorthanc_alarms 3" in metrics(site)
        about = {f"the processor {socket.gethostname()}, process {one.pid}" for one in started}
        wait_until(lambda: set(notices(told)) == {("trouble-began", one) for one in about}, 60, "it is reported")
        os.kill(idle, signal.SIGCONT)
        wait_check(site, 0, "nothing has moved")
        hanging.close()
        proxy.heal()
        site.wait_states(done=2)
        assert site.run("status", "--check").stderr == ""
        wait_until(lambda: len(notices(told)) == 6, 60, "its end is reported")
        wait_until(lambda: page(site)["healthy"], 60, "the page says so")
    finally:
        for one in started:
            one.kill()
        hanging.close()
        for one in started:
            one.wait()


def test_beside_one_that_exports_for_long_a_stopped_one_and_a_killed_one_are_named_and_no_alarm(
    site: Site, proxy: Proxy, told: Path
) -> None:
    site.rule("all")
    study = site.orthanc.upload(datasets.make_instance(size=2048))
    site.orthanc.wait_stable(f"/studies/{study}")
    # A line of 256 kbit/s; the file takes minutes.
    slow = proxy.add(Fault(r"GET /instances/\S+/attachments/dicom/data ", stall_after=0, drip=32_000))
    with site.processor() as works:
        wait_alive(site)
        site.touch(study)
        wait_until(lambda: slow.hits, 30, "it exports")
        stopped = site.start_processor()
        wait_alive(site, 2)
        name = f"{socket.gethostname()}, process {stopped.pid}"
        stopped.send_signal(signal.SIGSTOP)
        try:
            said = wait_check(site, 0, f"nothing has moved in the processor {name}")
            wait_until(lambda: kinds(site) == [("silent", False)], 60, "the page names it")
            wait_until(lambda: 'autorthanc_processors{state="silent"} 1' in metrics(site), 60, "the metrics count it")
            assert "autorthanc_alarms 0" in metrics(site)
            [at_work] = [one for one in status(site)["processors"] if one["at_work"]]
            assert (at_work["pid"], bool(at_work["marker"])) == (works.pid, True)
            assert f"process {works.pid}" not in said
            wait_until(lambda: notices(told) == [("trouble-began", f"the processor {name}")], 60, "it is reported")
        finally:
            stopped.kill()
            stopped.wait()
        assert f"the processor {name} died" in site.run("status", "--check").stderr
        assert f"warning  processor: the processor {name} died" in site.run("doctor").stdout
        wait_until(lambda: kinds(site) == [("died", False)], 60, "the page says that it died")
        wait_until(lambda: 'autorthanc_processors{state="dead"} 1' in metrics(site), 60, "the metrics count it")
        slow.healed.set()
        site.wait_states(done=1)


def test_a_health_check_reports_once_what_a_killed_or_stopped_processor_cannot(site: Site, told: Path) -> None:
    began, ended = ("trouble-began", "the processor"), ("trouble-ended", "the processor")
    killed = site.start_processor()
    wait_alive(site)
    site.run("status", "--check", "--notify")
    killed.kill()
    killed.wait()
    for _ in range(2):
        site.run("status", "--check", "--notify", expect=1)
    assert notices(told) == [began]
    with site.processor() as processor:
        wait_until(lambda: process_numbers(heartbeats(site)) == {processor.pid}, 30, "the dead one is forgotten")
        wait_alive(site)
        site.run("status", "--check", "--notify")
        assert notices(told) == [began, ended]
        processor.send_signal(signal.SIGSTOP)
        [path] = written(site)
        beat = path.read_text()
        content = json.loads(beat)
        # As it is a minute later: the file has grown old, whatever it says of the work.
        content["monotonic_s"]["written"] -= 60
        path.write_text(json.dumps(content))
        try:
            site.run("status", "--check", "--notify", expect=1)
        finally:
            path.write_text(beat)
            processor.send_signal(signal.SIGCONT)
        assert notices(told) == [began, ended, began]


def test_a_marker_in_work_is_shown_at_once_and_never_by_a_name_that_a_person_gave_it(site: Site, proxy: Proxy) -> None:
    site.rule("all")
    study = send(site)
    stall = proxy.add(Fault(f"GET /studies/{study} ", stall_after=0))
    with site.processor():
        wait_alive(site)
        scratch = site.spool / "tmp" / "named"
        scratch.write_text(json.dumps({"level": "study", "id": study}))
        scratch.rename(site.spool / "incoming" / "Muster^Hans.json")
        wait_until(lambda: stall.hits, 30, "the request hangs")
        wait_until(lambda: [one["marker"] for one in heartbeats(site)] == [f"study-{study}.json"], 4, "it is shown")
        proxy.heal()
        site.wait_states(done=1)
        wait_until(lambda: [one["marker"] for one in heartbeats(site)] == [None], 4, "it no longer is")


def test_a_clock_that_jumps_neither_raises_an_alarm_nor_hides_a_dead_one(site: Site) -> None:
    # The times of day are as those of a clock that was set by a year, to and fro; the other clock is never set.
    with site.processor() as processor:
        wait_alive(site)
        processor.send_signal(signal.SIGSTOP)
        [path] = written(site)
        beat = json.loads(path.read_text())
        try:
            for year in (2001, 2099):
                path.write_text(json.dumps({**beat, **dict.fromkeys(TIMES, f"{year}-01-01T00:00:00Z")}))
                site.run("status", "--check")
                old = {key: (value or 0) - 2 * health.SILENT_S for key, value in beat["monotonic_s"].items()}
                path.write_text(json.dumps({**beat, "moved": f"{year}-01-01T00:00:00Z", "monotonic_s": old}))
                assert "lately" in site.run("status", "--check", expect=1).stdout
        finally:
            path.write_text(json.dumps(beat))
            processor.send_signal(signal.SIGCONT)


TIMES = ("since", "looked", "moved", "written")


def test_a_processor_on_another_machine_is_judged_by_the_time_of_day(site: Site) -> None:
    with site.processor() as processor:
        wait_alive(site)
        processor.send_signal(signal.SIGSTOP)
        [path] = written(site)
        beat = json.loads(path.read_text())
        now = datetime.now(UTC)
        try:
            path.write_text(json.dumps({**beat, "boot": "another"}))
            site.run("status", "--check")
            path.write_text(json.dumps({**beat, "boot": "another", "moved": f"{now:%Y}-01-01T00:00:00Z"}))
            site.run("status", "--check", expect=1)
        finally:
            path.write_text(json.dumps(beat))
            processor.send_signal(signal.SIGCONT)


def test_a_heartbeat_that_cannot_be_written_stops_no_work_and_is_said_once(site: Site) -> None:
    site.rule("all")
    studies = [send(site, patient=f"PAT{number}") for number in (1, 2)]
    site.make_spool()
    folder = site.spool / "state" / "processors"
    folder.rmdir()
    folder.write_text("in the way")
    with site.processor():
        for number, study in enumerate(studies, 1):
            site.touch(study)
            site.wait_states(done=number)
        assert site.log.read_text().count("Heartbeat doesn't work") == 1


def test_who_empties_the_folder_of_locks_makes_no_processor_dead(site: Site) -> None:
    with site.processor():
        wait_alive(site)
        for path in (site.spool / "locks").iterdir():
            path.unlink()
        wait_check(site, 0, "")
        assert len(list((site.spool / "locks").glob("processor-*"))) == 1


def test_what_works_here_is_asked_of_this_machine_alone(site: Site) -> None:
    assert "no processor is running" in site.run("status", "--check", "--here", expect=1).stdout
    with site.processor():
        wait_alive(site)
        [path] = (site.spool / "state" / "processors").iterdir()
        site.variables["ORTHANC_URL"] = "http://127.0.0.1:9"
        assert site.run("status", "--check", "--here").stdout == ""
        # What another machine says of itself doesn't count; a copy, as the processor goes on writing its own.
        copy = site.root / "copy" / "state" / "processors" / path.name
        copy.parent.mkdir(parents=True)
        copy.write_text(json.dumps({**heartbeats(site)[0], "host": "elsewhere"}))
        assert here(site.root / "copy") == ()
    assert "go with --check" in site.run("status", "--here", expect=2).stderr


def test_an_age_of_waiting_is_an_alarm_but_not_in_hold(site: Site) -> None:
    site.variables["AUTORTHANC_ALERT_AGE_S"] = "1"
    (site.spool / "incoming").parent.mkdir(exist_ok=True)
    site.make_spool()
    (site.spool / "PAUSED").write_text("moving the disks\n")
    study = send(site)
    with site.processor():
        wait_alive(site)
        marker = site.touch(study)
        said = wait_check(site, 1, "longer than AUTORTHANC_ALERT_AGE_S")
        assert marker.name in said
        assert "paused" in said
        site.run("hold", marker.name)
        wait_check(site, 0, "paused")


def test_an_orthanc_that_is_away_is_75_and_a_processor_that_is_away_comes_first(site: Site) -> None:
    with site.processor():
        wait_alive(site)
        site.variables["ORTHANC_URL"] = "http://127.0.0.1:9"
        site.run("status", "--check", expect=75)
        found = status(site)
        assert (found["orthanc"]["reachable"], found["orthanc"]["version"]) == (False, None)
    assert site.run("status", "--check", expect=1).stdout.startswith("no processor is running")


def test_the_facts_are_facts(site: Site) -> None:
    site.make_spool()
    site.touch("0a4b249f-7fce45ca-4f722f72-de2a24df-92abc740")
    found = status(site)
    assert found["orthanc"]["reachable"] is True
    assert found["orthanc"]["version"]
    assert found["oldest_age_s"]["incoming"] >= 0
    assert found["oldest_age_s"]["deferred"] is None
    assert found["processors"] == []


def test_looking_takes_no_lock_file_away_and_makes_none(site: Site, tmp_path: Path) -> None:
    site.make_spool()
    beat = site.spool / "state" / "processors" / "elsewhere-1.json"
    beat.write_text(json.dumps({"host": "elsewhere", "pid": 1, "since": "2026-01-01T00:00:00Z", "moved": None}))
    before = sorted(os.listdir(site.spool / "locks"))
    site.run("status")
    assert sorted(os.listdir(site.spool / "locks")) == before
    shutil.rmtree(site.spool / "state" / "processors")
    assert "NOT RUNNING" in site.run("status").stdout


def test_systemd_hears_that_it_is_ready_that_it_works_and_that_it_ends(site: Site, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(30)
        site.variables["NOTIFY_SOCKET"] = str(tmp_path / "notify")
        with site.processor() as processor:
            assert listener.recv(100) == b"READY=1"
            assert listener.recv(100) == b"WATCHDOG=1"
            processor.send_signal(signal.SIGTERM)
            heard = {listener.recv(100)}
            while b"STOPPING=1" not in heard:
                heard.add(listener.recv(100))
            assert heard <= {b"WATCHDOG=1", b"STOPPING=1"}


def test_systemds_watchdog_is_fed_by_the_work_and_not_by_the_clock(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0autorthanc-spool-" + tmp_path.name)
        listener.setblocking(False)
        silent = Systemd(f"@autorthanc-spool-{tmp_path.name}", Pulse(lambda: time.monotonic() - 2 * health.SILENT_S))
        silent.tick()
        with pytest.raises(BlockingIOError):
            listener.recv(100)
        Systemd(f"@autorthanc-spool-{tmp_path.name}", Pulse(time.monotonic)).tick()
        assert listener.recv(100) == b"WATCHDOG=1"
