"""A value representation that isn't one of DICOM's: the element goes, and the rest of the file stays."""

import random
import struct
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autorthanc_spool.deidentify.elements import UNDEFINED, VR_OF_BYTES, Encoding
from autorthanc_spool.deidentify.errors import DeidentificationError, Malformed
from autorthanc_spool.deidentify.file import Deidentified
from autorthanc_spool.rules import Keep, PrivateElement
from tests.deidentify import corpus
from tests.deidentify.corpus import Builder, Elements
from tests.deidentify.make import anonymised, deidentifier

NAMES = [b"??", b"us", b"Us", b"un", b"uN", b"OX", b"ZZ", b"  ", b" U", b"\0\0", b"12", b"--"]
PADDING_VALUE = 0x00280120


def odd(encoding: Encoding, name: bytes, value: bytes, *, is_long: bool, tag: int = PADDING_VALUE) -> bytes:
    """An element with a VR that doesn't exist, with a length of 16 or of 32 bits."""
    order = ">" if encoding.big else "<"
    head = struct.pack(f"{order}HH", tag >> 16, tag & 0xFFFF) + name
    size = struct.pack(f"{order}HL" if is_long else f"{order}H", *((0, len(value)) if is_long else (len(value),)))
    return head + size + value


def with_element(element: bytes, syntax: str, *, place: str = "top", undefined: bool = False) -> bytes:
    """An image with this in the place of a marker: at the top level, or in an item, as its first or last element."""
    encoding = corpus.SYNTAXES[syntax][1]
    marker = Builder(encoding).element(PADDING_VALUE, "US", b"MARKER")
    item: Elements = {PADDING_VALUE: ("US", b"MARKER")}
    if place == "last":
        item[0x00080100] = ("SH", b"T-D1100")
    if place == "first":
        item[0x00281055] = ("LO", b"soft tissue")
    elements = corpus.image(encoding)
    elements |= item if place == "top" else {corpus.OUTER: ("SQ", [item, {0x00080100: ("SH", b"X")}])}
    data = corpus.file(elements, syntax, undefined=undefined)
    assert data.count(marker) == 1
    return data.replace(marker, element)


@pytest.mark.parametrize("name", NAMES, ids=repr)
@pytest.mark.parametrize("is_long", [False, True], ids=["16 bits", "32 bits"])
@pytest.mark.parametrize("syntax", ["explicit", "big endian"])
def test_the_element_goes_and_everything_else_stays(name: bytes, is_long: bool, syntax: str) -> None:
    encoding = corpus.SYNTAXES[syntax][1]
    for value in (b"", b"\0\0", b"\1\2\3\4", b"SMITH^JOHN", bytes(range(200))):
        element = odd(encoding, name, value, is_long=is_long)
        assert anonymised(with_element(element, syntax)) == anonymised(with_element(b"", syntax))


@pytest.mark.parametrize("place", ["first", "only", "last"])
@pytest.mark.parametrize("name", NAMES, ids=repr)
@pytest.mark.parametrize("is_long", [False, True], ids=["16 bits", "32 bits"])
def test_in_an_item_too(name: bytes, is_long: bool, place: str) -> None:
    for syntax in ("explicit", "big endian"):
        encoding = corpus.SYNTAXES[syntax][1]
        element = odd(encoding, name, b"SMITH^JOHN", is_long=is_long)
        data = with_element(element, syntax, place=place, undefined=True)
        assert anonymised(data) == anonymised(with_element(b"", syntax, place=place, undefined=True))


def test_several_of_them_and_a_private_one_that_is_called_safe() -> None:
    encoding = corpus.EXPLICIT_LITTLE
    creator = Builder(encoding).element(0x00290010, "LO", b"SAFE")
    odds = [odd(encoding, name, b"SMITH^JOHN", is_long=number % 2 == 0) for number, name in enumerate(NAMES)]
    numbered = [struct.pack("<HH", 0x0028, 0x0121 + number) + element[4:] for number, element in enumerate(odds)]
    private = odd(encoding, b"??", b"SMITH^JOHN", is_long=False, tag=0x00291001)
    data = with_element(b"".join(numbered) + creator + private, "explicit")
    plain = with_element(creator, "explicit")
    safe = (PrivateElement("SAFE", 0x0029, 0x01),)
    assert anonymised(data) == anonymised(plain)
    assert anonymised(data, safe_private=safe) == anonymised(plain, safe_private=safe)


def test_a_creator_of_unknown_vr_reserves_nothing() -> None:
    creator = odd(corpus.EXPLICIT_LITTLE, b"??", b"SAFE", is_long=False, tag=0x00290010)
    kept = Builder(corpus.EXPLICIT_LITTLE).element(0x00291001, "LO", b"harmless")
    out = anonymised(with_element(creator + kept, "explicit"), safe_private=(PrivateElement("SAFE", 0x0029, 0x01),))
    assert out == anonymised(with_element(b"", "explicit"), safe_private=(PrivateElement("SAFE", 0x0029, 0x01),))


@pytest.mark.parametrize("inner", [corpus.IMPLICIT_LITTLE, corpus.EXPLICIT_LITTLE], ids=["implicit", "explicit"])
def test_a_sequence_of_unknown_vr_and_undefined_length_goes(inner: Encoding) -> None:
    header = corpus.EXPLICIT_LITTLE.header
    item = Builder(inner, undefined=True).item({0x00100010: ("PN", b"Smith^John"), 0x00100020: ("LO", b"4711")})
    element = struct.pack("<HH2sHL", 0x0028, 0x0120, b"QS", 0, UNDEFINED) + item + header(0xFFFEE0DD, "", 0)
    assert anonymised(with_element(element, "explicit")) == anonymised(with_element(b"", "explicit"))


def test_a_name_in_such_an_element_is_looked_for_in_the_text_that_stays() -> None:
    name = odd(corpus.EXPLICIT_LITTLE, b"pn", b"Quillfeather^Zenobia", is_long=False, tag=0x00100010)
    image = corpus.file({**corpus.image(), 0x0008103E: ("LO", b"axial"), 0x00281055: ("LO", b"for Quillfeather")})
    at = image.index(b"\x18\0\x50\0DS")
    out = anonymised(image[:at] + name + image[at:], keep=frozenset({Keep.DESCRIPTORS}))
    assert b"Quillfeather" not in out
    assert b"axial" in out


def test_where_both_lengths_fit_the_file_is_malformed() -> None:
    builder = Builder(corpus.EXPLICIT_LITTLE)
    swallowed = builder.element(0x00281050, "DS", b"40")
    # As 16 bits, the length says 12; as 32 bits, the value's first four bytes say that the next element belongs to it.
    element = struct.pack("<HH2sH", 0x0028, 0x0120, b"??", 12) + struct.pack("<L", 8 + len(swallowed)) + b"Smithxyz"
    with pytest.raises(Malformed, match=r"\(0028,0120\) at byte \d+ .* certain"):
        anonymised(with_element(element + swallowed, "explicit"))


@pytest.mark.parametrize("name", [b"\x12\x00", b"\xff\xff", b"U\0", b"\xc3\xa4"], ids=repr)
def test_what_nobody_would_write_as_a_vr_is_malformed(name: bytes) -> None:
    element = odd(corpus.EXPLICIT_LITTLE, name, b"\0\0", is_long=False)
    with pytest.raises(Malformed, match="no known value representation"):
        anonymised(with_element(element, "explicit"))


def test_a_length_that_fits_nowhere_is_malformed() -> None:
    element = odd(corpus.EXPLICIT_LITTLE, b"??", b"SMITH^JOHN", is_long=False)
    with pytest.raises(Malformed, match="certain"):
        anonymised(with_element(element[:-3], "explicit"))


@pytest.mark.parametrize("tag", [0x00080016, 0x0020000D, 0x00280010, 0x00280100, 0x7FE00010], ids=hex)
def test_an_element_that_the_file_cannot_do_without_makes_it_malformed(tag: int) -> None:
    image = corpus.image()
    vr, _ = image[tag]
    data = corpus.file(image).replace(
        struct.pack("<HH", tag >> 16, tag & 0xFFFF) + vr.encode(),
        b"%b%b" % (struct.pack("<HH", tag >> 16, tag & 0xFFFF), vr.lower().encode()),
    )
    with pytest.raises(Malformed, match="can't do without"):
        anonymised(data)


@pytest.mark.parametrize("is_long", [False, True], ids=["16 bits", "32 bits"])
@pytest.mark.parametrize("name", NAMES, ids=repr)
@pytest.mark.parametrize("syntax", ["explicit", "implicit", "big endian"])
def test_in_the_header_of_the_file_too(name: bytes, is_long: bool, syntax: str) -> None:
    data = corpus.file(corpus.image(corpus.SYNTAXES[syntax][1]), syntax)
    implementation = Builder(corpus.EXPLICIT_LITTLE).element(0x00020012, "UI", b"1.2.3")
    element = odd(corpus.EXPLICIT_LITTLE, name, b"SMITH^JOHN", is_long=is_long, tag=0x00020013)
    end = data.index(implementation) + len(implementation)
    assert anonymised(data[:end] + element + data[end:]) == anonymised(data)


def test_in_the_header_a_length_that_fits_nowhere_is_malformed() -> None:
    data = corpus.file(corpus.image())
    version = Builder(corpus.EXPLICIT_LITTLE).element(0x00020001, "OB", b"\0\1")
    element = odd(corpus.EXPLICIT_LITTLE, b"??", b"SMITH^JOHN", is_long=False, tag=0x00020001)
    with pytest.raises(Malformed, match="isn't in explicit VR"):
        anonymised(data.replace(version, element[:-3]))


TEXT = st.binary(max_size=40).filter(lambda one: len(one) % 2 == 0)


@settings(max_examples=300, deadline=None)
@given(
    name=st.sampled_from(NAMES),
    value=TEXT,
    is_long=st.booleans(),
    before=st.lists(TEXT, max_size=4),
    after=st.lists(TEXT, max_size=4),
    place=st.sampled_from(["top", "first", "only", "last"]),
)
def test_the_length_is_read_right_or_not_at_all(
    name: bytes, value: bytes, is_long: bool, before: list[bytes], after: list[bytes], place: str
) -> None:
    """Whatever is in the values around it: nothing of an element is ever taken for another one."""
    encoding = corpus.EXPLICIT_LITTLE
    builder = Builder(encoding)
    around = [
        b"".join(builder.element(0x00280121 + first + number, "LO", one) for number, one in enumerate(values))
        for first, values in ((0, before), (16, after))
    ]
    element = odd(encoding, name, value, is_long=is_long, tag=0x00280129)
    plain = anonymised(with_element(around[0] + around[1], "explicit", place=place, undefined=True))
    with suppress(Malformed):
        found = anonymised(with_element(around[0] + element + around[1], "explicit", place=place, undefined=True))
        assert found == plain


@pytest.mark.parametrize("syntax", corpus.SYNTAXES)
@pytest.mark.parametrize("undefined", [False, True], ids=["lengths", "delimiters"])
def test_a_damaged_file_raises_nothing_unexpected(syntax: str, undefined: bool) -> None:
    encoding = corpus.SYNTAXES[syntax][1]
    inner: Elements = {0x00080100: ("SH", b"T-D1100"), 0x00080104: ("LO", b"Head")}
    is_encapsulated = syntax == "encapsulated"
    elements: Elements = {
        **corpus.image(encoding, encapsulated=is_encapsulated, size=2),
        0x00080005: ("CS", b"ISO IR 192"),
        0x00100020: ("LO", b"4711"),
        0x00100021: ("LO", b"HOSP"),
        corpus.OUTER: ("SQ", [{**inner, corpus.OUTER: ("SQ", [inner])}]),
    }
    data = corpus.file(elements, syntax, undefined=undefined)
    data += corpus.encapsulated_pixels(b"\xff\xd8pixels") if is_encapsulated else b""
    chance, anonymiser = random.Random(syntax), deidentifier(structured="clean", burned_in="allow")
    letters = [*sorted(VR_OF_BYTES), *NAMES, b"\xff\xff", b"\0\0", b"\xfe\xff"]
    for _ in range(600):
        spoilt = bytearray(data)
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(132, len(data) - 1)
            spoilt[at : at + 2] = chance.choice(letters) if chance.random() < 0.7 else chance.randbytes(2)
        with suppress(DeidentificationError):
            found = anonymiser.file(memoryview(spoilt))
            if isinstance(found, Deidentified):
                found.bytes(memoryview(spoilt))
