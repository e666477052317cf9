"""A file of `pixel_regions/`: what is written into the pixels of one device and layout, and where.

Bytes → `PixelRegions`, or everything that is wrong with them. Conditions are those of rules, asked of one image's own
top level. docs/anonymise.md describes the format.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, NamedTuple

from autorthanc_spool.rules import computed, fields
from autorthanc_spool.rules.asked import Within
from autorthanc_spool.rules.file import root_of, says_off
from autorthanc_spool.rules.forms import TEXT, Field, Form, Schema, keys, list_of, object_schema, required, word
from autorthanc_spool.rules.located_json import Array, Number
from autorthanc_spool.rules.model import Condition
from autorthanc_spool.rules.problems import RuleError
from autorthanc_spool.rules.reader import Item, Reader

FOLDER = "pixel_regions"

# VR US, in which Rows and Columns are (PS3.5 section 6.2).
_MOST_PIXELS = 65535
_WHOLE_NUMBER = re.compile(r"0|[1-9][0-9]{0,4}")


class Area(NamedTuple):
    """A rectangle of an image, in pixels from its upper left corner."""

    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True)
class PixelRegions:
    """What is known of the images that pass all conditions.

    Exactly one of these says something: `black_out` are the areas where text is, and the rest is clean; `keep` are the
    clean areas, and all around them is blacked out; `image` says that all of it is clean, or must be withheld.
    """

    name: str
    conditions: tuple[Condition, ...]
    black_out: tuple[Area, ...] = ()
    keep: tuple[Area, ...] = ()
    image: Literal["clean", "withhold"] | None = None
    is_active: bool = False
    comment: str = ""

    @property
    def file(self) -> str:
        """The file, as messages name it."""
        return f"{FOLDER}/{self.name}.json"


def _pixels(least: int) -> Form[int]:
    expected = f"a whole number of pixels, from {least} to {_MOST_PIXELS}"

    def read(reader: Reader, item: Item) -> int | None:
        value = item.node.value
        if not isinstance(value, Number):
            hint = "write it without quotes" if isinstance(value, str) and value.strip().isdigit() else None
            reader.wrong(item, expected, hint)
            return None
        if not _WHOLE_NUMBER.fullmatch(value.text) or not least <= int(value.text) <= _MOST_PIXELS:
            reader.wrong(item, expected, found=value.text if len(value.text) < len(expected) else None)
            return None
        return int(value.text)

    return Form(read, lambda: {"type": "integer", "minimum": least, "maximum": _MOST_PIXELS})


_AREA = (
    Field("Left", _pixels(0), 0, "Pixels from the left edge of the image.", required=True),
    Field("Top", _pixels(0), 0, "Pixels from its upper edge.", required=True),
    Field("Width", _pixels(1), 1, "How many pixels wide.", required=True),
    Field("Height", _pixels(1), 1, "How many pixels high.", required=True),
)
AREA_KEYS = keys(_AREA)


def _area(reader: Reader, item: Item) -> Area | None:
    before = len(reader.problems)
    members = reader.members(item, AREA_KEYS, required=required(_AREA))
    area = Area(*(field.take(reader, members) for field in _AREA))
    return area if len(reader.problems) == before else None


_AREAS = list_of(Form(_area, lambda: object_schema(_AREA)))


def _some_areas(reader: Reader, item: Item) -> tuple[Area, ...] | None:
    if isinstance(item.node.value, Array) and not item.node.value.items:
        reader.wrong(item, "at least one rectangle", '"Image": "clean" says that nothing is to be blacked out',
                     found="an empty list")  # fmt: skip
        return None
    return _AREAS.read(reader, item)


_FORM = Form(_some_areas, lambda: {**_AREAS.schema(), "minItems": 1})
_WORDS: dict[str, Literal["clean", "withhold"]] = {"clean": "clean", "withhold": "withhold"}

_BLACK_OUT: Field[tuple[Area, ...]] = Field(
    "BlackOut", _FORM, (), "Rectangles that are blacked out in every frame; the rest of the image shows no name."
)
_KEEP: Field[tuple[Area, ...]] = Field(
    "KeepOnly", _FORM, (), "Rectangles that stay; all around them is blacked out in every frame."
)
_IMAGE: Field[Literal["clean", "withhold"] | None] = Field(
    "Image", word(_WORDS), None, "clean: no pixel of the image shows a name. withhold: such images never leave."
)
DECIDING = (_BLACK_OUT, _KEEP, _IMAGE)

_IS_ACTIVE = Field("IsActive", fields.IS_ACTIVE.form, False, "The file counts only if this is true.")
_COMMENT = Field("Comment", TEXT, "", "Which device and layout this is, who looked at it, and when.")
_TAGS = Field(
    "Tags",
    Form(fields.TAGS.form.read, lambda: {**fields.TAGS.form.schema(), "minItems": 1}),
    (),
    "Every one must pass, asked of the image itself.",
    required=True,
)
ROWS: tuple[Field[Any], ...] = (_IS_ACTIVE, _COMMENT, _TAGS, *DECIDING)
KEYS = keys(ROWS)


def parse_regions(name: str, data: bytes) -> PixelRegions:
    """Read the content of pixel_regions/NAME.json. Raises RuleError with all problems at once."""
    reader = Reader()
    root = root_of(reader, data)
    found = _regions(reader, name, root) if root else None
    if found is None or reader.problems:
        is_off = root is not None and says_off(root, KEYS)
        raise RuleError(f"{FOLDER}/{name}.json", reader.problems, is_off=is_off)
    return found


def _regions(reader: Reader, name: str, root: Item) -> PixelRegions:
    members = reader.members(root, KEYS, required=required(ROWS))
    conditions = _TAGS.take(reader, members)
    if "Tags" in members:
        _check_conditions(reader, members["Tags"], conditions)
    asked = [field.key for field in DECIDING if field.key in members]
    if len(asked) > 1:
        reader.wrong(members[asked[1]], "one of them", "write one file for each", found=" and ".join(asked))
    elif not asked and members:
        hint = "they say what is done with the image"
        reader.note(root.node.line, "", "none of BlackOut, KeepOnly and Image", "exactly one of them", hint)
    return PixelRegions(
        name,
        conditions,
        black_out=_BLACK_OUT.take(reader, members),
        keep=_KEEP.take(reader, members),
        image=_IMAGE.take(reader, members),
        is_active=_IS_ACTIVE.take(reader, members),
        comment=_COMMENT.take(reader, members),
    )


def _check_conditions(reader: Reader, item: Item, conditions: Sequence[Condition]) -> None:
    listed = item.node.value.items if isinstance(item.node.value, Array) else ()
    if isinstance(item.node.value, Array) and not listed:
        reader.wrong(item, "at least one condition", "without one, it would be said of every image",
                     found="an empty list")  # fmt: skip
    if len(conditions) != len(listed):
        return
    for number, (condition, node) in enumerate(zip(conditions, listed, strict=True)):
        place = Item(f"{item.field}[{number}]", node)
        if condition.keyword in computed.ATTRIBUTES:
            reader.wrong(place, "an attribute that is in the image", found=f"{condition.keyword}, which is in no file")
        if isinstance(condition.asked, Within) and any(
            bound and isinstance(bound.moment, timedelta)
            for bound in (condition.asked.at_least, condition.asked.at_most)
        ):
            hint = "the same image must leave in the same way on any day"
            reader.wrong(place, "a date in the calendar", hint, found="a number of days before today")


def warnings(found: PixelRegions) -> tuple[str, ...]:
    """What is valid, and a person should look at again."""
    asked = {one.keyword for one in found.conditions if not one.is_negated}
    missing = [keyword for keyword in ("Rows", "Columns") if keyword not in asked]
    if missing and (found.black_out or found.keep):
        return (
            f"no condition on {' and '.join(missing)}: rectangles are right for one size of image only; "
            "images that don't contain a rectangle completely are withheld",
        )
    return ()


def schema() -> dict[str, Any]:
    """Describe such a file to editors (JSON Schema, draft-07)."""
    one_of: list[Mapping[str, Any]] = [{"required": [field.key]} for field in DECIDING]
    described: Schema = object_schema(ROWS)
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Pixel regions of autorthanc-spool",
        "description": "What is written into the pixels of one device and layout, and where. docs/anonymise.md says "
        "more; `autorthanc-spool check` also finds what a schema can't. Generated by `make schema`.",
        **described,
        "oneOf": one_of,
    }


def text() -> str:
    """The schema as it is shipped."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"
