"""Take values out of parsed JSON by what they must be, and collect what is wrong instead of stopping at it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from autorthanc_spool.rules.located_json import Array, Node, Number, Object
from autorthanc_spool.rules.problems import Problem, did_you_mean, nearest, one_of, quoted

T = TypeVar("T")

# Looking for the nearest spelling takes up to 50 ms: a file with more mistakes than this isn't a misspelled rule.
_MAX_HINTS = 50

_PLAIN_KEY = re.compile(r"\$?\w+")


@dataclass(frozen=True)
class Item:
    """A value and the path to it, as ``Tags[1].TagName``."""

    field: str
    node: Node


class Reader:
    """Checks values one by one; one that is wrong reads as None, and a problem is noted."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self._hints = 0

    def note(self, line: int, field: str, found: str, expected: str, hint: str | None = None) -> None:
        """Note a problem."""
        self.problems.append(Problem(line, field, found, expected, hint))

    def wrong(self, item: Item, expected: str, hint: str | None = None, found: str | None = None) -> None:
        """Note that a value isn't what it must be; unless `found` is given, its kind is named and not its content."""
        self.note(item.node.line, item.field, found or _kind(item.node), expected, hint)

    def hint(self, make: Callable[[], str | None]) -> str | None:
        """Make a hint that takes time, unless many were made."""
        self._hints += 1
        return make() if self._hints <= _MAX_HINTS else None

    def members(
        self,
        item: Item,
        keys: Sequence[str],
        required: Iterable[str] = (),
        expected: str | None = None,
        elsewhere: Mapping[str, str] | None = None,
    ) -> dict[str, Item]:
        """Take the members of an object without the notes; keys must be known, and be there once.

        `elsewhere` has hints for keys that belong in another object.
        """
        if not isinstance(item.node.value, Object):
            self.wrong(item, "an object: {…}")
            return {}
        found: dict[str, Item] = {}
        lines: dict[str, int] = {}
        for member in item.node.value.members:
            field = _path(item.field, member.key)
            if member.key in lines:
                where = f"it once, and it is in line {lines[member.key]} already"
                self.note(member.line, field, "a repeated key", where, "delete one of the two")
                continue
            lines[member.key] = member.line
            if member.key in keys:
                found[member.key] = Item(field, member.node)
            elif not is_note(member.key):
                hint = self.hint(partial(_meant, member.key, keys, elsewhere or {}))
                self.note(member.line, field, "an unknown key", expected or one_of(keys), hint)
        for key in required:
            if key not in lines:
                self.note(item.node.line, _path(item.field, key), "nothing", "this key, which must be there")
        return found

    def items(self, item: Item) -> list[Item] | None:
        """Take the values of a list."""
        if not isinstance(item.node.value, Array):
            self.wrong(item, "a list: […]")
            return None
        return [Item(f"{item.field}[{index}]", node) for index, node in enumerate(item.node.value.items)]

    def one_or_more(self, item: Item) -> list[Item] | None:
        """Take one value, or the values of a list that isn't empty."""
        if not isinstance(item.node.value, Array):
            return [item]
        if not item.node.value.items:
            self.wrong(item, "at least one entry", found="an empty list")
            return None
        return self.items(item)

    def text(self, item: Item) -> str | None:
        """Take text."""
        value = item.node.value
        if isinstance(value, str):
            return value
        is_bare = isinstance(value, Number | bool)
        self.wrong(item, "text in quotes", "write it in double quotes" if is_bare else None)
        return None

    def matching(self, item: Item, pattern: re.Pattern[str], expected: str, hint: str | None = None) -> str | None:
        """Take text of a certain form."""
        found = self.text(item)
        if found is None or pattern.fullmatch(found):
            return found
        self.wrong(item, expected, hint, found=quoted(found))
        return None

    def flag(self, item: Item) -> bool | None:
        """Take true or false."""
        value = item.node.value
        if isinstance(value, bool):
            return value
        is_quoted = isinstance(value, str) and value.lower() in ("true", "false")
        self.wrong(item, "true or false", "write it without quotes" if is_quoted else None)
        return None

    def word(self, item: Item, words: Mapping[str, T], *, any_case: bool = False) -> T | None:
        """Take one of some words, and give what it stands for."""
        found = self.text(item)
        if found is None:
            return None
        spelled = {word.lower(): meaning for word, meaning in words.items()} if any_case else words
        key = found.lower() if any_case else found
        if key in spelled:
            return spelled[key]
        self.wrong(item, one_of(words), self.hint(partial(did_you_mean, found, words)), found=quoted(found))
        return None


def take(members: Mapping[str, Item], key: str, read: Callable[[Item], T | None], default: T) -> T:
    """Read a member; what is missing or wrong gives the default."""
    found = read(members[key]) if key in members else None
    return default if found is None else found


def _meant(key: str, keys: Iterable[str], elsewhere: Mapping[str, str]) -> str | None:
    found = nearest(key, [*elsewhere, *keys])
    return elsewhere.get(found or "") or did_you_mean(key, keys)


def is_note(key: str) -> bool:
    """Whether a key is for people or editors, and means nothing here."""
    return key.startswith("_") or key == "$schema"


def _path(parent: str, key: str) -> str:
    name = key if _PLAIN_KEY.fullmatch(key) else quoted(key)
    return f"{parent}.{name}" if parent else name


def _kind(node: Node) -> str:
    match node.value:
        case True:
            return "true"
        case False:
            return "false"
        case None:
            return "null"
        case Number():
            return "a number"
        case Array():
            return "a list"
        case Object():
            return "an object"
        case _:
            return "text"
