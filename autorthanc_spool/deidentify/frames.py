"""The frames of an image, one at a time: as they are stored, uncompressed, and as a viewer shows them.

A frame is only held while it is asked for, so that an image of any number of frames takes the memory of one.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from autorthanc_spool.deidentify.decoding import Coding, decoded
from autorthanc_spool.deidentify.layout import Layout
from autorthanc_spool.deidentify.output import Piece, chunks_of, size_of
from autorthanc_spool.deidentify.unused_bits import Samples, cleared
from autorthanc_spool.deidentify.viewing import Viewing

if TYPE_CHECKING:
    from autorthanc_spool.deidentify.shown import Picture


@dataclass(frozen=True)
class Frames:
    """The frames of an image whose bytes are in a buffer.

    `layout` is that of an uncompressed frame. `parts` are all of the samples, in order, where they aren't compressed;
    else one compressed frame each. `coding` says how those are compressed.
    """

    layout: Layout
    parts: tuple[tuple[Piece, ...], ...] = field(repr=False)
    coding: Coding | None = None
    viewing: Viewing = field(default_factory=Viewing, repr=False)

    @property
    def count(self) -> int:
        """How many frames there are."""
        return self.layout.frames

    def frame(self, number: int) -> Frame:
        """Find a frame; its bytes are read when they are wanted."""
        if self.coding is not None:
            return Frame(self.layout, self.parts[number], self.coding, self.viewing.padding)
        size = self.layout.frame_bytes
        stop = (number + 1) * size
        # The two bytes of the last word are exchanged with what makes the length even.
        stop += stop % 2 if self.layout.is_swapped else 0
        return Frame(self.layout, cut(self.parts[0], number * size, stop), None)

    def shown(self, number: int, buffer: memoryview) -> Picture:
        """Give a frame as a viewer shows it: H×W or H×W×3, of unsigned 8 bits. Raises Unclear."""
        from autorthanc_spool.deidentify.shown import picture

        return picture(self.frame(number).stored(buffer), self.layout, self.viewing)


@dataclass(frozen=True)
class Frame:
    """One frame: the pieces that it is in, and how to read them. `padding` is the sample that stands for no picture."""

    layout: Layout
    source: tuple[Piece, ...] = field(repr=False)
    coding: Coding | None
    padding: int | None = None

    def stored(self, buffer: memoryview) -> bytearray:
        """Give its samples. Raises Unclear when they can't be decoded."""
        if self.coding is not None:
            return self._without_unused_bits(decoded(b"".join(chunks_of(self.source, buffer)), self.coding))
        # A frame may be the whole of a large image: it is there once.
        samples = bytearray().join(chunks_of(self.source, buffer))
        return swapped(samples)[: self.layout.frame_bytes] if self.layout.is_swapped else samples

    def _without_unused_bits(self, samples: bytearray) -> bytearray:
        """Clear what a codec carries beside the picture; in what isn't compressed, that was done before."""
        layout, view = self.layout, memoryview(samples)
        if layout.stored == layout.allocated:
            return samples
        # Writers choose it outside the stored bits.
        padding = None if self.padding is None else self.padding & 0xFFFF
        of = Samples(layout.sample_bytes, layout.stored, layout.is_signed, layout.is_big, padding)
        found = cleared(view, 0, len(samples), of)
        return samples if found is None else bytearray(b"".join(chunks_of(found.pieces(), view)))


def with_least(frames: Frames, buffer: memoryview) -> Viewing:
    """How the image is shown, with the least sample of its first frame where nothing else says what is black."""
    layout, viewing = frames.layout, frames.viewing
    has_window = viewing.end_of_window(is_upper=False) is not None
    is_known = not layout.is_signed or viewing.smallest is not None or has_window
    if is_known or layout.photometric != "MONOCHROME2":
        return viewing
    code: Literal["b", "h", "i"] = "b" if layout.sample_bytes == 1 else "h" if layout.sample_bytes == 2 else "i"
    samples: Sequence[int] = memoryview(frames.frame(0).stored(buffer)).cast(code)
    if layout.sample_bytes > 1 and layout.is_big != (sys.byteorder == "big"):
        turned = array(code, samples)
        turned.byteswap()
        samples = turned
    if layout.stored == layout.allocated:
        return replace(viewing, smallest=min(samples))
    # Their sign may not be extended to the bits above.
    sign = 1 << layout.stored - 1
    values = ((one >> layout.shift) & (2 * sign - 1) for one in set(samples))
    return replace(viewing, smallest=min(one - 2 * sign if one & sign else one for one in values))


def cut(pieces: tuple[Piece, ...], start: int, stop: int) -> tuple[Piece, ...]:
    """Cut a stretch out of pieces that follow one another."""
    found: list[Piece] = []
    at = 0
    for piece in pieces:
        size = size_of(piece)
        begin, end = max(start - at, 0), min(stop - at, size)
        if begin < end:
            if isinstance(piece, slice):
                found.append(slice(piece.start + begin, piece.start + end))
            else:
                assert isinstance(piece, bytes)
                found.append(piece[begin:end])
        at += size
        if at >= stop:
            break
    return tuple(found)


def swapped(data: bytearray) -> bytearray:
    """Exchange the two bytes of each word."""
    data[0::2], data[1::2] = data[1::2], data[0::2]
    return data
