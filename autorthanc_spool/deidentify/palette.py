"""The colours of PALETTE COLOR (PS3.3 section C.7.6.3.1.5), as eight bits each."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from autorthanc_spool.deidentify.clues import tag_of
from autorthanc_spool.deidentify.facts import Facts

_COLOURS = ("Red", "Green", "Blue")
_MOST_ENTRIES = 65536
# How much of the light that the eye sees each colour is (ITU-R BT.601).
_LIGHT = (299, 587, 114)
# Segments of segmented data (PS3.3 section C.7.9.2.2): a run of values, and a ramp from the last value.
_DISCRETE, _LINEAR = 0, 1


@dataclass(frozen=True)
class Palette:
    """Colours by the value of a sample, from `first` on; what is below or above has the first or last one."""

    first: int
    red: bytes
    green: bytes
    blue: bytes

    def darkest(self, least: int, most: int) -> int:
        """The value of a sample that shows the darkest colour, of those that an image can hold."""
        low = min(max(self.first, least), most)
        high = max(min(self.first + len(self.red) - 1, most), least)
        return min(range(low, high + 1), key=self._light)

    def _light(self, value: int) -> int:
        place = min(max(value - self.first, 0), len(self.red) - 1)
        return sum(weight * one[place] for weight, one in zip(_LIGHT, (self.red, self.green, self.blue), strict=True))


def palette_of(facts: Facts) -> Palette | None:
    """Read the palette of an image; None where it has none that can be understood."""
    descriptor = _words(facts, facts.value(tag_of("RedPaletteColorLookupTableDescriptor")))
    if len(descriptor) != 3:
        return None
    entries, first, bits = descriptor[0] or _MOST_ENTRIES, descriptor[1], descriptor[2]
    if facts.number(tag_of("PixelRepresentation")) == 1 and first > 0x7FFF:
        first -= 0x10000
    tables = [_table(facts, colour, entries, bits) for colour in _COLOURS]
    red, green, blue = tables
    return Palette(first, red, green, blue) if red and green and blue else None


def _table(facts: Facts, colour: str, entries: int, bits: int) -> bytes | None:
    data = facts.value(tag_of(f"{colour}PaletteColorLookupTableData"))
    if not data:
        segmented = facts.value(tag_of(f"Segmented{colour}PaletteColorLookupTableData"))
        # A damaged one may stand for any number of values.
        values = list(islice(_expanded(_words(facts, segmented) if bits > 8 else _packed(facts, segmented)), entries))
    elif len(data) in (entries, entries + 1):
        return _packed(facts, data)[:entries]
    else:
        values = list(_words(facts, data))
    if len(values) < entries:
        return None
    values = values[:entries]
    # Writers call bits 16 where all of them are 8.
    shift = 8 if bits > 8 and max(values) > 0xFF else 0
    return bytes(min(one >> shift, 0xFF) for one in values)


def _packed(facts: Facts, data: bytes) -> bytes:
    """Give entries of eight bits, of which two are in a word."""
    return data if not facts.encoding.big else b"".join(data[at : at + 2][::-1] for at in range(0, len(data), 2))


def _expanded(words: Sequence[int]) -> Iterator[int]:
    at, last = 0, 0
    while at + 2 < len(words):
        kind, length = words[at], words[at + 1]
        if kind == _DISCRETE:
            run = words[at + 2 : at + 2 + length]
            yield from run
            at, last = at + 2 + length, run[-1] if run else last
        elif kind == _LINEAR and length:
            end = words[at + 2]
            yield from (last + (end - last) * step // length for step in range(1, length + 1))
            at, last = at + 3, end
        else:
            return


def _words(facts: Facts, data: bytes) -> tuple[int, ...]:
    return struct.unpack(f"{'>' if facts.encoding.big else '<'}{len(data) // 2}H", data[: len(data) // 2 * 2])
