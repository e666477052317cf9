"""What a condition asks, on a real Orthanc: every file that says it, not only the first, and text of any length."""

import io
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from tests.helpers import datasets
from tests.helpers.conditions import DOSE_REPORT, arrived, dose_report, explained, publishing, requests, tag
from tests.helpers.orthanc_server import OrthancServer
from tests.helpers.site import Site

LONG = "x" * 300


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
        # There, nothing says that they are numbers.
        site.rule("numbers", Tags=[tag("0019,1004", "1.5")])
    data = datasets.make_instance(ImageComments=f"{LONG} TRIAL-7", ReferencedFrameNumber=list(range(100)))
    study = arrived(orthanc, [with_elements(data, syntax, **PRIVATE)])
    assert publishing(site, study) == sorted(path.stem for path in site.rules.glob("*.json"))


# Tag, value in the file, what equals it, and what doesn't.
MEANINGS: list[tuple[str, Any, list[str], list[str]]] = [
    ("SliceThickness", "1.50 ", ["1.5", "1.50", "15e-1"], ["1.51", "15"]),
    ("SeriesNumber", "007", ["7", "+7", "7.0"], ["70", "0"]),
    ("Rows", 16, ["16", "16.0", "1.6e1"], ["160", "6"]),
    ("PixelIntensityRelationshipSign", -1, ["-1", "-1.0"], ["1"]),
    ("DiffusionBValue", 0.1, ["0.1", ".10"], ["0.10000001"]),
    ("RecommendedDisplayFrameRateInFloat", 12.1, ["12.1", "12.10"], ["12.2"]),
    ("ExposureTimeInms", 2.5, ["2.50"], ["2.05"]),
    ("DetectorActiveDimensions", ["0.5", "0.60"], ["0.6", "0.50", "0.5\\0.6"], ["0.6\\0.5"]),
    ("BeatRejectionFlag", "Y", ["y"], ["N"]),
    ("AcquisitionDate", "20260102", ["2026-01-02", "20260102", "2026.01.02"], ["2026-01-03"]),
    ("AcquisitionTime", "0930", ["09:30", "093000", "09:30:00.000", "0930"], ["09:31", "09"]),
    ("AcquisitionDateTime", "20260102093000", ["202601020930"], ["20260102"]),
    (
        "OperatorsName",
        ["Doe^Jane=山田^太郎", "Roe^R"],
        ["doe^jane", "山田^太郎", "roe^r^^", "Doe^Jane=山田^太郎"],
        ["Doe"],
    ),
    ("ContrastBolusAgent", "Größe", ["GRO\u0308SSE", "größe", "Grösse"], ["Grosse"]),
    ("ImageType", ["ORIGINAL", "PRIMARY"], ["primary", "original\\primary"], ["primary\\original", "prim"]),
    ("PatientAge", "018Y", ["018Y", "018y"], ["18"]),
    ("FrameOfReferenceUID", "1.2.3", ["1.2.3"], ["1.2"]),
    ("EchoNumbers", ["1", "02"], ["1", "2", "1\\2"], ["12"]),
]


def test_values_equal_by_what_they_mean_as_orthanc_writes_them(site: Site, orthanc: OrthancServer) -> None:
    values = {tag_name: value for tag_name, value, _, _ in MEANINGS}
    study = arrived(orthanc, [datasets.make_instance(SpecificCharacterSet="ISO_IR 192", **values)])
    expected = {}
    for tag_name, _, equal, unequal in MEANINGS:
        for at, wanted in enumerate([*equal, *unequal]):
            site.rule(f"{tag_name}-{at}", Tags=[{"TagName": tag_name, "Equals": wanted}])
            expected[f"{tag_name}-{at}"] = at < len(equal)
    assert {name: one["matches"] for name, one in explained(site, "study", study).items()} == expected


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


def test_what_is_in_no_file_is_computed(site: Site, orthanc: OrthancServer) -> None:
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
