"""What counts as evidence of a name, an identifier, a place or a day in a text, and in which kind of text.

Texts are compared word by word, written as `spelling` does, with one space between words; patterns are made for that.

- A word of a name counts if it isn't a word of the field. Words of four letters and more do; one of three if it is the
  patient's, or a part of a longer name; one of two only the patient's, in descriptions. Longer ones are also found
  inside words. Family and given name side by side, in either order, always count in descriptions, also initials, and
  words of the field (``Head^Neck``): there, only somebody who looks can tell.
- An identifier counts from four characters on, with any separators, without leading zeros, and so does its run of five
  or more digits alone, also with letters or a check digit added, or without its own check digit.
- Places and devices count whole, and of a place also its longer words. So do addresses, and `addresses` says what else
  counts of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from enum import IntEnum, auto

from autorthanc_spool.deidentify import addresses, dates
from autorthanc_spool.deidentify.field_words import defined_terms, field_words, technical_words
from autorthanc_spool.deidentify.spelling import digits, is_dense, tokens


class Strictness(IntEnum):
    """How eagerly a text is searched: people's words, other text, a word of a defined set."""

    DESCRIPTOR = auto()
    TEXT = auto()
    WORD = auto()


DESCRIPTIONS = (Strictness.DESCRIPTOR,)
TEXTS = (Strictness.DESCRIPTOR, Strictness.TEXT)
EVERYWHERE = tuple(Strictness)

# Shorter identifiers are part of too many texts.
SHORTEST_IDENTIFIER = 4
# Shorter runs of digits are sizes, times and numbers of series.
SHORTEST_NUMBER = 5
# From here on, separators between any two characters are looked over, and other letters and digits around.
_LONG = 6
# With its last digit taken for a check digit, a number must still be long.
_SHORTEST_WITH_CHECK_DIGIT = 7
# In Chinese, Japanese and Korean, what says where something is.
_SHORTEST_DENSE_PLACE = 3
# What devices are numbered with in one place (CT2, MR750) identifies nobody.
_LONGEST_NUMBER_OF_MODEL = 4

# T1, T2: in T14711, these aren't digits of the number.
_AFTER_WEIGHTING = "(?<=t[12])"

_LETTER = r"[^\W\d_]"
_RUN = re.compile(r"\d+|\D+")
# Bounded, so that the time for a text of zeros doesn't grow with its square.
_ZEROS, _LOOSE_ZEROS = "0{0,20}", "(?:0 ?){0,20}"

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


class Evidence:
    """Collects what counts, for each kind of text: whole words, patterns, and long numbers."""

    def __init__(self) -> None:
        self.words: dict[Strictness, set[str]] = {strictness: set() for strictness in Strictness}
        self.patterns: dict[Strictness, set[str]] = {strictness: set() for strictness in Strictness}
        self.numbers: dict[Strictness, set[str]] = {strictness: set() for strictness in Strictness}

    def add_name(self, name: str, *, is_patient: bool) -> None:
        """Add a PN."""
        for group in re.split(r"[\\=]", name):
            components = [tokens(one) for one in group.split("^")]
            telling = [one for words in components for one in words if one not in field_words()]
            # What follows are prefixes and suffixes.
            named = [words for words in components[:3] if words]
            is_whole = sum(map(len, named)) > 1
            for word in telling:
                self._add_word_of_name(word, is_patient=is_patient, is_whole=is_whole)
            for words in named:
                if len(words) > 1 and not field_words().issuperset(words):
                    self._add_inside("".join(words))
            if is_whole:
                self._add_whole_name(named, is_patient=is_patient)

    def _add_word_of_name(self, word: str, *, is_patient: bool, is_whole: bool) -> None:
        if not word.isalpha():
            self.add_identifier(word)
        elif is_dense(word):
            self._add(self.patterns, DESCRIPTIONS, re.escape(word))
            self._add(self.words, TEXTS, word)
            if len(word) > 1:
                self._add(self.patterns, TEXTS, re.escape(word))
        elif len(word) >= SHORTEST_IDENTIFIER:
            self._add(self.words, TEXTS if len(word) < SHORTEST_NUMBER else EVERYWHERE, word)
            self._add_inside(word)
        elif len(word) == 3 and (is_patient or is_whole):
            self._add(self.words, TEXTS, word)
        elif len(word) == 2 and is_patient and is_whole:
            self._add(self.words, DESCRIPTIONS, word)

    def _add_inside(self, word: str) -> None:
        """Add what is also found inside words, and when it is taken apart."""
        if len(word) >= _LONG:
            self._add(self.patterns, EVERYWHERE, _loose(word))
        elif len(word) >= SHORTEST_IDENTIFIER:
            self._add(self.patterns, DESCRIPTIONS, _loose(word) if len(word) > SHORTEST_IDENTIFIER else re.escape(word))

    def _add_whole_name(self, components: list[list[str]], *, is_patient: bool) -> None:
        family, given = components[:2] if len(components) > 1 else (components[0][:1], components[0][1:])
        everything = [word for words in components for word in words]
        is_technical = technical_words().issuperset(everything)
        for order in (everything, family + given, given + family):
            joined = "".join(order)
            if not is_technical and len(joined) >= _LONG:
                self._add(self.patterns, EVERYWHERE, _loose(joined))
            if not is_technical and (min(map(len, order)) > 1 or is_dense(joined)):
                self._add(self.patterns, TEXTS, _phrase(order))
            elif is_patient and len(components) > 1:
                self._add(self.patterns, DESCRIPTIONS, _phrase(order))
        if is_patient and len(components) > 1 and everything[0].isascii():
            for one, other in ((family, given), (given, family)):
                initial = other[0][:1]
                self._add(self.patterns, DESCRIPTIONS, _phrase([*one, initial]), _phrase([initial, *one]))

    def add_identifier(self, value: str, where: tuple[Strictness, ...] = EVERYWHERE) -> None:
        """Add an identifier, or several of them; HL7 puts its parts between carets and ampersands."""
        for part in re.split(r"[\\^&]", value):
            words = tokens(part)
            joined = "".join(words)
            if is_dense(joined):
                self._add(self.patterns, where, re.escape(joined) if len(joined) > 1 else None)
            elif joined.strip("0") and not field_words().issuperset(words):
                self._add_whole_identifier(words, joined, where)
                self._add_numbers(words, joined, where)

    def _add_whole_identifier(self, words: list[str], joined: str, where: tuple[Strictness, ...]) -> None:
        if len(joined) < SHORTEST_IDENTIFIER:
            return
        runs = [run for word in words for run in _RUN.findall(word)]
        is_long = len(joined) >= _LONG
        keeps_zeros = sum(len(run.lstrip("0")) for run in runs) < SHORTEST_IDENTIFIER
        pattern = " ?".join(
            _run(run, is_loose=len(joined) > SHORTEST_IDENTIFIER, keeps_zeros=keeps_zeros) for run in runs
        )
        if runs[0].isdigit():
            pattern = f"(?:(?<![0-9])|{_AFTER_WEIGHTING})" + pattern
        if runs[-1].isdigit():
            pattern += f"{' ?[0-9]?' if is_long else ''}(?![0-9])"
        if is_long:
            self._add(self.patterns, where, pattern)
            return
        self._add(self.patterns, _but_words(where), rf"(?<!{_LETTER}){pattern}(?!{_LETTER})")
        if where == EVERYWHERE:
            # In people's words, a patient's short identifier may also be joined to another word.
            self._add(self.patterns, DESCRIPTIONS, pattern)

    def _add_numbers(self, words: list[str], joined: str, where: tuple[Strictness, ...]) -> None:
        runs = {*digits(joined).split("|"), *(run for word in words for run in _RUN.findall(word) if run.isdigit())}
        for number in {run.lstrip("0") for run in runs}:
            if len(number) > SHORTEST_NUMBER:
                self._add(self.numbers, where, number)
            elif len(number) == SHORTEST_NUMBER:
                self._add(self.patterns, _but_words(where), rf"(?<![0-9]){_ZEROS}{_loose(number)} ?[0-9]?(?![0-9])")
                self._add(self.patterns, DESCRIPTIONS if where == EVERYWHERE else (), number)
            if len(number) >= _SHORTEST_WITH_CHECK_DIGIT:
                self._add(self.patterns, _but_words(where), rf"(?<![0-9]){_ZEROS}{_loose(number[:-1])}(?![0-9])")

    def _add_long(self, value: str) -> None:
        """Add what names a thing or a place and is found where a defined term is meant: what is long and isn't one."""
        words = tokens(value)
        joined = "".join(words)
        if len(joined) >= _LONG and joined.isascii() and joined.strip("0") and not defined_terms().issuperset(words):
            self._add_whole_identifier(words, joined, (Strictness.WORD,))
            self._add_numbers(words, joined, (Strictness.WORD,))

    def add_device(self, value: str, model: frozenset[str]) -> None:
        """Add what a device or station is called, unless it is only its model, or a number in the department."""
        for one in value.split("\\"):
            runs = [run for word in tokens(one) for run in _RUN.findall(word)]
            if any(_tells_of_device(run, model) for run in runs):
                self.add_identifier(one, TEXTS)
                self._add_long(one)

    def add_institution(self, value: str) -> None:
        """Add a name or an address of a place."""
        for one in value.split("\\"):
            self.add_identifier(one, TEXTS)
            self._add_long(one)
            words = {word for word in tokens(one) if len(word) >= _LONG and word.isalpha()}
            self._add(self.words, TEXTS, *(words - field_words()))
            self._add(self.words, (Strictness.WORD,), *(words - defined_terms()))
            self._add_places(one)

    def add_address(self, value: str) -> None:
        """Add where a person lives, as a whole, by lines, and what else says it."""
        self.add_identifier(value)
        for line in addresses.lines(value):
            words = tokens(line)
            if len(words) > 1 and len("".join(words)) >= _LONG and addresses.is_telling(line):
                self.add_identifier(line, TEXTS)
            self._add(self.patterns, TEXTS, *(re.escape(run) for word in words for run in _dense_runs(word)))
        self._add(self.words, TEXTS, *addresses.telling_words(value))
        self._add_places(value)

    def _add_places(self, value: str) -> None:
        """Add postcodes, and streets with their number."""
        found = {street for line in addresses.lines(value) for street in addresses.streets(line)}
        self._add(self.patterns, TEXTS, *found, *addresses.postcodes(value))

    def add_telephone(self, value: str) -> None:
        """Add how somebody is reached: numbers as they are and without their country, and addresses of mail."""
        self.add_identifier(value)
        self._add(self.numbers, EVERYWHERE, *addresses.national_numbers(value))
        for word in re.split(r"[\s,;:<>()]+", value):
            if "@" in word:
                self.add_identifier(word)

    def add_day(self, value: str) -> None:
        """Add a DA or DT, as people write it."""
        for pattern, is_long in _spellings_of_date(value):
            self._add(self.patterns, TEXTS if is_long else DESCRIPTIONS, pattern)
        self._add(self.patterns, (Strictness.WORD,), *_full_spellings_of_date(value))

    @staticmethod
    def _add(to: dict[Strictness, set[str]], where: Iterable[Strictness], *found: str | None) -> None:
        for strictness in where:
            to[strictness].update(one for one in found if one)


def _but_words(where: tuple[Strictness, ...]) -> tuple[Strictness, ...]:
    return tuple(one for one in where if one is not Strictness.WORD)


def _tells_of_device(run: str, model: frozenset[str]) -> bool:
    if run.isdigit():
        return len(run) > _LONGEST_NUMBER_OF_MODEL
    return len(run) > 1 and run not in field_words() and run not in model


def _run(run: str, *, is_loose: bool, keeps_zeros: bool) -> str:
    """Make the pattern of the digits or of the letters of an identifier."""
    if run.isdigit() and not keeps_zeros:
        plain = run.lstrip("0")
        zeros = _LOOSE_ZEROS if is_loose else _ZEROS
        return zeros + (_loose(plain) if is_loose else plain) if plain else "0 ?" + zeros
    return _loose(run) if is_loose else re.escape(run)


def _phrase(words: list[str]) -> str:
    return rf"(?<!{_LETTER}){' ?'.join(map(re.escape, words))}(?!{_LETTER})"


def _dense_runs(word: str) -> list[str]:
    """What of a word is in a script without spaces, if it is long enough for a place."""
    return [run for run in _RUN.findall(word) if is_dense(run) and len(run) >= _SHORTEST_DENSE_PLACE]


def _loose(word: str) -> str:
    return " ?".join(map(re.escape, word))


def _full_spellings_of_date(value: str) -> Iterator[str]:
    """Make patterns of a date with all its digits."""
    day = dates.day_of(value)
    if day is None:
        return
    year, m, d = f"{day.year:04}", f"{day.month:02}", f"{day.day:02}"
    month = f"(?:{_MONTHS[day.month - 1]})[a-z]*"
    for parts in ((year, m, d), (d, m, year), (m, d, year), (d, month, year), (month, d, year), (year, month, d)):
        yield " ?".join(parts)


def _spellings_of_date(value: str) -> Iterator[tuple[str, bool]]:
    """Make patterns of a date as people write it, and say whether each is long."""
    day = dates.day_of(value)
    if day is None:
        return
    d, m = (f"0?{number}" if number < 10 else f"{number}" for number in (day.day, day.month))
    month = f"(?:{_MONTHS[day.month - 1]})[a-z]*"
    nth = f"{d} ?(?:st|nd|rd|th|er)?"
    for year, is_long in ((f"{day.year:04}", True), (f"{day.year:04}"[2:], False)):
        for parts in ((year, m, d), (d, m, year), (m, d, year), (nth, month, year), (month, nth, year)):
            pattern = " ?".join(parts)
            yield pattern if is_long else rf"(?<![0-9]){pattern}(?![0-9])", is_long
