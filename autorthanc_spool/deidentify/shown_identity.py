"""Whether texts that were read off an image show whom its file is about.

Names count by each word of four letters and more, and by family and given name side by side; identifiers from four
characters on. What is shorter than six must be a whole word. Days count in any order, with or without separators, or
with the month's name. Words of the field (HEAD, SIEMENS) alone don't count. Whoever reads a picture makes errors: see
`nearly`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator
from functools import cached_property

from autorthanc_spool.deidentify import dates, nearly, text
from autorthanc_spool.deidentify.field_words import field_words
from autorthanc_spool.deidentify.needles import Needle, NeedleKind
from autorthanc_spool.deidentify.spelling import is_dense, tokens

_SHORTEST_WORD = 4
# What is at least so long is also looked for inside of other words, and with errors.
_LONG = 6
_SHORTEST_WHOLE_NAME = 6
_SHORTEST_NUMBER = 5

# What digits are taken for, and the other way round, where a day is looked for.
_DIGITS = str.maketrans("OoQDlIi|!ZzSsB", "00001111122558")
_MONTHS = (
    "jan",
    "fe[bv]",
    "m[aäe]?rz?",
    "a[pv]r",
    "ma[iy]",
    "ju[in]n?",
    "ju[il]l?",
    "a[uo][gu]",
    "sep",
    "o[ck]t",
    "nov",
    "de[cz]",
)
_WITH_MONTH = re.compile(r"(\d{1,2})?[^a-z0-9]*([a-zä]{3})[a-zäû]*[^a-z0-9]*(\d{1,2})?[^0-9]*(\d{4})", re.IGNORECASE)
_WITH_DIGIT = re.compile(r"[A-Za-z|!]*\d[\w|!]*")
# Looked for at each place: a number may stand before a day.
_GROUPS = re.compile(r"(?<!\d)(?=(\d{1,4})[-./, ]{1,2}(\d{1,2})[-./, ]{1,2}(\d{1,4})(?!\d))")
# A day of 8 digits in which one was misread is still that day.
_DIGITS_OF_DAY, _WRONG_DIGITS = 8, 1


class Identity:
    """What a file says about whom it is about, as it may be written in its pixels."""

    def __init__(self, needles: Collection[Needle]) -> None:
        self._needles = needles

    def is_shown_by(self, texts: Iterable[str]) -> bool:
        """Whether one of the texts shows any of it."""
        return any(self._is_shown_by(one) for one in texts)

    def is_written_in(self, scripts: tuple[str, ...]) -> bool:
        """Whether all letters of the names are of these scripts, as Unicode names them."""
        letters = {letter for name in self._names for words in name for word in words for letter in word}
        return all(unicodedata.name(one, "").startswith(scripts) for one in letters if one.isalpha())

    def _is_shown_by(self, shown: str) -> bool:
        words = nearly.written_alike(shown)
        joined = "".join(words)
        return (
            any(self._dense and one in shown for one in self._dense)
            or any(nearly.is_nearly(one, word) for one in self._whole for word in words)
            or any(nearly.is_nearly_in(one, joined) for one in self._inside)
            or any(map(self._is_day, _days_in(shown)))
        )

    @cached_property
    def _names(self) -> list[list[list[str]]]:
        """The words of each component of each group of each name."""
        values = [one for needle in self._needles if needle.kind is NeedleKind.NAME for one in _readings(needle)]
        groups = [group for value in values for group in re.split(r"[\\=]", value)]
        return [[tokens(component) for component in group.split("^")][:3] for group in groups]

    @cached_property
    def _identifiers(self) -> list[list[str]]:
        values = [one for needle in self._needles if needle.kind is NeedleKind.IDENTIFIER for one in _readings(needle)]
        found = [tokens(part) for value in values for part in re.split(r"[\\^&]", value)]
        return [words for words in found if words and not field_words().issuperset(words)]

    @cached_property
    def _dense(self) -> frozenset[str]:
        """Names in scripts in which few characters say much."""
        found = (word for name in self._names for words in name for word in words)
        return frozenset(word for word in found if is_dense(word) and len(word) > 1)

    @cached_property
    def _whole(self) -> frozenset[str]:
        """What counts as a whole word only."""
        return frozenset(word for word in self._telling if _SHORTEST_WORD <= len(word) < _LONG)

    @cached_property
    def _inside(self) -> frozenset[str]:
        """What counts wherever it is."""
        return frozenset(word for word in self._telling if len(word) >= _LONG) | self._whole_names

    @cached_property
    def _telling(self) -> frozenset[str]:
        words = {word for name in self._names for one in name for word in one if word not in field_words()}
        for parts in self._identifiers:
            joined = "".join(parts)
            words |= {joined, joined.lstrip("0")}
            words |= {run.lstrip("0") for run in re.findall(r"\d+", joined) if len(run.lstrip("0")) >= _SHORTEST_NUMBER}
        return frozenset("".join(nearly.written_alike(word)) for word in words if not is_dense(word))

    @cached_property
    def _whole_names(self) -> frozenset[str]:
        """Family and given name side by side, in either order."""
        found = set()
        for name in self._names:
            family, given = ["".join(name[0]), "".join("".join(words) for words in name[1:2])]
            for joined in (family + given, given + family):
                if family and given and len(joined) >= _SHORTEST_WHOLE_NAME:
                    found.add("".join(nearly.written_alike(joined)))
        return frozenset(found)

    @cached_property
    def _days(self) -> frozenset[str]:
        found = set()
        for needle in self._needles:
            day = dates.day_of(needle.value.decode("ascii", "replace")) if needle.kind is NeedleKind.DAY else None
            if day is not None:
                year, month, nth = f"{day.year:04}", f"{day.month:02}", f"{day.day:02}"
                found |= {year + month + nth, nth + month + year, month + nth + year, year + nth + month}
        return frozenset(found)

    def _is_day(self, digits: str) -> bool:
        if len(digits) == _DIGITS_OF_DAY:
            return any(_differing(digits, day) <= _WRONG_DIGITS for day in self._days)
        # With two digits of the year, it must be right.
        return any(digits in (day[2:], day[:4] + day[6:]) for day in self._days)


def _readings(needle: Needle) -> Iterator[str]:
    yield text.decoded(needle.value, needle.character_sets).strip(" \0")


def _days_in(shown: str) -> Iterator[str]:
    """Give what may be days in a text: runs of 8 digits, and groups of digits, as digits without separators."""
    for found in _WITH_MONTH.finditer(shown):
        before, month, after, year = found.groups()
        number = next((number for number, one in enumerate(_MONTHS, 1) if re.fullmatch(one, month.lower())), None)
        if number and (before or after):
            yield f"{int(before or after):02}{number:02}{year}"
    digits = _WITH_DIGIT.sub(lambda found: found[0].translate(_DIGITS), shown)
    for run in re.findall(r"\d{8,}", digits):
        yield from (run[start : start + 8] for start in range(len(run) - 7))
    for groups in _GROUPS.findall(digits):
        yield "".join(one.zfill(2) for one in groups)


def _differing(one: str, other: str) -> int:
    return sum(a != b for a, b in zip(one, other, strict=True))
