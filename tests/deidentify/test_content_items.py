"""Items of reports that say about the patient what a header has attributes for: the same happens to both."""

import io
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset

from autorthanc_spool.rules import Keep
from tests.deidentify.make import anonymised
from tests.helpers import datasets

REPORT = "1.2.840.10008.5.1.4.1.1.88.33"
DATES = [Keep.FULL_DATES, Keep.MODIFIED_DATES]
AGED = frozenset({Keep.PATIENT_CHARACTERISTICS})


def item(**keywords: Any) -> Dataset:
    made = Dataset()
    for keyword, value in keywords.items():
        setattr(made, keyword, value)
    return made


def code(value: str, scheme: str = "DCM", meaning: str = "of something") -> list[Dataset]:
    return [item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)]


def content(kind: str, concept: list[Dataset], **keywords: Any) -> Dataset:
    return item(RelationshipType="HAS OBS CONTEXT", ValueType=kind, ConceptNameCodeSequence=concept, **keywords)


def number(concept: list[Dataset], value: str, units: str, **more: Any) -> Dataset:
    measured = item(NumericValue=value, MeasurementUnitsCodeSequence=code(units, "UCUM", units), **more)
    return content("NUM", concept, MeasuredValueSequence=[measured])


def left_of(*items: Dataset, keep: frozenset[Keep] = frozenset(), **keywords: Any) -> list[Dataset]:
    """What a report's items are after it was cleaned."""
    keywords = {"PatientBirthDate": "19410203", "StudyDate": "20260102", **keywords}
    no_image = dict.fromkeys(("PixelData", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit"))
    data = datasets.make_instance(
        SOPClassUID=REPORT, Modality="SR", ContentSequence=list(items), **keywords, **no_image
    )
    return list(pydicom.dcmread(io.BytesIO(anonymised(data, structured="clean", keep=keep))).ContentSequence)


@pytest.mark.parametrize("keep", DATES)
@pytest.mark.parametrize("birth_date", ["19410203", ""])
@pytest.mark.parametrize(
    "concept",
    [code("121031"), code("21112-8", "LN"), code("GEB", "99X", "Patient's Birth-Date")],
    ids=["DICOM", "LOINC", "words"],
)
def test_an_item_with_the_birth_date_holds_a_dummy_whatever_is_kept(
    concept: list[Dataset], birth_date: str, keep: Keep
) -> None:
    date, instant, words = left_of(
        content("DATE", concept, Date="19410203"),
        content("DATETIME", concept, DateTime="194102030405+0100"),
        content("TEXT", concept, TextValue="a Monday of early 1941"),
        keep=frozenset({keep, Keep.DESCRIPTORS, *AGED}),
        PatientBirthDate=birth_date,
    )
    assert (date.Date, instant.DateTime) == ("19000101", "19000101000000")
    assert words.TextValue == "ANONYMISED"


@pytest.mark.parametrize("keep", DATES)
@pytest.mark.parametrize(
    "header",
    [{"PatientBirthDate": "19410203"}, {"PatientBirthDate": "", "PatientBirthDateInAlternativeCalendar": "1941-02-03"}],
)
def test_a_day_that_is_the_birth_date_goes_whatever_its_item_is_called(keep: Keep, header: dict[str, str]) -> None:
    items = (
        content("DATE", code("1", "99X"), Date="19410203"),
        content("DATETIME", code("2", "99X"), DateTime="19410203"),
        content("DATE", code("3", "99X"), Date="20260102"),
    )
    born, born_at, scanned = left_of(*items, keep=frozenset({keep}), **header)
    assert (born.Date, born_at.DateTime) == ("19000101", "19000101000000")
    assert (scanned.Date == "20260102") == (keep is Keep.FULL_DATES)
    assert scanned.Date != "19000101"


NUMBERS = {
    "age": (code("121033"), "57", "a"),
    "age of another scheme": (code("30525-0", "LOINC"), "57", "a"),
    "age by its words": (code("X1", "99X", "Patient Age"), "57", "a"),
    "height": (code("8302-2", "LN"), "1.73", "m"),
    "weight": (code("29463-7", "LN"), "81.5", "kg"),
    "surface": (code("8277-6", "LN"), "1.9", "m2"),
    "body mass index": (code("60621009", "SCT"), "31", "kg/m2"),
    "pregnancies": (code("111532"), "1", "1"),
}


@pytest.mark.parametrize(("concept", "value", "units"), NUMBERS.values(), ids=NUMBERS)
def test_a_number_about_the_patient_leaves_only_with_patient_characteristics(
    concept: list[Dataset], value: str, units: str
) -> None:
    (gone,) = left_of(number(concept, value, units, FloatingPointValue=float(value)))
    assert len(gone.MeasuredValueSequence) == 0
    (kept,) = left_of(number(concept, value, units), keep=AGED)
    assert kept.MeasuredValueSequence[0].NumericValue == float(value)


@pytest.mark.parametrize(
    "concept",
    [code("121032"), code("46098-0", "LN"), code("364699009", "SCT"), code("72166-2", "LN")],
    ids=["sex", "sex of LOINC", "ethnic group", "smoking"],
)
def test_a_code_about_the_patient_leaves_only_with_patient_characteristics(concept: list[Dataset]) -> None:
    sex = content("CODE", concept, ConceptCodeSequence=code("F", "DCM", "Female"))
    (gone,) = left_of(sex)
    assert gone.ConceptCodeSequence[0].CodeValue == "ANONYMISED"
    (kept,) = left_of(sex, keep=AGED)
    assert kept.ConceptCodeSequence[0].CodeValue == "F"


@pytest.mark.parametrize(
    ("value", "units", "after"),
    [
        ("97", "a", 90),
        ("90", "a", 90),
        ("1164", "mo", 1080),
        ("1000", "mo", 1000),
        ("35405", "d", 32850),
        ("97", "years", 90),
    ],
)
def test_an_age_that_is_kept_is_at_most_ninety_years(value: str, units: str, after: int) -> None:
    (kept,) = left_of(number(code("121033"), value, units, FloatingPointValue=float(value)), keep=AGED)
    (measured,) = kept.MeasuredValueSequence
    assert measured.NumericValue == after
    assert "FloatingPointValue" not in measured
    assert measured.MeasurementUnitsCodeSequence[0].CodeValue == units


def test_an_age_in_words_goes_as_it_cannot_be_capped() -> None:
    (words,) = left_of(content("TEXT", code("121033"), TextValue="ninety-seven years"), keep=AGED | {Keep.DESCRIPTORS})
    assert words.TextValue == "ANONYMISED"


def test_what_is_measured_in_the_image_stays_also_below_an_item_about_the_patient() -> None:
    lesion = number(code("121207", "DCM", "Height"), "12", "mm")
    (found, around) = left_of(
        lesion, content("CODE", code("121032"), ConceptCodeSequence=code("F"), ContentSequence=[lesion])
    )
    assert found.MeasuredValueSequence[0].NumericValue == 12
    assert around.ContentSequence[0].MeasuredValueSequence[0].NumericValue == 12
