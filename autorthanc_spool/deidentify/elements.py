"""Data elements as they lie in a buffer, and the bytes that an element is written as (PS3.5 chapter 7)."""

from __future__ import annotations

from dataclasses import dataclass, field
from struct import Struct
from typing import Final

UNDEFINED: Final = 0xFFFFFFFF

ITEM: Final = 0xFFFEE000
ITEM_END: Final = 0xFFFEE00D
SEQUENCE_END: Final = 0xFFFEE0DD

# PS3.5 section 7.1.2: in explicit VR, these have two reserved bytes and a length of 32 bits; all others one of 16 bits.
LONG_VRS: Final = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"})
SHORT_VRS: Final = frozenset(
    {"AE", "AS", "AT", "CS", "DA", "DS", "DT", "FD", "FL", "IS", "LO", "LT", "PN", "SH", "SL", "SS", "ST", "TM"}
    | {"UI", "UL", "US"}
)
# Stands for a VR that isn't one of these.
NO_VR: Final = "??"

VR_OF_BYTES: Final = {vr.encode(): vr for vr in LONG_VRS | SHORT_VRS}

# The longest value that fits into a length of 16 bits and is even.
_LONGEST_SHORT_VALUE = 0xFFFE


class Encoding:
    """How elements are written: explicit or implicit VR, little or big endian."""

    def __init__(self, explicit: bool, big: bool) -> None:
        order = ">" if big else "<"
        self.explicit = explicit
        self.big = big
        self.short_header = Struct(f"{order}HH2sH")
        self.plain_header = Struct(f"{order}HHL")
        self.long = Struct(f"{order}L")
        self.short = Struct(f"{order}H")

    def __reduce__(self) -> str:
        # Encodings are compared by identity.
        return self.name

    @property
    def name(self) -> str:
        """The name of the constant below."""
        return f"{'EXPLICIT' if self.explicit else 'IMPLICIT'}_{'BIG' if self.big else 'LITTLE'}"

    def header(self, tag: int, vr: str, length: int) -> bytes:
        """Write what comes before a value."""
        if not self.explicit or vr == "":
            return self.plain_header.pack(tag >> 16, tag & 0xFFFF, length)
        if vr in SHORT_VRS and length <= _LONGEST_SHORT_VALUE:
            return self.short_header.pack(tag >> 16, tag & 0xFFFF, vr.encode(), length)
        # PS3.5 section 6.2.2, note 2: a value too long for its VR's header is written as UN.
        written = "UN" if vr in SHORT_VRS else vr
        return self.short_header.pack(tag >> 16, tag & 0xFFFF, written.encode(), 0) + self.long.pack(length)

    def element(self, tag: int, vr: str, value: bytes) -> bytes:
        """Write an element; the value is padded to an even length."""
        if len(value) % 2:
            value += b"\0" if vr in ("UI", "OB", "UN") else b" "
        return self.header(tag, vr, len(value)) + value

    def item(self, content: bytes) -> bytes:
        """Write an item of a sequence."""
        return self.header(ITEM, "", len(content)) + content


IMPLICIT_LITTLE = Encoding(explicit=False, big=False)
EXPLICIT_LITTLE = Encoding(explicit=True, big=False)
EXPLICIT_BIG = Encoding(explicit=True, big=True)


@dataclass(slots=True)
class Element:
    """One element in a buffer: header from `start`, value from `value`, all of it up to `end`.

    `items` are the items of a sequence, `fragments` the number of fragments of encapsulated pixel data. `vr` is the
    file's, in implicit VR the dictionary's, and UN where neither knows it; NO_VR where the file's isn't one of DICOM's.
    """

    tag: int
    vr: str
    start: int
    value: int
    end: int
    items: list[DataSet] | None = None
    fragments: int | None = None

    @property
    def length(self) -> int:
        """The number of bytes of the value, with what delimits it."""
        return self.end - self.value


@dataclass(slots=True)
class DataSet:
    """The elements of a data set or of an item, by ascending tag, each tag once; its content is `start` to `end`.

    `reordered` says that the elements were not in order, or one came twice: they don't cover the buffer as they are.
    """

    encoding: Encoding
    start: int
    end: int
    elements: list[Element] = field(default_factory=list)
    reordered: bool = False

    def get(self, tag: int) -> Element | None:
        """Find an element."""
        for element in self.elements:
            if element.tag >= tag:
                return element if element.tag == tag else None
        return None


def tag_text(tag: int) -> str:
    """Write a tag as the standard does."""
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
