"""What an item of a content tree says about its patient, by the name of its concept (PS3.3 section 10.2, PS3.16).

A report repeats in its items what a header has attributes for: the birth date, the age, the sex. Table E.1-1 says what
happens to these attributes; the same happens to the items that have their meaning.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum, auto

from autorthanc_spool.deidentify.ages import OLDEST_YEARS
from autorthanc_spool.deidentify.elements import DataSet

CONCEPT_NAME = 0x0040A043
MEASURED_VALUE = 0x0040A300
NUMERIC_VALUE = 0x0040A30A
# FloatingPointValue, RationalNumeratorValue, RationalDenominatorValue: the same number once more.
OTHER_NUMBERS = (0x0040A161, 0x0040A162, 0x0040A163)

_UNITS = 0x004008EA

# CodeValue, LongCodeValue, and the words of a code.
_CODE_VALUES = (0x00080100, 0x00080119)
_CODE_MEANING = 0x00080104


class About(Enum):
    """What an item says about its patient."""

    BIRTH = auto()
    AGE = auto()
    CHARACTERISTIC = auto()


# PS3.16 annex D (six digits beginning with 1), LOINC (with a check digit), SNOMED CT, and NCIt (with a C). Codes count
# whatever the coding scheme is called, as writers call it as they like; they are too long to be another scheme's.
_BIRTH = frozenset({"121031", "21112-8", "184099003", "C68615"})
_AGE = frozenset(
    {"121033", "30525-0", "21611-9", "21612-7", "29553-5", "30972-4", "63900-5", "397669002", "424144002", "C25150"}
)
_CHARACTERISTICS = frozenset(
    # sex, at birth, for clinical use, and gender
    {"121032", "46098-0", "76689-9", "99501-9", "76691-5", "263495000", "734000001", "184100006", "365873007"}
    # height
    | {"8302-2", "8301-4", "3137-7", "3138-5", "50373000", "248333004", "1153637007"}
    # weight, measured, stated, estimated, ideal; not 11727-5, the foetus'
    | {"29463-7", "3141-9", "3142-7", "8335-2", "50064-5", "27113001", "363808001"}
    # surface of the body, body mass index
    | {"8277-6", "3140-1", "301898006", "39156-5", "60621009", "F-01860"}
    # ethnic group and race
    | {"32624-9", "46463-6", "69490-1", "59362-4", "72826-1", "42784-9", "103579009", "364699009", "397731000"}
    # pregnancy
    | {"111532", "110508", "82810-3", "11449-6", "364320009", "F-0452A", "77386006", "F-84000", "146799005"}
    # smoking
    | {"72166-2", "11367-0", "229819007", "365981007", "F-93109", "266918002"}
)

# Words of codes that makers made up. "Height" alone is that of a finding (DCM 121207).
_WHOSE = r"(?:(?:patient|subject)(?: s)? )"
_WORDS = (
    (About.BIRTH, re.compile(rf"{_WHOSE}?(?:birth ?(?:date|day)|date of birth|dob)")),
    (About.AGE, re.compile(rf"{_WHOSE}?age(?: in years)?|age of (?:the )?patient")),
    (
        About.CHARACTERISTIC,
        re.compile(
            rf"{_WHOSE}?(?:sex|gender|body (?:height|weight|mass index|surface area)|bmi|bsa|race"
            rf"|ethnic(?:ity| group| origin)|(?:tobacco )?smoking status|pregnancy status)"
            rf"|{_WHOSE}(?:height|weight|size|pregnant)"
        ),
    ),
)

# The highest age, by units of UCUM; anything else is taken for years.
_OLDEST = {"mo": OLDEST_YEARS * 12, "wk": OLDEST_YEARS * 52, "d": OLDEST_YEARS * 365, "h": OLDEST_YEARS * 365 * 24}


def about(buffer: memoryview, item: DataSet) -> About | None:
    """What an item says about its patient; None for any other item."""
    codes, words = _name(buffer, item, CONCEPT_NAME)
    for kind, known in ((About.BIRTH, _BIRTH), (About.AGE, _AGE), (About.CHARACTERISTIC, _CHARACTERISTICS)):
        if not known.isdisjoint(codes):
            return kind
    said = " ".join(re.findall(r"[^\W_]+", words.lower()))
    return next((kind for kind, pattern in _WORDS if pattern.fullmatch(said)), None)


def capped_age(buffer: memoryview, item: DataSet) -> bytes | None:
    """The number that replaces an age in an item; None where it may stay, or where there is none."""
    element = item.get(NUMERIC_VALUE)
    if element is None or element.items is not None:
        return None
    units, _ = _name(buffer, item, _UNITS)
    oldest = next((_OLDEST[unit] for unit in units if unit in _OLDEST), OLDEST_YEARS)
    try:
        numbers = [float(one) for one in bytes(buffer[element.value : element.end]).strip(b" \0").split(b"\\")]
    except ValueError:
        # What isn't a number goes by itself.
        return None
    return str(oldest).encode() if any(not number <= oldest for number in numbers) else None


def _name(buffer: memoryview, item: DataSet, tag: int) -> tuple[list[str], str]:
    """The values and the words of a code."""
    sequence = item.get(tag)
    codes = sequence.items if sequence is not None and sequence.items else []
    values = [value for code in codes for value in _values(buffer, code, _CODE_VALUES)]
    return values, next((words for code in codes for words in _values(buffer, code, (_CODE_MEANING,))), "")


def _values(buffer: memoryview, code: DataSet, tags: tuple[int, ...]) -> Iterator[str]:
    for tag in tags:
        element = code.get(tag)
        if element is not None and element.items is None:
            yield bytes(buffer[element.value : element.end]).decode("latin-1").strip(" \0")
