"""What is written: pieces of the buffer that was read, and new bytes between them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol


class Made(Protocol):
    """Bytes that are made of the buffer when they are wanted, as all of them at once would be too much."""

    @property
    def size(self) -> int:
        """How many bytes it makes."""

    @property
    def needs_codec(self) -> bool:
        """Whether a codec is needed to make them."""

    def made(self, buffer: memoryview) -> bytes | bytearray:
        """Make the bytes."""


# New bytes, a piece of the buffer, or what is made of it later.
Piece = bytes | slice | Made


def size_of(piece: Piece) -> int:
    """How many bytes a piece has."""
    if isinstance(piece, slice):
        return int(piece.stop - piece.start)
    return len(piece) if isinstance(piece, bytes) else piece.size


def chunks_of(pieces: Iterable[Piece], buffer: memoryview) -> Iterator[bytes | bytearray | memoryview]:
    """Give the bytes of pieces."""
    for piece in pieces:
        if isinstance(piece, slice):
            yield buffer[piece]
        elif isinstance(piece, bytes):
            yield piece
        else:
            yield piece.made(buffer)


class Output:
    """Collects pieces in their order; neighbours in the buffer become one piece."""

    def __init__(self) -> None:
        self._pieces: list[Piece] = []
        self._start = self._end = 0
        self.size = 0

    def keep(self, start: int, end: int) -> None:
        """Add a piece of the buffer."""
        self.size += end - start
        if start == self._end:
            self._end = end
            return
        self._flush()
        self._start, self._end = start, end

    def put(self, data: bytes) -> None:
        """Add new bytes."""
        self._flush()
        self._pieces.append(data)
        self.size += len(data)

    def make(self, made: Made) -> None:
        """Add bytes that are made later."""
        self._flush()
        self._pieces.append(made)
        self.size += made.size

    def extend(self, other: Output) -> None:
        """Add all of another output."""
        self._flush()
        self._pieces.extend(other.pieces())
        self.size += other.size

    def is_copy_of(self, start: int, end: int) -> bool:
        """Whether this is exactly one piece of the buffer."""
        if self._pieces:
            return False
        return (self._start, self._end) == (start, end) or (start == end and self.size == 0)

    def pieces(self) -> list[Piece]:
        """All pieces in their order."""
        self._flush()
        return self._pieces

    def _flush(self) -> None:
        if self._end > self._start:
            self._pieces.append(slice(self._start, self._end))
        self._start = self._end = 0
