"""Does a text give a person away: does it contain a name, an identifier or a date of its own data set.

Text is compared without accents, letter case, spaces and punctuation, so that ``Müller^Eva`` is found in
``MRT muller eva`` and 1 February 2023 in ``01.02.2023``. How eagerly is looked depends on what the text is for:
descriptions are people's words, in which a short identifier counts as a whole word and any longer one also inside a
word; other text, and coded words even more, would be lost too often in that way.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from enum import Enum, auto
from functools import cache, lru_cache

from autorthanc_spool.deidentify import dates, text
from autorthanc_spool.deidentify.elements import DataSet
from autorthanc_spool.deidentify.policy import CHARACTER_SET
from autorthanc_spool.deidentify.reader import known_vr
from autorthanc_spool.deidentify.table import table

# In a description, shorter ones are only found as whole words: they are part of too many.
_SHORTEST_PART = 4
# In other text, shorter ones aren't looked for inside words, or at all.
_SHORTEST_WHOLE = 6
_SHORTEST_WORD = 3

# Representations that an identifier has; a CS is one of a few words, and no identifier.
_IDENTIFYING_VRS = frozenset({"LO", "LT", "SH", "ST", "UC", "UT"})

# How the names of months begin in English, German and French, without accents.
_MONTHS = (
    "jan",
    "feb|fev",
    "mar",
    "apr|avr",
    "ma[iy]",
    "jun|juin",
    "jul|juil",
    "aug|aou",
    "sep",
    "o[ck]t",
    "nov",
    "de[cz]",
)

_WITHOUT_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ø": "oe", "å": "aa", "æ": "ae", "œ": "oe"})

# Letters that have no accent to be taken away; katakana and hiragana write the same syllables.
_PLAIN = str.maketrans({"ł": "l", "đ": "d", "ð": "d", "þ": "th", "ħ": "h", "ı": "i", "ø": "o", "æ": "ae", "œ": "oe"})
_PLAIN |= {katakana: chr(katakana - 0x60) for katakana in range(0x30A1, 0x30F7)}

# In scripts without spaces, two characters say as much as six in others: Chinese, kana, Korean.
_DENSE = re.compile(r"[\u2e80-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]{2}")

# What can only be a UID: versions and network addresses have fewer parts.
_UID = re.compile(r"\d+(?:\.\d+){5,}")

# The files of a series have the same names, identifiers and dates, and mostly the same texts.
_REMEMBERED_TEXTS = 20_000


class Strictness(Enum):
    """How eagerly a text is searched."""

    DESCRIPTOR = auto()
    TEXT = auto()
    WORD = auto()


class _Kind(Enum):
    NAME = auto()
    DATE = auto()
    IDENTIFIER = auto()
    # What identifies a place or a thing, and is only looked for in descriptions.
    CIRCUMSTANCE = auto()


# One found value: its kind, its bytes, and how they are to be decoded.
_Found = tuple[_Kind, bytes, text.CharacterSets]


class Identifiers:
    """The names, identifiers and dates of a data set."""

    def __init__(self, found: frozenset[_Found]) -> None:
        self._inside: dict[Strictness, set[str]] = {strictness: set() for strictness in Strictness}
        self._words: dict[Strictness, set[str]] = {strictness: set() for strictness in Strictness}
        for kind, value, sets in found:
            for reading in _readings(value, sets, "PN" if kind is _Kind.NAME else "LO"):
                for spelled in _spelled(reading):
                    self._add(kind, spelled)
        self._search = {
            strictness: re.compile("|".join(sorted(patterns))) if patterns else None
            for strictness, patterns in self._inside.items()
        }
        self._verdicts: dict[tuple[bytes, text.CharacterSets, Strictness], bool] = {}

    def found_in(self, value: bytes, sets: text.CharacterSets, strictness: Strictness) -> bool:
        """Whether a text contains any of them."""
        key = (value, sets, strictness)
        verdict = self._verdicts.get(key)
        if verdict is None:
            if len(self._verdicts) >= _REMEMBERED_TEXTS:
                self._verdicts.clear()
            readings = {*_readings(value, sets), value.decode("latin-1"), value.replace(b"\0", b"").decode("latin-1")}
            verdict = self._verdicts[key] = any(self._look(one, strictness) for one in readings)
        return verdict

    def _look(self, words: str, strictness: Strictness) -> bool:
        return _UID.search(words) is not None or any(self._search_in(one, strictness) for one in _spelled(words))

    def _search_in(self, words: str, strictness: Strictness) -> bool:
        tokens = _tokens(words)
        if not self._words[strictness].isdisjoint(tokens):
            return True
        search = self._search[strictness]
        return search is not None and search.search("".join(tokens)) is not None

    def _add(self, kind: _Kind, value: str) -> None:
        if kind is _Kind.DATE:
            for pattern, is_long in _spellings_of_date(value):
                self._inside[Strictness.DESCRIPTOR].add(pattern)
                if is_long:
                    self._inside[Strictness.TEXT].add(pattern)
            return
        for one in _parts_of_name(value) if kind is _Kind.NAME else value.split("\\"):
            self._add_word("".join(_tokens(one)), kind)
        if kind is _Kind.NAME:
            for group in re.split(r"[\\=]", value):
                self._add_whole("".join(_tokens(group)))

    def _add_word(self, joined: str, kind: _Kind) -> None:
        if not joined:
            return
        if len(joined) >= _SHORTEST_PART or not joined.isascii():
            self._inside[Strictness.DESCRIPTOR].add(re.escape(joined))
        else:
            self._words[Strictness.DESCRIPTOR].add(joined)
        if kind is _Kind.CIRCUMSTANCE:
            return
        if len(joined) >= _SHORTEST_WORD or not joined.isascii():
            self._words[Strictness.TEXT].add(joined)
        if kind is _Kind.IDENTIFIER:
            self._add_whole(joined)
        elif len(joined) >= _SHORTEST_WHOLE or _DENSE.match(joined):
            self._inside[Strictness.TEXT].add(re.escape(joined))

    def _add_whole(self, joined: str) -> None:
        if len(joined) >= _SHORTEST_WHOLE or (len(joined) >= 2 and not joined.isascii()):
            for strictness in (Strictness.TEXT, Strictness.WORD):
                self._inside[strictness].add(re.escape(joined))


def identifiers_of(buffer: memoryview, data_set: DataSet) -> Identifiers:
    """Gather them, at every level of a data set."""
    return _remembered(frozenset(_found_in(buffer, data_set, text.DEFAULT)))


@lru_cache(maxsize=32)
def _remembered(found: frozenset[_Found]) -> Identifiers:
    return Identifiers(found)


def _found_in(buffer: memoryview, data_set: DataSet, sets: text.CharacterSets) -> Iterator[_Found]:
    for element in data_set.elements:
        if element.items is not None:
            for item in element.items:
                yield from _found_in(buffer, item, sets)
            continue
        kind = _kind(element.tag, element.vr)
        if kind is not None:
            value = bytes(buffer[element.value : element.end])
            if kind is _Kind.DATE:
                # The day is enough, and the same in many files.
                yield from ((kind, one.strip(b" \0")[:10], text.DEFAULT) for one in value.split(b"\\") if one)
            elif value:
                yield kind, value, sets
        elif element.tag == CHARACTER_SET:
            sets = text.character_sets(bytes(buffer[element.value : element.end]))


@cache
def _kind(tag: int, vr: str) -> _Kind | None:
    if tag & 0x10000:
        return _Kind.NAME if vr == "PN" else None
    known = known_vr(tag)
    if "PN" in (vr, known):
        return _Kind.NAME
    if vr in ("DA", "DT") or known in ("DA", "DT"):
        return _Kind.DATE
    row = table().get(tag)
    if row is None or row.describes or not _IDENTIFYING_VRS & {vr, known}:
        return None
    is_personal = known in ("LO", "SH") and "retain_institution" not in row.options
    return _Kind.IDENTIFIER if is_personal else _Kind.CIRCUMSTANCE


def _spelled(words: str) -> tuple[str, ...]:
    """A text as it stands, and as people write it who don't find these letters on their keyboard."""
    if words.isascii():
        return (words,)
    return words, unicodedata.normalize("NFC", words).casefold().translate(_WITHOUT_UMLAUTS)


def _readings(value: bytes, sets: text.CharacterSets, vr: str = "LO") -> set[str]:
    """A value as its character set has it, and in UTF-8: what a file names may also be a mistake."""
    found = {text.decoded(value, sets, vr)}
    if not value.isascii():
        with suppress(UnicodeDecodeError):
            found.add(value.decode())
        if any("\ufffd" in one for one in found):
            # Not in this set either; byte for byte, at least the same is found.
            found.add(value.decode("latin-1"))
    return found


def _tokens(words: str) -> list[str]:
    if not words.isascii():
        plain = "".join(one for one in unicodedata.normalize("NFKD", words) if not unicodedata.combining(one))
        # Korean syllables were taken apart by that.
        words = unicodedata.normalize("NFC", plain).casefold().translate(_PLAIN)
    return re.findall(r"[^\W_]+", words.casefold())


def _parts_of_name(name: str) -> Iterator[str]:
    """Take a PN apart: its groups, their components, and the words of these."""
    for component in re.split(r"[\\=^]", name):
        yield component
        yield from re.split(r"[\W_]+", component)


def _spellings_of_date(value: str) -> Iterator[tuple[str, bool]]:
    """Make patterns of a date as people write it, without what they put between the parts, and whether it is long."""
    day = dates.day_of(value)
    if day is None:
        return
    d, m = (f"0?{number}" if number < 10 else f"{number}" for number in (day.day, day.month))
    month = f"(?:{_MONTHS[day.month - 1]})[a-z]*"
    for year, is_long in ((f"{day.year:04}", True), (f"{day.year:04}"[2:], False)):
        nth = f"{d}(?:st|nd|rd|th|er)?"
        for parts in ((year, m, d), (d, m, year), (m, d, year), (nth, month, year), (month, nth, year)):
            yield "".join(parts), is_long
