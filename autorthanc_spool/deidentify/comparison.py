"""A file before and after, attribute by attribute, and why each is as it is: for a person who looks.

The values are a patient's: they go to the terminal of whoever asked, and nowhere else.
"""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydicom import dcmread
from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException

from autorthanc_spool.deidentify.elements import tag_text
from autorthanc_spool.deidentify.private import is_private
from autorthanc_spool.deidentify.reader import PIXEL_DATA, known_vr
from autorthanc_spool.deidentify.table import Code, table
from autorthanc_spool.rules.model import AnonymiseOptions

# What every anonymised file gets: PatientName, PatientID, StudyID, and what says how it was anonymised.
_OF_EVERY_FILE = frozenset({0x00100010, 0x00100020, 0x00200010, 0x00120062, 0x00120063, 0x00120064, 0x00280303})
_BURNED_IN, _DERIVATION = 0x00280301, 0x00082111
_MASK = "ANONYMISED"
_OWN = "what every anonymised file gets"

_DONE = {
    Code.REMOVE: "removed",
    Code.EMPTY: "made empty",
    Code.DUMMY: "replaced by a dummy",
    Code.REPLACE_UIDS: "replaced by a new UID",
    Code.KEEP: "stays",
    Code.CLEAN: "stays where it names nobody",
}


@dataclass(frozen=True)
class Compared:
    """One attribute: where it is, its values as text, None where it isn't there, and why."""

    place: str
    keyword: str
    before: str | None
    after: str | None
    why: str

    @property
    def change(self) -> str:
        """What happened to it, in a word."""
        if self.before == self.after:
            return "same"
        if self.before is None:
            return "added"
        return "removed" if self.after is None else "changed"


def compared(before: bytes, after: bytes, options: AnonymiseOptions) -> list[Compared]:
    """Compare two files; pixel data are named by their size."""
    with warnings.catch_warnings():
        # pydicom's warnings show values.
        warnings.simplefilter("ignore")
        one, other = (dict(_elements(dcmread(io.BytesIO(data), force=True), ())) for data in (before, after))
    found = []
    for place in sorted({*one, *other}):
        tag = place[-1]
        keyword, old = one.get(place, ("", None))
        keyword, new = other.get(place, (keyword, None))
        why = _OWN if place[0] in _OF_EVERY_FILE else _why(tag, options, old, new)
        found.append(Compared(_written(place), keyword, old, new, why))
    return found


# What pydicom raises for a value that isn't what its VR asks for.
_UNREADABLE = (
    *(BytesLengthException, ArithmeticError, LookupError, ValueError, OSError, EOFError, NotImplementedError),
    struct.error,
)

# Tags and numbers of items, from the top level on.
_Place = tuple[int, ...]


def _elements(data: Dataset, within: _Place) -> Iterator[tuple[_Place, tuple[str, str]]]:
    for tag in sorted(data.keys()):
        if tag.group == 2 or tag.element == 0:
            continue
        place = (*within, int(tag))
        try:
            element = data[tag]
        except _UNREADABLE:
            # What pydicom says of it may show the value.
            raw = data.get_item(tag)
            size = len(getattr(raw, "value", None) or b"")
            yield place, (keyword_for_tag(tag) or tag_text(tag), f"{size} bytes that can't be read as {raw.VR}")
            continue
        keyword = element.keyword or element.name
        if element.VR == "SQ":
            yield place, (keyword, f"{len(element.value)} items")
            for number, item in enumerate(element.value):
                yield from _elements(item, (*place, number))
        else:
            yield place, (keyword, _text(element))


def _text(element: Any) -> str:
    value = element.value
    if isinstance(value, bytes | bytearray):
        return f"{len(value)} bytes"
    if isinstance(value, str) or value is None:
        return value or ""
    return "\\".join(map(str, value)) if element.VM > 1 else str(value)


def _written(place: _Place) -> str:
    """Write tags and items in turn, as ``(0008,1140)[0].(0008,1155)``."""
    text = tag_text(place[0])
    for item, tag in zip(place[1::2], place[2::2], strict=True):
        text += f"[{item}].{tag_text(tag)}"
    return text


def _why(tag: int, options: AnonymiseOptions, before: str | None, after: str | None) -> str:
    if tag == PIXEL_DATA:
        return "the image"
    if tag in (_BURNED_IN, _DERIVATION) and after is not None and after != before:
        return "pixels are blacked out, or known to be clean"
    if is_private(tag):
        return (
            "SafePrivate lists it"
            if after is not None
            else "private, and SafePrivate doesn't list it, or it identifies"
        )
    row = table().get(tag)
    if row is not None:
        code = row.code(options)
        by = "" if code is row.basic else ", by an option of the rule"
        return f"Table E.1-1: {row.action}, {_DONE[code]}{by}"
    if after is None:
        return "unknown to DICOM" if known_vr(tag) is None else "not in Table E.1-1, but of a kind that identifies"
    if before == after:
        return "not in Table E.1-1, and nothing in it identifies"
    return "something in it identifies" if _MASK in after else "replaced, as it may identify"
