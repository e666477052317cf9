"""What is written into every file's top level, whatever it had there (PS3.15 section E.1.1, PS3.3 C.12.1.1.3)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import date

from pydicom.datadict import dictionary_VR, tag_for_keyword

from autorthanc_spool.deidentify import ages, dates
from autorthanc_spool.deidentify.elements import Encoding
from autorthanc_spool.deidentify.facts import Facts
from autorthanc_spool.deidentify.table import EDITION
from autorthanc_spool.rules.model import AnonymiseOptions, Keep

METHOD = f"autorthanc_spool, DICOM PS3.15 {EDITION} Annex E"

STUDY_ID_DIGITS = 8

_PATIENT_BIRTH_DATE = 0x00100030
_PATIENT_AGE = 0x00101010
_TEMPORAL_INFORMATION = 0x00280303

# LongitudinalTemporalInformationModified (PS3.3 section C.12.1), from what changes least to what changes most.
_MODIFICATIONS = ("UNMODIFIED", "MODIFIED", "REMOVED")

# Of which day the age is meant: Study-, Series-, Acquisition-, ContentDate, AcquisitionDateTime.
_DAYS = (0x00080020, 0x00080021, 0x00080022, 0x00080023, 0x0008002A)

# PS3.16 context group 7050.
_BASIC = ("113100", "Basic Application Confidentiality Profile")
_CLEAN_STRUCTURED = ("113104", "Clean Structured Content Option")
_CLEAN_PIXEL_DATA = ("113101", "Clean Pixel Data Option")
_SAFE_PRIVATE = ("113111", "Retain Safe Private Option")
_CODES: Mapping[Keep, tuple[str, str]] = {
    Keep.DESCRIPTORS: ("113105", "Clean Descriptors Option"),
    Keep.FULL_DATES: ("113106", "Retain Longitudinal Temporal Information Full Dates Option"),
    Keep.MODIFIED_DATES: ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
    Keep.PATIENT_CHARACTERISTICS: ("113108", "Retain Patient Characteristics Option"),
    Keep.DEVICE: ("113109", "Retain Device Identity Option"),
    Keep.UIDS: ("113110", "Retain UIDs Option"),
    Keep.INSTITUTION: ("113112", "Retain Institution Identity Option"),
}


def study_id(StudyInstanceUID: str) -> str:
    """Make the StudyID that goes with a new StudyInstanceUID."""
    return hashlib.sha256(StudyInstanceUID.encode()).hexdigest()[:STUDY_ID_DIGITS].upper()


def added(options: AnonymiseOptions, facts: Facts, pseudonym: str, StudyInstanceUID: str, *,
          has_clean_pixels: bool) -> dict[int, bytes]:  # fmt: skip
    """Make the elements that every file of a patient's study gets, by tag."""
    encoding = facts.encoding
    texts = {
        "PatientName": pseudonym,
        "PatientID": pseudonym,
        "StudyID": study_id(StudyInstanceUID),
        "PatientIdentityRemoved": "YES",
        "DeidentificationMethod": METHOD,
        "LongitudinalTemporalInformationModified": _temporal_information(options, facts),
        **dict(options.fixed),
    }
    elements = {}
    for keyword, value in texts.items():
        tag = tag_for_keyword(keyword)
        assert tag is not None
        elements[tag] = encoding.element(tag, dictionary_VR(tag), value.encode("ascii"))
    codes = [*_codes(options), *([_CLEAN_PIXEL_DATA] if has_clean_pixels else [])]
    items = b"".join(encoding.item(_code(encoding, *code)) for code in sorted(codes))
    elements[0x00120064] = encoding.element(0x00120064, "SQ", items)
    return elements


def computed_age(facts: Facts, encoding: Encoding) -> dict[int, bytes]:
    """Make the PatientAge that a file lacks; nothing where it has a usable one, or no dates to compute it from."""
    if ages.capped(facts.text(_PATIENT_AGE)):
        return {}
    born = dates.day_of(facts.text(_PATIENT_BIRTH_DATE))
    on = _first_day(facts)
    age = ages.age(born, on) if born and on else None
    return {_PATIENT_AGE: encoding.element(_PATIENT_AGE, "AS", age.encode())} if age else {}


def _first_day(facts: Facts) -> date | None:
    return next((day for day in (dates.day_of(facts.text(tag)) for tag in _DAYS) if day), None)


def _temporal_information(options: AnonymiseOptions, facts: Facts) -> str:
    made = "REMOVED"
    if Keep.FULL_DATES in options.keep:
        made = "UNMODIFIED"
    elif Keep.MODIFIED_DATES in options.keep:
        made = "MODIFIED"
    # Whoever de-identified the file before may have done more.
    before = facts.text(_TEMPORAL_INFORMATION).upper()
    return max(made, before, key=_MODIFICATIONS.index) if before in _MODIFICATIONS else made


def _codes(options: AnonymiseOptions) -> list[tuple[str, str]]:
    codes = [_BASIC, *(code for keep, code in _CODES.items() if keep in options.keep)]
    codes += [_CLEAN_STRUCTURED] if options.structured == "clean" else []
    codes += [_SAFE_PRIVATE] if options.safe_private else []
    return codes


def _code(encoding: Encoding, value: str, meaning: str) -> bytes:
    return (
        encoding.element(0x00080100, "SH", value.encode())
        + encoding.element(0x00080102, "SH", b"DCM")
        + encoding.element(0x00080104, "LO", meaning.encode())
    )
