"""What can be wrong with a rule file, written so that a person can fix it."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from dataclasses import dataclass

from autorthanc_spool.core.errors import SpoolError

# Below this ratio of common letters a word is something else, not a misspelling.
_SIMILARITY = 0.6

# The longest DICOM keyword has fewer letters; comparing longer words with all keywords would only take time.
_LONGEST_WORD = 80

# As much of a wrong word as a message needs.
_QUOTED_CHARACTERS = 60


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong. Line 0 stands for the file as a whole, an empty field for no field in particular.

    A text quotes keys, keywords and words of the file, but no values that tags are compared with: those may name a
    patient, and problems are logged.
    """

    line: int
    field: str
    found: str
    expected: str
    hint: str | None = None

    def __str__(self) -> str:
        field = f"{self.field}: " if self.field else ""
        hint = f"; {self.hint}" if self.hint else ""
        return f"{field}found {self.found}, expected {self.expected}{hint}"


@dataclass(frozen=True)
class Refusal:
    """Why a value that is written rightly can't be taken here, where only the settings or the machine can tell."""

    found: str
    expected: str
    hint: str | None = None


class RuleError(SpoolError):
    """A rule file is invalid: all its problems, in the order of their lines.

    `is_off` says that the file, with all its problems, makes clear that the rule isn't active.
    """

    def __init__(self, file: str, problems: Iterable[Problem], *, is_off: bool = False) -> None:
        self.file = "".join(character if character.isprintable() else "\ufffd" for character in file)
        self.problems = tuple(sorted(problems, key=lambda problem: problem.line))
        self.is_off = is_off
        super().__init__("\n".join(self._line(problem) for problem in self.problems))

    def _line(self, problem: Problem) -> str:
        place = f"{self.file}:{problem.line}" if problem.line else self.file
        return f"{place}: {problem}"


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """Find the candidate that the word is a misspelling of; letter case counts for nothing."""
    if len(word) > _LONGEST_WORD:
        return None
    spelled = {candidate.lower(): candidate for candidate in candidates}
    found = difflib.get_close_matches(word.lower(), spelled, n=1, cutoff=_SIMILARITY)
    return spelled[found[0]] if found else None


def did_you_mean(word: str, candidates: Iterable[str]) -> str | None:
    """Say the nearest correct spelling, or nothing."""
    found = nearest(word, candidates)
    return f"did you mean {quoted(found)}?" if found else None


def one_of(words: Iterable[str]) -> str:
    """Say a choice: ``"Study" or "Series"``."""
    *others, last = [quoted(word) for word in words]
    return f"{', '.join(others)} or {last}" if others else last


def quoted(word: str) -> str:
    """Quote a word of the file as JSON does, in one line that shows every character."""
    cut = word if len(word) <= _QUOTED_CHARACTERS else word[:_QUOTED_CHARACTERS] + "…"
    return json.dumps(cut, ensure_ascii=not cut.isprintable())
