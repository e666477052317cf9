"""DICOM files full of canaries: a value that must never come out is in every attribute of Table E.1-1.

A canary is found again in any bytes: as `CNRY` in text, in a family of UIDs, of numbers, of dates and of fractions of a
second that is nowhere else. Files are written byte by byte here, not by pydicom, so that they may be as odd as real
ones are.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from autorthanc_spool.deidentify.elements import EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE, Encoding
from autorthanc_spool.deidentify.reader import known_vr
from autorthanc_spool.deidentify.table import Row, table

UID_FAMILY = "1.2.826.0.1.3680043.77777"
_FIRST_DAY = date(1700, 1, 1)

CT = "1.2.840.10008.5.1.4.1.1.2"
SYNTAXES: Mapping[str, tuple[str, Encoding]] = {
    "implicit": ("1.2.840.10008.1.2", IMPLICIT_LITTLE),
    "explicit": ("1.2.840.10008.1.2.1", EXPLICIT_LITTLE),
    "big endian": ("1.2.840.10008.1.2.2", EXPLICIT_BIG),
    "deflated": ("1.2.840.10008.1.2.1.99", EXPLICIT_LITTLE),
    "encapsulated": ("1.2.840.10008.1.2.4.90", EXPLICIT_LITTLE),
}

# Sequences that the table doesn't list: SharedFunctionalGroupsSequence in (0008,2218) AnatomicRegionSequence.
OUTER, INNER = 0x00082218, 0x52009229

# A nested value: items of elements.
Value = bytes | list["Elements"]
Elements = dict[int, tuple[str, Value]]


@dataclass
class Builder:
    """Writes elements in one encoding; `undefined` writes sequences and items without lengths."""

    encoding: Encoding
    undefined: bool = False

    def data_set(self, elements: Elements) -> bytes:
        return b"".join(self.element(tag, vr, value) for tag, (vr, value) in sorted(elements.items()))

    def element(self, tag: int, vr: str, value: Value) -> bytes:
        if isinstance(value, bytes):
            return self.encoding.element(tag, vr, value)
        items = b"".join(self.item(one) for one in value)
        if not self.undefined:
            return self.encoding.header(tag, vr, len(items)) + items
        return self.encoding.header(tag, vr, 0xFFFFFFFF) + items + self.encoding.header(0xFFFEE0DD, "", 0)

    def item(self, elements: Elements) -> bytes:
        content = self.data_set(elements)
        if not self.undefined:
            return self.encoding.item(content)
        head = self.encoding.header(0xFFFEE000, "", 0xFFFFFFFF)
        return head + content + self.encoding.header(0xFFFEE00D, "", 0)


def file(
    elements: Elements, syntax: str = "explicit", *, undefined: bool = False, preamble: bytes = bytes(128)
) -> bytes:
    """Write a file."""
    uid, encoding = SYNTAXES[syntax]
    content = Builder(encoding, undefined).data_set(elements)
    if syntax == "deflated":
        stream = zlib.compressobj(wbits=-15)
        content = stream.compress(content) + stream.flush()
    meta = b"".join(
        EXPLICIT_LITTLE.element(tag, vr, value)
        for tag, vr, value in (
            (0x00020001, "OB", b"\0\1"),
            (0x00020002, "UI", CT.encode()),
            (0x00020003, "UI", f"{UID_FAMILY}.1".encode()),
            (0x00020010, "UI", uid.encode()),
            (0x00020012, "UI", b"1.2.3"),
            (0x00020016, "AE", b"CNRYSOURCE"),
            (0x00020100, "UI", f"{UID_FAMILY}.2".encode()),
            (0x00020102, "OB", b"CNRY private information"),
        )
    )
    length = EXPLICIT_LITTLE.element(0x00020000, "UL", struct.pack("<L", len(meta)))
    return preamble + b"DICM" + length + meta + content


def image(encoding: Encoding = EXPLICIT_LITTLE, *, encapsulated: bool = False, size: int = 8) -> Elements:
    """A small CT image of nobody."""
    short = encoding.short.pack
    pixels = bytes(range(256)) * (size * size * 2 // 256 + 1)
    elements: Elements = {
        0x00080005: ("CS", b"ISO_IR 100"),
        0x00080008: ("CS", b"ORIGINAL\\PRIMARY\\AXIAL"),
        0x00080016: ("UI", CT.encode()),
        0x00080018: ("UI", f"{UID_FAMILY}.3".encode()),
        0x00080060: ("CS", b"CT"),
        0x00180050: ("DS", b"1.25"),
        0x0020000D: ("UI", f"{UID_FAMILY}.4".encode()),
        0x0020000E: ("UI", f"{UID_FAMILY}.5".encode()),
        0x00200013: ("IS", b"7"),
        0x00280002: ("US", short(1)),
        0x00280004: ("CS", b"MONOCHROME2"),
        0x00280010: ("US", short(size)),
        0x00280011: ("US", short(size)),
        0x00280100: ("US", short(16)),
        0x00280101: ("US", short(16)),
        0x00280102: ("US", short(15)),
        0x00280103: ("US", short(0)),
        0x7FE00010: ("OW", pixels[: size * size * 2]),
    }
    if encapsulated:
        del elements[0x7FE00010]
    return elements


def encapsulated_pixels(*fragments: bytes) -> bytes:
    """The element of encapsulated pixel data: an empty offset table and fragments."""
    header = IMPLICIT_LITTLE.header
    content = b"".join(header(0xFFFEE000, "", len(one)) + one for one in (b"", *fragments))
    return EXPLICIT_LITTLE.header(0x7FE00010, "OB", 0xFFFFFFFF) + content + header(0xFFFEE0DD, "", 0)


def jpeg_2000(data: bytes = b"picture") -> bytes:
    """The shortest stream that has the parts of one: SIZ, a tile of these data, the end."""
    size = b"\xff\x51" + struct.pack(">H", 41) + bytes(39)
    tile = b"\xff\x90" + struct.pack(">HHLBB", 10, 0, 14 + len(data), 0, 1) + b"\xff\x93" + data
    return b"\xff\x4f" + size + tile + b"\xff\xd9"


def canary(tag: int, vr: str, encoding: Encoding) -> Value:
    """A value for an attribute that is found again wherever it comes out."""
    number = sorted(table()).index(tag) if tag in table() else 700
    day = f"{_FIRST_DAY + timedelta(days=number):%Y%m%d}"
    fraction = f"{777000 + number}"
    match vr:
        case "PN":
            return f"CNRY{tag:08X}^Given".encode()
        case "UI":
            return f"{UID_FAMILY}.{tag}".encode()
        case "DA":
            return day.encode()
        case "TM":
            return f"010203.{fraction}".encode()
        case "DT":
            return f"{day}010203.{fraction}".encode()
        case "DS" | "IS":
            return f"77{fraction}".encode()
        case "AS":
            return b"777D"
        case "SQ":
            return [{0x00080050: ("SH", f"CNRY{tag:08X}".encode()), 0x00081030: ("LO", b"CNRY in an item")}]
        case "US" | "SS" | "UL" | "SL" | "FL" | "FD" | "AT" | "OW" | "OF" | "OD" | "OL" | "OV" | "UV" | "SV":
            return f"CNRY{number:04}".encode()
    return f"CNRY{tag:08X}".encode()


def vr_of(row: Row) -> str:
    """The VR that a file would give the attribute; LO for those that no dictionary here has."""
    return (row.vr or known_vr(row.tag) or "LO").split(" or ")[0]


@dataclass(frozen=True)
class Canaries:
    """What is searched for; `but` are tags whose canaries may come out."""

    but: frozenset[int] = frozenset()
    encodings: tuple[str, ...] = ("ascii", "utf-16-le", "utf-16-be")

    def needles(self) -> Iterator[tuple[int, bytes]]:
        yield 0, b"CNRY private"
        yield 0, b"CNRYSOURCE"
        for tag, row in table().items():
            value = canary(tag, vr_of(row), EXPLICIT_LITTLE)
            if not isinstance(value, list) and vr_of(row) != "AS":
                yield tag, value
            elif isinstance(value, list):
                yield tag, f"CNRY{tag:08X}".encode()

    def in_bytes(self, data: bytes) -> list[str]:
        """Name the canaries that are in the bytes, in any letter case and width of characters."""
        lower = data.lower()
        hits = []
        for tag, needle in self.needles():
            if tag in self.but:
                continue
            text = needle.decode("ascii").lower()
            if any(text.encode(encoding) in lower for encoding in self.encodings):
                hits.append(f"{tag:08x} {needle!r}")
        return hits


def listed(encoding: Encoding, *, skip: frozenset[int] = frozenset()) -> Elements:
    """Every attribute of the table with its canary."""
    return {
        tag: (vr_of(row), canary(tag, vr_of(row), encoding))
        for tag, row in table().items()
        if tag >= 0x00080000 and tag not in skip
    }


def private(encoding: Encoding) -> Elements:
    """Private elements, also in a private sequence, whose creators are canaries as well."""
    return {
        0x00090010: ("LO", b"CNRY CREATOR"),
        0x00091001: ("LO", b"CNRY private text"),
        0x00091002: ("SQ", [{0x00090010: ("LO", b"CNRY CREATOR"), 0x00091001: ("PN", b"CNRY^private")}]),
        0x00091003: ("UN", b"CNRY unknown"),
        0x00110010: ("LO", b"SAFE CREATOR"),
        0x00111001: ("LO", b"harmless"),
        0x00111002: ("LO", b"CNRY beside what is safe"),
    }


def full(syntax: str = "explicit", *, undefined: bool = False) -> bytes:
    """A file with a canary in every place: top level, twice nested, private, meta information, preamble."""
    encoding = SYNTAXES[syntax][1]
    identity = frozenset({0x00080018, 0x0020000D, 0x0020000E})
    # With an EncapsulatedDocument of its own, the file would be withheld.
    everything = listed(encoding, skip=frozenset({0x00420011}))
    own = {**image(encoding, encapsulated=syntax == "encapsulated")}
    graphics: Elements = {
        0x50003000: ("OW", b"CNRY curve data."),
        0x50022500: ("LO", b"CNRY curve label"),
        0x60003000: ("OW", b"CNRY overlay data"),
        0x60004000: ("LT", b"CNRY overlay comment"),
        0x601E0022: ("LO", b"CNRY overlay description"),
    }
    nested: Elements = {**listed(encoding), **private(encoding)}
    elements: Elements = {
        **everything,
        **own,
        **{tag: everything[tag] for tag in identity},
        **private(encoding),
        **graphics,
        OUTER: ("SQ", [nested, {**nested, INNER: ("SQ", [nested])}]),
        0x00080000: ("UL", encoding.long.pack(7)),
        0x00100000: ("UL", encoding.long.pack(7)),
        0x00110000: ("UL", b"CNRY"),
        0x00087777: ("LO", b"CNRY unknown attribute"),
        0xFFFCFFFC: ("OB", b"CNRY padding"),
        0x00080016: ("UI", CT.encode()),
    }
    data = file(elements, syntax, undefined=undefined, preamble=b"CNRY preamble".ljust(128, b"\0"))
    if syntax == "encapsulated":
        # Pixel data come before the padding.
        at = data.index(Builder(encoding).element(0xFFFCFFFC, "OB", b"CNRY padding"))
        data = data[:at] + encapsulated_pixels(jpeg_2000() + b"CNRY after the end!") + data[at:]
    return data
