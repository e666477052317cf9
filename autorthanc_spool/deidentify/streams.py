"""What of a compressed frame is the picture: the rest (comments, thumbnails, what follows its end) is left out.

Streams are recognised by how they begin, not by the transfer syntax: JPEG and JPEG-LS (ISO/IEC 10918-1 annex B, 14495-1
annex C), JPEG 2000 and HTJ2K (15444-1 annexes A and I), JPEG XL (18181-2). Nothing is decoded.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field

from autorthanc_spool.deidentify.output import Piece, size_of

# What is counted in the record.
TRAILING = "bytes after the end of an image"
LEADING = "bytes before the begin of an image"
COMMENT = "comments and other data of a compressor"

_SOI = re.compile(rb"\xff\xd8")
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
# JPEG-LS stuffs single bits: in its scans, a byte below 0x80 after 0xFF belongs to the picture.
_MARKER_OF_LS = re.compile(rb"\xff[\x80-\xcf\xd8-\xfe]")
_EOI, _SOS, _SOF_LS, _LSE = 0xD9, 0xDA, 0xF7, 0xF8
_DHT, _DQT, _DNL, _DRI = 0xC4, 0xDB, 0xDC, 0xDD
_FRAMES = frozenset({*range(0xC0, 0xD0), _SOF_LS}) - {_DHT, 0xC8, 0xCC}
# Arithmetic conditions, and what belongs to images in several resolutions: no decoder of DICOM images reads them.
_OF_NO_PICTURE = frozenset({0xCC, 0xDE, 0xDF})
# Application data that decoders need: whether and how colours were transformed. By marker, with the only length that
# leaves no room for anything else.
_NEEDED = {(0xE0, 16): b"JFIF\0", (0xEE, 14): b"Adobe", (0xE8, 7): b"mrfx", (0xE8, 32): b"SPIFF\0"}

_SOC = re.compile(rb"\xff\x4f\xff\x51")
_EOC = re.compile(rb"\xff\xd9")
_SOT, _SOD, _COM, _END = 0xFF90, 0xFF93, 0xFF64, 0xFFD9
# The segments of 15444-1 and, for HTJ2K, 15444-15: CAP, SIZ, COD, COC, TLM, PRF, PLM, PLT, CPF, QCD, QCC, RGN, POC,
# PPM, PPT, CRG, COM and SOT.
_OF_2000 = frozenset({
    0xFF50, 0xFF51, 0xFF52, 0xFF53, 0xFF55, 0xFF56, 0xFF57, 0xFF58, 0xFF59, 0xFF5C, 0xFF5D, 0xFF5E, 0xFF5F, 0xFF60,
    0xFF61, 0xFF63, _COM, _SOT,
})  # fmt: skip
# Those whose length leaves no room for anything else: profiles (PRF, CPF) and positions of components (CRG).
_SHORT = {0xFF56: 6, 0xFF59: 6, 0xFF63: 18}

_JP2 = b"\0\0\0\x0cjP  \r\n\x87\n"
_JXL = b"\0\0\0\x0cJXL \r\n\x87\n"
_JXL_CODESTREAM = b"\xff\x0a"
# The box jbrd holds what a JPEG file had beside its picture.
_BOXES_OF_JXL = frozenset({b"JXL ", b"ftyp", b"jxll", b"jxlc", b"jxlp"})
# The signature and the type of a JP2 file, as its standard has them.
_HEAD_OF_JP2 = _JP2 + b"\0\0\0\x14ftypjp2 \0\0\0\0jp2 "
_BLOCK_BYTES = 2**20


class Unclear(Exception):
    """It isn't clear what of a stream is the picture; the text says why, for the record."""


@dataclass
class Stream:
    """The pieces of a frame that stay, new bytes between them, and what was found and left out."""

    pieces: list[Piece] = field(default_factory=list)
    found: Counter[str] = field(default_factory=Counter)
    # Where the stream ended; None where it has no end.
    end: int | None = None

    def keep(self, start: int, stop: int) -> None:
        """Keep a piece of the frame."""
        last = self.pieces[-1] if self.pieces else None
        if isinstance(last, slice) and last.stop == start:
            self.pieces[-1] = slice(last.start, stop)
        elif stop > start:
            self.pieces.append(slice(start, stop))

    def put(self, data: bytes) -> None:
        """Put new bytes."""
        self.pieces.append(data)

    def close(self, data: memoryview, end: int) -> None:
        """End the stream; what follows, but zeros, is counted."""
        self.end = end
        self.found[TRAILING] += has_content(data, end, len(data))

    def is_all_of(self, data: memoryview) -> bool:
        """Whether everything stays, but for zeros at the end."""
        return self.found.total() == 0 and self.pieces == [slice(0, len(data) if self.end is None else self.end)]


def has_content(data: memoryview, start: int, stop: int) -> bool:
    """Whether there is anything but zeros; looks at a block at a time."""
    return any(bytes(data[at : min(at + _BLOCK_BYTES, stop)]).strip(b"\0") for at in range(start, stop, _BLOCK_BYTES))


def picture(data: memoryview) -> Stream:
    """Find what of a frame is the picture. Raises Unclear."""
    head = bytes(data[:12])
    if head == _JP2:
        return _jp2(data)
    if head == _JXL:
        return _jxl(data)
    if head[:2] == _JXL_CODESTREAM:
        # Where it ends, only a decoder can tell.
        return _whole(data)
    found = _SOC.search(data)
    start = _SOI.search(data)
    if found and (not start or found.start() < start.start()):
        return _jpeg_2000(data, found.start(), len(data))
    if start:
        return _jpeg(data, start.start())
    raise Unclear("compressed pixel data that aren't JPEG, JPEG-LS, JPEG 2000 or JPEG XL")


def _whole(data: memoryview) -> Stream:
    stream = Stream()
    stream.keep(0, len(data))
    return stream


def _begun(start: int) -> Stream:
    stream = Stream()
    stream.found[LEADING] += start > 0
    return stream


def _jpeg(data: memoryview, start: int) -> Stream:
    stream, seen = _begun(start), set[int]()
    stream.keep(start, start + 2)
    for marker, at, stop in _jpeg_segments(data, start + 2):
        if marker == _EOI:
            stream.keep(at, stop)
            stream.close(data, stop)
        elif _is_of_the_picture(data, marker, at, seen) or _is_needed(data, marker, at, stop):
            stream.keep(at, stop)
        else:
            stream.found[COMMENT] += 1
        seen.add(marker)
    if _LSE in seen and _SOF_LS not in seen:
        raise Unclear("a JPEG stream with parameters of JPEG-LS")
    return stream


def _is_of_the_picture(data: memoryview, marker: int, at: int, seen: Collection[int]) -> bool:
    """Whether it is a table, a frame, a scan or a restart interval. Raises Unclear where it holds more than that."""
    if marker in _OF_NO_PICTURE:
        raise Unclear("a JPEG stream with segments that images of DICOM don't have")
    length = int.from_bytes(data[at + 2 : at + 4], "big")
    body = bytes(data[at + 4 : at + 2 + length])
    is_exact = True
    if marker in _FRAMES:
        is_exact = len(body) >= 6 and len(body) == 6 + 3 * body[5]
    elif marker == _SOS:
        is_exact = len(body) >= 1 and len(body) == 4 + 2 * body[0]
    elif marker == _DHT:
        is_exact = _are_tables(body, lambda table: 17 + sum(table[1:17]))
    elif marker == _DQT:
        is_exact = _are_tables(body, lambda table: 129 if table[0] >> 4 else 65)
    elif marker == _DRI:
        is_exact = len(body) in (2, 3, 4)
    elif marker == _DNL:
        is_exact = len(body) == 2 and _SOS in seen
    elif marker == _LSE:
        # Preset coding parameters; the others are tables of colours, which DICOM has elsewhere.
        is_exact = len(body) == 11 and body[0] == 1
    else:
        return False
    if not is_exact:
        raise Unclear("a JPEG stream with a segment that holds more than it says")
    return True


def _are_tables(body: bytes, size: Callable[[bytes], int]) -> bool:
    """Whether there is one table after the other, and nothing behind."""
    at = 0
    while at < len(body):
        at += size(body[at:])
    return at == len(body)


def _jpeg_segments(data: memoryview, at: int) -> Iterator[tuple[int, int, int]]:
    """Give marker, begin and end of each segment, of a scan with its data, up to the end of the image."""
    marker, following = 0, _MARKER
    while marker != _EOI and at < len(data):
        # Any number of 0xFF may come before a marker.
        while at + 2 < len(data) and data[at] == data[at + 1] == 0xFF:
            at += 1
        if at + 2 > len(data) or data[at] != 0xFF:
            raise Unclear("a JPEG stream that can't be read")
        marker = data[at + 1]
        stop = at + 2
        if marker != _EOI:
            stop += max(int.from_bytes(data[at + 2 : at + 4], "big"), 2)
        if stop > len(data):
            raise Unclear("a JPEG stream that can't be read")
        following = _MARKER_OF_LS if marker == _SOF_LS else following
        if marker == _SOS:
            found = following.search(data, stop)
            stop = found.start() if found else len(data)
        yield marker, at, stop
        at = stop


def _is_needed(data: memoryview, marker: int, at: int, stop: int) -> bool:
    name = _NEEDED.get((marker, stop - at - 2))
    return name is not None and bytes(data[at + 4 : at + 4 + len(name)]) == name


def _jpeg_2000(data: memoryview, start: int, stop: int) -> Stream:
    """Blank comments in place: tables of lengths stay right."""
    stream, at, tile_end = _begun(start), start + 2, 0
    stream.keep(start, at)
    while at + 2 <= stop:
        marker = int.from_bytes(data[at : at + 2], "big")
        if marker == _END:
            stream.keep(at, at + 2)
            stream.close(data, at + 2)
            return stream
        if marker == _SOD:
            ended = _end_of_tile(data, at, stop, tile_end)
            stream.keep(at, ended)
            at = ended
            continue
        if tile_end and at == tile_end and marker != _SOT:
            # The end is missing, and what follows belongs to nothing.
            stream.close(data, at)
            return stream
        segment = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker < 0xFF30 or not at + 4 <= segment <= stop:
            raise Unclear("a JPEG 2000 stream that can't be read")
        if marker not in _OF_2000 or segment - at - 2 > _SHORT.get(marker, segment):
            raise Unclear("a JPEG 2000 stream with segments that no decoder needs")
        if marker == _SOT:
            length = int.from_bytes(data[at + 6 : at + 10], "big")
            tile_end = at + length if length else 0
        _keep_segment(stream, data, at, segment, marker)
        at = segment
    return stream


def _end_of_tile(data: memoryview, at: int, stop: int, tile_end: int) -> int:
    if tile_end:
        return min(max(tile_end, at + 2), stop)
    # The last tile may leave its length open; no codeword has a marker's value.
    found = _EOC.search(data, at + 2, stop)
    return found.start() if found else stop


def _keep_segment(stream: Stream, data: memoryview, at: int, stop: int, marker: int) -> None:
    blank = bytes(stop - at - 6)
    if marker != _COM or bytes(data[at + 6 : stop]) == blank:
        stream.keep(at, stop)
        return
    stream.keep(at, at + 6)
    stream.put(blank)
    stream.found[COMMENT] += 1


def _boxes(data: memoryview) -> Iterator[tuple[bytes, int, int, int]]:
    """Give type, begin, begin of the content and end of each box."""
    at = 0
    while at + 8 <= len(data):
        length, kind, content = int.from_bytes(data[at : at + 4], "big"), bytes(data[at + 4 : at + 8]), at + 8
        if length == 1:
            length, content = int.from_bytes(data[at + 8 : at + 16], "big"), at + 16
        stop = at + length if length else len(data)
        if not content <= stop <= len(data):
            return
        yield kind, at, content, stop
        at = stop


def _jp2(data: memoryview) -> Stream:
    """Keep the codestream, with a header around it only where it says how samples become colours.

    PS3.5 section A.4.4 has the codestream alone.
    """
    boxes = {kind: (content, stop) for kind, _, content, stop in _boxes(data)}
    if b"jp2c" not in boxes:
        raise Unclear("a JPEG 2000 file without a picture")
    inner = _jpeg_2000(data, *boxes[b"jp2c"])
    stream = Stream(found=inner.found, end=inner.end)
    stream.found[LEADING] = 0
    header = _header_of_colours(data, *boxes[b"jp2h"]) if b"jp2h" in boxes else b""
    if header:
        size = sum(map(size_of, inner.pieces))
        stream.put(_HEAD_OF_JP2 + _box(b"jp2h", header) + (8 + size).to_bytes(4, "big") + b"jp2c")
    stream.found[COMMENT] += 1
    stream.pieces += inner.pieces
    return stream


def _box(kind: bytes, content: bytes) -> bytes:
    return (8 + len(content)).to_bytes(4, "big") + kind + content


def _header_of_colours(data: memoryview, start: int, stop: int) -> bytes:
    """Write the header again, if it has a palette or orders channels.

    Raises Unclear where anything can be beside that.
    """
    header = data[start:stop]
    boxes = [(kind, bytes(header[begin:end])) for kind, _, begin, end in _boxes(header)]
    if not any(kind in _COLOURS for kind, _ in boxes):
        return b""
    # What it says of resolution isn't needed.
    kept = [(kind, content) for kind, content in boxes if kind != b"res "]
    if not all(kind in _SIZES and _SIZES[kind](content) for kind, content in kept):
        raise Unclear("a JPEG 2000 file with colours of its own")
    return b"".join(_box(kind, content) for kind, content in kept)


_COLOURS = (b"pclr", b"cmap", b"cdef")
# Whether the content of a box is as long as it says. A colr of 7 bytes names a colour space, a longer one holds a
# profile.
_SIZES: dict[bytes, Callable[[bytes], bool]] = {
    b"ihdr": lambda content: len(content) == 14,
    b"bpcc": lambda content: len(content) <= 4,
    b"colr": lambda content: len(content) == 7,
    b"pclr": lambda content: len(content) >= 3 and len(content) == _size_of_palette(content),
    b"cmap": lambda content: len(content) % 4 == 0 and len(content) <= 16,
    b"cdef": lambda content: len(content) >= 2 and len(content) == 2 + 6 * int.from_bytes(content[:2], "big"),
}


def _size_of_palette(content: bytes) -> int:
    entries, columns = int.from_bytes(content[:2], "big"), content[2]
    depths = content[3 : 3 + columns]
    return 3 + columns + entries * sum(((depth & 0x7F) + 8) // 8 for depth in depths)


def _jxl(data: memoryview) -> Stream:
    stream, end = Stream(), 0
    for kind, at, _, stop in _boxes(data):
        end = stop
        if kind in _BOXES_OF_JXL:
            stream.keep(at, stop)
        else:
            stream.found[COMMENT] += 1
    stream.close(data, end)
    return stream


def inflatable(length: int) -> Callable[[memoryview], Stream]:
    """Find the end of a frame of Deflated Image Frame Compression, whose image has this many bytes."""

    def find(data: memoryview) -> Stream:
        inflater, size, at = zlib.decompressobj(-zlib.MAX_WBITS), 0, 0
        try:
            while at < len(data) and not inflater.eof:
                size += len(inflater.decompress(data[at : at + 2**14]))
                at += 2**14
        except zlib.error:
            raise Unclear("a deflated frame that can't be inflated") from None
        if not inflater.eof or not length <= size <= length + 1:
            raise Unclear("a deflated frame that doesn't have the size of the image")
        end = min(at, len(data)) - len(inflater.unused_data)
        stream = Stream()
        stream.keep(0, end)
        stream.close(data, end)
        return stream

    return find


def plain(length: int) -> Callable[[memoryview], Stream]:
    """Take so many bytes of a frame."""

    def find(data: memoryview) -> Stream:
        stream = Stream()
        stream.keep(0, min(length, len(data)))
        stream.close(data, min(length, len(data)))
        return stream

    return find


def run_lengths(data: memoryview) -> Stream:
    """Take a frame of RLE (PS3.5 annex G) as it is, but for what its header has beside the segments in use."""
    count = int.from_bytes(data[:4], "little")
    offsets = [int.from_bytes(data[at : at + 4], "little") for at in range(4, min(64, len(data)), 4)]
    if len(data) < 64 or not 1 <= count <= 15 or offsets[0] != 64:
        raise Unclear("RLE frames that can't be read")
    stream, used = Stream(), 4 + 4 * count
    stream.keep(0, used)
    if any(offsets[count:]):
        stream.put(bytes(64 - used))
        stream.found[COMMENT] += 1
    else:
        stream.keep(used, 64)
    stream.keep(64, len(data))
    return stream
