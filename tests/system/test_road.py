"""The whole road, on real Orthanc: a study in, a folder out; and what may happen on the way."""

import hashlib
import json
import os
import shutil
from typing import Any

import pytest

from tests.helpers import datasets, dicom_net
from tests.helpers.site import Site, send, send_and_touch, stored_files
from tests.helpers.waiting import wait_until

NOWHERE = "0a4b249f-7fce45ca-4f722f72-de2a24df-92abc740"


def test_a_study_sent_by_c_store_is_published_byte_for_byte(live_site: Site) -> None:
    live_site.rule("brain", Tags=[{"TagName": "StudyDescription", "Value": "brain"}])
    with live_site.processor():
        wait_until(
            lambda: (live_site.output / "brain").is_dir(), 20, "the rule's folder is there before the first match"
        )
        dicom_net.store(live_site.orthanc.dicom_port, datasets.make_study("P1", "7", series=2, instances=3))
        live_site.wait_published("brain")
        # Of the markers of its two series, which no rule asks for, nothing is left.
        live_site.wait_states(done=1)
    study = live_site.orthanc.get("/studies")[0]
    assert live_site.published("brain") == ["P1-FamilyP1-7"]
    assert live_site.tree("brain", "P1-FamilyP1-7") == stored_files(live_site.orthanc, study)
    assert live_site.leftovers() == []


def test_the_rule_of_autorthancs_documentation_works_unchanged(site: Site) -> None:
    site.rule(
        "doc",
        Action="DOWNLOAD",
        DestinationModality="PACS",
        Comment="brain study",
        Tags=[
            {"TagName": "StudyDescription", "Level": "Study", "Value": "brain"},
            {"TagName": "SeriesDescription", "Level": "Series", "Value": "axial t1"},
        ],
    )
    send_and_touch(site, *datasets.make_study("YES", StudyDescription="BRAIN with contrast"))
    send_and_touch(site, *datasets.make_study("NO", StudyDescription="knee"))
    send_and_touch(site, *datasets.make_study("NOT", SeriesDescription="sagittal"))
    site.once()
    assert site.published("doc") == ["YES-FamilyYES-1"]
    assert site.states() == {"done": 3}


def test_a_series_rule_publishes_the_series_alone(site: Site) -> None:
    site.rule("t2", CheckOn="Series", Tags=[{"TagName": "SeriesDescription", "Value": "AXIAL T2"}])
    send(site, *datasets.make_study("P1", series=3))
    for series in site.orthanc.get("/series"):
        site.touch(series, "series")
    site.once()
    assert site.published("t2") == ["P1-FamilyP1-1-SE2"]
    assert len(site.tree("t2", "P1-FamilyP1-1-SE2")) == 3


def test_two_rules_on_one_study_publish_it_twice(site: Site) -> None:
    site.rule("a")
    site.rule("b", Tags=[{"TagName": "Modality", "Value": "ct"}])
    site.rule("c", Tags=[{"TagName": "Modality", "Value": "MR"}])
    study = send_and_touch(site, *datasets.make_study())
    site.once()
    assert site.published("a") == site.published("b") == ["PAT1-FamilyPAT1-1"]
    assert site.published("c") == []
    record = site.records("done")[0]
    assert {rule: found["outcome"] for rule, found in record["outcomes"].items()} == {
        "a": "published",
        "b": "published",
    }
    assert site.tree("a", "PAT1-FamilyPAT1-1") == stored_files(site.orthanc, study)


def test_the_record_lists_the_files_with_their_checksums(site: Site) -> None:
    site.rule("all")
    send_and_touch(site, *datasets.make_study())
    site.once()
    outcome = site.records("done")[0]["outcomes"]["all"]
    tree = site.tree("all", "PAT1-FamilyPAT1-1")
    assert outcome["path"] == "all/PAT1-FamilyPAT1-1"
    assert outcome["instances"] == len(tree)
    assert outcome["bytes"] == sum(map(len, tree.values()))
    assert outcome["md5sums"] == [f"{hashlib.md5(data).hexdigest()}  {name}" for name, data in sorted(tree.items())]


def test_a_rule_written_while_the_processor_runs_is_in_force(site: Site) -> None:
    with site.processor():
        wait_until(lambda: site.spool.joinpath("incoming").is_dir(), 20, "the spool is laid out")
        site.rule("late")
        wait_until(lambda: (site.output / "late").is_dir(), 20, "the rule's folder is made")
        send_and_touch(site, *datasets.make_study())
        site.wait_published("late")


def test_a_second_marker_finds_the_work_done(site: Site) -> None:
    site.rule("all")
    study = send_and_touch(site, *datasets.make_study())
    site.once()
    folder = site.output / "all" / "PAT1-FamilyPAT1-1"
    inode = folder.stat().st_ino
    lua = {"format": 1, "level": "Study", "id": study, "source": "lua", "time": "2030-01-01T00:00:00Z"}
    (site.spool / "incoming" / "x.json").write_text(json.dumps(lua))
    site.once()
    assert folder.stat().st_ino == inode
    assert site.records("done")[-1]["outcomes"]["all"]["outcome"] == "unchanged"


def test_what_a_person_moves_back_from_done_is_published_again(site: Site) -> None:
    site.rule("all")
    send_and_touch(site, *datasets.make_study())
    site.once()
    before = site.tree("all", "PAT1-FamilyPAT1-1")
    inode = (site.output / "all" / "PAT1-FamilyPAT1-1").stat().st_ino
    shutil.move(site.markers("done")[0], site.spool / "incoming")
    site.once()
    assert site.published("all") == ["PAT1-FamilyPAT1-1"]
    assert (site.output / "all" / "PAT1-FamilyPAT1-1").stat().st_ino != inode
    assert site.tree("all", "PAT1-FamilyPAT1-1") == before


def test_a_folder_that_the_consumer_took_is_published_again_when_asked(site: Site) -> None:
    site.rule("all")
    send_and_touch(site, *datasets.make_study())
    site.once()
    shutil.move(site.output / "all" / "PAT1-FamilyPAT1-1", site.root / "taken")
    shutil.move(site.markers("done")[0], site.spool / "incoming")
    site.once()
    assert site.published("all") == ["PAT1-FamilyPAT1-1"]


def test_a_study_that_grew_replaces_what_was_published(site: Site) -> None:
    site.rule("all")
    send_and_touch(site, *datasets.make_study(series=1))
    site.once()
    study = send_and_touch(site, *datasets.make_study(series=2))
    site.once()
    assert site.published("all") == ["PAT1-FamilyPAT1-1"]
    assert site.tree("all", "PAT1-FamilyPAT1-1") == stored_files(site.orthanc, study)
    assert site.leftovers() == []


@pytest.mark.parametrize("action", ["DOWNLOAD", "ZIP"])
def test_a_study_that_shrank_in_orthanc_replaces_nothing(site: Site, action: str) -> None:
    """A person deleted it, or Orthanc made room: what was published may be the only copy."""
    site.rule("all", Action=action)
    study = send_and_touch(site, *datasets.make_study(series=1, instances=4))
    site.once()
    first = site.published("all")
    before = [path.stat().st_ino for path in (site.output / "all").iterdir()]
    site.orthanc.delete(f"/studies/{study}")
    # As many as before, and none of them.
    send_and_touch(site, *datasets.make_study(series=2, instances=4)[4:])
    site.once()
    assert set(first) < set(site.published("all"))
    assert [(site.output / "all" / name).stat().st_ino for name in first] == before
    outcomes = [record["outcomes"]["all"] for record in site.records("done")]
    assert [one["kept"] for one in outcomes if "kept" in one] == [[f"all/{first[0]}"]]
    # Once all is there again, what came in between is replaced by the whole; the first stays.
    send_and_touch(site, *datasets.make_study(series=2, instances=4))
    site.once()
    assert len(site.published("all")) == 2
    assert [(site.output / "all" / name).stat().st_ino for name in first] == before
    assert site.leftovers() == []


def test_a_rule_that_takes_less_of_a_study_replaces_what_it_published(site: Site) -> None:
    """Orthanc still has the rest."""
    site.rule("all")
    study = send_and_touch(site, *datasets.make_study(series=2))
    site.once()
    site.rule("all", SameSeries=True, Series="matching", Tags=[{"TagName": "SeriesNumber", "Equals": "1"}])
    site.run("enqueue", "study", study)
    site.once()
    assert site.published("all") == ["PAT1-FamilyPAT1-1"]
    assert len(site.tree("all", "PAT1-FamilyPAT1-1")) == 3


def test_what_somebody_added_to_a_published_folder_is_kept(site: Site) -> None:
    site.rule("all")
    send_and_touch(site, *datasets.make_study(series=1))
    site.once()
    (site.output / "all" / "PAT1-FamilyPAT1-1" / "result.txt").write_text("precious")
    send_and_touch(site, *datasets.make_study(series=2))
    site.once()
    outcomes = [record["outcomes"]["all"] for record in site.records("done")]
    kept = next(outcome["kept"] for outcome in outcomes if "kept" in outcome)
    assert [(site.output / path / "result.txt").read_text() for path in kept] == ["precious"]
    assert all(".WORKING" in path for path in kept)
    assert len(site.tree("all", "PAT1-FamilyPAT1-1")) == 6


def test_equal_names_of_two_studies_are_told_apart_permanently(site: Site) -> None:
    site.rule("all")
    first = send_and_touch(site, datasets.make_instance("P", "1", StudyInstanceUID="1.2.3"))
    second = send_and_touch(site, datasets.make_instance("P", "1", StudyInstanceUID="1.2.4"))
    site.once()
    names = site.published("all")
    suffixes = {name.removeprefix("P-FamilyP-1") for name in names}
    assert len(names) == 2
    assert suffixes - {""} <= {f"-{first[:8]}", f"-{second[:8]}"}
    for name in names:
        shutil.move(site.output / "all" / name, site.root / f"taken{name}")
    for path in site.markers("done"):
        shutil.move(path, site.spool / "incoming")
    site.once()
    assert site.published("all") == names


HOSTILE: list[dict[str, Any]] = [
    {"PatientID": "../../../escape", "StudyID": "..", "PatientName": "../x^y"},
    {"PatientID": "/absolute", "StudyID": "a/b", "PatientName": "C:\\x"},
    {"PatientID": ".WORKING", "StudyID": "x.WORKING", "PatientName": "MIResearch-"},
    {"PatientID": "-rf", "StudyID": "a.zip", "PatientName": "*;$(id)`id`"},
    {"PatientID": "p" * 64, "StudyID": "s" * 16, "PatientName": "n" * 64},
]


@pytest.mark.parametrize("tags", HOSTILE)
def test_hostile_tags_never_lead_out_of_the_rules_folder(site: Site, tags: dict[str, Any]) -> None:
    site.rule("all")
    before = sorted(site.root.parent.iterdir())
    send_and_touch(site, datasets.make_instance(**tags))
    site.once()
    names = site.published("all")
    assert len(names) == 1
    assert ".WORKING" not in names[0]
    assert "MIResearch-" not in names[0]
    assert sorted(path.name for path in site.output.iterdir()) == [".autorthanc", "all"]
    assert sorted(site.root.parent.iterdir()) == before


def test_a_planted_symlink_is_not_followed(site: Site) -> None:
    outside = site.root / "outside"
    outside.mkdir()
    site.rule("all")
    study = send(site, *datasets.make_study())
    (site.output / "all").mkdir(parents=True)
    (site.output / "all" / "PAT1-FamilyPAT1-1.WORKING").symlink_to(outside)
    site.touch(study)
    site.once()
    assert os.listdir(outside) == []
    assert f"PAT1-FamilyPAT1-1-{study[:8]}" in site.published("all")


def test_a_rules_folder_that_is_a_symlink_is_refused(site: Site) -> None:
    outside = site.root / "outside"
    outside.mkdir()
    site.output.mkdir()
    (site.output / "all").symlink_to(outside)
    site.rule("all")
    send_and_touch(site, *datasets.make_study())
    site.once(expect=1)
    assert os.listdir(outside) == []
    assert "symbolic link" in site.records("failed")[0]["error"]["text"]


def test_a_foreign_working_folder_is_left_alone(site: Site) -> None:
    site.rule("all")
    study = send(site, *datasets.make_study())
    foreign = site.output / "all" / "PAT1-FamilyPAT1-1.WORKING"
    foreign.mkdir(parents=True)
    (foreign / "theirs").write_text("x")
    site.touch(study)
    site.once()
    assert (foreign / "theirs").read_text() == "x"
    assert f"PAT1-FamilyPAT1-1-{study[:8]}" in site.published("all")


def test_series_markers_are_finished_without_orthanc_while_no_rule_checks_on_series(site: Site) -> None:
    site.rule("all")
    for number in range(5):
        site.touch(NOWHERE.replace("0a4b", f"{number:04x}"), "series")
    site.once()
    assert site.states() == {"done": 5}


def test_what_orthanc_reports_of_series_is_passed_over_and_counted_while_no_rule_checks_on_series(site: Site) -> None:
    site.rule("all")
    site.make_spool()
    for number in range(5):
        resource = NOWHERE.replace("0a4b", f"{number:04x}")
        (site.spool / "incoming" / f"20261123T212459Z-series-{resource}.json").write_text('{"source": "lua"}')
    done = site.once()
    assert site.states() == {}
    assert site.leftovers() == []
    assert "series" not in done.stderr
    (numbers,) = (site.spool / "state" / "statistics").glob("*.json")
    assert json.loads(numbers.read_text())["runs"] == {"passed_over": 5}


def test_an_unknown_id_fails_with_the_reason(site: Site) -> None:
    site.rule("all")
    site.touch(NOWHERE)
    site.once(expect=1)
    assert site.records("failed")[0]["error"]["kind"] == "ResourceMissing"


def test_a_study_that_still_arrives_waits_without_an_attempt(site: Site) -> None:
    # No event of Orthanc's vouches for the study here, so that its age alone counts.
    site.variables["ORTHANC_STABLE_AGE"] = "3600"
    site.rule("all")
    send_and_touch(site, *datasets.make_study())
    site.once()
    found = site.records("deferred")
    assert [(record["attempts"], record["error"]["kind"]) for record in found] == [(0, "StillArriving")]
    assert site.published("all") == []


def test_one_broken_rule_takes_no_other_down(site: Site) -> None:
    site.rule("good")
    (site.rules / "bad.json").write_text('{"CheckOn": "Study",\n "Tgas": []}')
    send_and_touch(site, *datasets.make_study())
    done = site.once()
    assert site.published("good") == ["PAT1-FamilyPAT1-1"]
    assert "bad.json" in done.stderr
    checked = site.run("check", expect=1)
    assert "bad.json:2" in checked.stdout
    assert "Tags" in checked.stdout


def test_what_a_broken_rule_matched_waits_and_runs_under_the_fixed_file(site: Site) -> None:
    path = site.rule("trial")
    send_and_touch(site, *datasets.make_study("FIRST"))
    site.once()
    good = path.read_text()
    path.write_text(good.replace("}", ""))
    send_and_touch(site, *datasets.make_study("SECOND"))
    site.once()
    assert site.published("trial") == ["FIRST-FamilyFIRST-1"]
    assert [record["error"]["kind"] for record in site.records("deferred")] == ["RuleUnavailable"]
    with site.processor():
        path.write_text(good)
        site.wait_published("trial", 2)
        site.wait_states(done=2)


def test_an_unreachable_orthanc_leaves_markers_where_they_are(site: Site) -> None:
    site.rule("all")
    site.touch(NOWHERE)
    site.variables["ORTHANC_URL"] = "http://127.0.0.1:9"
    done = site.once(expect=75)
    assert "ORTHANC_URL" in done.stderr
    assert site.states() == {"incoming": 1}


def test_an_output_that_is_gone_makes_what_would_be_published_wait(site: Site) -> None:
    site.rule("all")
    send_and_touch(site, *datasets.make_study("FIRST"))
    site.once()
    site.output.rename(site.root / "unmounted")
    site.output.mkdir()
    send_and_touch(site, *datasets.make_study("SECOND"))
    site.once(expect=75)
    assert os.listdir(site.output) == []
    assert [(record["attempts"], record["error"]["kind"]) for record in site.records("deferred")] == [
        (0, "FolderMissing")
    ]
    site.output.rmdir()
    (site.root / "unmounted").rename(site.output)
    with site.processor():
        site.wait_published("all", 2)


def test_copies_are_left_out_where_a_rule_says_so(site: Site) -> None:
    site.rule("originals", Copies=False)
    site.rule("everything")
    study = send(site, *datasets.make_study())
    copy = site.orthanc.post(f"/studies/{study}/anonymize", {})["ID"]
    site.orthanc.wait_stable(f"/studies/{copy}")
    for one in (study, copy):
        site.touch(one)
    site.once()
    assert len(site.published("originals")) == 1
    assert len(site.published("everything")) == 2


def test_published_files_are_readable_for_the_group_and_nobody_else(site: Site) -> None:
    site.rule("all")
    site.variables |= {"UID": "1234", "GID": "1235"}
    send_and_touch(site, *datasets.make_study())
    site.once()
    for path in [site.output / "all", *(site.output / "all").rglob("*")]:
        status = path.stat()
        assert status.st_mode & 0o7777 == (0o750 if path.is_dir() else 0o640)
        if os.geteuid() == 0:
            assert (status.st_uid, status.st_gid) == (1234, 1235)


def test_no_patient_is_named_in_the_log(site: Site) -> None:
    site.rule("all")
    tags = {
        "PatientID": "CANARYID",
        "PatientName": "CANARYNAME^X",
        "PatientBirthDate": "19330303",
        "StudyID": "CANARYSTUDY",
    }
    send_and_touch(site, datasets.make_instance(**tags))
    done = site.once()
    assert site.published("all") == ["CANARYID-CANARYNAME-CANARYSTUDY"]
    assert "CANARY" not in done.stderr + done.stdout
    assert "19330303" not in done.stderr


def test_a_marker_put_on_hold_in_mid_export_is_not_published(site: Site) -> None:
    site.rule("all")
    study = send(site, *datasets.make_study(series=4, instances=40, size=256))
    with site.processor():
        marker = site.touch(study)
        wait_until(lambda: (site.spool / "processing" / marker.name).exists(), 20, "it is claimed")
        shutil.move(site.spool / "processing" / marker.name, site.spool / "hold")
        wait_until(lambda: "taken out of processing" in site.log_end(), 20, "the log says that it was taken")
    assert site.published("all") == []
    assert site.states() == {"hold": 1}
