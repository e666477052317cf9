"""Rectangles of an image, in pixels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, order=True)
class Box:
    """Rows from `top` and columns from `left`, up to `bottom` and `right`, which aren't part of it."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def rows(self) -> int:
        """How many rows it has."""
        return self.bottom - self.top

    @property
    def columns(self) -> int:
        """How many columns it has."""
        return self.right - self.left

    @property
    def is_empty(self) -> bool:
        """Whether no pixel is in it."""
        return self.rows <= 0 or self.columns <= 0

    def within(self, other: Box) -> bool:
        """Whether all of it is in another one."""
        return (
            self.top >= other.top
            and self.left >= other.left
            and self.bottom <= other.bottom
            and self.right <= other.right
        )

    def clipped(self, other: Box) -> Box:
        """What of it is in another one; it may be empty."""
        return Box(
            max(self.top, other.top),
            max(self.left, other.left),
            min(self.bottom, other.bottom),
            min(self.right, other.right),
        )

    def moved(self, down: int, right: int) -> Box:
        """The same at another place."""
        return Box(self.top + down, self.left + right, self.bottom + down, self.right + right)

    def grown(self, pixels: int) -> Box:
        """The same with a margin; it may reach over the edge of the image."""
        return Box(self.top - pixels, self.left - pixels, self.bottom + pixels, self.right + pixels)


def outside(boxes: Iterable[Box], image: Box) -> tuple[Box, ...]:
    """Cover all of an image that is in none of the boxes, with boxes that don't overlap."""
    inside = [one for one in (box.clipped(image) for box in boxes) if not one.is_empty]
    # Between two of these edges, every row has the same gaps.
    edges = sorted({image.top, image.bottom, *(edge for one in inside for edge in (one.top, one.bottom))})
    found: list[Box] = []
    for top, bottom in pairwise(edges):
        spans = sorted((one.left, one.right) for one in inside if one.top <= top and one.bottom >= bottom)
        found += [Box(top, left, bottom, right) for left, right in _gaps(spans, image)]
    return tuple(_stacked(found))


def _gaps(spans: Iterable[tuple[int, int]], image: Box) -> Iterable[tuple[int, int]]:
    at = image.left
    for left, right in spans:
        if left > at:
            yield at, left
        at = max(at, right)
    if at < image.right:
        yield at, image.right


def _stacked(boxes: Iterable[Box]) -> list[Box]:
    """Make one of those that lie one below another and are of the same width."""
    found: dict[tuple[int, int, int], Box] = {}
    done: list[Box] = []
    for box in boxes:
        above = found.pop((box.left, box.right, box.top), None)
        one = Box(above.top, box.left, box.bottom, box.right) if above else box
        found[one.left, one.right, one.bottom] = one
    done += found.values()
    return sorted(done)
