"""What is written: pieces of the buffer that was read, and new bytes between them."""

from __future__ import annotations

# New bytes, or a piece of the buffer.
Piece = bytes | slice


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
