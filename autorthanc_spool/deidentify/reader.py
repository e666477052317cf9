"""Reads the structure of a data set out of a buffer, and takes nothing on trust.

pydicom reads what can be read: it fills a cut value with what there is, ends a data set where less than a header is
left, and lets an element run over the end of its item. Here every byte belongs to exactly one element, or the file is
refused; so what is copied later is known, and nothing hides between elements.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise

from pydicom.datadict import dictionary_VR

from autorthanc_spool.deidentify.elements import (
    IMPLICIT_LITTLE,
    ITEM,
    ITEM_END,
    LONG_VRS,
    NO_VR,
    SEQUENCE_END,
    UNDEFINED,
    VR_OF_BYTES,
    DataSet,
    Element,
    Encoding,
    tag_text,
)
from autorthanc_spool.deidentify.errors import Malformed
from autorthanc_spool.deidentify.unknown_vr import unknown_form

# Real data sets nest four or five deep, structured reports a dozen; Orthanc 1.10.1 dies at 50.
MAX_DEPTH = 64

PIXEL_DATA = 0x7FE00010
# FloatPixelData and DoubleFloatPixelData, in place of it.
FLOAT_PIXEL_DATA = (0x7FE00008, 0x7FE00009)


@cache
def known_vr(tag: int) -> str | None:
    """Look a tag up in pydicom's dictionary; None when it isn't there. Some answers are choices: ``OB or OW``."""
    try:
        return dictionary_VR(tag)
    except KeyError:
        return None


class Reader:
    """Reads data sets and sequences of one buffer. Everything raises Malformed, with the place in the buffer."""

    def __init__(self, buffer: memoryview) -> None:
        self.buffer = buffer

    def data_set(self, start: int, encoding: Encoding) -> DataSet:
        """Read the whole buffer from `start` on."""
        return self._elements(start, len(self.buffer), encoding, 0)

    def items_of_unknown(self, element: Element, encoding: Encoding) -> list[DataSet] | None:
        """Read a value of VR UN as a sequence; None when it isn't one.

        PS3.5 section 6.2.2: such a value is in implicit VR little endian; some writers keep the file's own encoding.
        """
        for tried in dict.fromkeys((IMPLICIT_LITTLE, encoding)):
            try:
                items, end = self._items(element.value, element.end, tried, 1, False)
            except Malformed:
                continue
            if end == element.end:
                return items
        return None

    def _elements(self, start: int, end: int, encoding: Encoding, depth: int, delimited: bool = False) -> DataSet:
        """Read elements up to `end`, or to an item delimiter; the data set's end is where its content ends."""
        elements: list[Element] = []
        at = start
        while at < end:
            if depth == 0 and self._is_padding(at, end):
                break
            element = self._element(at, end, encoding, depth)
            if element.tag == ITEM_END and delimited and element.end == at + 8:
                break
            if element.tag >> 16 == 0xFFFE:
                raise Malformed(f"{tag_text(element.tag)} is at byte {at}, where an element is expected")
            elements.append(element)
            at = element.end
        else:
            if delimited:
                raise Malformed(f"the item that begins at byte {start} has no end; the file is cut")
        return _in_order(DataSet(encoding, start, at, elements))

    def _is_padding(self, at: int, end: int) -> bool:
        # Some media pad files with zeros to a whole sector.
        return (
            self.buffer[at] == 0 and not any(self.buffer[at : at + 8]) and not bytes(self.buffer[at:end]).strip(b"\0")
        )

    def _element(self, at: int, end: int, encoding: Encoding, depth: int) -> Element:
        if end - at < 8:
            raise Malformed(f"{end - at} bytes are left at byte {at}, too few for an element; the file is cut")
        tag, vr, value, length = self._header(at, end, encoding)
        if length == UNDEFINED:
            return self._undefined(Element(tag, vr, at, value, end), encoding, depth)
        element = Element(tag, vr, at, value, value + length)
        if element.end > end:
            raise Malformed(f"{tag_text(tag)} at byte {at} has {length} bytes, but only {end - value} follow")
        if vr == "SQ":
            element.items, _ = self._items(value, element.end, encoding, depth + 1, False)
        elif vr in ("UN", NO_VR) and length and encoding.explicit and known_vr(tag) == "SQ":
            element.items = self.items_of_unknown(element, encoding)
        return element

    def _header(self, at: int, end: int, encoding: Encoding) -> tuple[int, str, int, int]:
        """Read tag, VR, where the value begins, and its length."""
        if not encoding.explicit:
            group, number, length = encoding.plain_header.unpack_from(self.buffer, at)
            tag = group << 16 | number
            return tag, _implicit_vr(tag, length), at + 8, length
        group, number, name, length = encoding.short_header.unpack_from(self.buffer, at)
        tag = group << 16 | number
        vr = VR_OF_BYTES.get(name)
        if vr is None:
            if group == 0xFFFE:
                return tag, "", at + 8, encoding.long.unpack_from(self.buffer, at + 4)[0]
            return tag, NO_VR, *unknown_form(self.buffer, at, end, encoding)
        if vr not in LONG_VRS:
            return tag, vr, at + 8, length
        if end - at < 12:
            raise Malformed(f"{tag_text(tag)} at byte {at} ends within its header; the file is cut")
        return tag, vr, at + 12, encoding.long.unpack_from(self.buffer, at + 8)[0]

    def _undefined(self, element: Element, encoding: Encoding, depth: int) -> Element:
        """Read a value whose end is marked by a delimiter."""
        if element.vr in ("OB", "OW") and element.tag == PIXEL_DATA:
            element.fragments, element.end = self._fragments(element)
            return element
        if element.vr == "UN":
            # PS3.5 section 6.2.2: a value of unknown VR and undefined length is a sequence in implicit VR.
            encoding = IMPLICIT_LITTLE
        elif element.vr not in ("SQ", NO_VR):
            raise Malformed(f"{tag_text(element.tag)} at byte {element.start} may not have an undefined length")
        element.items, element.end = self._items(element.value, element.end, encoding, depth + 1, True)
        return element

    def _items(
        self, start: int, end: int, encoding: Encoding, depth: int, delimited: bool
    ) -> tuple[list[DataSet], int]:
        """Read the items of a sequence; also find where it ends, with its delimiter."""
        if depth > MAX_DEPTH:
            raise Malformed(f"at byte {start}, sequences are nested more than {MAX_DEPTH} deep")
        items: list[DataSet] = []
        at = start
        while at < end:
            tag, length = self._item_header(at, end, encoding)
            at += 8
            if tag == SEQUENCE_END and delimited and length == 0:
                return items, at
            if tag != ITEM:
                raise Malformed(f"{tag_text(tag)} is at byte {at - 8}, where an item is expected")
            item, at = self._item(at, end, length, encoding, depth)
            items.append(item)
        if delimited:
            raise Malformed(f"the sequence that begins at byte {start} has no end; the file is cut")
        return items, at

    def _item(self, at: int, end: int, length: int, encoding: Encoding, depth: int) -> tuple[DataSet, int]:
        if length != UNDEFINED and at + length > end:
            raise Malformed(f"the item at byte {at} has {length} bytes, but only {end - at} follow; the file is cut")
        if self._may_be_implicit(at, end, encoding):
            try:
                return self._item_content(at, end, length, IMPLICIT_LITTLE, depth)
            except Malformed:
                # Or it begins with an element of unknown VR.
                pass
        return self._item_content(at, end, length, encoding, depth)

    def _item_content(self, at: int, end: int, length: int, encoding: Encoding, depth: int) -> tuple[DataSet, int]:
        if length == UNDEFINED:
            item = self._elements(at, end, encoding, depth, delimited=True)
            return item, item.end + 8
        return self._elements(at, at + length, encoding, depth), at + length

    def _may_be_implicit(self, at: int, end: int, encoding: Encoding) -> bool:
        # Some writers put items in implicit VR into files in explicit VR (pydicom issues 1035 and 1067).
        if not encoding.explicit or encoding.big or end - at < 8:
            return False
        group, _, name, _ = encoding.short_header.unpack_from(self.buffer, at)
        return name not in VR_OF_BYTES and group != 0xFFFE

    def _item_header(self, at: int, end: int, encoding: Encoding) -> tuple[int, int]:
        if end - at < 8:
            raise Malformed(f"a sequence ends at byte {at} within the header of an item; the file is cut")
        group, number, length = encoding.plain_header.unpack_from(self.buffer, at)
        return group << 16 | number, length

    def _fragments(self, element: Element) -> tuple[int, int]:
        """Count the fragments of encapsulated pixel data, and find the end (PS3.5 section A.4)."""
        at, count = element.value, 0
        while True:
            tag, length = self._item_header(at, element.end, IMPLICIT_LITTLE)
            at += 8
            if tag == SEQUENCE_END and length == 0:
                # The first item is the basic offset table.
                return count - 1, at
            if tag != ITEM or length == UNDEFINED or at + length > element.end:
                raise Malformed(f"the pixel data have no whole fragment at byte {at - 8}; the file is cut")
            at += length
            count += 1


def _implicit_vr(tag: int, length: int) -> str:
    if tag >> 16 == 0xFFFE:
        return ""
    # In implicit VR, only sequences have an undefined length (PS3.5 section 7.5.1).
    return "SQ" if length == UNDEFINED else known_vr(tag) or "UN"


def _in_order(data_set: DataSet) -> DataSet:
    """Sort elements that aren't in order; of a tag that comes twice the first stays, as in DCMTK and so in Orthanc."""
    elements = data_set.elements
    if all(one.tag < other.tag for one, other in pairwise(elements)):
        return data_set
    first: dict[int, Element] = {}
    for element in elements:
        first.setdefault(element.tag, element)
    data_set.elements = [first[tag] for tag in sorted(first)]
    data_set.reordered = True
    return data_set
