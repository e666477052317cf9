"""What a condition asks of a value: one class for each kind.

A test is asked of values that aren't empty: an absent or empty value passes none. `key` is what the kind is called in
a rule file, `wanted` how it is written there. `kinds` has the table of how each is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any, Protocol

from autorthanc_spool.rules import patterns, values
from autorthanc_spool.rules.values import Value, comparable

Moment = Decimal | date | time


class Asked(Protocol):
    """A kind of condition."""

    @property
    def wanted(self) -> Mapping[str, Any]:
        """As it is written in a rule file."""

    @property
    def is_negative(self) -> bool:
        """Whether it asks that there be no such value."""

    def passes(self, value: Value, today: date) -> bool:
        """Whether a value that isn't empty is what it asks for."""


@dataclass(frozen=True)
class _Positive:
    """What all but one have in common."""

    @property
    def is_negative(self) -> bool:
        """It asks for a value."""
        return False


@dataclass(frozen=True)
class Contains(_Positive):
    """`Value`: the value contains the text."""

    value: str
    _compared: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_compared", comparable(self.value))

    @property
    def wanted(self) -> Mapping[str, Any]:
        """Give the condition as a rule file has it."""
        return {"Value": self.value}

    def passes(self, value: Value, today: date) -> bool:  # noqa: ARG002 - others count days from it
        """Whether it contains the text."""
        return self._compared in value.comparable


@dataclass(frozen=True)
class ContainsAny(_Positive):
    """`AnyOf`: the value contains one of the texts."""

    texts: tuple[str, ...]
    _compared: tuple[str, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_compared", tuple(map(comparable, self.texts)))

    @property
    def wanted(self) -> Mapping[str, Any]:
        """Give the condition as a rule file has it."""
        return {"AnyOf": list(self.texts)}

    def passes(self, value: Value, today: date) -> bool:  # noqa: ARG002
        """Whether it contains one of them."""
        return any(one in value.comparable for one in self._compared)


@dataclass(frozen=True)
class Equals(_Positive):
    """`Equals`: the whole value, or the whole of one of several, is one of the texts; by what it means in its VR."""

    texts: tuple[str, ...]
    vr: str
    _same: frozenset[frozenset[object]] = field(init=False, repr=False, compare=False)
    _any: frozenset[object] = field(init=False, repr=False, compare=False)
    _wholes: frozenset[tuple[frozenset[object], ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        wanted = [comparable(text).strip(values.PADDING) for text in self.texts]
        single = [values.meanings(one, self.vr) for one in wanted]
        same = frozenset(one[0] for one in single if len(one) == 1)
        object.__setattr__(self, "_same", same)
        object.__setattr__(self, "_any", frozenset().union(*same))
        object.__setattr__(self, "_wholes", frozenset(one for one in single if len(one) > 1))

    @property
    def wanted(self) -> Mapping[str, Any]:
        """Give the condition as a rule file has it."""
        return {"Equals": self.texts[0] if len(self.texts) == 1 else list(self.texts)}

    def passes(self, value: Value, today: date) -> bool:  # noqa: ARG002
        """Whether it, or one of its values, is one of them."""
        found = value.meanings(self.vr)
        for one in found:
            if not one.isdisjoint(self._any) and (
                self.vr != "PN" or any(self._agree(one, same) for same in self._same)
            ):
                return True
        if not self._wholes:
            return False
        return any(
            len(found) == len(whole) and all(self._agree(one, wanted) for one, wanted in zip(found, whole, strict=True))
            for whole in self._wholes
        )

    def _agree(self, found: frozenset[object], wanted: Any) -> bool:
        if self.vr != "PN":
            return not found.isdisjoint(wanted)
        # A name that is asked for whole must be there whole; a component group, as one of the groups.
        return max(wanted, key=len, default="") in found


@dataclass(frozen=True)
class Matches(_Positive):
    """`Matches`: a regular expression is found in the value."""

    pattern: str
    compiled: Any = field(repr=False, compare=False)

    @property
    def wanted(self) -> Mapping[str, Any]:
        """Give the condition as a rule file has it."""
        return {"Matches": self.pattern}

    def passes(self, value: Value, today: date) -> bool:  # noqa: ARG002
        """Whether it is found."""
        return patterns.search(self.compiled, value.without_padding)


@dataclass(frozen=True)
class Bound:
    """A limit as it is written, and what it means: a number, a day, a time, or so many days before today."""

    text: str
    moment: Moment | timedelta

    def on(self, today: date) -> Moment:
        """The limit on this day."""
        if not isinstance(self.moment, timedelta):
            return self.moment
        return date.min if self.moment.days >= today.toordinal() else today - self.moment

    @property
    def kind(self) -> type:
        """What it is compared with."""
        return date if isinstance(self.moment, timedelta) else type(self.moment)


@dataclass(frozen=True)
class Within(_Positive):
    """`AtLeast` and `AtMost`: one of the values lies between them, both included."""

    at_least: Bound | None
    at_most: Bound | None
    vr: str

    @property
    def wanted(self) -> Mapping[str, Any]:
        """Give the condition as a rule file has it."""
        both = {"AtLeast": self.at_least, "AtMost": self.at_most}
        return {key: bound.text for key, bound in both.items() if bound}

    def passes(self, value: Value, today: date) -> bool:
        """Whether one of the values does."""
        return any(self._holds(one, today) for one in values.parts(value.text, self.vr))

    def _holds(self, text: str, today: date) -> bool:
        return all(
            self._compares(text, bound, today, is_least)
            for bound, is_least in ((self.at_least, True), (self.at_most, False))
            if bound
        )

    def _compares(self, text: str, bound: Bound, today: date, is_least: bool) -> bool:
        found = _read(text, bound.kind, self.vr)
        limit: Any = bound.on(today)
        if isinstance(limit, Decimal):
            limit = values.number(str(limit), self.vr)
        if found is None or limit is None:
            return False
        return bool(found >= limit if is_least else found <= limit)


@dataclass(frozen=True)
class Present:
    """`Present`: there is a value; or, with `false`, there is none."""

    is_there: bool

    @property
    def wanted(self) -> Mapping[str, Any]:
        """Give the condition as a rule file has it."""
        return {"Present": self.is_there}

    @property
    def is_negative(self) -> bool:
        """Whether there must be none."""
        return not self.is_there

    def passes(self, value: Value, today: date) -> bool:  # noqa: ARG002
        """Whether there is one, which is so."""
        return True


def _read(text: str, kind: type, vr: str) -> Any:
    if kind is Decimal:
        return values.number(text, vr)
    return values.day(text) if kind is date else values.hour(text)
