"""What a condition asks, on a real Orthanc: every file that says it, not only the first, and text of any length."""

import io
import json
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from tests.helpers import datasets, dicom_net
from tests.helpers.orthanc_server import OrthancServer
from tests.helpers.proxy import Proxy
from tests.helpers.site import Site

DOSE_REPORT = "1.2.840.10008.5.1.4.1.1.88.67"
PIXELS = (
    "PixelData", "Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated", "BitsStored",
    "HighBit", "PixelRepresentation",
)  # fmt: skip
LONG = "x" * 300


def dose_report(**keywords: Any) -> bytes:
    words = {"SOPClassUID": DOSE_REPORT, "Modality": "SR", "StudyDescription": "Dose report"}
    return datasets.make_instance(series=9, **{**words, **dict.fromkeys(PIXELS), **keywords})


def tag(name: str, value: str) -> dict[str, str]:
    return {"TagName": name, "Value": value}


def arrived(orthanc: OrthancServer, files: list[bytes], by: str = "REST") -> str:
    """Have files arrive in this order; give the ID of their study, stable."""
    if by == "C-STORE":
        for data in files:
            dicom_net.store(orthanc.dicom_port, [data])
    else:
        orthanc.upload_all(files)
    (study,) = orthanc.get("/studies")
    orthanc.wait_stable(f"/studies/{study}")
    return str(study)


def publishing(site: Site, resource_id: str, level: str = "study") -> list[str]:
    """The names of the rules that published something."""
    site.touch(resource_id, level)
    site.once()
    return sorted(path.name for path in site.output.iterdir() if path.is_dir() and list(path.iterdir()))


def explained(site: Site, level: str, resource_id: str) -> dict[str, Any]:
    lines = site.run("explain", level, resource_id, "--json").stdout.splitlines()
    return {one["rule"]: one for one in map(json.loads, lines)}


def requests(site: Site, orthanc: OrthancServer, resource_id: str, level: str = "study") -> list[str]:
    """What is asked of Orthanc to judge a resource, without the IDs."""
    with Proxy(orthanc.http_port) as proxy:
        site.variables["ORTHANC_URL"] = proxy.url
        site.run("explain", level, resource_id)
        del site.variables["ORTHANC_URL"]
        return [line.split()[1].replace(resource_id, "ID") for line in proxy.requests]


@pytest.mark.parametrize("by", ["REST", "C-STORE"])
@pytest.mark.parametrize("order", [1, -1], ids=["report first", "image first"])
def test_a_study_matches_in_any_order_of_arrival(site: Site, orthanc: OrthancServer, order: int, by: str) -> None:
    site.rule("brain", Tags=[tag("StudyDescription", "brain")])
    site.rule("dose", Tags=[tag("StudyDescription", "dose")])
    site.rule("knee", Tags=[tag("StudyDescription", "knee")])
    study = arrived(orthanc, [dose_report(), datasets.make_instance()][::order], by)
    assert publishing(site, study) == ["brain", "dose"]
    series = {one["MainDicomTags"]["Modality"]: one["ID"] for one in orthanc.get(f"/studies/{study}/series")}
    rule, value, place = ("brain", "brain", series["CT"]) if order == 1 else ("dose", "Dose report", series["SR"])
    (told,) = explained(site, "study", study)[rule]["tags"]
    assert dict(zip(told["found"], told["found_in_series"], strict=True))[value] == place
    assert f"'{value}' in series {place}" in site.run("explain", "study", study).stdout


@pytest.mark.parametrize(
    "keyword", ["PatientSex", "AccessionNumber", "ReferringPhysicianName", "RequestedProcedureDescription"]
)
def test_any_tag_of_patient_and_study_counts_if_a_series_has_it(
    site: Site, orthanc: OrthancServer, keyword: str
) -> None:
    files = [dose_report(**{keyword: "O"}), datasets.make_instance(**{keyword: "F"})]
    site.rule("all", Tags=[tag(keyword, "F"), tag("PatientID", "PAT1")])
    assert publishing(site, arrived(orthanc, files)) == ["all"]


def test_a_series_is_judged_by_its_own_file_too(site: Site, orthanc: OrthancServer) -> None:
    site.rule("brain", CheckOn="Series", Tags=[tag("StudyDescription", "brain"), tag("Modality", "CT")])
    site.rule("no", CheckOn="Series", Tags=[tag("StudyDescription", "brain"), tag("Modality", "SR")])
    study = arrived(orthanc, [dose_report(), datasets.make_instance()])
    for series in orthanc.get(f"/studies/{study}/series"):
        site.touch(series["ID"], "series")
    site.once()
    assert (len(site.published("brain")), site.published("no")) == (1, [])


def test_what_orthanc_s_tags_decide_costs_no_request(site: Site, orthanc: OrthancServer) -> None:
    study = arrived(orthanc, [dose_report(), datasets.make_instance()])
    site.rule("fails", Tags=[tag("Modality", "MR")])
    site.rule("fails-anyway", Tags=[tag("StudyDescription", "brain"), tag("Modality", "MR")])
    site.rule("hidden-anyway", Tags=[tag("ImageComments", "x"), tag("ModalitiesInStudy", "PT")])
    site.rule("not-for-studies", CheckOn="Series", Tags=[tag("StudyDescription", "brain")])
    decided = ["/system", "/studies/ID", "/studies/ID/series"]
    assert requests(site, orthanc, study) == decided
    site.rule("passes", Tags=[tag("StudyDescription", "report")])
    assert requests(site, orthanc, study) == [*decided, "/studies/ID/instances"]


def test_what_several_rules_need_is_read_once(site: Site, orthanc: OrthancServer) -> None:
    comments = {"ImageComments": f"{LONG} TRIAL-7"}
    study = arrived(orthanc, [dose_report(), datasets.make_instance(**comments)])
    for number, wanted in enumerate(("brain", "knee", "hip")):
        site.rule(f"study{number}", Tags=[tag("StudyDescription", wanted)])
        site.rule(f"comments{number}", Tags=[tag("ImageComments", wanted)])
    asked = requests(site, orthanc, study)
    # The tags of the first image of each of two series, and the one file that has a long text.
    assert [path.rpartition("/")[2] for path in asked[4:]] == ["tags?short", "tags?short", "data"]
    assert len(asked) == 7


def with_elements(data: bytes, syntax: str, **elements: tuple[int, str, Any]) -> bytes:
    """Add elements, and write the file in a transfer syntax."""
    dataset = pydicom.dcmread(io.BytesIO(data))
    for number, vr, value in elements.values():
        dataset.add_new(number, vr, value)
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
    buffer = io.BytesIO()
    endian, implicit = syntax != ExplicitVRBigEndian, syntax == ImplicitVRLittleEndian
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True, little_endian=endian, implicit_vr=implicit)
    return buffer.getvalue()


PRIVATE = {
    "creator": (0x00190010, "LO", "ACME 1.0"),
    "long": (0x00191001, "UT", f"{LONG} TRIAL-7"),
    "short": (0x00191002, "LO", "TRIAL-8"),
    "bytes": (0x00191003, "OB", b"TRIAL-9 "),
    "numbers": (0x00191004, "FD", [1.5, *range(100)]),
}


@pytest.mark.parametrize(
    ("tag_name", "value", "keywords"),
    [
        ("ImageComments", "trial-7", {"ImageComments": f"TRIAL-7 {LONG}"}),
        ("ImageComments", "größe", {"ImageComments": f"{LONG} Größe", "SpecificCharacterSet": "ISO_IR 192"}),
        ("ImageComments", "größe", {"ImageComments": f"{LONG} Größe", "SpecificCharacterSet": "ISO_IR 100"}),
        ("ImageComments", "山田", {"ImageComments": f"{LONG} 山田", "SpecificCharacterSet": "\\ISO 2022 IR 87"}),
        ("StudyDescription", "TRIAL-7", {"StudyDescription": f"{LONG} TRIAL-7"}),
        ("SeriesDescription", "TRIAL-7", {"SeriesDescription": f"{LONG} TRIAL-7"}),
        ("PatientComments", "TRIAL-7", {"PatientComments": f"{LONG} TRIAL-7"}),
        ("TextValue", "TRIAL-7", {"TextValue": f"{LONG} TRIAL-7"}),
        ("LongCodeValue", "TRIAL-7", {"LongCodeValue": f"{LONG} TRIAL-7"}),
        ("ContrastBolusAgent", "x\\TRIAL-7", {"ContrastBolusAgent": [LONG, "TRIAL-7"]}),
        ("GridFrameOffsetVector", "98.5\\99.5", {"GridFrameOffsetVector": [f"{n}.5" for n in range(100)]}),
        ("ReferencedFrameNumber", "98\\99", {"ReferencedFrameNumber": list(range(100))}),
        ("PixelIntensityRelationshipSign", "-1", {"PixelIntensityRelationshipSign": -1}),
    ],
)
@pytest.mark.filterwarnings("ignore:.*value length:UserWarning", "ignore:.*exceeds the maximum:UserWarning")
def test_text_of_any_length_is_found(
    site: Site, orthanc: OrthancServer, tag_name: str, value: str, keywords: dict[str, Any]
) -> None:
    site.rule("all", Tags=[tag(tag_name, value)])
    site.rule("any", Tags=[tag(tag_name, "")])
    site.rule("other", Tags=[tag(tag_name, "TRIAL-8")])
    study = arrived(orthanc, [datasets.make_instance(**keywords)])
    assert publishing(site, study) == ["all", "any"]
    (told,) = explained(site, "study", study)["all"]["tags"]
    assert value.casefold() in "".join(told["found"]).casefold()


@pytest.mark.parametrize(
    "syntax", ["1.2.840.10008.1.2.1", ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
)
def test_private_text_is_found_in_every_transfer_syntax(site: Site, orthanc: OrthancServer, syntax: str) -> None:
    site.rule("long", Tags=[tag("0019,1001", "trial-7")])
    site.rule("short", Tags=[tag("0019,1002", "trial-8")])
    site.rule("public", Tags=[tag("ImageComments", "trial-7"), tag("ReferencedFrameNumber", "98\\99")])
    if syntax != ImplicitVRLittleEndian:
        # There, nothing tells that they are numbers.
        site.rule("numbers", Tags=[tag("0019,1004", "1.5")])
    data = datasets.make_instance(ImageComments=f"{LONG} TRIAL-7", ReferencedFrameNumber=list(range(100)))
    study = arrived(orthanc, [with_elements(data, syntax, **PRIVATE)])
    assert publishing(site, study) == sorted(path.stem for path in site.rules.glob("*.json"))


def test_binary_values_stay_out_of_reach(site: Site, orthanc: OrthancServer) -> None:
    site.rule("bytes", Tags=[tag("0019,1003", "")])
    site.rule("all", Tags=[])
    data = with_elements(datasets.make_instance(), "1.2.840.10008.1.2.1", **PRIVATE)
    assert publishing(site, arrived(orthanc, [data])) == ["all"]


def test_a_stored_file_that_cannot_be_read_for_its_text_is_tried_again(site: Site, orthanc: OrthancServer) -> None:
    site.rule("all", Tags=[tag("ImageComments", "TRIAL-7")])
    study = arrived(orthanc, [datasets.make_instance(ImageComments=f"{LONG} TRIAL-7")])
    (instance,) = orthanc.get(f"/studies/{study}/instances")
    path: Path = orthanc.stored_file(instance["ID"])
    data = path.read_bytes()
    path.unlink()
    orthanc.restart()
    assert publishing(site, study) == []
    (record,) = site.records("deferred")
    assert instance["ID"] in record["error"]["text"]
    path.write_bytes(data)


def test_what_stands_in_no_file_is_computed(site: Site, orthanc: OrthancServer) -> None:
    for name, keyword, value in (
        ("a", "ModalitiesInStudy", "CT"), ("b", "NumberOfStudyRelatedInstances", "4"),
        ("c", "NumberOfStudyRelatedSeries", "2"), ("d", "NumberOfSeriesRelatedInstances", "3"),
        ("e", "SOPClassesInStudy", DOSE_REPORT), ("x1", "ModalitiesInStudy", "PT"),
        ("x2", "NumberOfStudyRelatedInstances", "5"), ("x3", "NumberOfSeriesRelatedInstances", "4"),
    ):  # fmt: skip
        site.rule(name, Tags=[tag(keyword, value)])
        site.rule(f"{name}-series", CheckOn="Series", Tags=[tag(keyword, value)])
    study = arrived(orthanc, [dose_report(), *datasets.make_study(series=1, instances=3)])
    assert [name for name in publishing(site, study) if "-series" not in name] == ["a", "b", "c", "d", "e"]
    for series in orthanc.get(f"/studies/{study}/series"):
        site.touch(series["ID"], "series")
    site.once()
    assert [len(site.published(f"{name}-series")) for name in "abcde"] == [2, 2, 2, 1, 1]
    assert "1 study matches" in site.run("replay", "b", "--dry-run").stderr


def test_listed_counts_cost_no_request(site: Site, orthanc: OrthancServer) -> None:
    study = arrived(orthanc, datasets.make_study(series=2, instances=2))
    site.rule("no", Tags=[tag("NumberOfStudyRelatedInstances", "5")])
    site.rule("none", Tags=[tag("ModalitiesInStudy", "PT")])
    assert requests(site, orthanc, study) == ["/system", "/studies/ID", "/studies/ID/series"]


def test_check_warns_of_what_never_matches_and_says_ok(site: Site, orthanc: OrthancServer) -> None:
    site.rule("mri", Tags=[tag("StudyDescription", "brain"), tag("Modality", "MRI")])
    site.rule("brain", Tags=[tag("StudyDescription", "brain"), tag("ModalitiesInStudy", "MR")])
    site.rule("away", Action="FORWARD", DestinationModality=["PACS", "KNOWN", "OTHER"])
    site.variables["ORTHANC_DICOM_MODALITIES"] = '{"KNOWN": ["A", "127.0.0.1", 104]}'
    orthanc.put("/modalities/OTHER", ["OTHER", "127.0.0.1", 104])
    try:
        told = site.run("check").stdout.splitlines()
        assert [line.split(":")[0] for line in told if ": ok" in line] == ["away.json", "brain.json", "mri.json"]
        warned = [line for line in told if ": warning: " in line]
        assert [line.split(" found ")[0] for line in warned] == [
            "away.json:1: warning: DestinationModality[0]:",
            "mri.json:1: warning: Tags[1].Value:",
        ]
        assert 'did you mean "MR"?' in warned[1]
        assert site.run("check", str(site.rules / "mri.json")).stdout.splitlines()[1] == warned[1]
    finally:
        orthanc.delete("/modalities/OTHER")
    # Where Orthanc doesn't answer, the settings alone say what there is.
    site.variables["ORTHANC_URL"] = "http://127.0.0.1:1"
    alone = [line for line in site.run("check", str(site.rules / "away.json")).stdout.splitlines() if "warning" in line]
    assert [line.split(" ")[2] for line in alone] == ["DestinationModality[0]:", "DestinationModality[2]:"]
