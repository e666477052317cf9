import time
from datetime import UTC, datetime, timedelta

from tests.helpers import datasets
from tests.helpers.site import Site


def hours(begin: int, end: int) -> str:
    """Hours in UTC, so far from now."""
    now = datetime.now(UTC)
    return "-".join(f"{now + timedelta(hours=one):%H:%M}" for one in (begin, end))


def test_a_rule_waits_for_its_hours_and_no_other_rule_waits_for_it(site: Site) -> None:
    site.variables["TZ"] = "UTC"
    site.rule("night", Between=hours(2, 4))
    site.rule("all")
    study = site.orthanc.upload_all(datasets.make_study(series=1, instances=1))
    site.orthanc.wait_stable(f"/studies/{study}")
    site.touch(study)
    assert "waits in deferred/" in site.run("explain", "study", study).stdout
    site.once()
    assert (site.published("all"), site.published("night")) == (["PAT1-FamilyPAT1-1"], [])
    record = site.records("deferred")[0]
    assert (record["attempts"], record["outcomes"]["night"]["error"]["kind"]) == (0, "OutsideHours")
    assert 6000 < site.markers("deferred")[0].stat().st_mtime - time.time() < 7300
    site.rule("night", Between=hours(-2, 2))
    site.once()
    assert site.published("night") == ["PAT1-FamilyPAT1-1"]
    assert site.states() == {"done": 1}


def test_hours_that_are_edited_count_at_once(site: Site) -> None:
    site.variables["TZ"] = "UTC"
    site.rule("night", Between=hours(2, 4))
    study = site.orthanc.upload_all(datasets.make_study(series=1, instances=1))
    site.orthanc.wait_stable(f"/studies/{study}")
    with site.processor():
        site.touch(study)
        site.wait_states(deferred=1)
        site.rule("night", Between=hours(-2, 2))
        site.wait_states(done=1)
    assert site.published("night") == ["PAT1-FamilyPAT1-1"]


def test_the_hours_are_those_of_the_zone_in_the_settings(site: Site) -> None:
    now = datetime.now(UTC)
    site.rule("night", Between="-".join((now + timedelta(hours=one)).strftime("%H:%M") for one in (13, 15)))
    (site.root / ".env").write_text("TZ=Pacific/Kiritimati\n")
    study = site.orthanc.upload_all(datasets.make_study())
    site.orthanc.wait_stable(f"/studies/{study}")
    site.touch(study)
    site.once()
    assert len(site.published("night")) == 1


def test_a_zone_that_does_not_exist_is_named(site: Site) -> None:
    done = site.run("check", "--set", "TZ=Europe/Zurick", expect=2)
    assert "TZ" in done.stderr
    assert "a time zone of this machine, as Europe/Zurich" in done.stderr
