"""Does a text give a person away: does it contain a name, an identifier or a date of its own data set.

Text is compared without accents, letter case, spaces and punctuation, so that ``Müller^Eva`` is found in
``MRT muller eva`` and 1 February 2023 in ``01.02.2023``; `patterns` says what counts. How eagerly is looked depends on
what the text is for: descriptions are people's words; other text, and coded words even more, would be lost too often.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from autorthanc_spool.deidentify import dates, text
from autorthanc_spool.deidentify.contacts import has_contact
from autorthanc_spool.deidentify.elements import DataSet
from autorthanc_spool.deidentify.field_words import defined_terms, field_words
from autorthanc_spool.deidentify.identifying import Found, Kind, found_in
from autorthanc_spool.deidentify.patterns import SHORTEST_IDENTIFIER, Evidence, Strictness
from autorthanc_spool.deidentify.raw_names import is_explained, raw_names, without_escapes
from autorthanc_spool.deidentify.spelling import digits, parts, readings, spelled, tokens
from autorthanc_spool.rules.model import Keep

__all__ = ["Identifiers", "Strictness", "identifiers_of", "is_one_of"]

# What can only be a UID: versions and network addresses have fewer parts. Of the first, one digit is enough to see.
_UID = re.compile(r"\d(?:\.\d{1,64}){5}")

# The files of a series have the same names, identifiers and dates, and mostly the same texts.
_REMEMBERED_TEXTS = 20_000
# Longer texts are not remembered, and searched piece by piece: what is made of a text takes fifty times its bytes.
_LONG_TEXT = 64 * 1024
# Pieces overlap by more than the longest LT has (PS3.5 section 6.2), which an address is written in.
_OVERLAP = 12 * 1024
# They begin and end between words, unless there is none.
_LONGEST_WORD = 256
# Of more bytes than these, a spelling has to have so many to be no accident.
_FEW_BYTES, _SURE_BYTES = 4096, 5


class Identifiers:
    """The names, identifiers, places and dates of a data set."""

    def __init__(self, found: frozenset[Found]) -> None:
        values = [
            (kind, one)
            for kind, value, sets in found
            for reading in readings(value, sets, _vr(kind))
            for one in spelled(reading)
        ]
        self._evidence = evidence = Evidence()
        model = frozenset(part for kind, value in values if kind is Kind.MODEL for part in _runs(value))
        for kind, value in values:
            _add(evidence, kind, value, model)
        self._search = {
            strictness: re.compile("|".join(sorted(patterns))) if patterns else None
            for strictness, patterns in evidence.patterns.items()
        }
        # Where a number should be: the days in eight digits, and with them the numbers of identifiers, without zeros.
        self.days = frozenset(day for kind, value in values if kind is Kind.DATE for day in _days(value))
        self.numbers = self.days | evidence.numbers[Strictness.TEXT]
        self._verdicts: dict[tuple[bytes, text.CharacterSets, Strictness], bool] = {}
        self.spellings = frozenset(_spellings(values, evidence))
        # Where neither the name nor the text is anything but bytes, by what the character set says.
        self._raw: dict[bool, set[bytes]] = {True: set(), False: set()}
        for kind, raw, sets in found:
            if kind not in (Kind.DATE, Kind.MODEL):
                self._raw[is_explained(raw, sets, _vr(kind))] |= raw_names(raw, _vr(kind))
        spelled_in_bytes = (spelling.encode() for spelling in self.spellings)
        self._in_bytes = (*spelled_in_bytes, *(name.lower() for name in self._raw[False]))

    def found_in(self, value: bytes, sets: text.CharacterSets, strictness: Strictness) -> bool:
        """Whether a text contains any of them."""
        if len(value) > _LONG_TEXT:
            return self._is_in(value, sets, strictness)
        key = (value, sets, strictness)
        verdict = self._verdicts.get(key)
        if verdict is None:
            if len(self._verdicts) >= _REMEMBERED_TEXTS:
                self._verdicts.clear()
            verdict = self._verdicts[key] = self._is_in(value, sets, strictness)
        return verdict

    def _is_in(self, value: bytes, sets: text.CharacterSets, strictness: Strictness) -> bool:
        found = {*readings(value, sets), value.decode("latin-1"), value.replace(b"\0", b"").decode("latin-1")}
        return any(self._look(piece, strictness) for one in found for piece in _pieces(one)) or self._has_raw(
            value, sets
        )

    def _has_raw(self, value: bytes, sets: text.CharacterSets) -> bool:
        """Whether the bytes of a name are in it as they are, where one of the two isn't in its character set."""
        names = self._raw[False]
        if self._raw[True] and not is_explained(value, sets):
            names = names | self._raw[True]
        raw = without_escapes(value) if names else b""
        return any(name in raw for name in names)

    def found_in_bytes(self, value: bytes) -> bool:
        """Whether bytes that are not text contain any of them as it is, in any letter case."""
        lower = value.lower()
        # In a megabyte of numbers, any four letters occur by chance once in some hundred files; five don't.
        least = SHORTEST_IDENTIFIER if len(value) <= _FEW_BYTES else max(SHORTEST_IDENTIFIER, _SURE_BYTES)
        return any(len(one) >= least and one in lower for one in self._in_bytes)

    def _look(self, words: str, strictness: Strictness) -> bool:
        if _UID.search(words) is not None or (strictness is Strictness.DESCRIPTOR and has_contact(words)):
            return True
        return any(self._search_in(one, strictness) for one in spelled(words))

    def _search_in(self, words: str, strictness: Strictness) -> bool:
        found = tokens(words)
        telling = self._evidence.words[strictness]
        if not telling.isdisjoint(found) or not telling.isdisjoint(parts(words)):
            return True
        spaced = " ".join(found)
        numbers = self._evidence.numbers[strictness]
        if numbers and any(number in run for run in digits(spaced).split("|") for number in numbers):
            return True
        search = self._search[strictness]
        # Abel isn't in a label.
        others = defined_terms() if strictness is Strictness.WORD else field_words()
        return search is not None and _matches(search, spaced, others)


def identifiers_of(buffer: memoryview, data_set: DataSet, keep: frozenset[Keep] = frozenset()) -> Identifiers:
    """Gather them, at every level of a data set; but not the places and things that a rule keeps."""
    return _remembered(found_in(buffer, data_set, keep))


@lru_cache(maxsize=32)
def _remembered(found: frozenset[Found]) -> Identifiers:
    return Identifiers(found)


def _vr(kind: Kind) -> str:
    return "PN" if kind in (Kind.PATIENT, Kind.PERSON) else "LO"


def _add(evidence: Evidence, kind: Kind, value: str, model: frozenset[str]) -> None:
    match kind:
        case Kind.PATIENT | Kind.PERSON:
            evidence.add_name(value, is_patient=kind is Kind.PATIENT)
        case Kind.IDENTIFIER:
            evidence.add_identifier(value)
        case Kind.ADDRESS:
            evidence.add_address(value)
        case Kind.TELEPHONE:
            evidence.add_telephone(value)
        case Kind.DEVICE:
            evidence.add_device(value, model)
        case Kind.INSTITUTION:
            evidence.add_institution(value)
        case Kind.DATE:
            evidence.add_day(value)


def _pieces(words: str) -> Iterator[str]:
    """Take a long text apart into pieces that overlap."""
    start = 0
    while len(words) - start > _LONG_TEXT:
        end = _between_words(words, start + _LONG_TEXT)
        yield words[start:end]
        start = _between_words(words, end - _OVERLAP)
    yield words[start:]


def _between_words(words: str, at: int) -> int:
    """The last place before `at` where a word begins; `at` itself where none does."""
    space = max(words.rfind(one, at - _LONGEST_WORD, at) for one in " \r\n\t")
    return space + 1 if space >= 0 else at


def _matches(search: re.Pattern[str], spaced: str, others: frozenset[str]) -> bool:
    """Whether a pattern is found, but not inside one of the other words."""
    found = search.search(spaced)
    while found is not None:
        start, end = found.span()
        around = spaced[spaced.rfind(" ", 0, start) + 1 :].partition(" ")[0]
        if " " in spaced[start:end] or around not in others:
            return True
        found = search.search(spaced, start + 1)
    return False


def is_one_of(number: str, telling: frozenset[str]) -> bool:
    """Whether a DS or IS is one of these whole numbers."""
    whole, _, fraction = number.strip(" \0").lstrip("+-").partition(".")
    return not fraction.strip("0") and not telling.isdisjoint((whole, whole.lstrip("0")))


def _days(value: str) -> list[str]:
    day = dates.day_of(value)
    return [] if day is None else [f"{day:%Y%m%d}", f"{day:%d%m%Y}", f"{day:%m%d%Y}"]


def _runs(value: str) -> list[str]:
    return [run for word in tokens(value) for run in re.findall(r"\d+|\D+", word)]


def _spellings(values: list[tuple[Kind, str]], evidence: Evidence) -> set[str]:
    """Whole values, words and numbers that count in text, in lower case, as they may be in bytes."""
    whole = {
        one.strip(" \0").casefold() for kind, value in values if kind is not Kind.MODEL for one in value.split("\\")
    }
    found = whole | evidence.words[Strictness.TEXT] | evidence.numbers[Strictness.TEXT]
    return {one for one in found if len(one) >= SHORTEST_IDENTIFIER and one not in field_words()}
