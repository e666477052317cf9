"""Which series leave, and which rule is asked at all, on a real Orthanc."""

import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

import pydicom
import pytest

from tests.helpers import datasets
from tests.helpers.conditions import arrived, dose_report, explained, publishing, requests, tag
from tests.helpers.destinations import add_modality, received
from tests.helpers.orthanc_server import OrthancServer
from tests.helpers.site import Site

T1 = [{"TagName": "Modality", "Equals": "CT"}, {"TagName": "SeriesDescription", "Matches": "t1$"}]
MATCHING: dict[str, Any] = {"SameSeries": True, "Series": "matching", "Tags": T1}


def two_series(orthanc: OrthancServer) -> str:
    return arrived(orthanc, [dose_report(), *datasets.make_study(series=2, instances=2)])


def test_only_matching_series_are_exported_in_every_form(site: Site, orthanc: OrthancServer) -> None:
    site.rule("folder", **MATCHING)
    site.rule("archive", Action="ZIP", **MATCHING)
    site.rule("anonymous", Action="ANONYMISE", **MATCHING)
    site.rule("whole", SameSeries=True, Tags=T1)
    study = two_series(orthanc)
    (told,) = [one for name, one in explained(site, "study", study).items() if name == "folder"]
    assert len(told["series"]) == 1
    assert (
        "would download 2 instances of 1 series, without 2 that don't match"
        in site.run("explain", "study", study).stdout
    )
    site.touch(study)
    site.once()
    for rule, files in (("folder", 2), ("anonymous", 2), ("whole", 5)):
        (name,) = site.published(rule)
        assert len(site.tree(rule, name)) == files
    (name,) = site.published("archive")
    with zipfile.ZipFile(site.output / "archive" / name) as archive:
        assert len(archive.namelist()) == 2
    # Done once, it is done.
    site.touch(study)
    (before,) = (site.output / "folder").iterdir()
    number = before.stat().st_ino
    replayed = site.run("replay", "folder", "--dry-run", "--json").stdout
    assert json.loads(replayed)["done"] is True
    assert before.stat().st_ino == number


def test_a_study_that_grows_is_forwarded_by_its_matching_series_alone(
    site: Site, orthanc: OrthancServer, fresh_orthanc: Callable[..., OrthancServer]
) -> None:
    archive = fresh_orthanc(lua=())
    add_modality(orthanc, "archive", archive.aet, archive.dicom_port)
    site.rule("sent", Action="FORWARD", DestinationModality="archive", **MATCHING)
    site.rule("hidden", Action=["FORWARD", "ANONYMISE"], DestinationModality="archive", **MATCHING)
    study = two_series(orthanc)
    site.touch(study)
    site.once()
    originals = {
        pydicom.dcmread(io.BytesIO(data)).SOPInstanceUID for data in datasets.make_study(series=1, instances=2)
    }
    # Twice two images: as they are, and anonymised; neither the dose report nor the second series.
    assert (len(received(archive)), originals < received(archive)) == (4, True)
    orthanc.upload_all([*datasets.make_study(series=2, instances=3)])
    orthanc.wait_stable(f"/studies/{study}")
    site.touch(study)
    site.once()
    assert len(received(archive)) == 6


def test_a_fallback_takes_what_no_other_rule_takes(site: Site, orthanc: OrthancServer) -> None:
    site.rule("brain", Tags=[tag("StudyDescription", "brain")])
    site.rule("rest", Fallback=True)
    study = arrived(orthanc, [datasets.make_instance()])
    told = explained(site, "study", study)["rest"]
    assert (told["matches"], told["reason"]) == (False, "a fallback, and the rule brain matches")
    assert "0 studies match" in site.run("replay", "rest", "--dry-run").stderr
    assert publishing(site, study) == ["brain"]
    site.rule("brain", Tags=[tag("StudyDescription", "knee")])
    assert publishing(site, study) == ["brain", "rest"]


def test_a_negated_condition_that_orthanc_s_tags_decide_costs_no_request(site: Site, orthanc: OrthancServer) -> None:
    study = arrived(orthanc, [dose_report(), datasets.make_instance()])
    site.rule("not-report", Tags=[{"TagName": "StudyDescription", "Value": "report", "Not": True}])
    site.rule("not-ct", Tags=[{"TagName": "Modality", "Equals": "CT", "Not": True}])
    site.rule(
        "not-brain", Tags=[{"TagName": "StudyDescription", "Equals": "brain", "Not": True}, tag("Modality", "MR")]
    )
    decided = ["/system", "/studies/ID", "/studies/ID/series"]
    assert requests(site, orthanc, study) == decided
    site.rule("thin", SameSeries=True, Tags=[T1[0], {"TagName": "SliceThickness", "AtMost": 0.5}])
    asked = requests(site, orthanc, study)
    # The CT alone is asked; the dose report can't be it.
    assert [path.rpartition("/")[2] for path in asked[3:]] == ["instances", "tags?short"]


@pytest.mark.parametrize(
    ("condition", "passes"),
    [
        ({"Equals": f"{'x' * 300} TRIAL-7"}, True),
        ({"Matches": "trial-[0-9]$"}, True),
        ({"AnyOf": ["trial-7", "trial-8"], "Not": True}, False),
        ({"Present": False}, False),
        ({"Equals": "x", "Not": True}, True),
    ],
)
def test_long_text_is_read_from_the_file_for_every_kind(
    site: Site, orthanc: OrthancServer, condition: dict[str, Any], passes: bool
) -> None:
    site.rule("all", Tags=[{"TagName": "ImageComments", **condition}])
    study = arrived(orthanc, [datasets.make_instance(ImageComments=f"{'x' * 300} TRIAL-7")])
    assert publishing(site, study) == (["all"] if passes else [])


def test_a_draft_is_tried_without_being_active_or_in_the_folder(site: Site, orthanc: OrthancServer) -> None:
    study = two_series(orthanc)
    draft = site.root / "draft.json"
    content = {"CheckOn": "Study", "IsActive": False, "Tags": [{"TagName": "SliceThickness", "AtMost": 1}]}
    draft.write_text(json.dumps(content))
    site.rule("other")
    (told,) = map(json.loads, site.run("explain", "study", study, "--rule", "draft.json", "--json").stdout.splitlines())
    assert (told["rule"], told["matches"], told["would_run"]) == ("draft", True, True)
    assert told["tags"][0]["wanted"] == {"AtMost": "1"}
    assert "1 study matches" in site.run("replay", "draft.json", "--dry-run").stderr
    assert "add --dry-run" in site.run("replay", "draft.json", expect=2).stderr
    draft.write_text("{")
    assert "draft.json:1" in site.run("explain", "study", study, "--rule", "draft.json", expect=None).stderr
    assert "can't be read" in site.run("explain", "study", study, "--rule", "none.json", expect=2).stderr


def test_files_are_asked_without_orthanc(site: Site) -> None:
    folder = site.root / "files"
    folder.mkdir()
    files = [dose_report(), *datasets.make_study(series=2, instances=2)]
    for number, data in enumerate(files):
        (folder / f"{number}.dcm").write_bytes(data)
    (folder / "notes.txt").write_text("no DICOM")
    site.rule("t1", **MATCHING)
    site.rule(
        "counted", Tags=[{"TagName": "NumberOfStudyRelatedInstances", "Equals": "5"}, tag("PatientName", "pat1^")]
    )
    site.rule(
        "brain", CheckOn="Series", Tags=[tag("StudyDescription", "brain"), {"TagName": "Modality", "Equals": "CT"}]
    )
    site.variables["ORTHANC_URL"] = "http://127.0.0.1:1"
    site.has_spool = False
    told = [json.loads(line) for line in site.run("explain", "file", "files", "--json").stdout.splitlines()]
    assert [(one["rule"], one["matches"]) for one in told] == [
        ("counted", True), ("t1", True), ("brain", False), ("brain", True), ("brain", True),
    ]  # fmt: skip
    assert [len(one["series"]) for one in told if one["rule"] == "t1"] == [1]
    assert not site.spool.exists()
    assert "t1: matches" in site.run("explain", "file", "files/1.dcm", "--rule", str(site.rules / "t1.json")).stdout
    site.rule("t1", Files="../x", Tags=[])
    (site.rules / "brain.json").write_text("{")
    told_of = site.run("explain", "file", "files")
    assert "counted: matches" in told_of.stdout
    assert "t1.json:1: Files: found" in told_of.stderr
    assert "brain: its file is broken, so it isn't tried:\nbrain.json:1: " in told_of.stderr
    assert "none of these is a DICOM file" in site.run("explain", "file", "files/notes.txt", expect=2).stderr
