"""Siemens' CSA headers, (0029,xx10) and (0029,xx20), and the protocol text in them, which is by itself in newer files.

The formats as nibabel documents them (``doc/source/dicom/siemens_csa.rst``), little endian. Both begin with the number
of tags and a number that nobody uses; in SV10, the newer one, ``SV10`` and four bytes come before these. A tag has 84
bytes: name (64), multiplicity, VR (4), type, number of items, and 77 or 205. An item has four numbers, then its text;
it is padded to four bytes. SV10 gives the length as the second number, the older format as the first, less the first
number of items of the header.

Values are blanked in place, so that whoever reads the rest finds it. Bytes that are not part of a value, behind
names and texts, are what lay in the scanner's memory; they are blanked as well.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from struct import Struct

from autorthanc_spool.deidentify.haystack import Haystack, is_registered
from autorthanc_spool.rules.model import Keep

_SV10 = b"SV10"
_BEFORE_TAGS = Struct("<2I")
_TAG = Struct("<64si4s3i")
_ITEM = Struct("<4i")
_NAME_BYTES = 64
_VR_AT = 68
# Real headers have about 100; what has more isn't one.
_MOST_TAGS = 1024
_MOST_ITEMS = 65536
_CHECKS = frozenset({77, 205})
_NAME = re.compile(rb"[A-Za-z][\w ./-]*")
_VR = re.compile(rb"[A-Z]{2}")

_TEXT_BYTES = frozenset(range(0x20, 0x7F)) | {0x09, 0x0A, 0x0D} | frozenset(range(0xA0, 0x100))
_NUMERIC_VRS = frozenset({b"DS", b"FD", b"FL", b"IS", b"SL", b"SS", b"UL", b"US"})
_DATED_VRS = frozenset({b"DA", b"DT"})
_NUMBER = re.compile(rb"\s*[-+]?0*[0-9]{0,7}(?:\.[0-9]*)?(?:e[-+]?[0-9]+)?\s*")

# Longer texts are protocols: of these, only what identifies is blanked.
_LONGEST_SHORT_TEXT = 128

# What parameters are called that hold an identity, in CSA tags, XProtocol and ASCCONV.
_PATIENT = (
    rb"patients?_?(?:name|id|birth|loid|dob|address|comment|number)|birth_?(?:day|date)|(?:study|series|image)loid"
    rb"|physician|operator|accession|referring"
)
_DEVICE = rb"serial_?n(?:o|r|umber)|station_?name|device_?id"
_INSTITUTION = rb"institution|department|hospital"

# <ParamString."PatientID"> { "0123456" }, and tPatientName = "…"
_XPROTOCOL = re.compile(rb"<Param\w{1,32}\.\"([^\"\r\n]{1,128})\">\s{0,64}\{([^{}]{0,4096})\}")
_ASCCONV = re.compile(rb"^[ \t]{0,16}([\w.\[\]]{1,200})[ \t]{0,200}=([^\r\n]*)", re.MULTILINE)
_VALUE = re.compile(rb"[^\s\"<>]+")
# A number that is a value of its own, and not part of a text.
_BARE = re.compile(rb"[={>][\s0-9.+eE-]*\Z")
_PROTOCOL = re.compile(rb"### ASCCONV BEGIN|<XProtocol>|<ParamString\.")


@dataclass(frozen=True)
class _Item:
    """One text of a header: the tag's name and VR, and where it is."""

    name: bytes
    vr: bytes
    start: int
    end: int


@dataclass
class _Cleaning:
    """A header that is being cleaned; `searched` is it without measured values, which may look like anything."""

    cleaned: bytearray
    searched: bytearray

    def blank(self, start: int, end: int) -> None:
        """Leave nothing."""
        self.cleaned[start:end] = self.searched[start:end] = bytes(end - start)

    def cross_out(self, start: int, end: int) -> None:
        """Leave a text as long as before."""
        crossed = re.sub(rb"[^\s\"=<>{}.,;:^/\\-]", b"x", bytes(self.cleaned[start:end]))
        self.cleaned[start:end] = self.searched[start:end] = crossed

    def measured(self, start: int, end: int) -> None:
        """Take a value out of what is searched in the end."""
        self.searched[start:end] = bytes(end - start)


class CsaCleaner:
    """Blanks what identifies in CSA headers and protocol texts."""

    def __init__(self, haystack: Haystack, keep: frozenset[Keep]) -> None:
        self._haystack = haystack
        self._keeps_uids = Keep.UIDS in keep
        self._keeps_days = Keep.FULL_DATES in keep
        parts = [_PATIENT]
        parts += [] if Keep.DEVICE in keep else [_DEVICE]
        parts += [] if Keep.INSTITUTION in keep else [_INSTITUTION]
        self._identifying = re.compile(b"|".join(parts), re.IGNORECASE)

    def cleaned(self, value: bytes) -> bytes | None:
        """Clean a header, to the same length; None where it can't be understood, or something is left in it."""
        work = _Cleaning(bytearray(value), bytearray(value))
        if value.startswith(_SV10) or not _PROTOCOL.search(value[:4096]):
            items = _items(value, work)
            if items is None:
                return None
            for item in items:
                self._item(item, work)
        else:
            self._protocol(0, len(value), work)
        return None if self._haystack.found_in(bytes(work.searched)) else bytes(work.cleaned)

    def _item(self, item: _Item, work: _Cleaning) -> None:
        content = bytes(work.cleaned[item.start : item.end])
        if item.vr in _NUMERIC_VRS and _NUMBER.fullmatch(content.lower()):
            work.measured(item.start, item.end)
        elif self._is_gone(item, content):
            work.blank(item.start, item.end)
        elif len(content) > _LONGEST_SHORT_TEXT:
            self._protocol(item.start, item.end, work)
        elif self._haystack.found_in(content):
            work.blank(item.start, item.end)

    def _is_gone(self, item: _Item, content: bytes) -> bool:
        if item.vr == b"UI":
            return not self._keeps_uids and not is_registered(content.decode("latin-1").strip(" \0"))
        is_dated = item.vr in _DATED_VRS and not self._keeps_days
        return item.vr == b"PN" or is_dated or self._identifying.search(item.name) is not None

    def _protocol(self, start: int, end: int, work: _Cleaning) -> None:
        """Cross out what identifies in a text: by the name of its parameter, or because the file says so elsewhere."""
        content = bytes(work.cleaned[start:end])
        for pattern in (_XPROTOCOL, _ASCCONV):
            for found in pattern.finditer(content):
                if self._identifying.search(found[1]):
                    for value in _VALUE.finditer(content, *found.span(2)):
                        work.cross_out(start + value.start(), start + value.end())
        lower = content.lower()
        for first, last in (*self._haystack.spans(lower), *self._haystack.literal_spans(lower)):
            if last - first < 8 and lower[first:last].isdigit() and _BARE.search(lower, max(0, first - 200), first):
                work.measured(start + first, start + last)
            else:
                work.cross_out(start + first, start + last)


def is_csa(value: bytes, tag: int, creator: str) -> bool:
    """Whether a value is a CSA header, or ought to be one, or is the protocol of one."""
    is_place = tag >> 16 == 0x0029 and tag & 0xFF in (0x10, 0x20) and creator.startswith("SIEMENS CSA")
    is_protocol = creator.startswith("SIEMENS") and _PROTOCOL.search(value[:4096]) is not None
    return value.startswith(_SV10) or is_place or is_protocol


def _items(value: bytes, work: _Cleaning) -> list[_Item] | None:
    """Find the items of a header, and blank what is not part of it; None where it isn't one to its last byte."""
    is_new = value.startswith(_SV10)
    at = 8 if is_new else 0
    if len(value) < at + _BEFORE_TAGS.size:
        return None
    count, _ = _BEFORE_TAGS.unpack_from(value, at)
    if not 0 < count <= _MOST_TAGS:
        return None
    reader = _Tags(value, work, at + _BEFORE_TAGS.size, is_new)
    found: list[_Item] = []
    for _ in range(count):
        items = reader.tag()
        if items is None:
            return None
        found += items
    # Nothing but padding follows.
    return None if value[reader.at :].strip(b"\0") else found


class _Tags:
    """Reads one tag after the other."""

    def __init__(self, value: bytes, work: _Cleaning, at: int, is_new: bool) -> None:
        self._value = value
        self._work = work
        self._is_new = is_new
        self._first_count: int | None = None
        self.at = at

    def tag(self) -> list[_Item] | None:
        """Read the next tag; None where it isn't one."""
        at = self.at
        if at + _TAG.size > len(self._value):
            return None
        field, _, vr, _, count, check = _TAG.unpack_from(self._value, at)
        name = field.split(b"\0")[0]
        if not _NAME.fullmatch(name) or not _VR.fullmatch(vr[:2]):
            return None
        if not 0 <= count <= _MOST_ITEMS or check not in _CHECKS:
            return None
        self._work.blank(at + len(name), at + _NAME_BYTES)
        self._work.blank(at + _VR_AT + 2, at + _VR_AT + 4)
        self.at = at + _TAG.size
        if self._first_count is None:
            self._first_count = count
        return self._items(name, vr[:2], count)

    def _items(self, name: bytes, vr: bytes, count: int) -> list[_Item] | None:
        found = []
        for _ in range(count):
            if self.at + _ITEM.size > len(self._value):
                return None
            first, second, _, _ = _ITEM.unpack_from(self._value, self.at)
            length = second if self._is_new else first - (self._first_count or 0)
            start = self.at + _ITEM.size
            padded = start + length + -length % 4
            # The last item's padding may be what the value lacks.
            if length < 0 or start + length > len(self._value):
                return None
            end = self._text(start, start + length, min(padded, len(self._value)))
            if end is None:
                return None
            found.append(_Item(name, vr, start, end))
            self.at = min(padded, len(self._value))
        return found

    def _text(self, start: int, end: int, padded: int) -> int | None:
        """Give where the text of an item ends, and blank what is behind; None where it is not text."""
        content = self._value[start:end].split(b"\0")[0]
        if not _TEXT_BYTES.issuperset(content):
            return None
        self._work.blank(start + len(content), padded)
        return start + len(content)
