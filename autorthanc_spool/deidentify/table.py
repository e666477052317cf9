"""Table E.1-1 of PS3.15 Annex E: what happens to each attribute, and what an option changes it to.

PROVENANCE.md beside this file says where the table comes from.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files

from autorthanc_spool.rules.model import AnonymiseOptions, Keep

EDITION = "2026c"


class Code(StrEnum):
    """The action codes of the table, compound ones resolved."""

    REMOVE = "X"
    EMPTY = "Z"
    DUMMY = "D"
    REPLACE_UIDS = "U"
    KEEP = "K"
    CLEAN = "C"


# Of a compound code, what keeps the file valid whatever the attribute's type is: a dummy, else an empty value.
# X/Z/U* is a sequence that is kept with its UIDs replaced.
RESOLVED: Mapping[str, Code] = {
    "X": Code.REMOVE,
    "Z": Code.EMPTY,
    "D": Code.DUMMY,
    "U": Code.REPLACE_UIDS,
    "X/Z": Code.EMPTY,
    "X/D": Code.DUMMY,
    "Z/D": Code.DUMMY,
    "X/Z/D": Code.DUMMY,
    "X/Z/U*": Code.REPLACE_UIDS,
}

# ReferencedStudySequence is of type 3 in a study and in a request's attributes, where it may not be without items
# (PS3.3 tables C.7-3 and 10-9). Where it is of type 2, in a report, `walk` leaves an empty one.
_RESOLVED_OTHERWISE: Mapping[int, Code] = {0x00081110: Code.REMOVE}

_COLUMNS: Mapping[Keep, str] = {
    Keep.MODIFIED_DATES: "retain_modified_dates",
    Keep.FULL_DATES: "retain_full_dates",
    Keep.PATIENT_CHARACTERISTICS: "retain_patient_chars",
    Keep.DEVICE: "retain_device",
    Keep.INSTITUTION: "retain_institution",
    Keep.UIDS: "retain_uids",
    Keep.DESCRIPTORS: "clean_descriptors",
}


@dataclass(frozen=True)
class Row:
    """One attribute of the table; `vr` is None where pydicom's dictionary doesn't have it."""

    tag: int
    keyword: str
    vr: str | None
    action: str
    options: Mapping[str, Code]

    @property
    def basic(self) -> Code:
        """What the basic profile does."""
        return _RESOLVED_OTHERWISE.get(self.tag) or RESOLVED[self.action]

    def code(self, options: AnonymiseOptions) -> Code:
        """What is done under a rule's options; cleaning goes before keeping where two options disagree."""
        columns = {_COLUMNS[keep] for keep in options.keep}
        if options.structured == "clean":
            columns.add("clean_structured")
        changes = {self.options[column] for column in columns if column in self.options}
        if Code.CLEAN in changes:
            return Code.CLEAN
        return Code.KEEP if Code.KEEP in changes else self.basic

    @property
    def describes(self) -> bool:
        """Whether it says, in words, what was done or seen, or what the patient is like."""
        return not self.options.keys().isdisjoint(("clean_descriptors", "retain_patient_chars"))


@cache
def table() -> Mapping[int, Row]:
    """Read the table, by tag."""
    text = files("autorthanc_spool.deidentify").joinpath("ps3_15_table_e1_1.json").read_text()
    return {row.tag: row for row in map(_row, json.loads(text))}


def _row(item: Mapping[str, object]) -> Row:
    options = item["options"]
    assert isinstance(options, dict)
    vr = item["vr"]
    return Row(
        tag=int(str(item["tag"]), 16),
        keyword=str(item["keyword"]),
        vr=None if vr is None else str(vr),
        action=str(item["action"]),
        options={name: Code(code) for name, code in options.items()},
    )
