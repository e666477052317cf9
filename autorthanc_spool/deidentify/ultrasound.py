"""Regions of ultrasound (PS3.3 section C.8.5.5): what the device itself says of where it drew which picture.

All outside of them is the device's screen: names, dates, measurements. They are believed only where they can be right,
and where they leave something out; a device that calls its whole screen a region says nothing.
"""

from __future__ import annotations

from autorthanc_spool.deidentify.boxes import Box, outside
from autorthanc_spool.deidentify.clues import tag_of
from autorthanc_spool.deidentify.elements import DataSet
from autorthanc_spool.deidentify.facts import Facts
from autorthanc_spool.deidentify.layout import Layout
from autorthanc_spool.deidentify.streams import Unclear

_REGIONS = tag_of("SequenceOfUltrasoundRegions")
# The corners that are part of the region, as left, top, right and bottom.
_CORNERS = tuple(
    tag_of(f"RegionLocation{corner}") for corner in ("MinX0", "MinY0", "MaxX1", "MaxY1")
)  # fmt: skip
_SPATIAL_FORMAT = tag_of("RegionSpatialFormat")

# 2D picture, motion over time, spectrum, waveform. Graphics, and what is none of these, may be text.
_PICTURES = frozenset({1, 2, 3, 4})

# A strip that is lower or narrower than this holds no text, so that a region around all but it says nothing.
_SMALLEST_BANNER_PX = 8


def screen_around(facts: Facts, buffer: memoryview, layout: Layout) -> tuple[Box, ...]:
    """Find what of an image is outside of its regions. Raises Unclear where they don't say."""
    element = facts.element(_REGIONS)
    if element is None or not element.items:
        raise Unclear("it has no regions of ultrasound")
    regions = [_region(item, buffer, layout) for item in element.items if _is_picture(item, buffer)]
    if not regions:
        raise Unclear("none of its regions of ultrasound is a picture")
    found = outside(regions, layout.box)
    if not any(min(one.rows, one.columns) >= _SMALLEST_BANNER_PX for one in found):
        raise Unclear("its regions of ultrasound cover the whole image")
    return found


def _is_picture(item: DataSet, buffer: memoryview) -> bool:
    element = item.get(_SPATIAL_FORMAT)
    if element is None or element.length != item.encoding.short.size:
        raise Unclear("a region of ultrasound doesn't say what it shows")
    (kind,) = item.encoding.short.unpack(buffer[element.value : element.end])
    return kind in _PICTURES


def _region(item: DataSet, buffer: memoryview, layout: Layout) -> Box:
    corners = []
    for tag in _CORNERS:
        element = item.get(tag)
        if element is None or element.length != item.encoding.long.size:
            raise Unclear("a region of ultrasound has no corners")
        corners.append(int(item.encoding.long.unpack(buffer[element.value : element.end])[0]))
    left, top, right, bottom = corners
    box = Box(top, left, bottom + 1, right + 1)
    # Some devices count the first column and row behind the region, which may be one behind the image.
    whole = Box(0, 0, layout.rows + 1, layout.columns + 1)
    if box.rows <= 1 or box.columns <= 1 or not box.within(whole):
        raise Unclear("a region of ultrasound doesn't lie in the image")
    return box.clipped(layout.box)
