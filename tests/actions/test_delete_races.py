"""DeleteFromOrthanc against people, crashes and other processors: whatever comes in between, nothing is lost."""

import json

from autorthanc_spool.run import wiring
from autorthanc_spool.settings import load_settings
from tests.helpers import crash, datasets
from tests.helpers.deletions import NAME, ids, interrupted, send, wake
from tests.helpers.proxy import Fault, Proxy, status
from tests.helpers.site import Site


def errors(site: Site, state: str) -> list[str]:
    return [record["error"]["kind"] for record in site.records(state)]


def once_through(site: Site, *faults: Fault, expect: int = 0) -> None:
    """Run while something happens at a request to Orthanc."""
    with Proxy(site.orthanc.http_port) as proxy:
        site.variables["ORTHANC_URL"] = proxy.url
        for fault in faults:
            proxy.add(fault)
        site.once(expect=expect)
        assert all(fault.hits for fault in faults)
    del site.variables["ORTHANC_URL"]


def test_a_rule_that_is_edited_while_it_exports_deletes_nothing(site: Site) -> None:
    site.rule("all", DeleteFromOrthanc=True)
    wake(site, send(site, *datasets.make_study()))
    once_through(site, Fault("attachments", times=1, action=lambda: site.rule("all", DeleteFromOrthanc=False)))
    assert len(ids(site)) == 6
    assert site.published("all") == [NAME]
    site.run("requeue", "--deferred")
    site.once()
    assert site.states() == {"done": 1}
    assert len(ids(site)) == 6


def test_a_rule_that_is_added_while_another_exports_has_its_turn(site: Site) -> None:
    site.rule("all", DeleteFromOrthanc=True)
    wake(site, send(site, *datasets.make_study()))
    once_through(site, Fault("attachments", times=1, action=lambda: site.rule("late")))
    assert len(ids(site)) == 6
    (error,) = [record["error"] for record in site.records("deferred")]
    assert "the rule late has work" in error["text"]
    site.run("requeue", "--deferred")
    site.once()
    assert ids(site) == set()
    assert len(site.tree("late", NAME)) == 6


def test_after_a_crash_a_rule_that_was_added_has_its_turn(site: Site) -> None:
    interrupted(site)
    site.rule("late")
    site.once()
    assert ids(site) == set()
    assert len(site.tree("all", NAME)) == 3
    assert len(site.tree("late", NAME)) == 2, "what was left when it was added"


def test_after_a_crash_a_marker_on_hold_keeps_what_is_left(site: Site) -> None:
    study = interrupted(site)
    (left,) = site.markers("processing")
    left.rename(site.spool / "hold" / left.name)
    wake(site, study)
    site.once()
    assert len(ids(site)) == 2
    assert errors(site, "deferred") == ["DeletionWaits"]
    site.run("release", f"hold/{left.name}")
    site.once()
    assert ids(site) == set()
    assert len(site.tree("all", NAME)) == 3


def test_what_arrives_is_exported_although_a_deletion_that_was_begun_is_refused(site: Site) -> None:
    study = interrupted(site)
    send(site, datasets.make_instance(instance=7))
    once_through(site, Fault("^DELETE", answer=status(403)))
    assert errors(site, "deferred") == ["OrthancFault"]
    assert len(ids(site)) == 3
    assert len(site.tree("all", NAME)) == 3
    assert len(site.tree("all", f"{NAME}-{study[:8]}")) == 3


def test_a_deletion_is_recorded_when_its_rule_was_removed_after_a_crash(site: Site) -> None:
    rule = site.rule("all", DeleteFromOrthanc=True)
    site.variables["AUTORTHANC_AUDIT_LOG"] = str(site.root / "audit.jsonl")
    wake(site, send(site, *datasets.make_study(series=1)))
    settings = load_settings({}, site.environment, site.root)
    assert crash.run_dying(3, lambda: wiring.run(settings, once=True), among=(crash.DELETION,))
    site.orthanc.clear()
    rule.unlink()
    site.once()
    (record,) = site.records("done")
    assert record["outcomes"]["all"]["deleted_from_orthanc"]["instances"] == 3
    lines = [json.loads(line) for line in (site.root / "audit.jsonl").read_text().splitlines()]
    assert [(line["outcome"], line["instances"]) for line in lines] == [("published", 3), ("deleted", 3)]


def test_what_somebody_else_deletes_afterwards_is_missed(site: Site) -> None:
    site.rule("all", DeleteFromOrthanc=True)
    study = send(site, *datasets.make_study(series=1))
    wake(site, study)
    site.once()
    # It comes again, and is deleted before it is exported.
    send(site, datasets.make_instance(instance=9))
    site.orthanc.delete(f"/studies/{study}")
    wake(site, study)
    site.once(expect=1)
    assert errors(site, "failed") == ["ResourceMissing"]


def test_who_waits_for_the_deletion_keeps_the_checksums_of_what_it_published(site: Site) -> None:
    site.rule("all", DeleteFromOrthanc=True)
    study = send(site, *datasets.make_study(series=1))
    site.once()
    (series,) = site.orthanc.get("/series")
    parked = site.spool / "hold" / f"series-{series}.json"
    parked.write_text("{}")
    wake(site, study)
    site.once()
    assert errors(site, "deferred") == ["DeletionWaits"]
    # It is looked at while Orthanc can't be understood, then a person requeues it.
    site.run("requeue", "--deferred")
    once_through(site, Fault("^GET /studies/", answer=status(500)))
    parked.unlink()
    site.run("requeue", "--deferred")
    site.once()
    (record,) = site.records("done")
    assert len(record["outcomes"]["all"]["md5sums"]) == 3
    assert record["outcomes"]["all"]["deleted_from_orthanc"]["instances"] == 3


def test_what_a_dead_run_of_a_series_left_is_cleared_away_when_its_marker_is_gone_too(site: Site) -> None:
    site.rule("all", DeleteFromOrthanc=True)
    site.rule("each", CheckOn="Series", Action="ZIP")
    study = send(site, *datasets.make_study(series=1))
    (series,) = site.orthanc.get("/series")
    wake(site, series, "series")
    settings = load_settings({}, site.environment, site.root)
    # The archive is published, and the folder that it was made in is still there.
    assert crash.run_dying(1, lambda: wiring.run(settings, once=True), among=("rmdir",))
    for left in site.markers("processing"):
        left.unlink()
    assert site.published("each") == [f"{NAME}-SE1.WORKING~gone.WORKING", f"{NAME}-SE1.zip"]
    wake(site, study)
    site.once()
    assert ids(site) == set(), site.records("deferred")
    assert site.published("each") == [f"{NAME}-SE1.zip"]
    assert site.leftovers() == []
