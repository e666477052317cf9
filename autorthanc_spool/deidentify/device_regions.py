"""What the files of `pixel_regions/` say of one image."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from datetime import date

from autorthanc_spool.deidentify.boxes import Box, outside
from autorthanc_spool.deidentify.facts import Facts
from autorthanc_spool.deidentify.layout import Layout
from autorthanc_spool.deidentify.streams import Unclear
from autorthanc_spool.rules.model import Condition
from autorthanc_spool.rules.pixel_regions import Area, PixelRegions
from autorthanc_spool.rules.values import PADDING, Value

# How numbers of each VR are stored (PS3.5 table 6.2-1).
_NUMBERS = {"US": "H", "SS": "h", "UL": "L", "SL": "l", "UV": "Q", "SV": "q", "FL": "f", "FD": "d"}

# Conditions that count days from today aren't taken in these files, so that any day will do.
_ANY_DAY = date.min


def saying(files: Iterable[PixelRegions], facts: Facts) -> list[PixelRegions]:
    """Those whose conditions an image passes."""
    return [one for one in files if all(_passes(condition, facts) for condition in one.conditions)]


def boxes_of(found: PixelRegions, layout: Layout) -> Iterator[Box]:
    """Give what a file says is to be blacked out. Raises Unclear where that isn't meant for such an image."""
    areas = [*found.black_out, *found.keep]
    if not all(_box(one).within(layout.box) for one in areas):
        raise Unclear(f"{found.file} has a rectangle that doesn't lie in this image; give it conditions on its size")
    yield from map(_box, found.black_out)
    if found.keep:
        yield from outside(map(_box, found.keep), layout.box)


def _box(area: Area) -> Box:
    return Box(area.top, area.left, area.top + area.height, area.left + area.width)


def _passes(condition: Condition, facts: Facts) -> bool:
    value = Value(_text(condition, facts).strip(PADDING))
    has_it = bool(value.comparable) and condition.asked.passes(value, _ANY_DAY)
    return has_it is not condition.inverts


def _text(condition: Condition, facts: Facts) -> str:
    """The value that a condition asks for, as text; "" where there is none."""
    tag = int(condition.tag.replace(",", ""), 16)
    element = facts.element(tag)
    if element is None:
        return ""
    code = _NUMBERS.get(element.vr)
    if code is None:
        return facts.text(tag)
    data = facts.value(tag)
    size = struct.calcsize(f"={code}")
    count = len(data) // size
    numbers = struct.unpack(f"{'>' if facts.encoding.big else '<'}{count}{code}", data[: count * size])
    return "\\".join(f"{one:g}" if isinstance(one, float) else str(one) for one in numbers)
