"""Dummy values: valid for their representation, and the same for everybody."""

from __future__ import annotations

from collections.abc import Mapping

from autorthanc_spool.deidentify.elements import Encoding

WORD = b"ANONYMISED"
DAY = b"19000101"

_GRAPHIC_ANNOTATIONS = 0x00700001

# Whole values by representation; numbers, should a table ever ask for them, become zeros of the same size.
_VALUES: Mapping[str, bytes] = {
    **dict.fromkeys(("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UT"), WORD),
    "AS": b"000Y",
    "DA": DAY,
    "DS": b"0",
    "DT": DAY + b"000000",
    "IS": b"0",
    "OB": b"\0\0",
    "TM": b"000000",
    "UN": b"\0\0",
    "UR": b"urn:anonymised",
}

# An item: tag, VR, and a value or the items of a sequence.
_Content = tuple[tuple[int, str, "bytes | tuple[_Content, ...]"], ...]

_CODE: _Content = (
    (0x00080100, "SH", WORD),
    (0x00080102, "SH", b"99ANON"),
    (0x00080104, "LO", WORD),
)

# What a sequence of the table gets for an item, so that it has what PS3.3 asks of it; a code where nothing is said.
_ITEMS: Mapping[int, _Content] = {
    # OperatorIdentificationSequence
    0x00081072: ((0x00080080, "LO", WORD), (0x00401101, "SQ", (_CODE,))),
    # FlowIdentifierSequence
    0x00340001: ((0x00340002, "OB", b"\0\0"),),
    # VerifyingObserverSequence
    0x0040A073: (
        (0x0040A027, "LO", WORD),
        (0x0040A030, "DT", DAY + b"000000"),
        (0x0040A075, "PN", WORD),
        (0x0040A088, "SQ", ()),
    ),
    # ContentSequence
    0x0040A730: (
        (0x0040A010, "CS", b"CONTAINS"),
        (0x0040A040, "CS", b"TEXT"),
        (0x0040A043, "SQ", (_CODE,)),
        (0x0040A160, "UT", WORD),
    ),
    # WaveformAnnotationSequence
    0x0040B020: ((0x00700006, "ST", WORD), (0x0040A0B0, "US", bytes(4))),
}


def value(vr: str, length: int) -> bytes:
    """Make a dummy value for one of a length in bytes."""
    found = _VALUES.get(vr)
    return bytes(length) if found is None else found


def sequence(tag: int, encoding: Encoding, layer: bytes = WORD) -> bytes:
    """Make the value of a sequence with one dummy item; `layer` is one of the file's, for graphics to be drawn on."""
    content = _annotation(layer) if tag == _GRAPHIC_ANNOTATIONS else _ITEMS.get(tag, _CODE)
    return encoding.item(_content(content, encoding))


def _annotation(layer: bytes) -> _Content:
    """An annotation with one TextObjectSequence; GraphicLayerSequence must define its layer (PS3.3 C.10.5.1)."""
    text: _Content = (
        (0x00700004, "CS", b"DISPLAY"),
        (0x00700006, "ST", WORD),
        (0x00700014, "FL", bytes(8)),
        (0x00700015, "CS", b"N"),
    )
    return ((0x00700002, "CS", layer), (0x00700008, "SQ", (text,)))


def _content(content: _Content, encoding: Encoding) -> bytes:
    return b"".join(_element(tag, vr, value, encoding) for tag, vr, value in sorted(content))


def _element(tag: int, vr: str, value: bytes | tuple[_Content, ...], encoding: Encoding) -> bytes:
    if not isinstance(value, bytes):
        value = b"".join(encoding.item(_content(item, encoding)) for item in value)
    return encoding.element(tag, vr, value)
