"""How the fields of a rule file are written: each once, for the reader and for the JSON Schema that editors use.

A `Field` is a row: key, form, default, description. `take` reads it; `schema` turns rows into JSON Schema (draft-07).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from autorthanc_spool.rules.reader import Item, Reader, take

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

Schema = Mapping[str, Any]


@dataclass(frozen=True)
class Form(Generic[T_co]):
    """How a value is written. `read` notes what is wrong and gives None; `schema` is made when it is asked for."""

    read: Callable[[Reader, Item], T_co | None]
    schema: Callable[[], Schema]


@dataclass(frozen=True)
class Field(Generic[T_co]):
    """A key of an object: the row from which it is read, and described to editors."""

    key: str
    form: Form[T_co]
    default: T_co
    description: str
    required: bool = False

    def take(self, reader: Reader, members: Mapping[str, Item]) -> T_co:
        """Read it; what is missing or wrong gives the default."""
        return take(members, self.key, lambda item: self.form.read(reader, item), self.default)

    def schema(self) -> Schema:
        """Describe it, with the default where JSON can say it."""
        is_shown = isinstance(self.default, bool) or (isinstance(self.default, str) and self.default != "")
        shown = {"default": self.default} if is_shown and not self.required else {}
        return {"description": self.description, **self.form.schema(), **shown}


FLAG = Form(Reader.flag, lambda: {"type": "boolean"})
TEXT = Form(Reader.text, lambda: {"type": "string"})


def matching(pattern: str, expected: str, hint: str | None = None) -> Form[str]:
    """Text of a certain form; the pattern means the same in Python and in ECMA-262, so it sets no flags."""
    whole = re.compile(pattern)
    return Form(
        lambda reader, item: reader.matching(item, whole, expected, hint),
        lambda: {"type": "string", "pattern": whole_text(pattern)},
    )


def word(words: Mapping[str, T]) -> Form[T]:
    """One of some words, exactly so."""
    return Form(lambda reader, item: reader.word(item, words), lambda: {"enum": list(words)})


def word_in_any_case(words: Mapping[str, T]) -> Form[T]:
    """One of some words in any letter case."""
    return Form(lambda reader, item: reader.word(item, words, any_case=True), lambda: in_any_case(words))


def one_or_more(form: Form[T]) -> Form[tuple[T, ...]]:
    """One value, or a list of them that isn't empty."""

    def read(reader: Reader, item: Item) -> tuple[T, ...] | None:
        items = reader.one_or_more(item)
        return None if items is None else _each(form, reader, items)

    return Form(read, lambda: either_way(form.schema()))


def list_of(form: Form[T]) -> Form[tuple[T, ...]]:
    """A list, which may be empty."""

    def read(reader: Reader, item: Item) -> tuple[T, ...] | None:
        items = reader.items(item)
        return None if items is None else _each(form, reader, items)

    return Form(read, lambda: {"type": "array", "items": form.schema()})


def _each(form: Form[T], reader: Reader, items: Iterable[Item]) -> tuple[T, ...]:
    found = [form.read(reader, one) for one in items]
    return tuple(one for one in found if one is not None)


def keys(fields: Iterable[Field[Any]]) -> tuple[str, ...]:
    """The keys of an object."""
    return tuple(field.key for field in fields)


def required(fields: Iterable[Field[Any]]) -> tuple[str, ...]:
    """The keys that must be there."""
    return tuple(field.key for field in fields if field.required)


def object_schema(fields: Iterable[Field[Any]]) -> Schema:
    """An object with these fields, and notes, which may be anything."""
    listed = list(fields)
    needed = {"required": list(required(listed))} if required(listed) else {}
    return with_notes({field.key: field.schema() for field in listed}) | needed


def with_notes(properties: Mapping[str, Schema]) -> dict[str, Any]:
    """An object with these properties and no others but notes."""
    return {
        "type": "object",
        "additionalProperties": False,
        "patternProperties": {"^_": {"description": "A note for people; it means nothing to the program."}},
        "properties": {"$schema": {}, **properties},
    }


def either_way(schema: Schema) -> Schema:
    """One of what `schema` describes, or a list of at least one."""
    return {"anyOf": [schema, {"type": "array", "minItems": 1, "items": schema}]}


def in_any_case(words: Iterable[str]) -> Schema:
    """Words in any letter case; the list is what an editor offers."""
    listed = list(words)
    spelled = "|".join("".join(f"[{letter.upper()}{letter.lower()}]" for letter in one) for one in listed)
    return {"type": "string", "anyOf": [{"enum": listed}, {"pattern": whole_text(spelled)}]}


def whole_text(pattern: str) -> str:
    """Have a pattern match a text from its beginning to its end."""
    # `$` would let a line break pass in Python, and `\Z` is unknown to ECMA-262.
    return rf"^(?:{pattern})(?![\s\S])"
