"""Orthanc away, slow, wrong or damaged; studies deleted and changed under way."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from autorthanc_spool.core.dicom import Level
from autorthanc_spool.core.errors import StillArriving
from autorthanc_spool.core.marker import new
from autorthanc_spool.core.outcome import Problem
from autorthanc_spool.orthanc import client, connections
from autorthanc_spool.orthanc.answers import parse_last_update
from autorthanc_spool.run import access, plan, wiring
from autorthanc_spool.run.reconcile import reconcile
from autorthanc_spool.settings import load_settings
from tests.helpers import datasets
from tests.helpers.destinations import add_modality, dead_port, storescp
from tests.helpers.orthanc_server import OrthancServer
from tests.helpers.proxy import Fault, Proxy, status
from tests.helpers.site import Site, stored_files
from tests.helpers.waiting import wait_until

Start = Callable[..., OrthancServer]
Once = Callable[[Site], None]
NAME = "PAT1-FamilyPAT1-1"


def send(site: Site, **keywords: Any) -> str:
    study = site.orthanc.upload_all(datasets.make_study(**keywords))
    site.orthanc.wait_stable(f"/studies/{study}")
    return study


def only_error(site: Site, state: str) -> dict[str, Any]:
    record = site.records(state)[0]
    return {"attempts": record["attempts"], **record["error"]}


def test_an_orthanc_that_is_away_is_said_once_and_its_return_once(far_site: Site, proxy: Proxy) -> None:
    far_site.rule("all")
    study = send(far_site)
    away = proxy.add(Fault("/system", answer=status(502)))
    with far_site.processor():
        far_site.touch(study)
        wait_until(lambda: away.hits >= 4, 30, "it was asked several times")
        assert far_site.states() == {"incoming": 1}
        proxy.heal()
        far_site.wait_states(done=1)
    log = far_site.log.read_text()
    assert log.count("markers wait until it is back") == 1
    assert log.count("Orthanc: all right again") == 1
    assert far_site.records("done")[0]["attempts"] == 0


def test_a_refused_password_claims_nothing(tmp_path: Path, fresh_orthanc: Start) -> None:
    site = Site(tmp_path / "site", fresh_orthanc(lua=(), users={"orthanc": "right"}))
    site.rule("all")
    site.touch(send(site))
    site.variables["ORTHANC_PASSWORD"] = "wrong"
    site.run("run", "--once", expect=2)
    assert site.states() == {"incoming": 1}


def test_an_instance_that_is_refused_is_named_and_fails_after_ten_attempts(
    far_site: Site, proxy: Proxy, once: Once
) -> None:
    far_site.rule("all")
    far_site.touch(send(far_site, series=1, instances=2))
    bad = sorted(far_site.orthanc.get("/instances"))[0]
    proxy.add(Fault(f"/instances/{bad}/attachments", answer=status(500)))
    for attempt in range(1, plan.MAX_ATTEMPTS + 1):
        once(far_site)
        state = "failed" if attempt == plan.MAX_ATTEMPTS else "deferred"
        error = only_error(far_site, state)
        assert (error["attempts"], error["kind"], error["instance"]) == (attempt, "InstanceError", bad)
        for path in far_site.markers("deferred"):
            os.utime(path)
    assert far_site.published("all") == []
    assert far_site.leftovers() == []


@pytest.mark.parametrize(("damage", "says"), [("flipped", "MD5"), ("cut", "bytes of"), ("missing", "500")])
def test_a_stored_file_that_is_damaged_is_named_and_nothing_is_published(
    tmp_path: Path, fresh_orthanc: Start, once: Once, damage: str, says: str
) -> None:
    site = Site(tmp_path / "site", fresh_orthanc(lua=()))
    site.rule("all")
    study = send(site, series=1, instances=3)
    bad = site.orthanc.get("/instances")[0]
    path = site.orthanc.stored_file(bad)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.unlink() if damage == "missing" else path.write_bytes(data if damage == "flipped" else data[:-1])
    # Orthanc keeps what it stored lately in memory.
    site.orthanc.restart(kill=True)
    site.touch(study)
    once(site)
    error = only_error(site, "deferred")
    assert (error["attempts"], error["instance"]) == (1, bad)
    assert says in error["text"]
    assert site.published("all") == []


def test_what_can_never_be_read_is_not_brought_back_by_reconciliation(far_site: Site, proxy: Proxy, once: Once) -> None:
    """The stored file is gone, and the rule asks for a tag that is only there."""
    far_site.rule("all", Tags=[{"TagName": "SliceThickness", "Value": "1"}])
    once(far_site)
    far_site.touch(send(far_site, series=1, instances=1))
    proxy.add(Fault("/tags", answer=status(500)))
    for _ in range(plan.MAX_ATTEMPTS):
        once(far_site)
        for path in far_site.markers("deferred"):
            os.utime(path)
    assert far_site.states() == {"failed": 1}
    study = far_site.orthanc.get("/studies")[0]
    far_site.orthanc.wait_stable(f"/studies/{study}", margin_s=11, timeout_s=30)
    once(far_site)
    assert far_site.states() == {"failed": 1}


@pytest.mark.parametrize("how", ["cut", "stalled"])
def test_a_transfer_that_breaks_off_is_tried_again_and_leaves_nothing(
    far_site: Site, proxy: Proxy, once: Once, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(connections, "READ_TIMEOUT_S", 1.0)
    far_site.rule("all")
    study = send(far_site, series=1, instances=2, size=200)
    far_site.touch(study)
    bad = far_site.orthanc.get("/instances")[0]
    limit = {"cut_after": 20_000} if how == "cut" else {"stall_after": 20_000}
    proxy.add(Fault(f"/instances/{bad}/attachments", times=1, **limit))
    once(far_site)
    assert only_error(far_site, "deferred")["instance"] == bad
    assert far_site.published("all") == []
    os.utime(far_site.markers("deferred")[0])
    once(far_site)
    assert far_site.tree("all", NAME) == stored_files(far_site.orthanc, study)


def test_a_slow_answer_is_waited_for(far_site: Site, proxy: Proxy, once: Once) -> None:
    far_site.rule("all")
    study = send(far_site, series=1, instances=1, size=200)
    far_site.touch(study)
    slow = Fault("/attachments/", stall_after=10**9)
    slow.action = lambda: slow.healed.wait(3)
    proxy.add(slow)
    once(far_site)
    assert far_site.tree("all", NAME) == stored_files(far_site.orthanc, study)


def test_a_study_deleted_in_mid_export_fails_and_nothing_of_it_is_published(
    far_site: Site, proxy: Proxy, once: Once
) -> None:
    far_site.rule("all")
    study = send(far_site, series=1, instances=3)
    far_site.touch(study)
    proxy.add(Fault("/attachments/", times=1, action=lambda: far_site.orthanc.delete(f"/studies/{study}")))
    once(far_site)
    for path in far_site.markers("deferred"):
        os.utime(path)
    once(far_site)
    assert only_error(far_site, "failed")["kind"] == "ResourceMissing"
    assert far_site.published("all") == []
    assert far_site.leftovers() == []


def test_a_study_that_grows_in_mid_export_is_published_when_it_is_whole(
    far_site: Site, proxy: Proxy, once: Once
) -> None:
    far_site.rule("all")
    study = send(far_site, series=1, instances=2)
    far_site.touch(study)
    more = datasets.make_instance(instance=9)
    proxy.add(Fault("/attachments/", times=1, action=lambda: far_site.orthanc.upload(more)))
    once(far_site)
    error = only_error(far_site, "deferred")
    assert (error["kind"], error["attempts"]) == ("StillArriving", 0)
    assert far_site.published("all") == []
    with far_site.processor():
        far_site.wait_published("all")
    assert far_site.tree("all", NAME) == stored_files(far_site.orthanc, study)


def test_a_study_that_grows_while_it_is_anonymised_is_sent_when_it_is_whole(
    far_site: Site, proxy: Proxy, once: Once, tmp_path: Path
) -> None:
    port, folder = dead_port(), tmp_path / "dcmtk"
    add_modality(far_site.orthanc, "dcmtk", "DCMTK", port)
    far_site.rule("all", Action=["ANONYMISE", "FORWARD"], DestinationModality="dcmtk")
    far_site.touch(send(far_site, series=1, instances=2))
    more = datasets.make_instance(instance=9)
    proxy.add(Fault("/attachments/", times=1, action=lambda: far_site.orthanc.upload(more)))
    with storescp(folder, port):
        once(far_site)
        error = only_error(far_site, "deferred")
        assert (error["kind"], error["attempts"]) == ("StillArriving", 0)
        assert list(folder.iterdir()) == []
        with far_site.processor():
            far_site.wait_states(done=1)
        assert len(list(folder.iterdir())) == 3


def test_an_orthanc_killed_in_mid_download_costs_no_attempt(tmp_path: Path, fresh_orthanc: Start) -> None:
    server = fresh_orthanc(lua=())
    with Proxy(server.http_port) as proxy:
        site = Site(tmp_path / "site", server, {"ORTHANC_URL": proxy.url})
        site.rule("all")
        study = send(site, series=2, instances=10)
        killed = proxy.add(Fault("/attachments/", times=1, action=server.kill))
        with site.processor():
            site.touch(study)
            wait_until(lambda: killed.hits and "markers wait until it is back" in site.log_end(), 30, "it is away")
            (beat,) = (site.spool / "state" / "processors").glob("[!.]*.json")
            wait_until(lambda: json.loads(beat.read_bytes())["troubles"], 30, "the heartbeat knows")
            assert json.loads(beat.read_bytes())["marker"] is None
            server.start()
            site.wait_states(done=1)
        assert site.records("done")[0]["attempts"] == 0
        assert site.tree("all", NAME) == stored_files(server, study)


@pytest.mark.parametrize("moment", ["in mid-transfer", "before stability"])
def test_an_orthanc_killed_while_a_study_arrives_loses_nothing(live_site: Site, moment: str) -> None:
    """Orthanc forgets the event, and says IsStable of everything after its restart."""
    live_site.variables["AUTORTHANC_RECONCILE_INTERVAL_S"] = "1"
    live_site.rule("all")
    files = datasets.make_study(series=2, instances=3)
    with live_site.processor():
        wait_until(lambda: (live_site.spool / "state" / "contact.json").exists(), 30, "there was first contact")
        study = live_site.orthanc.upload_all(files[:3] if moment == "in mid-transfer" else files)
        live_site.orthanc.restart(kill=True)
        live_site.orthanc.upload_all(files)

        def is_whole() -> bool:
            there = live_site.published("all") == [NAME]
            return there and live_site.tree("all", NAME) == stored_files(live_site.orthanc, study)

        wait_until(is_whole, 60, "the whole study is published")
    assert live_site.leftovers() == []


def test_what_was_arriving_at_first_contact_is_not_left_alone(live_site: Site) -> None:
    live_site.variables["AUTORTHANC_RECONCILE_INTERVAL_S"] = "1"
    live_site.rule("all")
    live_site.orthanc.upload_all(datasets.make_study())
    live_site.orthanc.restart(kill=True)
    with live_site.processor():
        live_site.wait_published("all")
    assert '"studies": {}' in (live_site.spool / "state" / "baseline.json").read_text()


def test_another_database_at_the_same_address_is_known_as_such(
    tmp_path: Path, orthanc: OrthancServer, fresh_orthanc: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autorthanc_spool.run.reconcile.MARGIN_S", 1.0)
    other = fresh_orthanc(lua=())
    site = Site(tmp_path / "site", orthanc)
    old = other.upload_all(datasets.make_study("OLD"))
    other.wait_stable(f"/studies/{old}", margin_s=2.5)
    spool = access.make_spool(load_settings({}, site.environment, site.root))
    first, second = (client.Orthanc(server.url, "", None) for server in (orthanc, other))
    send(site)
    sweep = reconcile(spool, first, 1, wiring.utc_now())
    assert sweep
    assert sweep.left_alone is not None
    new = other.upload_all(datasets.make_study("NEW"))
    other.wait_stable(f"/studies/{new}", margin_s=2.5)
    sweep = reconcile(spool, second, 1, wiring.utc_now())
    assert sweep
    # What was there before we last looked is left alone; what came since is ours to do.
    assert sweep.left_alone == 1
    assert [name.rpartition("study-")[2] for name in sweep.markers] == [f"{new}.json"]
    again = reconcile(spool, second, 1, wiring.utc_now())
    assert again
    assert again.left_alone is None


@pytest.fixture
def moved(tmp_path: Path, fresh_orthanc: Start) -> Site:
    """A site that has published a study, and has a marker of another one, when its Orthanc comes up empty."""
    site = Site(tmp_path / "site", fresh_orthanc(lua=()))
    site.rule("all")
    site.once()
    for patient in ("PAT1", "PAT2"):
        site.touch(send(site, patient=patient))
        if patient == "PAT1":
            site.once()
    site.variables["ORTHANC_URL"] = fresh_orthanc(lua=()).url
    return site


def test_what_the_former_database_has_waits_while_another_one_answers(moved: Site) -> None:
    log = moved.once(expect=75).stderr
    assert log.count("has another database than until") == 1
    assert only_error(moved, "deferred")["kind"] == "AnotherDatabase"
    assert "has another database" in moved.once(expect=75).stderr
    del moved.variables["ORTHANC_URL"]
    assert "another database: all right again" in moved.once().stderr
    assert moved.states() == {"done": 2}
    assert "another database" not in moved.once().stderr


def test_an_orthanc_that_comes_up_without_its_volume_fails_nothing(tmp_path: Path, fresh_orthanc: Start) -> None:
    site = Site(tmp_path / "site", fresh_orthanc(lua=()))
    site.rule("all")
    study, away = send(site), site.orthanc.folder / "away"
    # An empty database can't be told from another empty one.
    site.once()
    with site.processor():
        site.orthanc.stop()
        site.orthanc.storage.rename(away)
        site.orthanc.start()
        site.touch(study)
        site.wait_states(deferred=1)
        wait_until(lambda: "has another database" in site.run("status").stdout, 20, "status says so")
        site.orthanc.stop()
        shutil.rmtree(site.orthanc.storage)
        away.rename(site.orthanc.storage)
        site.orthanc.start()
        site.wait_published("all")
        wait_until(lambda: "another database: all right again" in site.log_end(), 20, "it is said to be over")
    log = site.log.read_text()
    assert (log.count("has another database than until"), log.count("another database: all right again")) == (1, 1)
    assert (site.published("all"), site.markers("failed")) == ([NAME], [])


def test_what_the_former_database_had_fails_once_a_person_has_confirmed_the_new_one(moved: Site) -> None:
    moved.once(expect=75)
    (moved.spool / "state" / "another-database.json").unlink()
    log = moved.once(expect=1).stderr
    assert only_error(moved, "failed")["kind"] == "ResourceMissing"
    assert "another database" not in log


def test_a_bug_of_ours_fails_with_its_traceback_and_stops_nobody(
    site: Site, once: Once, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.rule("all")
    first, second = send(site), send(site, patient="PAT2")

    def broken(facts: Any, *arguments: Any, **options: Any) -> Any:
        return 1 / 0 if facts.resource.resource_id == first else real(facts, *arguments, **options)

    real = plan.make_plan
    monkeypatch.setattr(plan, "make_plan", broken)
    site.touch(first)
    site.touch(second)
    once(site)
    error = only_error(site, "failed")
    assert error["kind"] == "Bug"
    assert any("make_plan" in place or "broken" in place for place in error["traceback"])
    assert site.published("all") == ["PAT2-FamilyPAT2-1"]


def test_a_clock_of_orthanc_that_was_set_back_delays_a_study_by_one_stable_age(site: Site) -> None:
    study = send(site)
    resource = client.Orthanc(site.orthanc.url, "", None).resource(Level.STUDY, study)
    came = parse_last_update(resource.last_update)
    now, found = came - timedelta(days=365), new(Level.STUDY, study, "reconcile", came)
    with pytest.raises(StillArriving) as caught:
        plan.check_stable(resource, came, now, 300, found)
    assert 300 <= caught.value.wait_s < 310
    plan.check_stable(resource, came, now, 300, replace(found, error=Problem.of(caught.value)))


def test_a_processor_killed_in_mid_download_leaves_its_work_to_the_next_one(far_site: Site, proxy: Proxy) -> None:
    far_site.rule("all")
    study = send(far_site, series=1, instances=3)
    far_site.touch(study)
    stalled = proxy.add(Fault("/attachments/", stall_after=100, times=1))
    first = far_site.start_processor()
    wait_until(lambda: stalled.hits, 30, "it downloads")
    first.kill()
    first.wait()
    assert far_site.states() == {"processing": 1}
    proxy.heal()
    with far_site.processor():
        far_site.wait_states(done=1)
    assert far_site.tree("all", NAME) == stored_files(far_site.orthanc, study)
    assert far_site.leftovers() == []
