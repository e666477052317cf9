"""What a rule's tag is: not only the word of the file that came first, nor only what Orthanc lists."""

import json

import pytest

from tests.helpers import datasets, dicom_net
from tests.helpers.orthanc_server import OrthancServer
from tests.helpers.proxy import Proxy
from tests.helpers.site import Site

DOSE_REPORT = "1.2.840.10008.5.1.4.1.1.88.67"
NO_IMAGE = dict.fromkeys(
    ("PixelData", "Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated", "BitsStored",
     "HighBit", "PixelRepresentation")
)  # fmt: skip


def dose_report(**keywords: str) -> bytes:
    words = {"StudyDescription": "Dose report", "SeriesDescription": "Dose report", "Modality": "SR"}
    return datasets.make_instance(series=9, SOPClassUID=DOSE_REPORT, **{**words, **keywords}, **NO_IMAGE)


def send(orthanc: OrthancServer, files: list[bytes], by: str = "REST") -> str:
    if by == "C-STORE":
        for data in files:
            dicom_net.store(orthanc.dicom_port, [data])
    else:
        orthanc.upload_all(files)
    (study,) = orthanc.get("/studies")
    orthanc.wait_stable(f"/studies/{study}")
    return str(study)


def tag(name: str, value: str) -> dict[str, str]:
    return {"TagName": name, "Value": value}


@pytest.mark.parametrize("by", ["REST", "C-STORE"])
@pytest.mark.parametrize("first", ["report", "image"])
def test_the_file_that_arrives_first_doesnt_decide(site: Site, orthanc: OrthancServer, first: str, by: str) -> None:
    site.rule("all", Tags=[tag("StudyDescription", "brain")])
    files = [dose_report(), datasets.make_instance()]
    study = send(orthanc, files if first == "report" else files[::-1], by)
    site.touch(study)
    site.once()
    assert len(site.published("all")) == 1
    (shown,) = [json.loads(line) for line in site.run("explain", "study", study, "--json").stdout.splitlines()]
    (told,) = shown["tags"]
    assert told["passed"] is True
    series = {one["MainDicomTags"]["SeriesNumber"]: one["ID"] for one in orthanc.get(f"/studies/{study}/series")}
    assert told["found_in_series"][told["found"].index("brain")] == (series["1"] if first == "report" else None)


@pytest.mark.parametrize(
    "keyword", ["PatientSex", "ReferringPhysicianName", "AccessionNumber", "RequestedProcedureDescription"]
)
def test_patient_and_study_tags_of_any_series_count(site: Site, orthanc: OrthancServer, keyword: str) -> None:
    site.rule("all", Tags=[tag(keyword, "F")])
    study = send(orthanc, [dose_report(**{keyword: "O"}), datasets.make_instance(**{keyword: "F"})])
    site.touch(study)
    site.once()
    assert len(site.published("all")) == 1


def test_a_series_is_not_judged_by_another_ones_word(site: Site, orthanc: OrthancServer) -> None:
    site.rule("all", CheckOn="Series", Tags=[tag("StudyDescription", "brain")])
    study = send(orthanc, [dose_report(), datasets.make_instance()])
    for series in orthanc.get(f"/studies/{study}/series"):
        site.touch(series["ID"], "series")
    site.once()
    (name,) = site.published("all")
    assert name.endswith("-SE1")


def test_no_more_is_asked_than_the_answer_needs(site: Site, orthanc: OrthancServer) -> None:
    study = send(orthanc, [dose_report(), datasets.make_instance()])
    site.rule("passes", Tags=[tag("StudyDescription", "report")])
    site.rule("fails-anyway", Tags=[tag("StudyDescription", "brain"), tag("Modality", "MR")])
    assert asked_tags(site, orthanc, study) == 0
    site.rule("asks", Tags=[tag("StudyDescription", "knee")])
    site.rule("asks-too", Tags=[tag("PatientID", "another")])
    assert asked_tags(site, orthanc, study) == 2


def asked_tags(site: Site, orthanc: OrthancServer, study: str) -> int:
    """How often an `explain` of all rules asks for the tags of an instance."""
    with Proxy(orthanc.http_port) as proxy:
        site.variables["ORTHANC_URL"] = proxy.url
        site.run("explain", "study", study)
        del site.variables["ORTHANC_URL"]
        return sum("/tags" in line or "/content/" in line for line in proxy.requests)


LONG = "x" * 300


@pytest.mark.parametrize(
    ("tag_name", "keywords"),
    [
        ("ImageComments", {"ImageComments": f"TRIAL-7 {LONG}"}),
        ("ImageComments", {"ImageComments": f"{LONG} Größe TRIAL-7", "SpecificCharacterSet": "ISO_IR 192"}),
        ("ImageComments", {"ImageComments": f"{LONG} Größe TRIAL-7", "SpecificCharacterSet": "ISO_IR 100"}),
        ("StudyDescription", {"StudyDescription": f"{LONG} TRIAL-7"}),
        ("SeriesDescription", {"SeriesDescription": f"{LONG} TRIAL-7"}),
        ("AdditionalPatientHistory", {"AdditionalPatientHistory": f"{LONG} TRIAL-7"}),
        ("ContrastBolusAgent", {"ContrastBolusAgent": f"{LONG}\\TRIAL-7"}),
        ("0008,4000", {"IdentifyingComments": f"TRIAL-7 {LONG}"}),
    ],
)
@pytest.mark.filterwarnings("ignore:.*value length:UserWarning", "ignore:.*exceeds the maximum:UserWarning")
def test_long_text_is_found(site: Site, orthanc: OrthancServer, tag_name: str, keywords: dict[str, str]) -> None:
    wanted = [tag(tag_name, "trial-7")] + ([tag(tag_name, "größe")] if "Größe" in str(keywords) else [])
    site.rule("all", Tags=wanted)
    site.rule("other", Tags=[tag(tag_name, "TRIAL-8")])
    study = send(orthanc, [datasets.make_instance(**keywords)])
    site.touch(study)
    site.once()
    assert len(site.published("all")) == 1
    assert site.published("other") == []
    assert "TRIAL-7" in site.run("explain", "study", study).stdout


def test_what_stands_in_no_file_is_counted(site: Site, orthanc: OrthancServer) -> None:
    study = send(orthanc, [dose_report(), *datasets.make_study(series=1, instances=3)])
    for name, keyword, value in (
        ("modalities", "ModalitiesInStudy", "SR"), ("other-modality", "ModalitiesInStudy", "PT"),
        ("instances", "NumberOfStudyRelatedInstances", "4"), ("series", "NumberOfStudyRelatedSeries", "2"),
        ("of-one-series", "NumberOfSeriesRelatedInstances", "3"), ("no-series", "NumberOfSeriesRelatedInstances", "4"),
    ):  # fmt: skip
        site.rule(name, Tags=[tag(keyword, value)])
    site.touch(study)
    site.once()
    found = {path.name for path in site.output.iterdir() if path.is_dir() and list(path.iterdir())}
    assert found == {"modalities", "instances", "series", "of-one-series"}
    replayed = site.run("replay", "instances", "--dry-run")
    assert "1 study matches" in replayed.stderr
