"""`Files`: where each file of a publication lies."""

import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autorthanc_spool.actions import WORDS
from autorthanc_spool.core import naming
from autorthanc_spool.core.places import Places
from autorthanc_spool.core.template import Template
from autorthanc_spool.rules import Rule, RuleError, hopeless, parse_rule

SERIES, NUMBER, DESCRIPTION, UID = "0020,0011", "0020,0013", "0008,103e", "0008,0018"


def rule(files: Any, **keys: Any) -> Rule:
    content = {"CheckOn": "Study", "Tags": [], "Files": files, **keys}
    return parse_rule("r", json.dumps(content).encode(), WORDS)


def template(files: str) -> Template:
    found = rule(files).files
    assert found
    return found


def placed(files: str, *instances: tuple[str, dict[str, str]]) -> list[str]:
    """The paths of files, each of a series, with its values."""
    places = Places(template(files))
    return [places.place(f"i{at}", series, texts) for at, (series, texts) in enumerate(instances)]


@pytest.mark.parametrize(
    ("files", "path"),
    [
        ("{SeriesNumber}-{SeriesDescription}/{InstanceNumber}", "3-t1/17.dcm"),
        ("{SeriesNumber}-{InstanceNumber}", "3-17.dcm"),
        ("{AcquisitionDate:%Y-%m}/{ImageType}", "2026-03/ORIGINAL_PRIMARY.dcm"),
        ("{Rows}x{Rows}/{SliceThickness}", "512x512/1.50.dcm"),
        ("{PatientName}/{SOPInstanceUID}", "สมศักดิ์/1.2.3.dcm"),
        ("{PatientID}/{SeriesDate}/{StationName}", "NOPID/UNKNOWN/UNKNOWN.dcm"),
        ("{InstanceNumber}.dcm", "17.dcm"),
        ("{InstanceNumber}.DCM", "17.dcm"),
        (".dcm", "_dcm.dcm"),
        ("{InstanceNumber}.zip", "17_zip.dcm"),
        ("x.WORKING/{InstanceNumber}", "x_WORKING/17.dcm"),
    ],
)
def test_a_template_names_each_file(files: str, path: str) -> None:
    texts = {SERIES: "3", NUMBER: "17", DESCRIPTION: "t1", UID: "1.2.3", "0008,0022": "20260309", "0028,0010": "512"}
    texts |= {"0008,0008": "ORIGINAL\\PRIMARY", "0018,0050": "1.50", "0010,0010": "สมศักดิ์^X"}
    assert placed(files, ("a", texts)) == [path]


def test_files_that_meet_are_told_apart_by_their_own_uid_in_any_letter_case() -> None:
    first, second, third = placed(
        "{SeriesDescription}/{StationName}",
        ("a", {DESCRIPTION: "T1", "0008,1010": "Scan", UID: "1"}),
        ("b", {DESCRIPTION: "t1", "0008,1010": "SCAN", UID: "2"}),
        ("b", {DESCRIPTION: "t1", "0008,1010": "ſcan", UID: "2"}),
    )
    assert (first, second[:8], third[:8]) == ("T1/Scan.dcm", "T1/SCAN-", "T1/ſcan-")
    assert len({one.casefold() for one in (first, second, third)}) == 3
    # The digits are those of the UID, wherever and whenever it is exported.
    assert second == "T1/" + naming.told_apart("SCAN", "d4735e3a") + ".dcm"


def test_a_folder_that_names_its_series_is_of_one_series() -> None:
    texts = {SERIES: "1", DESCRIPTION: "t1"}
    paths = placed(
        "{SeriesNumber}-{SeriesDescription}/{InstanceNumber}",
        ("a", texts | {NUMBER: "1", "0020,000e": "1.1"}),
        ("b", texts | {NUMBER: "1", "0020,000e": "1.2"}),
        ("a", texts | {NUMBER: "2", "0020,000e": "1.1"}),
        ("b", texts | {NUMBER: "2", "0020,000e": "1.2"}),
    )
    other = paths[1].partition("/")[0]
    assert other.startswith("1-t1-")
    assert paths == ["1-t1/1.dcm", f"{other}/1.dcm", "1-t1/2.dcm", f"{other}/2.dcm"]


def test_a_folder_that_names_no_series_is_shared() -> None:
    texts = {"0008,0060": "CT", SERIES: "1"}
    paths = placed("{Modality}/{SeriesNumber}", ("a", texts | {UID: "1"}), ("b", texts | {UID: "2"}))
    assert [one[:4] for one in paths] == ["CT/1", "CT/1"]
    assert len(set(paths)) == 2


hostile = st.text(max_size=250) | st.sampled_from(
    ["..", "/", "", "x" * 199, "X" * 199, "a.dcm", "A.DCM", ".WORKING", "MIResearch-", "ß", "SS", "e\u0301", "é", "\0"]
)


@given(st.lists(st.tuples(st.sampled_from("ab"), hostile, hostile, hostile), max_size=8))
def test_no_values_make_a_harmful_path_or_two_of_one(values: Iterable[tuple[str, str, str, str]]) -> None:
    for files in ("{SeriesDescription}/{InstanceNumber}", "{SeriesNumber}/{SeriesDescription}{InstanceNumber}"):
        instances = [
            (series, {SERIES: one, DESCRIPTION: two, NUMBER: uid, UID: uid}) for series, one, two, uid in values
        ]
        paths = placed(files, *instances)
        assert paths == placed(files, *instances)
        assert len({one.casefold() for one in paths}) == len(paths)
        for folder, name in (one.split("/") for one in paths):
            assert name.endswith(".dcm")
            for part in (folder, name.removesuffix(".dcm")):
                assert part
                assert part[0] not in ".-"
                assert part[-1] != "."
                assert len(part.encode()) <= naming.MAX_NAME_BYTES
                assert ".working" not in part.lower()


def test_another_template_changes_no_digest_so_nothing_is_published_again_for_it() -> None:
    assert rule("{InstanceNumber}").fields_digest() == rule("{SOPInstanceUID}").fields_digest()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ("", 'Files: found "", expected names that can\'t be empty, nor . or ..: "{SeriesNumber}-{SeriesDescription}/'),
        ("{SeriesNumber}/", "can't be empty"),
        ("{SeriesNumber}//{InstanceNumber}", "can't be empty"),
        ("../{InstanceNumber}", "nor . or .."),
        ("{SeriesNumber}/ . /{InstanceNumber}", "nor . or .."),
        ("/{InstanceNumber}", "leave the first slash out"),
        (
            "{InstanceNumbr}",
            'found "InstanceNumbr", expected an attribute that a name may have; did you',
        ),
        ("{InstanceNumbr}", 'did you mean "InstanceNumber"?'),
        ("{0019,10e2}", 'found "0019,10e2", expected an attribute'),
        ("{0020,0013}", 'found "0020,0013", expected an attribute'),
        ("{PixelData}", 'found "PixelData", a binary value'),
        ("{ReferencedImageSequence}", "a sequence"),
        ("{TransferSyntaxUID}", "which Orthanc doesn't list"),
        ("{NumberOfStudyRelatedInstances}", "which no file has"),
        ("{ModalitiesInStudy}", "{Modality} has the modalities of a study"),
        ("{QueryRetrieveLevel}", "which no file has"),
        ("{InstanceNumber", 'found "{" alone'),
        ("{}", 'found ""'),
        ("{ContentDate:%H}", 'found "%H", expected a format for dates'),
        ("{ContentTime:%Y}", "without a format, which only dates have"),
        ("a/b/c/d/e/f/g/h/{InstanceNumber}", "found 9 names with slashes between them, expected 8 at most"),
        (["{InstanceNumber}"], "found a list, expected text in quotes"),
    ],
    ids=str,
)
def test_a_mistake_is_named_with_line_and_what_is_expected(files: Any, message: str) -> None:
    with pytest.raises(RuleError) as caught:
        rule(files)
    assert message in str(caught.value)
    assert str(caught.value).startswith("r.json:1: Files: ")


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        (
            {"Files": "{SeriesNumber}/{PatientID}"},
            ["Files: found nothing of a single image, expected {InstanceNumber}"],
        ),
        ({"Files": "x"}, ["Files: found nothing of a single image"]),
        ({"Files": "{SeriesNumber}/{InstanceNumber}", "Name": "{PatientID}"}, []),
        ({"Files": "{AcquisitionTime}"}, []),
        (
            {"Files": "{InstanceNumber}", "Name": "x", "Action": "FORWARD", "DestinationModality": "A"},
            ["Name: found a rule that only sends (FORWARD), expected DOWNLOAD or ZIP", "Files: found a rule that only"],
        ),
    ],
    ids=str,
)
def test_check_warns_of_what_has_no_effect_or_leaves_names_to_chance(keys: dict[str, str], told: list[str]) -> None:
    content = json.dumps({"CheckOn": "Study", "IsActive": True, "Tags": [], **keys}, indent=1).encode()
    found = [str(one) for one in hopeless.warnings(parse_rule("r", content, WORDS), content)]
    assert [one[: len(text)] for one, text in zip(sorted(found, reverse=True), told, strict=True)] == told
