"""Encapsulated pixel data (PS3.5 section A.4): frames are told apart, cleaned, and written with offsets that hold."""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate

from autorthanc_spool.deidentify.elements import IMPLICIT_LITTLE, ITEM, SEQUENCE_END, UNDEFINED, Element, Encoding
from autorthanc_spool.deidentify.output import Output, Piece, size_of
from autorthanc_spool.deidentify.streams import Stream, Unclear

EXTRA_FRAGMENTS = "fragments after the last frame"
OFFSETS = "offset tables that didn't hold"

_ITEM_HEADER_BYTES = 8

Finder = Callable[[memoryview], Stream]


@dataclass(frozen=True)
class Frame:
    """One frame: where its fragments lie in the buffer, and what of their bytes stays."""

    fragments: list[slice]
    stream: Stream
    is_whole: bool

    @property
    def size(self) -> int:
        """The number of its bytes, without padding."""
        return sum(map(size_of, self.stream.pieces))


@dataclass(frozen=True)
class Encapsulated:
    """All frames, as they will be written."""

    frames: list[Frame]
    table: slice
    found: Counter[str]
    is_whole: bool

    def offsets(self) -> list[int]:
        """Where the first item of each frame begins, counted from the end of the basic offset table's item."""
        return [0, *accumulate(_written_size(frame) for frame in self.frames)][:-1]

    def sizes(self) -> list[int]:
        """The number of bytes of each frame."""
        return [frame.size for frame in self.frames]


def items(buffer: memoryview, element: Element) -> list[slice]:
    """Where the items lie, the basic offset table first; the reader has seen that they are whole."""
    found: list[slice] = []
    at = element.value
    while True:
        group, number, length = IMPLICIT_LITTLE.plain_header.unpack_from(buffer, at)
        at += _ITEM_HEADER_BYTES
        if group << 16 | number != ITEM:
            return found
        found.append(slice(at, at + length))
        at += length


def read(buffer: memoryview, element: Element, count: int, find: Finder) -> Encapsulated:
    """Tell `count` frames apart and find what of each stays. Raises Unclear."""
    table, *fragments = items(buffer, element)
    frames: list[Frame] = []
    rest = fragments
    for frame in _frames(buffer, fragments, count, find):
        frames.append(frame)
        rest = rest[len(frame.fragments) :] if frame.fragments else rest
    if len(frames) < count:
        raise Unclear("frames that can't be told apart")
    found = Counter({EXTRA_FRAGMENTS: len(rest)}) if rest else Counter[str]()
    for frame in frames:
        found += frame.stream.found
    return Encapsulated(frames, table, found, not rest and all(frame.is_whole for frame in frames))


def _frames(buffer: memoryview, fragments: list[slice], count: int, find: Finder) -> Iterator[Frame]:
    if len(fragments) == count:
        for one in fragments:
            yield _frame(buffer, [one], find)
    elif count == 1:
        yield _frame(buffer, fragments, find)
    else:
        yield from _by_their_ends(buffer, fragments, count, find)


def _by_their_ends(buffer: memoryview, fragments: list[slice], count: int, find: Finder) -> Iterator[Frame]:
    """More fragments than frames: a frame goes on until its stream has ended."""
    at = 0
    for _ in range(count):
        for stop in range(at + 1, len(fragments) + 1):
            try:
                frame = _frame(buffer, fragments[at:stop], find)
            except Unclear:
                continue
            if frame.stream.end is not None:
                yield frame
                at = stop
                break
        else:
            raise Unclear("frames that can't be told apart")


def _frame(buffer: memoryview, fragments: list[slice], find: Finder) -> Frame:
    is_one = len(fragments) == 1
    data = buffer[fragments[0]] if is_one else memoryview(b"".join(buffer[one] for one in fragments))
    stream = find(data)
    is_whole = stream.is_all_of(data) and (stream.end is None or _is_padding(fragments, stream.end))
    return Frame(fragments, stream, is_whole)


def _is_padding(fragments: list[slice], end: int) -> bool:
    """Whether all but the last fragment are needed."""
    return len(fragments) == 1 or sum(one.stop - one.start for one in fragments[:-1]) < end


def _written_size(frame: Frame) -> int:
    if frame.is_whole:
        return sum(_ITEM_HEADER_BYTES + one.stop - one.start for one in frame.fragments)
    return _ITEM_HEADER_BYTES + frame.size + frame.size % 2


def write(made: Encapsulated, element: Element, encoding: Encoding) -> Output:
    """Write the element again; a frame that changed becomes one fragment."""
    has_table = made.table.stop > made.table.start and made.offsets()[-1] < UNDEFINED
    out = Output()
    out.put(encoding.header(element.tag, element.vr, UNDEFINED))
    table = struct.pack(f"<{len(made.frames)}L", *made.offsets()) if has_table else b""
    out.put(IMPLICIT_LITTLE.header(ITEM, "", len(table)) + table)
    for frame in made.frames:
        if frame.is_whole:
            out.keep(frame.fragments[0].start - _ITEM_HEADER_BYTES, frame.fragments[-1].stop)
            continue
        out.put(IMPLICIT_LITTLE.header(ITEM, "", frame.size + frame.size % 2))
        _write_stream(frame, out)
        out.put(bytes(frame.size % 2))
    out.put(IMPLICIT_LITTLE.header(SEQUENCE_END, "", 0))
    return out


def pieces(frame: Frame) -> tuple[Piece, ...]:
    """The pieces of the buffer, and the new bytes, that a frame is made of."""
    out = Output()
    _write_stream(frame, out)
    return tuple(out.pieces())


def _write_stream(frame: Frame, out: Output) -> None:
    begins = [0, *accumulate(one.stop - one.start for one in frame.fragments)]
    for piece in frame.stream.pieces:
        if not isinstance(piece, slice):
            assert isinstance(piece, bytes)
            out.put(piece)
            continue
        at = piece.start
        while at < piece.stop:
            number = bisect_right(begins, at) - 1
            fragment, stop = frame.fragments[number], min(piece.stop, begins[number + 1])
            out.keep(fragment.start + at - begins[number], fragment.start + stop - begins[number])
            at = stop


def holds(made: Encapsulated, buffer: memoryview) -> bool:
    """Whether the basic offset table is empty or right (of frames that stay as they are)."""
    found = bytes(buffer[made.table])
    return not found or (
        made.offsets()[-1] < UNDEFINED and found == struct.pack(f"<{len(made.frames)}L", *made.offsets())
    )
