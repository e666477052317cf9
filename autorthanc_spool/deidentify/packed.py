"""What is packed in opaque bytes: gzip and zlib anywhere in them, Base64; what else is packed can't be searched.

GE's protocol data block (0025,xx1B), for one, is gzip behind a length.
"""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Iterator

# Together, of one value; GE's blocks unpack to some 100 KB.
MOST_UNPACKED_BYTES = 64 * 1024 * 1024
_MOST_LAYERS = 3
# A piece unpacks to about a thousand times as much at most.
_PIECE_BYTES = 16 * 1024

# RFC 1952: method, flags, time, extra flags, operating system.
_GZIP = re.compile(rb"\x1f\x8b\x08[\x00-\x1f].{4}[\x00\x02\x04][\x00-\x0d\xff]", re.DOTALL)
# RFC 1950, with the window that everybody uses.
_ZLIB = re.compile(rb"\x78[\x01\x5e\x9c\xda]")
_LENGTH_BYTES = 8
_BASE64 = re.compile(rb"[A-Za-z0-9+/]{64,}")

# Archives, documents and pictures: ZIP, bzip2, xz, 7z, RAR, zstd, PDF, OLE, PNG; at the beginning also JPEG, GIF, TIFF.
_OTHERS = re.compile(
    rb"PK\x03\x04|BZh[1-9]1AY&SY|\xfd7zXZ\x00|7z\xbc\xaf\x27\x1c|Rar!\x1a\x07|\x28\xb5\x2f\xfd|%PDF-"
    rb"|\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1|\x89PNG\r\n|\A(?:\xff\xd8\xff|GIF8|II\*\x00|MM\x00\*)"
)


class Unsearchable(Exception):
    """Something is packed in a way that isn't understood, is damaged, or unpacks to too much."""


def unpacked(value: bytes) -> Iterator[bytes]:
    """Give a value, and whatever is packed in it. Raises Unsearchable."""
    yield from _layer(value, [MOST_UNPACKED_BYTES], 0)


def _layer(value: bytes, room: list[int], depth: int) -> Iterator[bytes]:
    yield value
    if _OTHERS.search(value):
        raise Unsearchable
    for content in _packed(value, room):
        if depth == _MOST_LAYERS:
            raise Unsearchable
        yield from _layer(content, room, depth + 1)


def _packed(value: bytes, room: list[int]) -> Iterator[bytes]:
    for found in _GZIP.finditer(value):
        content = _inflated(value, found.start(), 31, room)
        if content is None:
            raise Unsearchable
        yield content
    for found in _ZLIB.finditer(value):
        content = _inflated(value, found.start(), 15, room)
        if content is not None:
            yield content
        elif found.start() in (0, 4, _LENGTH_BYTES):
            raise Unsearchable
    for found in _BASE64.finditer(value.translate(None, b"\r\n\t ")):
        # Where it begins isn't known: letters may come before it.
        for start in range(4):
            run = found[0][start:]
            yield base64.b64decode(run[: len(run) & ~3])


def _inflated(value: bytes, start: int, window: int, room: list[int]) -> bytes | None:
    """Inflate a stream; None when it isn't one, or is cut. What comes of it counts against the room in any case."""
    stream, view, contents = zlib.decompressobj(window), memoryview(value), []
    try:
        for at in range(start, len(value), _PIECE_BYTES):
            contents.append(stream.decompress(view[at : at + _PIECE_BYTES]))
            room[0] -= len(contents[-1])
            if room[0] <= 0:
                raise Unsearchable
            if stream.eof:
                return b"".join(contents)
    except zlib.error:
        pass
    return None
