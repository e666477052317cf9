"""Redacted frames as they are written: each is made when it is wanted, so that one at a time is held."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from autorthanc_spool.deidentify.blackening import Fill, blacken, fills
from autorthanc_spool.deidentify.boxes import Box
from autorthanc_spool.deidentify.frames import Frame, Frames, swapped


@dataclass(frozen=True)
class RedactedFrame:
    """A frame, uncompressed, with black in it; the last one has the byte that makes all of them even."""

    frame: Frame
    fills: tuple[Fill, ...] = field(repr=False)
    padding: int = 0

    @property
    def size(self) -> int:
        """How many bytes it has."""
        return self.frame.layout.frame_bytes + self.padding

    @property
    def needs_codec(self) -> bool:
        """Whether it must be decoded to be made."""
        return self.frame.coding is not None

    def made(self, buffer: memoryview) -> bytearray:
        """Make it. Raises Unclear."""
        found = self.frame.stored(buffer)
        blacken(found, self.fills)
        found += bytes(self.padding)
        return swapped(found) if self.frame.layout.is_swapped else found


def redacted(frames: Frames, boxes: list[tuple[Box, ...]]) -> Iterator[RedactedFrame]:
    """Black out boxes: those of every frame, or of each its own."""
    black = [fills(one, frames.layout, frames.viewing) for one in boxes]
    padding = frames.layout.frame_bytes * frames.count % 2
    for number in range(frames.count):
        is_last = number == frames.count - 1
        of_frame = black[number if len(black) > 1 else 0]
        yield RedactedFrame(frames.frame(number), of_frame, padding if is_last else 0)
