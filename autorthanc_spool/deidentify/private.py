"""Private elements (PS3.5 section 7.8.1): a creator reserves a block, which its elements have in their numbers."""

from __future__ import annotations

from collections.abc import Mapping

from pydicom.datadict import private_dictionary_VR

from autorthanc_spool.deidentify.elements import DataSet, Element
from autorthanc_spool.rules.model import PrivateElement


def is_private(tag: int) -> bool:
    """Whether a tag is in an odd group."""
    return bool(tag & 0x10000)


def is_creator(tag: int) -> bool:
    """Whether a private tag reserves a block."""
    return 0x10 <= tag & 0xFFFF <= 0xFF


def vr_of_private(element: Element, creator: str) -> str:
    """The VR of a private element: the file's, else that of pydicom's dictionary of private elements."""
    if element.vr != "UN" or is_creator(element.tag):
        return "LO" if is_creator(element.tag) else element.vr
    try:
        return private_dictionary_VR(element.tag, creator)
    except KeyError:
        return "UN"


def safe_elements(data_set: DataSet, buffer: memoryview, safe: frozenset[PrivateElement]) -> Mapping[int, str]:
    """Find the private elements of one level that a rule calls safe, and the creators that they need.

    Gives the creator's name by tag. A block counts by the creator that reserves it here, in this item, not by number.
    """
    creators = _creators(data_set, buffer)
    found: dict[int, str] = {}
    for element in data_set.elements:
        block = element.tag >> 8
        creator = creators.get(block) if is_private(element.tag) and element.tag & 0xFF00 else None
        if creator and PrivateElement(creator, element.tag >> 16, element.tag & 0xFF) in safe:
            found[element.tag] = creator
            found[element.tag & 0xFFFF0000 | block & 0xFF] = creator
    return found


def _creators(data_set: DataSet, buffer: memoryview) -> dict[int, str]:
    """The creators of one level, by group and block: 0x004310 for (0043,10xx)."""
    return {
        (element.tag >> 16) << 8 | element.tag & 0xFF: _name(element, buffer)
        for element in data_set.elements
        if is_private(element.tag) and is_creator(element.tag) and element.items is None
    }


def _name(element: Element, buffer: memoryview) -> str:
    return bytes(buffer[element.value : element.end]).decode("latin-1").strip(" \0")
