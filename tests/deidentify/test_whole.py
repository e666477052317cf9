"""A file is whole, or it is refused: cut at any place where that shows, it raises."""

import io
import zlib
from contextlib import suppress

import pydicom
import pytest

from autorthanc_spool.deidentify.elements import EXPLICIT_LITTLE, Encoding
from autorthanc_spool.deidentify.errors import DeidentificationError, Malformed
from tests.deidentify import corpus
from tests.deidentify.corpus import Elements
from tests.deidentify.make import anonymised, deidentifier


def small(syntax: str, *, undefined: bool = False) -> bytes:
    """A whole image with two levels of sequences, small enough to be cut at every byte."""
    encoding = corpus.SYNTAXES[syntax][1]
    is_encapsulated = syntax == "encapsulated"
    inner: Elements = {0x00080100: ("SH", b"T-D1100"), 0x00080104: ("LO", b"Head")}
    elements: Elements = {
        **corpus.image(encoding, encapsulated=is_encapsulated, size=4),
        corpus.OUTER: ("SQ", [{**inner, corpus.OUTER: ("SQ", [inner, inner])}]),
    }
    data, stream = corpus.file(elements, syntax, undefined=undefined), corpus.jpeg_2000(b"a tile!!!")
    return data + corpus.encapsulated_pixels(stream[:50], stream[50:]) if is_encapsulated else data


@pytest.mark.parametrize("undefined", [False, True], ids=["lengths", "delimiters"])
@pytest.mark.parametrize("syntax", corpus.SYNTAXES)
def test_a_file_that_is_cut_raises(syntax: str, undefined: bool) -> None:
    data = small(syntax, undefined=undefined)
    anonymised(data)
    de = deidentifier()
    unnoticed = []
    for length in range(len(data)):
        with suppress(DeidentificationError):
            de.file(memoryview(data[:length]))
            unnoticed.append(length)
    assert unnoticed == ([] if syntax == "deflated" else between_elements(data, corpus.SYNTAXES[syntax][1]))


def between_elements(data: bytes, encoding: Encoding) -> list[int]:
    """The few places of `small` where a cut takes all that shows pixels, and nothing that every file must have."""
    header = encoding.header
    places = [
        data.index(header(tag, vr, length))
        for tag, vr, length in (
            (0x00200013, "IS", 2),
            (0x00280002, "US", 2),
            (0x00280004, "CS", 12),
            (0x00280010, "US", 2),
        )
    ]
    # In big endian a tag begins with a zero, which could be padding.
    return [at for place in places for at in (place, place + 1) if not any(data[place:at])]


def test_the_error_says_where_and_holds_no_value() -> None:
    data = small("explicit").replace(b"T-D1100", b"SECRETS")
    with pytest.raises(Malformed, match=r"at byte \d+") as caught:
        deidentifier().file(memoryview(data[:-3]))
    assert "SECRET" not in str(caught.value)


DESCRIBING = {"Rows": 0x00280010, "Columns": 0x00280011, "BitsAllocated": 0x00280100}


def without_pixels(*describing: str, **more: tuple[str, bytes]) -> bytes:
    """A CT that says these of pixels, and has none."""
    elements = corpus.image()
    del elements[0x7FE00010]
    for keyword, tag in DESCRIBING.items():
        if keyword not in describing:
            del elements[tag]
    return corpus.file({**elements, **{int(tag[1:], 16): element for tag, element in more.items()}})


@pytest.mark.parametrize("keyword", DESCRIBING)
def test_what_describes_pixels_and_ends_without_them_raises(keyword: str) -> None:
    with pytest.raises(Malformed, match="describes pixels"):
        anonymised(without_pixels(keyword))


def test_what_describes_no_pixels_is_taken_for_what_it_is() -> None:
    found = pydicom.dcmread(io.BytesIO(anonymised(without_pixels())))
    assert found.SOPClassUID == corpus.CT
    assert "PixelData" not in found


@pytest.mark.parametrize(
    "more",
    [
        {"t7FE00008": ("OF", bytes(256))},
        {"t7FE00009": ("OD", bytes(512))},
        {"t00287FE0": ("UR", b"https://pacs/pixels")},
        {"tFFFCFFFC": ("OB", b"padding!")},
        {"t7FE10010": ("LO", b"SIEMENS CSA NON-IMAGE")},
    ],
    ids=lambda more: next(iter(more)),
)
def test_what_has_other_pixels_or_something_after_them_is_not_cut(more: dict[str, tuple[str, bytes]]) -> None:
    anonymised(without_pixels(*DESCRIBING, **more))


def test_elements_out_of_order_do_not_show_that_the_tail_is_there() -> None:
    padding = corpus.Builder(EXPLICIT_LITTLE).element(0xFFFCFFFC, "OB", b"padding!")
    data = without_pixels(*DESCRIBING)
    at = data.index(EXPLICIT_LITTLE.header(DESCRIBING["Rows"], "US", 2))
    with pytest.raises(Malformed, match="describes pixels"):
        anonymised(data[:at] + padding + data[at:])


def test_spectroscopy_has_rows_of_spectra_and_no_pixels() -> None:
    anonymised(without_pixels("Rows", "Columns", t56000020=("OF", bytes(64))))
    with pytest.raises(Malformed, match="describes pixels"):
        anonymised(without_pixels("Rows", "Columns"))


def test_fewer_fragments_than_frames_raise() -> None:
    elements = corpus.image(encapsulated=True)
    elements[0x00280008] = ("IS", b"3 ")
    data = corpus.file(elements, "encapsulated") + corpus.encapsulated_pixels(b"one!", b"two!")
    with pytest.raises(Malformed, match="2 fragments"):
        anonymised(data)


@pytest.mark.parametrize("tail", [b"SMITH^JOHN", b"\x08\x00\x05\x00LO\x05\x00SMITH", b"\0\0\0\0SMITH^"])
def test_something_after_the_data_set_raises(tail: bytes) -> None:
    with pytest.raises(Malformed):
        anonymised(corpus.file({**corpus.image()}) + b"\0" * 16 + tail)


def test_zeros_after_the_data_set_are_dropped() -> None:
    data = small("explicit")
    assert anonymised(data + bytes(512)) == anonymised(data)


def test_a_stream_that_goes_on_after_deflation_loses_what_follows() -> None:
    data = small("deflated")
    assert anonymised(data + b"SMITH^JOHN!!") == anonymised(data)


def test_pixel_data_and_transfer_syntax_stay_byte_for_byte() -> None:
    for syntax, (uid, _) in corpus.SYNTAXES.items():
        before = small(syntax)
        after = anonymised(before)
        found, original = (pydicom.dcmread(io.BytesIO(data)) for data in (after, before))
        assert found.file_meta.TransferSyntaxUID == uid
        assert found.PixelData == original.PixelData
        assert found[0x7FE00010].VR == original[0x7FE00010].VR
    assert after[-60:] == before[-60:]


def test_bits_of_frames_may_be_packed_or_begin_with_a_byte_of_their_own() -> None:
    elements = corpus.image(size=3)
    elements[0x00280100] = ("US", EXPLICIT_LITTLE.short.pack(1))
    elements[0x00280008] = ("IS", b"2 ")
    for pixels in (b"\xff\xff\x03\xff", b"\xff\x01\xff\x01"):
        elements[0x7FE00010] = ("OW", pixels)
        anonymised(corpus.file(elements))


def test_a_bomb_in_a_deflated_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autorthanc_spool.deidentify.container._LARGEST_INFLATED_BYTES", 10_000)
    stream = zlib.compressobj(wbits=-15)
    head = small("deflated")
    start = head.index(b"1.2.3\0") + 6
    bomb = head[:start] + stream.compress(bytes(1_000_000)) + stream.flush()
    with pytest.raises(DeidentificationError):
        anonymised(bomb)
