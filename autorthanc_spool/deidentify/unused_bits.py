"""Bits of native pixel data outside BitsStored (PS3.5 section 8.1.1): an overlay or text can be there.

Signed samples may be extended by their sign. A block of pixels is looked at in one, by columns of bytes: that is fast
enough for every file, and only blocks that must change are held in memory.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from autorthanc_spool.deidentify.output import Output

UNUSED_BITS = "bits outside BitsStored"

_BLOCK_BYTES = 2**20
_WORD_BYTES = 2


@dataclass(frozen=True)
class Samples:
    """How a sample is stored; `stored` bits, the highest of them is its sign if it is signed."""

    size: int
    stored: int
    is_signed: bool
    is_big: bool
    padding: int | None = None


def cleared(buffer: memoryview, start: int, end: int, samples: Samples) -> Output | None:
    """Write samples without what is in their unused bits; None when nothing is."""
    zero = _Columns(samples, extends=False)
    if not samples.is_signed:
        wanted = zero.of
    else:
        wanted = _Columns(samples, extends=True).of
        # Negative samples are extended all, or none.
        if all(block == zero.of(block) for _, block in _blocks(buffer, start, end)):
            return None
    if all(block == wanted(block) for _, block in _blocks(buffer, start, end)):
        return None
    return _written(buffer, start, end, samples, wanted)


def is_empty(buffer: memoryview, start: int, end: int, samples: Samples, used: int) -> bool:
    """Whether all bits of samples outside the mask `used` are zero."""
    masks = used.to_bytes(samples.size, "big" if samples.is_big else "little")
    tables = [bytes(one for one in range(256) if not one & ~mask) for mask in masks]
    return not any(
        block[place :: samples.size].translate(None, table)
        for _, block in _blocks(buffer, start, end)
        for place, table in enumerate(tables)
    )


def _written(
    buffer: memoryview, start: int, end: int, samples: Samples, wanted: Callable[[bytes], bytes]
) -> Output | None:
    out, is_changed = Output(), False
    for at, block in _blocks(buffer, start, end):
        new = wanted(block)
        if new != block and samples.padding is not None and samples.size == _WORD_BYTES:
            new = _with_padding(block, new, samples)
        if new == block:
            out.keep(at, at + len(block))
        else:
            is_changed = True
            out.put(new)
    return out if is_changed else None


def _with_padding(block: bytes, new: bytes, samples: Samples) -> bytes:
    """Keep samples that have exactly PixelPaddingValue, which writers choose outside the stored bits."""
    before, after = array("H", block), array("H", new)
    padding = samples.padding
    if samples.is_big != (sys.byteorder == "big"):
        padding = int.from_bytes((padding or 0).to_bytes(_WORD_BYTES, "big"), "little")
    return array("H", (a if a == padding else b for a, b in zip(before, after, strict=True))).tobytes()


def _blocks(buffer: memoryview, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    for at in range(start, end, _BLOCK_BYTES):
        yield at, bytes(buffer[at : min(at + _BLOCK_BYTES, end)])


class _Columns:
    """Makes blocks whose unused bits are zero, or extend the sign."""

    def __init__(self, samples: Samples, *, extends: bool) -> None:
        self._size = samples.size
        # Where the highest stored bit lies; bytes above hold nothing, those below are all used.
        number = (samples.stored - 1) // 8
        bits = samples.stored - 8 * number
        order = list(range(samples.size))[:: -1 if samples.is_big else 1]
        self._place, self._above = order[number], order[number + 1 :]
        mask, sign = (1 << bits) - 1, 1 << bits - 1
        unused = 0xFF & ~mask
        self._table = bytes(one & mask | (unused if extends and one & sign else 0) for one in range(256))
        self._fill = bytes(0xFF if extends and one & sign else 0 for one in range(256))

    def of(self, block: bytes) -> bytes:
        """Make a block; it is the same where nothing is wrong with it."""
        column = block[self._place :: self._size]
        new = column.translate(self._table)
        fills = [(place, column.translate(self._fill)) for place in self._above]
        if new == column and all(block[place :: self._size] == fill for place, fill in fills):
            return block
        made = bytearray(block)
        made[self._place :: self._size] = new
        for place, fill in fills:
            made[place :: self._size] = fill
        return bytes(made)
