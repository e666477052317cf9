"""Boxes of a frame as bytes to write: which bytes of a frame are in a box, and what is black there."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from autorthanc_spool.deidentify.boxes import Box
from autorthanc_spool.deidentify.layout import Layout
from autorthanc_spool.deidentify.viewing import Viewing


class Fill(NamedTuple):
    """Bytes of a frame, and the pattern that is written there again and again."""

    start: int
    stop: int
    pattern: bytes


def blacken(frame: bytearray, fills: Iterable[Fill]) -> None:
    """Write black over parts of a frame."""
    for start, stop, pattern in fills:
        frame[start:stop] = pattern * ((stop - start) // len(pattern))


def fills(boxes: Iterable[Box], layout: Layout, viewing: Viewing) -> tuple[Fill, ...]:
    """Find what to write so that these boxes, clipped to the image, are black."""
    shades = _black(layout, viewing)
    clipped = [box.clipped(layout.box) for box in whole_pairs(boxes, layout)]
    return tuple(fill for box in clipped if not box.is_empty for fill in _of_box(box, layout, shades))


def whole_pairs(boxes: Iterable[Box], layout: Layout) -> tuple[Box, ...]:
    """Widen boxes to the pairs of pixels that share a colour, where there are such."""
    if not layout.is_subsampled:
        return tuple(boxes)
    return tuple(Box(box.top, box.left // 2 * 2, box.bottom, -(-box.right // 2) * 2) for box in boxes)


def _of_box(box: Box, layout: Layout, shades: tuple[bytes, ...]) -> Iterator[Fill]:
    if layout.is_subsampled:
        shade, blue, red = shades
        # Two shades, and the colour of both.
        yield from _rows(box, layout.columns, 0, 2 * layout.sample_bytes, shade + shade + blue + red)
    elif layout.is_planar:
        plane = layout.rows * layout.columns * layout.sample_bytes
        for number, shade in enumerate(shades):
            yield from _rows(box, layout.columns, number * plane, layout.sample_bytes, shade)
    else:
        pattern = b"".join(shades)
        yield from _rows(box, layout.columns, 0, len(pattern), pattern)


def _rows(box: Box, columns: int, start: int, pixel_bytes: int, pattern: bytes) -> Iterator[Fill]:
    if box.columns == columns:
        at = start + box.top * columns * pixel_bytes
        yield Fill(at, at + box.rows * columns * pixel_bytes, pattern)
        return
    for row in range(box.top, box.bottom):
        at = start + (row * columns + box.left) * pixel_bytes
        yield Fill(at, at + box.columns * pixel_bytes, pattern)


def _black(layout: Layout, viewing: Viewing) -> tuple[bytes, ...]:
    """The samples of a black pixel, as they are stored."""
    bits = layout.stored
    match layout.photometric:
        case "MONOCHROME1" | "MONOCHROME2":
            values = [_darkest(layout, viewing)]
        case "PALETTE COLOR":
            values = [viewing.palette.darkest(*_ends(layout)) if viewing.palette else 0]
        case "RGB" | "YBR_RCT" | "YBR_ICT":
            values = [0, 0, 0]
        case _:
            no_colour = 1 << bits - 1
            dark = 16 << bits - 8 if layout.photometric.startswith("YBR_PARTIAL") and bits >= 8 else 0
            values = [dark, no_colour, no_colour]
    return tuple(_stored(value, layout) for value in values)


def _darkest(layout: Layout, viewing: Viewing) -> int:
    """The shade of grey that is shown as black, no further from the others than it must be.

    Viewers without a window stretch the shades between the least and the greatest one, so that the extreme value of a
    signed sample would drive the picture itself into white.
    """
    is_upper = layout.photometric == "MONOCHROME1"
    low, high = _ends(layout)
    if not is_upper and not layout.is_signed and viewing.slope > 0:
        return low
    end = viewing.end_of_window(is_upper=is_upper)
    if end is not None:
        outwards = math.ceil if is_upper == (viewing.slope > 0) else math.floor
        return min(max(outwards(end), low), high)
    if is_upper == (viewing.slope > 0):
        return high
    if viewing.smallest is not None:
        return min(max(viewing.smallest, low), high)
    return max(low, 0)


def _ends(layout: Layout) -> tuple[int, int]:
    """The least and the greatest sample that can be stored."""
    bits = layout.stored
    return (-(1 << bits - 1), (1 << bits - 1) - 1) if layout.is_signed else (0, (1 << bits) - 1)


def _stored(value: int, layout: Layout) -> bytes:
    mask = (1 << layout.allocated) - 1
    return ((value << layout.shift) & mask).to_bytes(layout.sample_bytes, "big" if layout.is_big else "little")
