"""The file around a data set: preamble, file meta information, deflation (PS3.10 chapter 7)."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from autorthanc_spool.deidentify.elements import (
    EXPLICIT_BIG,
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    LONG_VRS,
    VR_OF_BYTES,
    Encoding,
)
from autorthanc_spool.deidentify.errors import Malformed, Unsupported
from autorthanc_spool.deidentify.unknown_vr import Ahead

PREAMBLE = bytes(128) + b"DICM"

# Of the kind that anybody may make (RFC 4122 UUID under 2.25); it names the writer of a file.
IMPLEMENTATION_CLASS_UID = "2.25.311420407938381624380066863138910264080"
IMPLEMENTATION_VERSION_NAME = "AUTORTHANC_SPOOL"

_TRANSFER_SYNTAX = 0x0010

_IMPLICIT = "1.2.840.10008.1.2"
_BIG_ENDIAN = "1.2.840.10008.1.2.2"
_EXPLICIT = "1.2.840.10008.1.2.1"
_DEFLATED = "1.2.840.10008.1.2.1.99"
_PLAIN = frozenset({_IMPLICIT, _EXPLICIT, _BIG_ENDIAN, _DEFLATED})

# PS3.6 2026c, table A-1, with those that are retired; a list of ours, as that of pydicom is as old as pydicom.
_REGISTERED = "1.2.840.10008."
_ENCAPSULATED_UNCOMPRESSED = "1.2.840.10008.1.2.1.98"
_RUN_LENGTHS = "1.2.840.10008.1.2.5"
_DEFLATED_FRAMES = "1.2.840.10008.1.2.8.1"
# What comes in fragments under 1.2.840.10008.1.2.4: JPEG, JPEG-LS, JPEG 2000, MPEG-2, H.264, H.265, JPEG XL, HTJ2K.
_COMPRESSED = frozenset({*range(50, 67), 70, 80, 81, *range(90, 94), *range(100, 109), 110, 111, 112, 201, 202, 203})
# Fragmentable MPEG-2 and H.264.
_FRAGMENTABLE = range(100, 107)
_OF_FRAGMENTS = frozenset(
    {_ENCAPSULATED_UNCOMPRESSED, _RUN_LENGTHS, _DEFLATED_FRAMES}
    | {f"1.2.840.10008.1.2.4.{number}" for number in _COMPRESSED}
    | {f"1.2.840.10008.1.2.4.{number}.1" for number in _FRAGMENTABLE}
)
# Transfer syntaxes whose pixel data lie somewhere else, or whose files aren't PS3.10 files.
_ELSEWHERE = {
    "1.2.840.10008.1.2.4.94": "JPIP Referenced",
    "1.2.840.10008.1.2.4.95": "JPIP Referenced Deflate",
    "1.2.840.10008.1.2.4.204": "JPIP HTJ2K Referenced",
    "1.2.840.10008.1.2.4.205": "JPIP HTJ2K Referenced Deflate",
    "1.2.840.10008.1.2.6.1": "RFC 2557 MIME encapsulation",
    "1.2.840.10008.1.2.6.2": "XML Encoding",
    "1.2.840.10008.1.2.7.1": "SMPTE ST 2110-20 Uncompressed Progressive Active Video",
    "1.2.840.10008.1.2.7.2": "SMPTE ST 2110-20 Uncompressed Interlaced Active Video",
    "1.2.840.10008.1.2.7.3": "SMPTE ST 2110-30 PCM Digital Audio",
    "1.2.840.10008.1.20": "Papyrus 3",
}
_VIDEO = "1.2.840.10008.1.2.4.10"

# Deflate makes at most 1032 bytes of one; this many could only come of a file made to fill the memory.
_LARGEST_INFLATED_BYTES = 2**31
_BLOCK_BYTES = 2**20


@dataclass(frozen=True)
class TransferSyntax:
    """How the data set of a file is written."""

    uid: str

    @property
    def encoding(self) -> Encoding:
        """How its elements are written."""
        if self.uid == _IMPLICIT:
            return IMPLICIT_LITTLE
        return EXPLICIT_BIG if self.uid == _BIG_ENDIAN else EXPLICIT_LITTLE

    @property
    def is_deflated(self) -> bool:
        """Whether the whole data set is compressed."""
        return self.uid == _DEFLATED

    @property
    def is_encapsulated(self) -> bool:
        """Whether pixel data come in fragments."""
        return self.uid not in _PLAIN

    @property
    def is_video(self) -> bool:
        """Whether frames aren't told apart by fragments: MPEG-2, H.264, H.265."""
        return self.uid.startswith(_VIDEO)

    @property
    def has_run_lengths(self) -> bool:
        """Whether frames are compressed as PS3.5 annex G has it."""
        return self.uid == _RUN_LENGTHS

    @property
    def has_deflated_frames(self) -> bool:
        """Whether each frame is deflated (PS3.5 section A.4.13)."""
        return self.uid == _DEFLATED_FRAMES

    @property
    def has_plain_frames(self) -> bool:
        """Whether frames come in fragments, but uncompressed."""
        return self.uid == _ENCAPSULATED_UNCOMPRESSED


# What decoded frames are written in.
EXPLICIT = TransferSyntax(_EXPLICIT)


def open_container(data: memoryview) -> tuple[TransferSyntax, memoryview, int]:
    """Read what comes before the data set.

    Gives the transfer syntax, the buffer that holds the data set, and where it begins there. Raises Malformed, and
    Unsupported for transfer syntaxes that nothing can be done with.
    """
    has_preamble = bytes(data[128:132]) == b"DICM"
    named, start = _file_meta(data, len(PREAMBLE) if has_preamble else 0)
    # Orthanc keeps bare data sets that are uploaded to it as they are, without preamble and file meta information.
    syntax = _known(named) if named is not None else _guessed(data, start, has_preamble)
    if not syntax.is_deflated:
        return syntax, data, start
    return syntax, memoryview(_inflated(data[start:])), 0


def _file_meta(data: memoryview, start: int) -> tuple[str | None, int]:
    """Find the transfer syntax, and the end of group 0002; its group length is often wrong and isn't needed."""
    at, syntax = start, None
    while at + 8 <= len(data):
        group, number, name, length = EXPLICIT_LITTLE.short_header.unpack_from(data, at)
        if group != 0x0002:
            break
        vr, value = VR_OF_BYTES.get(name), at + 8
        if vr is None:
            value, length = _form_of_unknown(data, at)
        elif vr in LONG_VRS:
            if at + 12 > len(data):
                break
            value, (length,) = at + 12, EXPLICIT_LITTLE.long.unpack_from(data, at + 8)
        if value + length > len(data):
            raise Malformed("the file ends within its file meta information")
        # Of an element that comes twice the first counts, as in DCMTK and so in Orthanc.
        if number == _TRANSFER_SYNTAX and syntax is None:
            syntax = bytes(data[value : value + length]).decode("latin-1").strip(" \0")
        at = value + length
    return syntax, at


def _form_of_unknown(data: memoryview, at: int) -> tuple[int, int]:
    """Find where a value of unknown VR begins, and its length: the one after which the file goes on (`unknown_vr`)."""
    found = {value + length: (value, length) for value, length in Ahead(data, len(data), EXPLICIT_LITTLE).forms(at)}
    going_on = [form for end, form in found.items() if _goes_on(data, end)]
    if len(going_on) != 1:
        raise Malformed("the file meta information isn't in explicit VR")
    return going_on[0]


def _goes_on(data: memoryview, at: int) -> bool:
    """Whether file meta information goes on here, or the data set begins, with its first group in either byte order."""
    group = bytes(data[at : at + 2])
    return (group == b"\2\0" and bytes(data[at + 4 : at + 6]) in VR_OF_BYTES) or group in (b"\x08\0", b"\0\x08")


def _guessed(data: memoryview, start: int, has_preamble: bool) -> TransferSyntax:
    """Guess by its first element, always of group 0008, how a data set is encoded when nothing says so."""
    first = bytes(data[start : start + 6])
    is_explicit = first[4:] in VR_OF_BYTES
    if first[:2] == b"\x08\0":
        return TransferSyntax(_EXPLICIT if is_explicit else _IMPLICIT)
    if first[:2] == b"\0\x08" and is_explicit:
        return TransferSyntax(_BIG_ENDIAN)
    if has_preamble:
        raise Malformed("the file names no transfer syntax, and its data set begins with nothing known")
    raise Malformed("the file has no preamble with DICM at byte 128, so it is not a DICOM file")


def _known(syntax: str) -> TransferSyntax:
    if syntax in _PLAIN or syntax in _OF_FRAGMENTS:
        return TransferSyntax(syntax)
    if syntax in _ELSEWHERE:
        raise Unsupported(f"the pixel data of a file in transfer syntax {_ELSEWHERE[syntax]} lie outside it")
    if syntax.startswith(_REGISTERED):
        raise Unsupported("the file is in a transfer syntax that PS3.6 2026c doesn't have")
    raise Unsupported(
        "the file is in a private transfer syntax, so that nobody but its maker knows how it is written; "
        "have it sent in one of DICOM's"
    )


def file_meta(SOPClassUID: str, SOPInstanceUID: str, syntax: TransferSyntax) -> bytes:
    """Rewrite preamble and file meta information."""
    values = (
        (0x00020001, "OB", b"\0\1"),
        (0x00020002, "UI", SOPClassUID.encode()),
        (0x00020003, "UI", SOPInstanceUID.encode()),
        (0x00020010, "UI", syntax.uid.encode()),
        (0x00020012, "UI", IMPLEMENTATION_CLASS_UID.encode()),
        (0x00020013, "SH", IMPLEMENTATION_VERSION_NAME.encode()),
    )
    content = b"".join(EXPLICIT_LITTLE.element(tag, vr, value) for tag, vr, value in values)
    length = EXPLICIT_LITTLE.element(0x00020000, "UL", EXPLICIT_LITTLE.long.pack(len(content)))
    return PREAMBLE + length + content


def _inflated(data: memoryview) -> bytes:
    """Inflate a data set (PS3.5 section A.5: raw deflate)."""
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        content = stream.decompress(data, _LARGEST_INFLATED_BYTES)
    except zlib.error:
        raise Malformed("the deflated data set can't be inflated") from None
    if stream.unconsumed_tail:
        raise Unsupported(f"the deflated data set has more than {_LARGEST_INFLATED_BYTES} bytes")
    if not stream.eof:
        raise Malformed("the deflated data set has no end; the file is cut")
    return content


def deflated(chunks: Iterable[bytes | bytearray | memoryview]) -> Iterator[bytes]:
    """Deflate a data set, a block at a time; the same content gives the same bytes with the same zlib."""
    stream = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    size = 0
    for chunk in chunks:
        for at in range(0, len(chunk), _BLOCK_BYTES):
            block = stream.compress(chunk[at : at + _BLOCK_BYTES])
            size += len(block)
            yield block
    end = stream.flush()
    # PS3.5 section A.5: one zero byte makes the length even.
    yield end + bytes((size + len(end)) % 2)
