"""`Name` on the whole road: folders, collisions, crashes, anonymised names."""

import io
import json
import re
import shutil
import zipfile
from collections import Counter
from typing import Any

import pytest

from autorthanc_spool.run import wiring
from autorthanc_spool.settings import load_settings
from tests.helpers import crash, datasets
from tests.helpers.canaries import assert_nothing_left, canary_study
from tests.helpers.conditions import dose_report
from tests.helpers.dying import TOO_MANY, clear, work
from tests.helpers.orthanc_server import OrthancServer
from tests.helpers.proxy import Proxy
from tests.helpers.site import Site, send, stored_files

BY_MONTH = "{StudyDate:%Y-%m}/{PatientID}-{PatientName}-{StudyDate}-{Modality}"
NAME = "2026-01/PAT1-FamilyPAT1-20260102-CT"
EVERYTHING = (
    "{PatientID}-{PatientName}-{PatientBirthDate}-{PatientSex}-{AccessionNumber}-{InstitutionName}/"
    "{Modality}-{ReferringPhysicianName}-{RequestedProcedureDescription}-{RequestingPhysician}/"
    "{PatientAge}-{PatientComments}-{OtherPatientIDs}-{IssuerOfPatientID}-{Occupation}/"
    "{StudyDate}-{StudyDescription}-{StudyID}-{StudyInstanceUID}-{StudyTime}"
)
OF_SERIES = (
    "/{BodyPartExamined}-{Manufacturer}-{ManufacturerModelName}-{SliceThickness}-{DeviceSerialNumber}-{OperatorsName}-{PerformedProcedureStepDescription}-{ProtocolName}/"
    "{SequenceName}-{SeriesDate}-{SeriesDescription}-{SeriesInstanceUID}-{SeriesNumber}-{SeriesTime}-{StationName}"
)


def publish(site: Site, *files: bytes) -> str:
    study = send(site, *files)
    site.touch(study)
    site.once()
    return study


def test_a_name_may_lie_in_folders(site: Site) -> None:
    site.rule("all", Name=BY_MONTH)
    study = publish(site, *datasets.make_study())
    assert site.published("all") == ["2026-01"]
    assert site.tree("all", NAME) == stored_files(site.orthanc, study)
    assert site.records("done")[0]["outcomes"]["all"]["path"] == f"all/{NAME}"
    assert (site.output / "all/2026-01").stat().st_mode & 0o777 == (site.output / "all").stat().st_mode & 0o777
    assert site.leftovers() == []


def test_an_archive_may_lie_in_folders_and_is_renamed_out_of_its_own(site: Site) -> None:
    site.rule("all", Name=BY_MONTH, Action="ZIP")
    study = publish(site, *datasets.make_study())
    with zipfile.ZipFile(site.output / "all" / f"{NAME}.zip") as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == stored_files(site.orthanc, study)
    assert [path.name for path in (site.output / "all/2026-01").iterdir()] == [f"{NAME.partition('/')[2]}.zip"]


def test_two_studies_of_one_name_are_told_apart_and_visits_by_their_dates(site: Site) -> None:
    site.rule("visits", Name="{PatientID}-{StudyID}-{StudyDate}")
    site.rule("meeting", Name="{StudyDate:%Y}/{PatientID}")
    publish(site, *datasets.make_study("A", "1", StudyInstanceUID="1.2.3", StudyDate="20260102"))
    second = publish(site, *datasets.make_study("A", "1", StudyInstanceUID="1.2.4", StudyDate="20260305"))
    assert site.published("visits") == ["A-1-20260102", "A-1-20260305"]
    assert sorted(path.name for path in (site.output / "meeting/2026").iterdir()) == ["A", f"A-{second[:8]}"]


def test_another_template_republishes_nothing_and_holds_from_the_next_arrival_on(site: Site) -> None:
    site.rule("all", Name="{PatientID}")
    study = publish(site, *datasets.make_study(series=1))
    site.rule("all", Name=BY_MONTH)
    (site.spool / "incoming" / f"study-{study}.json").write_text(
        json.dumps({"level": "study", "id": study, "source": "lua"})
    )
    site.once()
    assert site.published("all") == ["PAT1"]
    publish(site, *datasets.make_study(series=2))
    assert site.published("all") == ["2026-01"]
    assert site.tree("all", NAME) == stored_files(site.orthanc, study)


def test_nothing_is_published_into_what_was_published(site: Site) -> None:
    site.rule("all", Name="{StudyDate:%Y}")
    first = publish(site, *datasets.make_study("A"))
    site.rule("all", Name="{StudyDate:%Y}/{PatientID}")
    second = send(site, *datasets.make_study("B"))
    site.touch(second)
    site.once(expect=1)
    assert site.tree("all", "2026") == stored_files(site.orthanc, first)
    assert site.records("failed")[0]["outcomes"]["all"]["error"]["kind"] == "OutputConflict"


def test_what_is_a_folder_of_names_never_becomes_the_name_of_a_study(site: Site) -> None:
    site.rule("all", Name="{StudyDate:%Y}/{PatientID}")
    publish(site, *datasets.make_study("A"))
    shutil.rmtree(site.output / "all/2026")
    site.rule("all", Name="{StudyDate:%Y}")
    second = publish(site, *datasets.make_study("B"))
    assert site.published("all") == [f"2026-{second[:8]}"]


def names_of_requests(site: Site, orthanc: OrthancServer, study: str) -> list[str]:
    """What is asked of Orthanc to publish a study, without the IDs."""
    with Proxy(orthanc.http_port) as proxy:
        site.variables["ORTHANC_URL"] = proxy.url
        for folder in (site.spool, site.output):
            shutil.rmtree(folder, ignore_errors=True)
        site.touch(study)
        site.once()
        del site.variables["ORTHANC_URL"]
        return [re.sub("[0-9a-f-]{44}", "ID", line.split()[1]) for line in proxy.requests]


def test_a_name_of_what_orthanc_lists_costs_no_request_and_any_other_keyword_that_of_a_file(
    site: Site, orthanc: OrthancServer
) -> None:
    images = datasets.make_study(series=1, instances=2, PatientAge="056Y", PatientComments="x" * 300 + "y")
    study = send(site, dose_report(), *images)
    asked = []
    for name in (
        None,
        "{PatientID}-{Modality}",
        "{PatientAge}-{PatientID}",
        "{PatientAge}/{PatientComments}",
        "{PatientState}",
    ):
        site.rule("all", **({"Name": name} if name else {}))
        asked.append(Counter(names_of_requests(site, orthanc, study)))
        if name == "{PatientAge}-{PatientID}":
            assert site.published("all") == ["056Y-PAT1"]
    assert asked[1] == asked[0]
    tags, file = "/instances/ID/tags?short", "/instances/ID/attachments/dicom/data"
    # The dose report doesn't say it: where it is asked first, the image is, too.
    assert set(asked[2] - asked[0]) == {tags}
    assert (asked[2] - asked[0])[tags] in (1, 2)
    # Orthanc's list leaves long text out.
    assert (asked[3] - asked[2])[file] == 1
    # What no file says was asked of each series once.
    assert asked[4] - asked[0] == {tags: 2}
    assert site.published("all") == ["UNKNOWN"]


def test_what_the_conditions_read_isn_t_read_again_for_the_name(site: Site, orthanc: OrthancServer) -> None:
    study = send(site, *datasets.make_study(series=1, instances=2, PatientAge="056Y"))
    asked = []
    for name in ("{PatientID}", "{PatientAge}"):
        site.rule("all", Name=name, Tags=[{"TagName": "PatientAge", "AtLeast": 18}])
        asked.append(Counter(names_of_requests(site, orthanc, study)))
    assert asked[0] == asked[1]
    assert site.published("all") == ["056Y"]


def test_an_anonymised_name_is_made_of_the_first_file_that_isn_t_withheld(site: Site) -> None:
    site.rule(
        "trial", Action="ANONYMISE", Anonymise={"Keep": ["FullDates"]}, Name="{StudyDate:%Y-%m}/{Modality}-{StudyID}"
    )
    reports = [dose_report(instance=one) for one in range(1, 9)]
    publish(site, *reports, datasets.make_instance())
    (name,) = [str(path.relative_to(site.output / "trial")) for path in site.output.glob("trial/*/*")]
    assert name.startswith("2026-01/CT-")


def test_a_planted_link_is_not_followed(site: Site) -> None:
    site.rule("all", Name=BY_MONTH)
    (site.output / "all").mkdir(parents=True)
    elsewhere = site.root / "elsewhere"
    elsewhere.mkdir()
    (site.output / "all/2026-01").symlink_to(elsewhere)
    site.touch(send(site, *datasets.make_study()))
    site.once(expect=1)
    assert [*elsewhere.iterdir()] == []
    error = site.records("failed")[0]["outcomes"]["all"]["error"]
    assert (error["kind"], "symbolic link" in error["text"]) == ("OutputConflict", True)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("action", ["DOWNLOAD", "ZIP"])
def test_what_a_rule_names_and_selects_is_published_once_whenever_the_processor_dies(site: Site, action: str) -> None:
    t1 = [{"TagName": "SeriesDescription", "Equals": "axial t1"}]
    site.rule("all", Name=BY_MONTH, Files="{SeriesNumber}/{StationName}", Series="matching", Tags=t1, Action=action)
    # Two files that want the same name, and one of a series that isn't wanted.
    files = datasets.make_study(series=1, instances=2, StationName="S")
    study = send(site, *files, datasets.make_instance(series=2))
    expected: dict[str, bytes] = {}
    for step in crash.steps(TOO_MANY):
        clear(site)
        site.touch(study)
        died = crash.run_dying(step, work(site))
        crash.run_dying(TOO_MANY * 1000, work(site))
        found = published(site)
        expected = expected or found
        left = [*site.leftovers(), *site.output.rglob("*.WORKING*")]
        assert (found, site.states(), left) == (expected, {"done": 1}, []), step
        if not died:
            break
    else:
        raise AssertionError("it never comes to an end")
    assert step > 40
    assert sorted(expected.values()) == sorted(files)
    assert "2026-01/PAT1-FamilyPAT1-20260102-CT/1/S.dcm" in expected


def published(site: Site) -> dict[str, bytes]:
    """All files below the rule's output, those of archives too."""
    below = site.output / "all"
    found = {str(path.relative_to(below)): path.read_bytes() for path in below.rglob("*") if path.is_file()}
    for name in [name for name in found if name.endswith(".zip")]:
        with zipfile.ZipFile(io.BytesIO(found.pop(name))) as archive:
            found |= {f"{name.removesuffix('.zip')}/{one}": archive.read(one) for one in archive.namelist()}
    return found


def test_what_a_dead_run_left_in_a_folder_is_pruned(site: Site) -> None:
    site.rule("all", Name=BY_MONTH)
    study = send(site, *datasets.make_study())
    site.touch(study)
    settings = load_settings({}, {**site.environment, "AUTORTHANC_LOG_LEVEL": "error"}, site.root)
    step = 1
    while not [*site.output.glob("all/*/*.WORKING/*")]:
        for folder in (site.spool, site.output):
            shutil.rmtree(folder, ignore_errors=True)
        site.touch(study)
        assert crash.run_dying(step, lambda: wiring.run(settings, once=True))
        step += 1
    (site.output / "all/2026-01/foreign.WORKING").mkdir()
    done = site.run("prune")
    assert [path.name for path in site.output.glob("all/*/*")] == ["foreign.WORKING"]
    assert "1 with .WORKING in the name left alone" in done.stdout + done.stderr


@pytest.mark.parametrize("level", ["study", "series"])
@pytest.mark.parametrize("action", ["DOWNLOAD", "ZIP"])
def test_no_original_value_gets_into_an_anonymised_name(site: Site, level: str, action: str) -> None:
    template = EVERYTHING + (OF_SERIES if level == "series" else "")
    site.rule("trial", CheckOn=level, Action=[action, "ANONYMISE"], Name=template)
    more: dict[str, Any] = {
        "ReferringPhysicianName": "Cnryref^X",
        "RequestedProcedureDescription": "Cnryproc",
        "RequestingPhysician": "Cnryreq",
        "OperatorsName": "Cnryop",
        "PerformedProcedureStepDescription": "cnry step",
        "ProtocolName": "cnry protocol",
        "PatientComments": "cnry comments",
        "IssuerOfPatientID": "cnry issuer",
        "Occupation": "cnry occupation",
        "DeviceSerialNumber": "CNRY77",
    }
    files = canary_study(**more)
    study = send(site, *files)
    for one in [study] if level == "study" else site.orthanc.get("/series"):
        site.touch(one, level)
    done = site.once()
    assert_nothing_left(site, files, done.stdout, done.stderr)
    depth = template.count("/") + 1
    names = [path.relative_to(site.output / "trial") for path in (site.output / "trial").glob("*" + "/*" * (depth - 1))]
    assert len(names) == (1 if level == "study" else 2)
    record = site.records("done")[0]["outcomes"]["trial"]
    assert all(str(name).startswith(record["pseudonym"]) for name in names)


def test_an_anonymised_name_has_the_date_that_the_files_have(site: Site) -> None:
    site.rule("trial", Action="ANONYMISE", Anonymise={"Keep": ["FullDates"]}, Name="{StudyDate:%Y-%m}/{Modality}")
    publish(site, *canary_study())
    assert [str(path.relative_to(site.output / "trial")) for path in site.output.glob("trial/*/*")] == ["2026-01/CT"]


@pytest.mark.parametrize("action", ["DOWNLOAD", "ZIP"])
def test_what_lies_in_folders_is_announced_and_found(site: Site, action: str) -> None:
    site.rule("all", Name=BY_MONTH, Action=action)
    study = publish(site, *datasets.make_study())
    name = NAME + (".zip" if action == "ZIP" else "")
    inode = (site.output / "all" / name).stat().st_ino
    assert site.run("announce").stdout == f"all/{name}\n"
    assert (site.output / "all" / name).stat().st_ino == inode
    assert [path.name for path in (site.output / "all/2026-01").iterdir()] == [name.partition("/")[2]]
    for text in (f"all/{name}", str(site.output / "all" / name), f"all/{NAME}/SE1"):
        found = [json.loads(line) for line in site.run("find", text, "--json").stdout.splitlines()]
        assert [one["id"] for one in found if one["level"] == "study"] == [study], text
