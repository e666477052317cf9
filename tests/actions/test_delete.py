"""DeleteFromOrthanc: what was exported leaves Orthanc once it is no longer needed there, and nothing else does."""

import json
import shutil
from typing import Any

import pytest

from autorthanc_spool.run import wiring
from autorthanc_spool.run.reconcile import MARGIN_S
from autorthanc_spool.settings import load_settings
from tests.helpers import crash, datasets
from tests.helpers.deletions import NAME, ids, interrupted, now, send, wake
from tests.helpers.destinations import received
from tests.helpers.orthanc_server import OrthancServer
from tests.helpers.proxy import Fault, Proxy, status
from tests.helpers.site import Site, stored_files
from tests.helpers.waiting import wait_until


def outcome(site: Site, state: str, rule: str = "all") -> dict[str, Any]:
    (record,) = site.records(state)
    found: dict[str, Any] = record["outcomes"][rule]
    return found


def waits(site: Site) -> dict[str, Any]:
    """The error of the one marker that waits for the deletion."""
    (error,) = [record["error"] for record in site.records("deferred")]
    assert error["kind"] == "DeletionWaits"
    return dict(error)


def test_a_study_is_published_and_then_gone_from_orthanc(site: Site) -> None:
    site.rule("all", DeleteFromOrthanc=True)
    study = send(site, *datasets.make_study())
    wanted = stored_files(site.orthanc, study)
    wake(site, study)
    site.once()
    assert site.orthanc.get("/instances") == []
    assert site.tree("all", NAME) == wanted
    told = outcome(site, "done")
    assert told["outcome"] == "published"
    assert told["deleted_from_orthanc"]["instances"] == 6
    assert told["deleted_from_orthanc"]["bytes"] == sum(map(len, wanted.values()))
    assert site.leftovers() == []


def test_what_a_rule_deleted_is_not_called_a_mistyped_id_when_it_is_asked_for_again(site: Site) -> None:
    site.rule("all", DeleteFromOrthanc=True)
    wake(site, send(site, *datasets.make_study()))
    site.once()
    site.run("requeue", "--state", "done", "--all")
    site.once(expect=1)
    (record,) = site.records("failed")
    error = record["error"]
    assert (error["kind"], "mistyped" in error["text"]) == ("ResourceMissing", False)
    assert "a rule deleted it there after it was exported" in error["text"]


def test_an_archive_is_published_and_then_its_study_is_gone(site: Site) -> None:
    site.rule("all", Action="ZIP", DeleteFromOrthanc=True)
    wake(site, send(site, *datasets.make_study()))
    site.once()
    assert site.orthanc.get("/instances") == []
    assert site.published("all") == [f"{NAME}.zip"]
    assert outcome(site, "done")["deleted_from_orthanc"]["instances"] == 6


def test_what_a_destination_has_committed_to_is_deleted(site: Site, archive: OrthancServer) -> None:
    site.rule("all", Action="FORWARD", DestinationModality="archive", StorageCommitment=True, DeleteFromOrthanc=True)
    wake(site, send(site, *datasets.make_study()))
    site.once()
    assert site.orthanc.get("/instances") == []
    assert len(received(archive)) == 6
    told = outcome(site, "done")
    assert told["forward"]["archive"]["committed"] is True
    assert told["deleted_from_orthanc"]["instances"] == 6


def test_nothing_is_deleted_while_one_of_two_rules_fails(site: Site) -> None:
    site.rule("all", DeleteFromOrthanc=True)
    site.rule("other", Action="FORWARD", DestinationModality="nowhere")
    wake(site, send(site, *datasets.make_study()))
    site.once(expect=1)
    assert len(ids(site)) == 6
    assert outcome(site, "failed")["outcome"] == "published"
    site.rule("other", IsActive=False)
    site.run("requeue", "--failed")
    site.once()
    assert ids(site) == set()
    assert site.published("all") == [NAME]
    assert outcome(site, "done")["deleted_from_orthanc"]["instances"] == 6


def test_a_study_waits_until_its_series_are_exported(site: Site) -> None:
    site.rule("all", DeleteFromOrthanc=True)
    site.rule("each", CheckOn="Series")
    study = send(site, *datasets.make_study())
    wake(site, study)
    # No marker of a series is there; the study's run looks after that.
    site.once()
    assert ids(site) == set()
    assert site.states() == {"done": 3}
    assert len(site.published("each")) == 2
    assert len(site.tree("all", NAME)) == 6


@pytest.mark.parametrize("state", ["hold", "failed"])
def test_a_series_marker_that_a_person_has_to_see_to_keeps_everything(site: Site, state: str) -> None:
    site.rule("all", DeleteFromOrthanc=True)
    study = send(site, *datasets.make_study())
    site.once()
    series = site.orthanc.get(f"/studies/{study}")["Series"][0]
    parked = site.spool / state / f"series-{series}.json"
    parked.write_text("{}")
    wake(site, study)
    site.once()
    assert len(ids(site)) == 6
    assert waits(site)["waits_for"] == f"series-{series}"
    assert f"{state}/{parked.name} has to succeed first" in waits(site)["text"]
    assert site.published("all") == [NAME]
    # What it waits for wakes it.
    parked.rename(site.spool / "incoming" / parked.name)
    site.once()
    assert ids(site) == set()
    assert site.states() == {"done": 2}


def test_a_series_whose_rule_is_broken_keeps_everything(site: Site) -> None:
    site.rule("all", DeleteFromOrthanc=True)
    each = site.rule("each", CheckOn="Series")
    site.once()
    study = send(site, *datasets.make_study(series=1))
    each.write_text("{")
    wake(site, study)
    site.once()
    assert len(ids(site)) == 3
    site.rule("each", CheckOn="Series")
    site.once()
    assert ids(site) == set()
    assert len(site.published("each")) == 1


def test_a_series_alone_is_deleted_and_the_study_stays_what_it_was(site: Site) -> None:
    site.rule("all")
    site.rule("one", CheckOn="Series", DeleteFromOrthanc=True, Tags=[{"TagName": "SeriesNumber", "Value": "1"}])
    study = send(site, *datasets.make_study())
    first, second = sorted(site.orthanc.get("/series?expand"), key=lambda one: one["MainDicomTags"]["SeriesNumber"])
    wake(site, first["ID"], "series")
    site.once()
    # The study's own rule hasn't had its turn.
    assert len(ids(site)) == 6
    assert waits(site)["waits_for"] == f"study-{study}"
    wake(site, study)
    site.once()
    assert ids(site) == set(second["Instances"])
    inode = (site.output / "all" / NAME).stat().st_ino
    site.run("reconcile")
    wake(site, study)
    site.once()
    assert (site.output / "all" / NAME).stat().st_ino == inode
    assert len(site.tree("all", NAME)) == 6
    assert not site.markers("failed")
    assert not site.markers("deferred")


def test_what_comes_after_the_deletion_never_replaces_what_was_published(site: Site) -> None:
    site.rule("all", DeleteFromOrthanc=True)
    study = send(site, *datasets.make_study())
    wake(site, study)
    site.once()
    whole = site.tree("all", NAME)
    for number in (8, 9):
        wake(site, send(site, datasets.make_instance(series=number)))
        site.once()
        assert ids(site) == set()
    assert site.tree("all", NAME) == whole
    names = site.published("all")
    assert names[:2] == [NAME, f"{NAME}-{study[:8]}"]
    assert len(names) == 3
    assert [len(site.tree("all", name)) for name in names] == [6, 1, 1]
    assert site.leftovers() == []


def test_a_late_event_of_what_is_deleted_has_succeeded_and_asking_again_has_not(site: Site) -> None:
    site.rule("all", DeleteFromOrthanc=True)
    site.rule("each", CheckOn="Series")
    study = send(site, *datasets.make_study(series=1))
    series = site.orthanc.get("/series")[0]
    # Orthanc told of it before it was deleted, and is read afterwards.
    told = now()
    wake(site, study, time=told)
    site.once()
    wake(site, study, time=told)
    wake(site, series, "series", time=told)
    site.once()
    assert set(site.states()) == {"done"}
    assert site.published("all") == [NAME]
    site.touch(study)
    site.touch(series, "series")
    site.once(expect=1)
    assert [record["error"]["kind"] for record in site.records("failed")] == ["ResourceMissing"] * 2


def test_a_deletion_that_is_refused_is_reported_and_tried_again(site: Site) -> None:
    site.rule("all", DeleteFromOrthanc=True)
    wake(site, send(site, *datasets.make_study(series=1)))
    with Proxy(site.orthanc.http_port) as proxy:
        site.variables["ORTHANC_URL"] = proxy.url
        proxy.add(Fault("^DELETE", answer=status(403)))
        site.once()
    (record,) = site.records("deferred")
    assert record["error"]["kind"] == "OrthancFault"
    assert "403" in record["error"]["text"]
    assert record["outcomes"]["all"]["outcome"] == "published"
    assert len(ids(site)) == 3
    site.variables.clear()
    site.run("requeue", "--deferred")
    site.once()
    assert ids(site) == set()


def test_a_broken_connection_is_looked_after_and_nothing_is_sent_twice(site: Site) -> None:
    site.rule("all", DeleteFromOrthanc=True)
    wake(site, send(site, *datasets.make_study(series=1)))
    with Proxy(site.orthanc.http_port) as proxy:
        site.variables["ORTHANC_URL"] = proxy.url
        fault = Fault("^DELETE", cut_after=0, times=2)
        proxy.add(fault)
        site.once()
    assert fault.hits == 2
    assert ids(site) == set()
    assert outcome(site, "done")["deleted_from_orthanc"]["instances"] == 3


def test_after_a_crash_only_what_was_exported_goes(site: Site) -> None:
    interrupted(site)
    whole = site.tree("all", NAME)
    # One was replaced by another file, and a new one came.
    left = site.orthanc.get("/instances?expand")
    replaced = left[0]["MainDicomTags"]["InstanceNumber"]
    site.orthanc.delete(f"/instances/{left[0]['ID']}")
    study = send(
        site,
        datasets.make_instance(instance=int(replaced), ImageComments="corrected"),
        datasets.make_instance(instance=7),
    )
    site.once()
    assert ids(site) == set(), "what stayed was exported as something new, and then deleted in its turn"
    assert site.tree("all", NAME) == whole
    assert len(site.tree("all", f"{NAME}-{study[:8]}")) == 3


def test_after_a_crash_a_rule_that_deletes_no_more_is_obeyed(site: Site) -> None:
    site.variables["AUTORTHANC_AUDIT_LOG"] = str(site.root / "audit.jsonl")
    interrupted(site)
    whole = site.tree("all", NAME)
    site.rule("all", DeleteFromOrthanc=False)
    site.once()
    assert len(ids(site)) == 2
    assert site.published("all") == [NAME]
    assert site.tree("all", NAME) == whole
    lines = [json.loads(line) for line in (site.root / "audit.jsonl").read_text().splitlines()]
    assert [(line["outcome"], line["instances"]) for line in lines] == [("published", 3), ("deleted", 1)]


@pytest.mark.timeout(900)
def test_it_is_deleted_once_whenever_the_processor_dies(site: Site) -> None:
    log = site.root / "audit.jsonl"
    site.variables |= {"AUTORTHANC_AUDIT_LOG": str(log), "AUTORTHANC_LOG_LEVEL": "error"}
    settings = load_settings({}, site.environment, site.root)

    def once() -> int:
        return wiring.run(settings, once=True)

    # Each step has a study of its own, so that they become stable together.
    studies = [site.orthanc.upload_all(datasets.make_study(f"P{n}", series=1, instances=2)) for n in crash.steps(160)]
    # What is younger at first contact isn't the baseline, and would be found by reconciliation.
    site.orthanc.wait_stable(f"/studies/{studies[-1]}", margin_s=MARGIN_S + 1)
    for step, study in zip(crash.steps(160), studies, strict=True):
        for folder in (site.spool, site.output):
            shutil.rmtree(folder, ignore_errors=True)
        log.unlink(missing_ok=True)
        site.rule("all")
        wake(site, study)
        assert not crash.run_dying(10_000, once)
        (name,) = site.published("all")
        whole, inode = site.tree("all", name), (site.output / "all" / name).stat().st_ino
        site.rule("all", DeleteFromOrthanc=True)
        wake(site, study)
        died = crash.run_dying(step, once)
        crash.run_dying(10_000, once)
        context = f"died before step {step}"
        assert study not in ids(site, "/studies"), context
        assert site.published("all") == [name], context
        assert (site.tree("all", name), (site.output / "all" / name).stat().st_ino) == (whole, inode), context
        assert site.states() == {"done": 2}, context
        assert site.leftovers() == [], context
        lines = {line for line in log.read_text().splitlines() if '"deleted"' in line}
        assert sum(json.loads(line)["instances"] for line in lines) == 2, context
        told = [one["outcomes"]["all"].get("deleted_from_orthanc") for one in site.records("done")]
        # Where it died between ledger and marker, the audit log alone says.
        assert [one["instances"] for one in told if one] in ([2], []), context
        if not died:
            break
    assert not died
    assert step > 10


def test_everything_happens_by_itself_with_several_processors(live_site: Site) -> None:
    live_site.rule("all", DeleteFromOrthanc=True)
    live_site.rule("each", CheckOn="Series", DeleteFromOrthanc=True)
    with live_site.processor():
        wait_until(lambda: (live_site.output / "each").is_dir(), 30, "the processor works")
        second = live_site.start_processor()
        try:
            for number in range(4):
                live_site.orthanc.upload_all(datasets.make_study(f"P{number}"))
            wait_until(lambda: live_site.orthanc.get("/instances") == [], 90, "Orthanc is empty")
            wait_until(lambda: set(live_site.states()) == {"done"}, 60, "every marker is done")
        finally:
            second.terminate()
            second.wait()
    assert [len(live_site.tree("all", name)) for name in live_site.published("all")] == [6] * 4
    assert [len(live_site.tree("each", name)) for name in live_site.published("each")] == [3] * 8
    assert live_site.leftovers() == []


def test_what_will_be_deleted_is_said_before(site: Site) -> None:
    site.rule("all", DeleteFromOrthanc=True)
    study = send(site, *datasets.make_study())
    assert "then delete them from Orthanc" in site.run("explain", "study", study).stdout
