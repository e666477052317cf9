"""Finds text in a picture, wherever it is, and reads it.

A network for photographs looks for text in pictures that were made for it: what is faint is stretched to what is around
it, small letters are enlarged, large pictures are cut into tiles that overlap. As it looks at three colours and the
picture has one, each colour shows the picture in another way; one of them is brighter where many pixels are of one
shade, as strokes are and tissue isn't. What it finds is then read, and counts if letters or digits come out, or if it
looks like a line of text: the edges of bones are often taken for text, and do neither.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np

from autorthanc_spool.deidentify import models
from autorthanc_spool.deidentify.boxes import Box

Grey = np.ndarray[Any, np.dtype[Any]]
# H×W×3, each a picture of its own.
Colours = np.ndarray[Any, np.dtype[Any]]

# Letters of 6 pixels are found when they are 9. Where there is text, a second look at a larger picture in other colours
# finds what is fainter.
_ENLARGED, _SECOND = 1.5, 2.0
# Letters of more than 150 pixels are found in a picture of this size.
_SMALL_SIDE = 768
# Of an enlarged picture; the network wants multiples of 32. A line of small letters is found in one of two tiles.
_TILE, _OVERLAP, _STEP = 800, 96, 32
# Around the picture, so that text at its edge has something beside it.
_BORDER = 8

# Each pixel is compared with its surroundings: how far those reach, in pixels, and the least difference that counts,
# in shades of 256. Contrasts that are typical are stretched to this many shades: few leave noise as weak as it is,
# many show what is faint.
_NEAR_PX, _AROUND_PX = 6.0, 24.0
_LEAST_DIFFERENCE = 1.5
_FEW, _SOME, _MANY = 20.0, 30.0, 45.0
# How far the picture is smoothed against noise, for one colour of the second look.
_SMOOTH_PX = 1.0

# How often a shade occurs nearby is compared with how often the shades next to it do, so many on each side. Nearby is
# a block, of so many pixels each way, with those around it. As each block counts all shades, a picture is gone through
# in bands of so many rows. So bright is shown what is more frequent than chance makes it, for each deviation.
_BLOCK_PX, _NEXT_SHADES, _BAND_PX = 8, 6, 256
_PER_DEVIATION = 12.0

# What the networks were trained with: mean and deviation of photographs' colours.
_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)

# Of the network's map: from which value on a pixel is text, and from which mean on a patch is.
_TEXT_PIXEL, _TEXT_PATCH = 0.3, 0.5
_LEAST_SIDE = 2
# The map has the core of each line; a line is wider by this share of its core's height on each side.
_AROUND_CORE = 0.8
# What lies within so many degrees of level or upright is read as it is.
_LEVEL = 6.0

# A text counts that is read with so many letters or digits, and so surely. What is as high counts too: where there is
# one text, there are more. Nothing counts where not even one was read more surely: edges rarely are.
_LEAST_READ, _LEAST_CONFIDENCE = 3, 0.5
_ONCE_CONFIDENCE = 0.6
# What is read more surely is read rightly: of letters that the reader doesn't know, it makes others, less surely.
_SURELY_READ = 0.9
_LEAST_LIKE, _MOST_LIKE = 0.5, 2.0
# What the finder is as sure of, what is so much longer than high, and no higher than this share of the picture or than
# so many pixels, is a line of text, whatever is read: the finder knows any script, the reader the letters of a few.
_LINE_SCORE, _LINE_LENGTH, _LINE_SHARE, _LINE_PX = 0.9, 1.8, 0.2, 48
# Of lines alone so many must be there, or one of this length: a single short one may be anything.
_LINES, _LONG_LINE = 2, 3.0
# The first and the last letters are often left out: a margin along a line and across it, in heights of the line.
_ALONG, _ACROSS = 1.2, 0.25

_LINE_HEIGHT = 48
_LONGEST_LINE = 48 * 40
_READ_AT_ONCE = 4


class Slanted(NamedTuple):
    """A rectangle at a slope, around what lies neither level nor upright: its middle and sides in pixels; degrees."""

    column: float
    row: float
    length: float
    height: float
    slope: float

    def grown(self, margin: float) -> Slanted:
        """Give one that is larger on all sides."""
        return self._replace(length=self.length + 2 * margin, height=self.height + 2 * margin)


class Found(NamedTuple):
    """A text: where it is, how sure the network is that it is one, what is read there, and how surely."""

    box: Box
    score: float
    text: str
    confidence: float
    slanted: Slanted | None = None

    @property
    def is_read(self) -> bool:
        """Whether letters or digits were read, so that it is text."""
        return self.confidence >= _LEAST_CONFIDENCE and sum(map(str.isalnum, self.text)) >= _LEAST_READ

    def is_line(self, image: Box, times: float = _LINE_LENGTH) -> bool:
        """Whether it looks like a line of text of this image, so many times as long as high, whatever is read there."""
        length = self.slanted.length if self.slanted else max(self.box.rows, self.box.columns)
        highest = max(_LINE_SHARE * min(image.rows, image.columns), _LINE_PX)
        return self.score >= _LINE_SCORE and length >= times * self.height and self.height <= highest

    def is_text(self, image: Box) -> bool:
        """Whether it may be a text of this image; at a slope, where most are edges, reading isn't enough."""
        return self.is_line(image) or (self.is_read and not self.slanted)

    @property
    def height(self) -> int:
        """How high its line is, in whatever direction it runs."""
        return round(self.slanted.height) if self.slanted else min(self.box.rows, self.box.columns)

    def with_margin(self, image: Box) -> Box:
        """Give its box and all that may belong to its line, as far as it is in the image."""
        along, across = round(_ALONG * self.height) + 1, round(_ACROSS * self.height) + 1
        rows, columns = (across, along) if self.box.columns >= self.box.rows else (along, across)
        if self.slanted:
            rows = columns = along
        box = self.box
        return Box(box.top - rows, box.left - columns, box.bottom + rows, box.right + columns).clipped(image)


@dataclass(frozen=True)
class _Patch:
    box: Box
    score: float
    slanted: Slanted | None


class Detector:
    """Finds and reads text. Not for several threads at once."""

    def __init__(self) -> None:
        """Load the networks, which takes about a second. Raises DetectorMissing."""
        cv2.setNumThreads(1)
        self._finder = models.finder()
        self._reader, self._characters = models.reader()

    def boxes_of_text(self, frame: Grey, *, has_text: bool = False) -> list[tuple[Box, str]]:
        """Give the box of each text in a picture of 8 bits, H×W or H×W×3, with a margin, and what is written in it.

        `has_text` says that text was found in another frame of the image: what is read less surely counts then.
        """
        found, image = self.found(frame), Box(0, 0, *frame.shape[:2])
        sure = texts_of(found, image, has_text=has_text)
        heights = [one.height for one in sure]
        like = (one for one in found if one not in sure and _is_like(one.height, heights))
        return [(one.with_margin(image), one.text) for one in (*sure, *like)]

    @staticmethod
    def shows_unknown_letters(found: list[Found], image: Box) -> bool:
        """Whether there may be text among what was found in an image of which nobody knows what it says."""
        return any(not one.is_read or one.confidence < _SURELY_READ for one in texts_of(found, image))

    def found(self, frame: Grey) -> list[Found]:
        """Give all that looks like text."""
        grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) if frame.ndim == 3 else frame
        if grey.min() == grey.max():
            return []
        plain, differences = _eight_bits(grey), _differences(grey)
        clear = _stretched(differences, _FEW)
        marked = np.maximum(clear, _of_one_shade(plain))
        colours = np.dstack([marked, _stretched(differences, _MANY), plain])
        found = self._read(clear, list(self._patches(colours)))
        image = Box(0, 0, *grey.shape)
        sure = [one for one in found if one.is_text(image)]
        if not sure:
            return found
        smooth = _differences(cv2.GaussianBlur(grey, (0, 0), _SMOOTH_PX))
        more = self._at_scale(np.dstack([plain, clear, _stretched(smooth, _SOME)]), _SECOND)
        known = [one.with_margin(image) for one in sure]
        return found + self._read(clear, [one for one in more if not any(one.box.within(box) for box in known)])

    def _patches(self, colours: Colours) -> Iterator[_Patch]:
        yield from self._at_scale(colours, _ENLARGED)
        longest = max(colours.shape)
        if longest * _ENLARGED > 2 * _SMALL_SIDE:
            yield from self._at_scale(colours, _SMALL_SIDE / longest)

    def _at_scale(self, colours: Colours, scale: float) -> Iterator[_Patch]:
        framed = cv2.copyMakeBorder(colours, _BORDER, _BORDER, _BORDER, _BORDER, cv2.BORDER_REPLICATE)
        kind = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
        scaled = cv2.resize(framed, None, fx=scale, fy=scale, interpolation=kind)
        text = np.zeros(scaled.shape[:2], np.uint8)
        for rows in _spans(scaled.shape[0], _TILE):
            for columns in _spans(scaled.shape[1], _TILE):
                tile = scaled[rows, columns]
                if (tile != tile[0, 0]).any():
                    np.maximum(text[rows, columns], self._map(tile), out=text[rows, columns])
        moved = (_moved(patch, scale, colours.shape) for patch in _patches_of(text))
        # What was found in the border isn't in the picture.
        yield from (patch for patch in moved if not patch.box.is_empty)

    def _map(self, tile: Colours) -> Grey:
        rows, columns = tile.shape[:2]
        tile = cv2.copyMakeBorder(tile, 0, -rows % _STEP, 0, -columns % _STEP, cv2.BORDER_REPLICATE)
        planes = zip(cv2.split(tile), _MEAN, _DEVIATION, strict=True)
        batch = np.stack([(plane.astype(np.float32) / 255 - mean) / deviation for plane, mean, deviation in planes])
        found = self._finder.run(batch[None])[0, 0, :rows, :columns]
        return np.asarray(np.rint(found * 255), np.uint8)

    def _read(self, clear: Grey, patches: list[_Patch]) -> list[Found]:
        lines = [(number, line) for number, patch in enumerate(patches) for line in _lines(clear, patch)]
        lines.sort(key=lambda one: one[1].shape[1])
        best: dict[int, tuple[str, float]] = {}
        for start in range(0, len(lines), _READ_AT_ONCE):
            some = lines[start : start + _READ_AT_ONCE]
            for (number, _), read in zip(some, self._read_lines([line for _, line in some]), strict=True):
                best[number] = max(best.get(number, read), read, key=lambda one: one[1])
        return [Found(one.box, one.score, *best[number], one.slanted) for number, one in enumerate(patches)]

    def _read_lines(self, lines: list[Grey]) -> list[tuple[str, float]]:
        width = max(line.shape[1] for line in lines)
        batch = np.zeros((len(lines), 3, _LINE_HEIGHT, width), np.float32)
        for number, line in enumerate(lines):
            batch[number, :, :, : line.shape[1]] = line.astype(np.float32) / 127.5 - 1
        return [self._decoded(one) for one in self._reader.run(batch)]

    def _decoded(self, steps: Grey) -> tuple[str, float]:
        """Read along a line: of a character that is seen in several steps, the first counts."""
        classes = steps.argmax(axis=1)
        first = np.flatnonzero((classes > 0) & (np.concatenate([[0], classes[:-1]]) != classes))
        text = "".join(self._characters[classes[step]] for step in first)
        return text, float(steps[first, classes[first]].mean()) if len(first) else 0.0


def texts_of(found: list[Found], image: Box, *, has_text: bool = False) -> list[Found]:
    """Give what counts as text of what was found; nothing where nothing is sure, here or in other frames."""
    texts = [one for one in found if one.is_text(image)]
    is_sure = (
        any(one.is_read and one.confidence >= _ONCE_CONFIDENCE for one in texts)
        or sum(one.is_line(image) for one in texts) >= _LINES
        or any(one.is_line(image, _LONG_LINE) for one in texts)
    )
    return texts if is_sure or has_text else []


def _is_like(height: int, heights: list[int]) -> bool:
    return any(_LEAST_LIKE * one <= height <= _MOST_LIKE * one for one in heights)


def _differences(grey: Grey) -> Grey:
    """Give how each pixel differs from what is around it; 1 is typical there."""
    plane = grey.astype(np.float32)
    difference = plane - cv2.GaussianBlur(plane, (0, 0), _NEAR_PX)
    typical = np.sqrt(cv2.GaussianBlur(difference * difference, (0, 0), _AROUND_PX))
    return np.asarray(difference / np.maximum(typical, _LEAST_DIFFERENCE))


def _stretched(differences: Grey, shades: float) -> Grey:
    return _eight_bits(128 + differences * shades)


def _of_one_shade(plain: Grey) -> Grey:
    """Show what is of one shade: who writes into a picture does so with one, and tissue and noise are of many."""
    shown = np.empty_like(plain)
    for top in range(0, len(plain), _BAND_PX):
        band = plain[top : top + _BAND_PX]
        rows, columns = (np.arange(length) // _BLOCK_PX for length in band.shape)
        blocks = int(rows[-1]) + 1, int(columns[-1]) + 1
        # Of each pixel: where its shade is in the counts.
        places = (rows[:, None] * blocks[1] + columns) * 256 + band
        counts = np.bincount(places.ravel(), minlength=blocks[0] * blocks[1] * 256).reshape(*blocks, 256)
        nearby = _with_neighbours(counts.astype(np.float32)).reshape(-1, 256)
        # Where a window has stretched the shades, every second one may be missing: the most frequent one is typical.
        others = np.ones((1, 2 * _NEXT_SHADES + 1), np.uint8)
        others[0, _NEXT_SHADES] = 0
        typical = cv2.dilate(nearby, others)
        deviations = (nearby - typical) / np.sqrt(typical + 1)
        shown[top : top + _BAND_PX] = _eight_bits(deviations.ravel()[places] * _PER_DEVIATION)
    # Of these, a window makes much more than what is written.
    shown[(plain == 0) | (plain == 255)] = 0
    return shown


def _with_neighbours(counts: Grey) -> Grey:
    """Add to each block's counts those of the blocks around it."""
    framed = np.pad(counts, ((1, 1), (1, 1), (0, 0)))
    down = framed[:-2] + framed[1:-1] + framed[2:]
    return np.asarray(down[:, :-2] + down[:, 1:-1] + down[:, 2:])


def _eight_bits(plane: Grey) -> Grey:
    return np.clip(plane, 0, 255).astype(np.uint8)


def _spans(length: int, longest: int) -> list[slice]:
    """Divide a length into as few tiles as possible, of one size, that overlap."""
    count = max(-(-(length - _OVERLAP) // (longest - _OVERLAP)), 1)
    size = -(-(length + (count - 1) * _OVERLAP) // count)
    starts = (round(number * (length - size) / max(count - 1, 1)) for number in range(count))
    return [slice(start, start + size) for start in starts]


def _patches_of(text: Grey) -> Iterator[_Patch]:
    count, labels, stats, _ = cv2.connectedComponentsWithStats((text > _TEXT_PIXEL * 255).astype(np.uint8))
    for number in range(1, count):
        left, top, width, height = (int(one) for one in stats[number, :4])
        if min(width, height) < _LEAST_SIDE:
            continue
        place = slice(top, top + height), slice(left, left + width)
        core = labels[place] == number
        score = float(text[place][core].mean()) / 255
        if score >= _TEXT_PATCH:
            slanted = _slanted(core, left, top)
            around = round(_AROUND_CORE * (slanted.height if slanted else min(width, height))) + 1
            box = Box(top - around, left - around, top + height + around, left + width + around)
            yield _Patch(box, score, slanted and slanted.grown(around))


def _slanted(core: Grey, left: int, top: int) -> Slanted | None:
    """Give the rectangle around the core of a line, if it lies at a slope."""
    (column, row), sides, slope = cv2.minAreaRect(cv2.findNonZero(core.astype(np.uint8)))
    length, height = max(sides) + 1, min(sides) + 1
    # That of the first side, which may be either; the same slope comes as several angles.
    slope = (slope if sides[0] >= sides[1] else slope + 90) % 180
    slope -= 180 if slope > 90 else 0
    if length < _LINE_LENGTH * height or min(abs(slope), 90 - abs(slope)) < _LEVEL:
        return None
    return Slanted(left + column, top + row, length, height, slope)


def _moved(patch: _Patch, scale: float, shape: tuple[int, ...]) -> _Patch:
    """Give a patch of the scaled picture its place in the picture."""
    box = patch.box
    top, left = (int(one / scale) - _BORDER - 1 for one in (box.top, box.left))
    bottom, right = (int(one / scale) - _BORDER + 2 for one in (box.bottom, box.right))
    box = Box(top, left, bottom, right).clipped(Box(0, 0, shape[0], shape[1]))
    if slanted := patch.slanted:
        column, row, length, height = (one / scale for one in slanted[:4])
        slanted = Slanted(column - _BORDER, row - _BORDER, length, height, slanted.slope)
    return _Patch(box, patch.score, slanted)


def _lines(clear: Grey, patch: _Patch) -> Iterator[Grey]:
    """Cut out a line of text as the reader wants it; what is higher than wide is turned, either way."""
    if patch.slanted:
        cut = _levelled(clear, patch.slanted)
        yield from (_of_height(np.rot90(cut, turns)) for turns in (0, 2))
        return
    box = patch.box
    cut = clear[box.top : box.bottom, box.left : box.right]
    if box.rows > 1.5 * box.columns:
        yield from (_of_height(np.rot90(cut, turns)) for turns in (1, 3))
    else:
        yield _of_height(cut)


def _levelled(clear: Grey, slanted: Slanted) -> Grey:
    """Cut out a rectangle that lies at a slope."""
    turn = cv2.getRotationMatrix2D((slanted.column, slanted.row), slanted.slope, 1.0)
    turn[:, 2] += np.array([slanted.length / 2 - slanted.column, slanted.height / 2 - slanted.row])
    size = max(round(slanted.length), 1), max(round(slanted.height), 1)
    return np.asarray(cv2.warpAffine(clear, turn, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE))


def _of_height(cut: Grey) -> Grey:
    rows, columns = cut.shape
    width = min(max(round(columns * _LINE_HEIGHT / rows), _LINE_HEIGHT), _LONGEST_LINE)
    return cv2.resize(np.ascontiguousarray(cut), (width, _LINE_HEIGHT), interpolation=cv2.INTER_CUBIC)
