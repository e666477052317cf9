"""What an attribute can say that gives a page away: the kinds of clue that make up the rows of `evidence`.

A clue says what it found in the table's words, never in the file's: the text goes into records.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from typing import Protocol

from pydicom.datadict import tag_for_keyword

from autorthanc_spool.deidentify.facts import Facts, folded


class Clue(Protocol):
    """Something that a file may say about itself."""

    def found(self, facts: Facts) -> str | None:
        """Say what was found, None when nothing was."""

    def asked_of(self) -> tuple[str, ...]:
        """Name the attributes that it looks at."""


@dataclass(frozen=True)
class Says:
    """A phrase is in one of the attributes; with `whole`, it is all of the text but for digits and signs.

    Letter case, accents and signs between words don't matter; a final s may be there. A star: the word may go on there.
    """

    keywords: tuple[str, ...]
    phrases: tuple[str, ...]
    whole: bool = False
    _pattern: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Compile the phrases once, as every file is asked."""
        object.__setattr__(self, "_pattern", _pattern(self.phrases, self.whole))

    def found(self, facts: Facts) -> str | None:
        """Name the attribute and the phrase."""
        for keyword in self.keywords:
            text = facts.folded(tag_of(keyword))
            if text and self._pattern.search(text):
                said = next(one for one in self.phrases if _pattern((one,), self.whole).search(text))
                return f'{keyword} says "{said.strip("*")}"'
        return None

    def asked_of(self) -> tuple[str, ...]:
        """Name the attributes."""
        return self.keywords


@dataclass(frozen=True)
class Is:
    """One of the attribute's values is one of these codes."""

    keyword: str
    values: tuple[str, ...]

    def found(self, facts: Facts) -> str | None:
        """Name the attribute and the code."""
        words = [word.strip() for word in facts.folded(tag_of(self.keyword)).split("\\")]
        code = next((value for value in self.values if value in words), None)
        return None if code is None else f"{self.keyword} is {code}"

    def asked_of(self) -> tuple[str, ...]:
        """Name the attribute."""
        return (self.keyword,)


@dataclass(frozen=True)
class Measures:
    """The attribute is one of these numbers, or not less than `at_least`."""

    keyword: str
    numbers: tuple[int, ...] = ()
    at_least: int | None = None

    def found(self, facts: Facts) -> str | None:
        """Name the attribute and the number of the table."""
        number = facts.quantity(tag_of(self.keyword))
        if number is None:
            return None
        if self.at_least is not None and number >= self.at_least:
            return f"{self.keyword} is {self.at_least} or more"
        return next((f"{self.keyword} is {one}" for one in self.numbers if one == number), None)

    def asked_of(self) -> tuple[str, ...]:
        """Name the attribute."""
        return (self.keyword,)


@dataclass(frozen=True)
class Filled:
    """One of the attributes has a value, whatever it is."""

    keywords: tuple[str, ...]

    def found(self, facts: Facts) -> str | None:
        """Name the attribute."""
        filled = (keyword for keyword in self.keywords if facts.has_text(tag_of(keyword)))
        return next((f"{keyword} is there" for keyword in filled), None)

    def asked_of(self) -> tuple[str, ...]:
        """Name the attributes."""
        return self.keywords


@dataclass(frozen=True)
class Not:
    """The opposite of a clue, and how to say it."""

    clue: Clue
    told: str

    def found(self, facts: Facts) -> str | None:
        """Say what is told, where the clue isn't found."""
        return self.told if self.clue.found(facts) is None else None

    def asked_of(self) -> tuple[str, ...]:
        """Name the clue's attributes."""
        return self.clue.asked_of()


@cache
def tag_of(keyword: str) -> int:
    """Look up the tag of a keyword; a wrong keyword is a mistake of the table."""
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise ValueError(f"{keyword} is not a keyword of DICOM's dictionary")
    return tag


def _pattern(phrases: Iterable[str], whole: bool) -> re.Pattern[str]:
    alternatives = "|".join(_expression(phrase) for phrase in phrases)
    return re.compile(rf"\A[\W\d_]*(?:{alternatives})[\W\d_]*\Z" if whole else alternatives)


def _expression(phrase: str) -> str:
    words = r"[\W_]*".join(re.escape(word) for word in folded(phrase.strip("*")).split())
    before = "" if phrase.startswith("*") else r"(?<![^\W_])"
    after = "" if phrase.endswith("*") else r"S?(?![^\W\d_])"
    return before + words + after
