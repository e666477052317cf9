"""Conditions that no valid file can pass are warned of, with place and cure; those that can are not."""

import json
import unicodedata
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.sr.codedict import Collection

from autorthanc_spool.actions import WORDS
from autorthanc_spool.core.dicom import Level, Resource, Series
from autorthanc_spool.rules import Facts, Problem, hopeless, judge, parse_rule, terms


def warnings(*conditions: tuple[str, str], known: frozenset[str] | None = None, **fields: Any) -> tuple[Problem, ...]:
    tags = [{"TagName": name, "Value": value} for name, value in conditions]
    content = {"CheckOn": "Study", "IsActive": True, "Tags": tags} | fields
    data = json.dumps(content, indent=1).encode()
    return hopeless.warnings(parse_rule("brain", data, WORDS), data, known)


@pytest.mark.parametrize(
    ("tag_name", "value", "told"),
    [
        ("Modality", "MRI", 'what is not a modality, expected a defined term of DICOM, as MR; did you mean "MR"?'),
        ("Modality", "pet", 'did you mean "PT"?'),
        ("Modality", "X-Ray", 'did you mean "DX"?'),
        ("Modality", "RTSTRUC T", 'did you mean "RTSTRUCT"?'),
        ("0008,0060", "MRI", "Tags[0].Value: found what is not a modality"),
        ("Modality", "CT\\MR", "what is not a modality"),
        ("ModalitiesInStudy", "CT\\MRI", 'did you mean "MR"?'),
        ("SeriesDescription", "t1*axial", '"*" stands for itself'),
        ("SeriesDescription", "t?", '"?" stands for itself'),
        ("SeriesDescription", "t1|t2", "write one rule for each value"),
        ("SequenceName", "*tfl?", '"?" stands for itself'),
        ("PatientSex", "Female", 'expected "M", "F" or "O"'),
        ("PatientSex", "U", 'expected "M", "F" or "O"'),
        ("Laterality", "left", 'expected "R" or "L"'),
        ("BurnedInAnnotation", "true", 'expected "YES" or "NO"'),
        ("StudyDate", "2026-01-02", 'write "20260102"'),
        ("StudyDate", "02/01/2026", 'write "20260102"'),
        ("PatientBirthDate", "2 Jan 1970", "YYYYMMDD"),
        ("AcquisitionDateTime", "2026-01-02", "YYYYMMDDHHMMSS"),
        ("StudyTime", "09:30", 'write "093000"'),
        ("NumberOfPatientRelatedStudies", "1", "Tags[0].TagName: found one that is only asked for in queries"),
        ("QueryRetrieveLevel", "STUDY", "only asked for in queries"),
        ("StudyDescription", "brain ", "blanks at its ends"),
        ("StudyDescription", " brain", "they count: remove them"),
        ("StudyDescription", "  ", "blanks at its ends"),
        ("SliceThickness", "5 mm", "without a unit"),
        ("SliceThickness", "0,5", "a decimal point"),
        ("SeriesNumber", "three", "a whole number"),
        ("NumberOfStudyRelatedInstances", ">10", "a whole number"),
        ("Rows", "512px", "a whole number"),
        ("PatientAge", "45 years", 'write "045Y"'),
        ("PatientName", "Doe, Jane", "write ^ in place of the comma"),
        ("SOPClassUID", "CT Image Storage", "digits and dots"),
        ("BodyPartExamined", "A" * 17, "more than 16 characters"),
        ("StudyDescription", "A" * 65, "more than 64 characters"),
        ("ImageType", f"ORIGINAL\\{'A' * 17}", "more than 16 characters"),
        ("StudyDate", "20260102-20260109", "YYYYMMDD"),
    ],
)
def test_a_hopeless_condition_is_reported_with_its_place_and_what_to_write(
    tag_name: str, value: str, told: str
) -> None:
    (found,) = warnings((tag_name, value))
    assert told in str(found)
    assert found.line == (6 if found.field == "Tags[0].TagName" else 7)


@pytest.mark.parametrize(
    ("tag_name", "value"),
    [
        ("Modality", "M"),
        ("Modality", "mr"),
        ("Modality", "RT"),
        ("Modality", "VF"),
        ("ModalitiesInStudy", "CT\\MR"),
        ("ModalitiesInStudy", "MR"),
        ("PatientSex", "f"),
        ("StudyDate", "2026"),
        ("StudyDate", "1993.08.22"),
        ("StudyTime", "0930"),
        ("AcquisitionDateTime", "20260102093000.5-0500"),
        ("SequenceName", "*tfl2d1"),
        ("0019,10e2", "2026-01-02"),
        ("0008,9999", "x:y"),
        ("SliceThickness", "1.5"),
        ("SliceThickness", "-1e-3"),
        ("PixelSpacing", "0.5\\0.5"),
        ("ImageOrientationPatient", "1\\0\\0\\0\\1\\0"),
        ("PatientAge", "45y"),
        ("PatientAge", "045Y"),
        ("PatientName", "Doe^Jane"),
        ("SOPClassUID", "1.2.840.10008"),
        ("ImageType", "\\LOCALIZER"),
        ("ImageComments", "a" * 1000),
        ("LossyImageCompression", "1"),
        ("PresentationIntentType", "processing"),
    ],
)
def test_a_condition_that_a_valid_file_can_pass_is_not_warned_of(tag_name: str, value: str) -> None:
    assert warnings((tag_name, value)) == ()
    assert warnings((tag_name, "")) == ()


def test_each_condition_is_reported_once_with_its_own_line() -> None:
    found = warnings(("Modality", "MRI*"), ("StudyDescription", "brain"), ("StudyDate", "2026-01"))
    assert [(one.line, one.field) for one in found] == [(7, "Tags[0].Value"), (15, "Tags[2].Value")]


def test_no_value_is_quoted_as_it_may_name_a_patient() -> None:
    for tag_name in ("PatientName", "PatientID", "PatientBirthDate", "SeriesNumber", "StudyDescription", "PatientSex"):
        (found,) = warnings((tag_name, "Doe, Jane*"))
        assert "Doe" not in str(found)


def test_a_series_has_only_one_modality() -> None:
    both = (("Modality", "CT"), ("SeriesDescription", "x"), ("Modality", "MR"))
    (found,) = warnings(*both, CheckOn="Series")
    assert (found.field, found.hint) == ("Tags[2].Value", "write one rule for each")
    assert warnings(*both) == ()
    assert warnings(("Modality", "M"), ("Modality", "R"), CheckOn="Series") == ()


@pytest.mark.parametrize(
    ("destination", "field"), [("PACSS", "DestinationModality"), (["PACS", "PACSS"], "DestinationModality[1]")]
)
def test_a_destination_that_nobody_defines_is_reported(destination: Any, field: str) -> None:
    fields = {"Action": "FORWARD", "DestinationModality": destination}
    (found,) = warnings(known=frozenset({"PACS"}), **fields)
    assert (found.field, found.found, found.hint) == (field, '"PACSS"', 'did you mean "PACS"?')
    (found,) = warnings(known=frozenset(), **{**fields, "DestinationModality": "PACS"})
    assert found.hint == "add it to ORTHANC_DICOM_MODALITIES"
    assert warnings(**fields) == ()
    assert warnings(known=frozenset(), **{**fields, "Action": "DOWNLOAD"}) == ()


def test_the_modalities_are_those_of_the_standard() -> None:
    """pydicom has the context group, which is made from the same list (PS3.16 CID 33)."""
    listed = {concept.value for concept in Collection("CID33").concepts.values()}
    assert listed - {*terms.MODALITIES} == set()
    assert {*terms.MEANT_MODALITIES.values()} <= {*terms.MODALITIES}


@given(st.sampled_from(terms.MODALITIES), st.data())
def test_what_is_part_of_a_modality_matches_and_is_not_warned_of(modality: str, data: st.DataObject) -> None:
    begin, end = sorted(data.draw(st.tuples(*[st.integers(0, len(modality))] * 2)))
    content = {"CheckOn": "Study", "IsActive": True, "Tags": [{"TagName": "Modality", "Value": modality[begin:end]}]}
    text = json.dumps(content).encode()
    rule = parse_rule("brain", text, WORDS)
    series = Series("series", {"Modality": modality})
    study = Resource(Level.STUDY, "study", {}, {}, (series,), (), "", is_stable=True, is_copy=False)
    assert judge(rule, Facts(study, date(2026, 1, 31))).matches
    assert hopeless.warnings(rule, text) == ()


@given(st.sampled_from(["PatientAge", "StudyDate", "PatientName", "Modality", "SOPClassUID"]), st.text(max_size=300))
def test_any_value_is_looked_at_without_an_error(tag_name: str, value: str) -> None:
    printable = "".join(character for character in value if unicodedata.category(character) not in ("Cc", "Cs"))
    assert len(warnings((tag_name, printable))) <= 1
