"""What a file says about persons, days, things and places, as it is looked for in bytes that nobody can read.

Everything counts that the policy takes away at its own place, at whatever level it is: with `Device` kept a serial
number isn't looked for, with `FullDates` no day that stays. Times and files' own numbers are left out, so the files of
a series have the same needles, and share one search.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from functools import cache
from typing import NamedTuple

from autorthanc_spool.deidentify import text
from autorthanc_spool.deidentify.elements import DataSet, Element
from autorthanc_spool.deidentify.policy import CHARACTER_SET, Policy, Verdict
from autorthanc_spool.deidentify.reader import known_vr
from autorthanc_spool.deidentify.table import table
from autorthanc_spool.rules.model import Keep

# What the policy takes away; of the other verdicts, each looks at the value by itself.
_GONE = frozenset({Verdict.REMOVE, Verdict.EMPTY, Verdict.DUMMY, Verdict.PSEUDONYM})

_TEXTS = frozenset({"AE", "LO", "LT", "SH", "ST", "UC", "UT"})

# UIDs of more components are found by what they look like.
_COMPONENTS_OF_SURE_UID = 6
_SHORTEST_UID = 8

# Of the attributes of a device, those that say what it is and not which one.
_MODELS = frozenset(
    {
        0x0016004F,  # LensMake
        0x00160050,  # LensModel
        0x00500020,  # DeviceDescription
        0x300A0216,  # SourceManufacturer
    }
)


class NeedleKind(Enum):
    """What a needle is, which says how it is spelled."""

    NAME = auto()
    DAY = auto()
    IDENTIFIER = auto()
    UID = auto()


class Needle(NamedTuple):
    """A value as it is in the file."""

    kind: NeedleKind
    value: bytes
    character_sets: text.CharacterSets


def needles_of(buffer: memoryview, data_set: DataSet, policy: Policy, keep: Collection[Keep]) -> frozenset[Needle]:
    """Gather them, at every level of a data set."""
    return frozenset(_Gathering(buffer, policy, Keep.FULL_DATES in keep).of(data_set, text.DEFAULT))


@dataclass(frozen=True)
class _Gathering:
    buffer: memoryview
    policy: Policy
    keeps_days: bool

    def of(self, data_set: DataSet, sets: text.CharacterSets) -> Iterator[Needle]:
        for element in data_set.elements:
            if element.items is not None:
                for item in element.items:
                    yield from self.of(item, sets)
            elif element.tag == CHARACTER_SET:
                sets = text.character_sets(self._value(element))
            elif kind := self._kind(element):
                yield from _of_element(kind, self._value(element), sets)

    def _value(self, element: Element) -> bytes:
        return bytes(self.buffer[element.value : element.end])

    def _kind(self, element: Element) -> NeedleKind | None:
        kind = _kind_by_tag(element.tag, element.vr)
        if kind is None or kind is NeedleKind.NAME or element.tag & 0x10000:
            return kind
        verdict = self.policy.decide(element.tag, element.vr).verdict
        if kind is NeedleKind.DAY:
            # The birth date has an element of its own, which is never kept.
            is_kept = self.keeps_days and verdict in (Verdict.DATE, Verdict.DATE_UNLESS_BIRTH)
            return None if is_kept else kind
        if kind is NeedleKind.UID:
            return kind if verdict is Verdict.NEW_UID else None
        return kind if verdict in _GONE else None


@cache
def _kind_by_tag(tag: int, vr: str) -> NeedleKind | None:
    known = None if tag & 0x10000 else known_vr(tag)
    if "PN" in (vr, known):
        return NeedleKind.NAME
    if not {"DA", "DT"}.isdisjoint((vr, known)):
        return NeedleKind.DAY
    if "UI" in (vr, known):
        return NeedleKind.UID
    row = table().get(tag)
    if row is None or tag in _MODELS or _TEXTS.isdisjoint((vr, known)):
        return None
    # Descriptions are words of the trade; and what the patient is like identifies nobody by itself.
    is_thing = not {"retain_device", "retain_institution"}.isdisjoint(row.options)
    return NeedleKind.IDENTIFIER if is_thing or not row.describes else None


def _of_element(kind: NeedleKind, value: bytes, sets: text.CharacterSets) -> Iterator[Needle]:
    if kind is NeedleKind.DAY:
        # The day is enough, and the same in many files.
        yield from (Needle(kind, one.strip(b" \0")[:10], text.DEFAULT) for one in value.split(b"\\"))
    elif kind is NeedleKind.UID:
        for one in value.split(b"\\"):
            uid = one.strip(b" \0")
            if len(uid) >= _SHORTEST_UID and uid.count(b".") + 1 < _COMPONENTS_OF_SURE_UID:
                yield Needle(kind, uid, text.DEFAULT)
    elif value.strip(b" \0\\^="):
        # Without an escape sequence, ASCII is ASCII in all of them, and the same in many files.
        is_plain = value.isascii() and b"\x1b" not in value
        yield Needle(kind, value, text.DEFAULT if is_plain else sets)
