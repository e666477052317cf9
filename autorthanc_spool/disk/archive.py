"""ZIP archives: entries that were packed beside one another, written one after the other, and tested.

The standard library's writer compresses with zlib, in the thread that writes. Here an entry is packed where it is
fetched, by isal, and only its bytes wait their turn. The format is that of PKWARE's APPNOTE.TXT 6.3; ZIP64 is used
where a size, an offset or the number of entries asks for it, and nowhere else.
"""

from __future__ import annotations

import os
import stat
import struct
import time
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO

from isal import isal_zlib

# What isal's level 2 makes is as small as what zlib's level 1 makes; its level 3 is much slower and hardly smaller.
LEVEL = 2
CHUNK_BYTES = 1024 * 1024

STORED, DEFLATED = 0, 8
_LIMIT_32 = 0xFFFFFFFF
_LIMIT_16 = 0xFFFF
# Deflate makes what can't be compressed a little larger: from here on, an entry's sizes get room for 64 bits.
_MAY_EXCEED_32 = 0xF0000000
_UNIX, _VERSION, _VERSION_64 = 3, 20, 45
_NAME_IS_UTF8 = 0x800
# The end of 1980-01-01 in every time zone.
_FIRST_DAY_ENDS_S = 315532800 + 2 * 86400
_ZIP64_EXTRA = 1

_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s4B4HL2L5H2L")
_END = struct.Struct("<4s4H2LH")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_SIZES_64 = struct.Struct("<2H2Q")


class Packer:
    """Packs one file, chunk by chunk; sizes and CRC are known when it has ended."""

    def __init__(self, *, compress: bool) -> None:
        self.method = DEFLATED if compress else STORED
        self.crc = 0
        self.size_bytes = 0
        self.packed_bytes = 0

    def pack(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Give the packed bytes."""
        deflate = isal_zlib.compressobj(LEVEL, isal_zlib.DEFLATED, -isal_zlib.MAX_WBITS) if self.method else None
        for chunk in chunks:
            self.crc = isal_zlib.crc32(chunk, self.crc)
            self.size_bytes += len(chunk)
            yield from self._counted(deflate.compress(chunk) if deflate else chunk)
        yield from self._counted(deflate.flush() if deflate else b"")

    def _counted(self, data: bytes) -> Iterator[bytes]:
        self.packed_bytes += len(data)
        if data:
            yield data


@dataclass(frozen=True)
class _Entry:
    name: bytes
    packer: Packer
    offset: int
    has_room_for_64: bool


class ArchiveWriter:
    """Writes an archive into a new, seekable file; the entries get the time and the permissions of that file."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._entries: list[_Entry] = []
        status = os.fstat(stream.fileno())
        self._mode = stat.S_IFREG | stat.S_IMODE(status.st_mode)
        self._date, self._time = _dos_time(status.st_mtime)

    def add(self, name: str, packer: Packer, packed: Iterable[bytes], expected_bytes: int) -> None:
        """Write what the packer gives; `expected_bytes`, of the file, says how much room its sizes need."""
        entry = _Entry(name.encode(), packer, self._stream.tell(), expected_bytes >= _MAY_EXCEED_32)
        self._stream.write(self._local_header(entry))
        for part in packed:
            self._stream.write(part)
        end = self._stream.tell()
        if max(packer.size_bytes, packer.packed_bytes) >= _LIMIT_32 and not entry.has_room_for_64:
            raise ValueError(f"an entry was announced with {expected_bytes} bytes and has {packer.size_bytes}")
        # CRC and sizes are known only now.
        self._stream.seek(entry.offset)
        self._stream.write(self._local_header(entry))
        self._stream.seek(end)
        self._entries.append(entry)

    def finish(self) -> None:
        """Write the directory of all entries."""
        start = self._stream.tell()
        for entry in self._entries:
            self._stream.write(self._central_header(entry))
        count, size = len(self._entries), self._stream.tell() - start
        if count >= _LIMIT_16 or size >= _LIMIT_32 or start >= _LIMIT_32:
            end = self._stream.tell()
            versions = (_VERSION_64, _VERSION_64)
            self._stream.write(_END_64.pack(b"PK\6\6", _END_64.size - 12, *versions, 0, 0, count, count, size, start))
            self._stream.write(_LOCATOR.pack(b"PK\6\7", 0, end, 1))
        counts = (min(count, _LIMIT_16),) * 2
        self._stream.write(_END.pack(b"PK\5\6", 0, 0, *counts, min(size, _LIMIT_32), min(start, _LIMIT_32), 0))

    def _local_header(self, entry: _Entry) -> bytes:
        packer, extra = entry.packer, b""
        sizes, version = (packer.packed_bytes, packer.size_bytes), _VERSION
        if entry.has_room_for_64:
            extra = _SIZES_64.pack(_ZIP64_EXTRA, 16, packer.size_bytes, packer.packed_bytes)
            sizes, version = (_LIMIT_32, _LIMIT_32), _VERSION_64
        fields = (version, _flags(entry.name), packer.method, self._time, self._date, packer.crc, *sizes)
        return _LOCAL.pack(b"PK\3\4", *fields, len(entry.name), len(extra)) + entry.name + extra

    def _central_header(self, entry: _Entry) -> bytes:
        packer = entry.packer
        # In this order; those that need no 64 bits stay out of the extra field (APPNOTE 4.5.3).
        values = (packer.size_bytes, packer.packed_bytes, entry.offset)
        large = [value for value in values if value >= _LIMIT_32]
        extra = struct.pack(f"<2H{len(large)}Q", _ZIP64_EXTRA, 8 * len(large), *large) if large else b""
        size_bytes, packed_bytes, offset = (min(value, _LIMIT_32) for value in values)
        version = _VERSION_64 if large or entry.has_room_for_64 else _VERSION
        head = (version, _UNIX, version, 0, _flags(entry.name), packer.method, self._time, self._date)
        sizes = (packer.crc, packed_bytes, size_bytes, len(entry.name), len(extra), 0, 0, 0)
        return _CENTRAL.pack(b"PK\1\2", *head, *sizes, self._mode << 16, offset) + entry.name + extra


@dataclass(frozen=True)
class Member:
    """One entry of a finished archive, as its directory lists it."""

    name: str
    size_bytes: int
    packed_bytes: int
    crc: int
    is_deflated: bool
    offset: int


def members(stream: IO[bytes]) -> list[Member]:
    """Read the directory of an archive, by the standard library. Raises ValueError when it isn't one."""
    try:
        with zipfile.ZipFile(stream) as archive:
            found = archive.infolist()
    except zipfile.BadZipFile as error:
        raise ValueError(str(error)) from None
    return [
        Member(
            one.filename, one.file_size, one.compress_size, one.CRC, one.compress_type == DEFLATED, one.header_offset
        )
        for one in found
    ]


def is_whole(descriptor: int, member: Member) -> bool:
    """Read an entry, and compare its size and CRC with what the directory says. Safe to be used by several threads."""
    header = os.pread(descriptor, _LOCAL.size, member.offset)
    if len(header) < _LOCAL.size or header[:4] != b"PK\3\4":
        return False
    name_bytes, extra_bytes = _LOCAL.unpack(header)[-2:]
    start = member.offset + _LOCAL.size + name_bytes + extra_bytes
    crc, size_bytes = 0, 0
    try:
        for part in _unpacked(descriptor, start, member):
            crc, size_bytes = isal_zlib.crc32(part, crc), size_bytes + len(part)
    except isal_zlib.error:  # type: ignore[misc] # the stub calls it an instance
        return False
    return (crc, size_bytes) == (member.crc, member.size_bytes)


def _unpacked(descriptor: int, start: int, member: Member) -> Iterator[bytes]:
    inflate = isal_zlib.decompressobj(-isal_zlib.MAX_WBITS) if member.is_deflated else None
    position, end = start, start + member.packed_bytes
    while position < end:
        part = os.pread(descriptor, min(CHUNK_BYTES, end - position), position)
        if not part:
            return
        position += len(part)
        if inflate is None:
            yield part
            continue
        # A chunk of zeros can become a thousand times as long: it comes out in pieces.
        yield inflate.decompress(part, CHUNK_BYTES)
        while inflate.unconsumed_tail:
            yield inflate.decompress(inflate.unconsumed_tail, CHUNK_BYTES)
    if inflate:
        yield inflate.flush()


def _flags(name: bytes) -> int:
    return 0 if name.isascii() else _NAME_IS_UTF8


def _dos_time(seconds: float) -> tuple[int, int]:
    # Two-second steps since 1980, in local time; what is older, or of that day in any zone, is its first moment.
    if seconds < _FIRST_DAY_ENDS_S:
        return 1 << 5 | 1, 0
    now = time.localtime(seconds)
    date = (now.tm_year - 1980) << 9 | now.tm_mon << 5 | now.tm_mday
    return date, now.tm_hour << 11 | now.tm_min << 5 | now.tm_sec // 2
