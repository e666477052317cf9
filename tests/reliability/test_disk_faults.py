"""Disks that are full, read-only, unmounted or emptied; events that get lost; clocks that jump; many at once."""

import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from autorthanc_spool.core import marker
from autorthanc_spool.core.dicom import Level
from autorthanc_spool.core.states import Event, State
from autorthanc_spool.run import access, wiring
from autorthanc_spool.run.doorbell import Doorbell
from autorthanc_spool.run.loop import Runner
from autorthanc_spool.settings import load_settings
from autorthanc_spool.spool.spool import Spool
from tests.helpers import datasets
from tests.helpers.disks import fill_up, small_disk
from tests.helpers.many import fill
from tests.helpers.site import Site, stored_files, warnings_of_troubles
from tests.helpers.waiting import wait_until

Once = Callable[[Site], None]
NAME = "PAT1-FamilyPAT1-1"


def remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True)


def send(site: Site, patient: str = "PAT1", size: int = 16) -> str:
    study = site.orthanc.upload_all(datasets.make_study(patient, series=1, instances=3, size=size))
    site.orthanc.wait_stable(f"/studies/{study}")
    return study


def assert_said_once(site: Site, what: str) -> None:
    log = site.log.read_text()
    assert log.count(f"{what}: all right again") == 1, log
    assert len(warnings_of_troubles(log)) == 1, log


def assert_published(site: Site, study: str) -> None:
    assert site.tree("all", NAME) == stored_files(site.orthanc, study)
    assert site.records("done")[-1]["attempts"] == 0
    assert site.leftovers() == []


def test_a_full_output_is_waited_for_and_nothing_is_written_in_vain(site: Site) -> None:
    site.rule("all")
    study = send(site, size=700)
    with small_disk(site.output, "1m"), site.processor():
        site.touch(study)
        site.wait_states(deferred=1)
        assert [path for path in site.output.rglob("*") if ".WORKING" in path.name] == []
        remount(site.output, "size=20m")
        site.wait_states(done=1)
        assert_said_once(site, "the output")
        assert_published(site, study)


def test_an_output_that_fills_up_in_mid_write_keeps_nothing_half(site: Site, once: Once) -> None:
    """More files than the disk has room for names: that shows in writing only."""
    site.rule("all")
    study = send(site)
    with small_disk(site.output, "20m"):
        remount(site.output, "nr_inodes=6")
        site.touch(study)
        once(site)
        record = site.records("deferred")[0]
        assert (record["error"]["kind"], record["attempts"]) == ("OutputUnavailable", 0)
        assert site.leftovers() == []
        remount(site.output, "nr_inodes=1000")
        os.utime(site.markers("deferred")[0])
        once(site)
        assert_published(site, study)


def test_a_read_only_output_is_waited_for(site: Site) -> None:
    site.rule("all")
    first, study = send(site, "FIRST"), send(site)
    with small_disk(site.output, "20m"), site.processor():
        site.touch(first)
        site.wait_states(done=1)
        remount(site.output, "ro")
        wait_until(lambda: "read-only" in site.log_end(), 30, "it is noticed")
        site.touch(study)
        site.wait_states(done=1, deferred=1)
        remount(site.output, "rw")
        site.wait_states(done=2)
        assert_said_once(site, "the output")
        assert_published(site, study)


def test_an_output_that_is_unmounted_for_a_while_is_waited_for(site: Site) -> None:
    site.rule("all")
    first, study = send(site, "FIRST"), send(site)
    with site.processor():
        site.touch(first)
        site.wait_states(done=1)
        site.output.rename(site.root / "elsewhere")
        site.output.mkdir()
        wait_until(lambda: "isn't the one that was used before" in site.log_end(), 30, "it is noticed")
        site.touch(study)
        site.wait_states(done=1, deferred=1)
        assert os.listdir(site.output) == []
        site.output.rmdir()
        (site.root / "elsewhere").rename(site.output)
        site.wait_states(done=2)
    assert_said_once(site, "the output")
    assert_published(site, study)


def test_rules_that_are_unmounted_for_a_while_are_waited_for(site: Site) -> None:
    site.rule("all")
    study = send(site)
    with site.processor():
        wait_until(lambda: (site.output / "all").is_dir(), 30, "the rules are read")
        site.rules.rename(site.root / "elsewhere")
        site.rules.mkdir()
        wait_until(lambda: "isn't the one that was used before" in site.log_end(), 30, "it is noticed")
        site.touch(study)
        site.wait_states(deferred=1)
        site.rules.rmdir()
        (site.root / "elsewhere").rename(site.rules)
        site.wait_states(done=1)
    assert_said_once(site, "the rules")
    assert_published(site, study)


def test_a_full_spool_loses_no_marker_and_does_not_spin(site: Site) -> None:
    site.rule("all")
    study = send(site)
    with small_disk(site.spool, "4m"), site.processor():
        wait_until(lambda: (site.output / "all").is_dir(), 30, "the rules are read")
        site.touch(study)
        site.wait_states(done=1)
        fill_up(site.spool / "ballast")
        shutil.move(site.markers("done")[0], site.spool / "incoming")
        wait_until(lambda: " WARNING the " in site.log_end(), 30, "it is noticed")
        assert sum(site.states().values()) == 1
        os.truncate(site.spool / "ballast", 0)
        wait_until(lambda: "the spool: all right again" in site.log_end(), 30, "it goes on")
        site.wait_states(done=1)
        assert_said_once(site, "the spool")
        assert_published(site, study)


def test_a_spool_that_is_unmounted_for_a_while_is_waited_for_and_nothing_is_written_below(site: Site) -> None:
    site.rule("all")
    study = send(site)
    with site.processor():
        wait_until(lambda: (site.spool / "state" / "prune.json").exists(), 30, "it has done all that comes at start")
        wait_until(lambda: site.leftovers() == [], 30, "it rests")
        site.spool.rename(site.root / "elsewhere")
        site.spool.mkdir()
        wait_until(lambda: " WARNING the " in site.log_end(), 30, "it is noticed")
        assert os.listdir(site.spool) == []
        site.spool.rmdir()
        (site.root / "elsewhere").rename(site.spool)
        site.touch(study)
        site.wait_states(done=1)
    assert_said_once(site, "the spool")
    assert_published(site, study)


def test_a_folder_of_the_spool_that_is_deleted_is_made_again_and_listened_to(site: Site) -> None:
    site.rule("all")
    study = send(site)
    with site.processor():
        wait_until(lambda: (site.spool / "state" / "contact.json").exists(), 30, "it works")
        shutil.rmtree(site.spool / "incoming")
        wait_until(lambda: (site.spool / "incoming").is_dir(), 30, "it is made again")
        site.touch(study)
        site.wait_states(done=1)
    assert_published(site, study)


class Deaf(Doorbell):
    """All events are lost."""

    def on_any_event(self, event: object) -> None:
        pass


def test_lost_events_are_made_up_for_by_looking(site: Site) -> None:
    site.rule("all")
    study = send(site)
    stop = threading.Event()
    settings = load_settings({}, site.environment, site.root)
    parts = wiring.tools(settings, stop, access.make_spool(settings))
    site.output.mkdir()
    doorbell = Deaf([parts.spool.directories.of(State.INCOMING)], polling_s=None)
    thread = threading.Thread(target=Runner(parts).run, args=(doorbell,))
    thread.start()
    try:
        wait_until(lambda: (site.spool / "state" / "contact.json").exists(), 30, "it works")
        site.touch(study)
        site.wait_states(done=1)
    finally:
        stop.set()
        doorbell.ring()
        thread.join()
        doorbell.close()


def test_a_file_system_without_events_is_polled(site: Site) -> None:
    site.rule("all")
    site.variables["AUTORTHANC_OBSERVER"] = "polling"
    study = send(site)
    with site.processor():
        wait_until(lambda: (site.spool / "state" / "contact.json").exists(), 30, "it works")
        site.touch(study)
        site.wait_states(done=1)
    assert_published(site, study)


def test_two_processors_share_the_work_and_each_study_is_published_once(site: Site) -> None:
    site.rule("all")
    studies = [send(site, f"P{number}") for number in range(6)]
    with site.processor(), site.processor():
        for study in studies:
            site.touch(study)
        site.wait_states(done=6)
    assert len(site.published("all")) == 6
    outcomes = [record["outcomes"]["all"]["outcome"] for record in site.records("done")]
    assert outcomes == ["published"] * 6
    assert site.leftovers() == []


def test_a_clock_that_is_set_back_keeps_no_marker_waiting(tmp_path: Path) -> None:
    clock = [time.time()]
    spool = Spool(tmp_path / "spool", lambda: clock[0])
    spool.directories.lay_out()
    fill(spool, 1)
    claim = next(spool.claims())
    spool.file(claim, Event.DEFER, claim.marker, due_in_s=1000)
    assert list(spool.claims()) == []
    clock[0] -= 365 * 86400
    assert spool.directories.next_due_s() == 0
    assert next(spool.claims()).item.name == claim.item.name


def test_thousands_of_markers_are_not_looked_through_again_for_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path / "spool", time.time)
    spool.directories.lay_out()
    fill(spool, 5000)
    looks = 0

    def counted(name: str) -> tuple[Level, str] | None:
        nonlocal looks
        looks += 1
        return real(name)

    real = marker.named_resource
    monkeypatch.setattr(marker, "named_resource", counted)
    for number, claim in enumerate(spool.claims()):
        spool.file(claim, Event.FINISH, claim.marker)
        if number == 100:
            break
    # Each name once to find its companions, and once more to read it.
    assert looks <= 2 * 5000


def test_a_broken_record_of_the_ledger_blocks_no_other_study(site: Site, once: Once) -> None:
    site.rule("all")
    first, second = send(site, "FIRST"), send(site)
    record = site.spool / "ledger" / first[:2] / f"study-{first}.json"
    record.parent.mkdir(parents=True)
    record.write_text("{")
    site.touch(first)
    site.touch(second)
    once(site)
    assert site.states() == {"done": 1, "failed": 1}
    assert site.published("all") == [NAME]
    assert "ledger/" in json.loads(site.markers("failed")[0].read_text())["error"]["text"]
