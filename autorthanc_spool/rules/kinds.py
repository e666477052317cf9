"""The kinds of conditions: one row each, with its keys, and how what is written there becomes a test of `asked`.

The reader, the JSON Schema, docs/rules.md and what `explain` shows follow from this table.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from autorthanc_spool.rules import patterns, values
from autorthanc_spool.rules.asked import Asked, Bound, Contains, ContainsAny, Equals, Matches, Moment, Present, Within
from autorthanc_spool.rules.forms import FLAG, TEXT, Field, Form, Schema, either_way, whole_text
from autorthanc_spool.rules.located_json import Array, Number
from autorthanc_spool.rules.patterns import NotAPattern
from autorthanc_spool.rules.reader import Item, Reader

Members = Mapping[str, Item]

_DAYS_AGO = re.compile(r"-(\d{1,5})d")
_NEARLY_DAYS = re.compile(r"-?\s*(\d{1,4})\s*([dw])(?:ays?|eeks?)?", re.IGNORECASE)
_NEARLY_DATE = re.compile(r"\d{1,4}[-/. ]\d{1,2}[-/. ]\d{1,4}")
_ISO_DATE = re.compile(r"\d{4}-?\d\d-?\d\d")
_CLOCK = r"\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?"
_BOUND = rf"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{{1,3}})?|\d{{4}}-\d\d-\d\d|-\d{{1,5}}d|{_CLOCK}"
_EXPECTED = "a number, a date (YYYY-MM-DD, or -30d for 30 days ago) or a time (HH:MM or HH:MM:SS)"


@dataclass(frozen=True)
class Tag:
    """What a condition is about: its name as written, its VR, and whether its text may have control characters."""

    name: str
    vr: str
    is_free_text: bool


@dataclass(frozen=True)
class Kind:
    """A kind of condition: its keys, any one of which makes it, and how they are read."""

    keys: tuple[Field[Any], ...]
    read: Callable[[Reader, Members, Tag], Asked | None]


def _texts(reader: Reader, item: Item) -> tuple[str, ...] | None:
    """A list of texts that isn't empty."""
    items = reader.items(item)
    if items is not None and not items:
        reader.wrong(item, "at least one text", found="an empty list")
    found = [reader.text(one) for one in items or ()]
    return tuple(one for one in found if one is not None) or None


def _text_or_texts(reader: Reader, item: Item) -> tuple[str, ...] | None:
    if isinstance(item.node.value, Array):
        return _texts(reader, item)
    found = reader.text(item)
    return None if found is None else (found,)


def _pattern(reader: Reader, item: Item) -> Matches | None:
    text = reader.text(item)
    if text is None:
        return None
    try:
        return Matches(text, patterns.compiled(text))
    except NotAPattern as error:
        # The pattern itself isn't quoted: it may name a patient.
        found = f"at character {error.position} of the pattern {error.found}"
        reader.wrong(item, "a regular expression of RE2", error.hint, found=found)
        return None


def _bound(reader: Reader, item: Item) -> Bound | None:
    value = item.node.value
    text = value.text if isinstance(value, Number) else value
    if not isinstance(text, str):
        reader.wrong(item, _EXPECTED)
        return None
    if days := _DAYS_AGO.fullmatch(text):
        return Bound(text, timedelta(days=int(days[1])))
    moment: Moment | None = None
    if re.fullmatch(_BOUND, text):
        readings = (values.number(text), values.day(text), values.hour(text))
        moment = next((one for one in readings if one is not None), None)
    if moment is None:
        reader.wrong(item, _EXPECTED, _bound_hint(text), found="text that is none of these")
        return None
    return Bound(text, moment)


def _bound_hint(text: str) -> str | None:
    # A date isn't quoted: it may be somebody's birth date.
    if nearly := _NEARLY_DAYS.fullmatch(text.strip()):
        days = int(nearly[1]) * (7 if nearly[2].lower() == "w" else 1)
        return f'did you mean "-{days}d"?'
    if _ISO_DATE.fullmatch(text):
        return "the calendar has no such day"
    if _NEARLY_DATE.fullmatch(text.strip()):
        return 'write year, month and day as "2026-01-31"'
    if re.fullmatch(r"\d{1,2}[:.h]\d\d.*", text.strip()):
        return 'write "09:30"'
    if re.fullmatch(r"\d+,\d+", text.strip()):
        return "write a point in place of the comma"
    return "write the number without a unit" if re.match(r"[<>=]*\s*\d", text) else None


_VALUE = Field("Value", TEXT, None, "Text that the tag's value must contain, in any letter case. Empty: the tag must "
               "have a value.")  # fmt: skip
_ANY_OF = Field(
    "AnyOf",
    Form(_texts, lambda: {"type": "array", "minItems": 1, "items": TEXT.schema()}),
    None,
    "A list of texts: the tag's value must contain one of them.",
)
_EQUALS = Field(
    "Equals",
    Form(_text_or_texts, lambda: either_way(TEXT.schema())),
    None,
    "A text or a list: the whole value, or the whole of one of several values, must be one of them. Numbers, dates "
    "and times are compared by what they mean, names by their component groups.",
)
_MATCHES = Field(
    "Matches",
    Form(_pattern, lambda: {"type": "string"}),
    None,
    "A regular expression of RE2 that must be found in the value, in any letter case.",
)


def _bound_schema() -> Schema:
    return {"anyOf": [{"type": "number"}, {"type": "string", "pattern": whole_text(_BOUND)}]}


_AT_LEAST = Field(
    "AtLeast",
    Form(_bound, _bound_schema),
    None,
    "A number, a date (2026-01-31, or -30d for 30 days ago) or a time (09:30): one of the values isn't below it.",
)
_AT_MOST = Field("AtMost", Form(_bound, _bound_schema), None, "The same as an upper limit; both may be there.")
_PRESENT = Field("Present", FLAG, None, "true: the tag must have a value. false: it must be absent or empty.")


def _contains(reader: Reader, members: Members, tag: Tag) -> Asked | None:
    value = _VALUE.take(reader, members)
    if value is None:
        return None
    _check_controls(reader, members["Value"], tag, (value,))
    return Contains(value)


def _contains_any(reader: Reader, members: Members, tag: Tag) -> Asked | None:
    texts = _ANY_OF.take(reader, members)
    if texts is None:
        return None
    _check_controls(reader, members["AnyOf"], tag, texts)
    return ContainsAny(texts)


def _equals(reader: Reader, members: Members, tag: Tag) -> Asked | None:
    texts = _EQUALS.take(reader, members)
    if texts is None:
        return None
    _check_controls(reader, members["Equals"], tag, texts)
    return Equals(texts, tag.vr)


def _matches(reader: Reader, members: Members, tag: Tag) -> Asked | None:  # noqa: ARG001 - others need the tag
    return _MATCHES.take(reader, members)


def _between(reader: Reader, members: Members, tag: Tag) -> Asked | None:
    at_least, at_most = _AT_LEAST.take(reader, members), _AT_MOST.take(reader, members)
    if at_least and at_most and at_least.kind is not at_most.kind:
        found = "a limit of another kind than AtLeast"
        reader.wrong(members["AtMost"], "two numbers, two dates or two times", found=found)
    return Within(at_least, at_most, tag.vr) if at_least or at_most else None


def _present(reader: Reader, members: Members, tag: Tag) -> Asked | None:  # noqa: ARG001
    found = _PRESENT.take(reader, members)
    return None if found is None else Present(found)


def _check_controls(reader: Reader, item: Item, tag: Tag, texts: tuple[str, ...]) -> None:
    if not tag.is_free_text and any(unicodedata.category(character) == "Cc" for text in texts for character in text):
        hint = r"a backslash is written twice: \\; \n, \t and the like stand for line breaks and tabs"
        reader.wrong(item, f"text that {tag.name} can hold", hint, found="a control character")


KINDS = (
    Kind((_VALUE,), _contains),
    Kind((_ANY_OF,), _contains_any),
    Kind((_EQUALS,), _equals),
    Kind((_MATCHES,), _matches),
    Kind((_AT_LEAST, _AT_MOST), _between),
    Kind((_PRESENT,), _present),
)
FIELDS = tuple(field for kind in KINDS for field in kind.keys)


def asked_for(members: Members) -> list[tuple[Kind, str]]:
    """The kinds that the members of a condition ask for, each with the key that does."""
    found = [(kind, next((one.key for one in kind.keys if one.key in members), "")) for kind in KINDS]
    return [(kind, key) for kind, key in found if key]


def schema() -> Schema:
    """Exactly one kind."""
    return {"oneOf": [{"anyOf": [{"required": [field.key]} for field in kind.keys]} for kind in KINDS]}
