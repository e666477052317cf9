"""Pixel data leave with the image and nothing beside it; the image stays the same."""

import io
import struct
import subprocess
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.encaps import generate_frames, parse_basic_offsets
from pydicom.pixels import pixel_array

from autorthanc_spool.deidentify import fragments, streams, unused_bits
from autorthanc_spool.deidentify.elements import EXPLICIT_LITTLE
from autorthanc_spool.deidentify.errors import Malformed, Unsupported
from autorthanc_spool.deidentify.file import Deidentified, Held
from tests.deidentify import corpus, real
from tests.deidentify.corpus import Elements
from tests.deidentify.make import anonymised, deidentifier

SHORT = EXPLICIT_LITTLE.short.pack
SECRET = b"SMITH^JOHN *1941"
BASELINE, LOSSLESS_LS, JPEG_2000 = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90"
JPEG_XL, RLE, DEFLATED_FRAMES = "1.2.840.10008.1.2.4.110", "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.8.1"
PLAIN, ENCAPSULATED_UNCOMPRESSED = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.98"
SIZE = 16
GREY = Image.fromarray(np.arange(SIZE * SIZE, dtype=np.uint8).reshape(SIZE, SIZE))


def native(pixels: bytes, syntax: str = "explicit", **tags: tuple[str, bytes]) -> bytes:
    encoding = corpus.SYNTAXES[syntax][1]
    elements = {**corpus.image(encoding), **by_tag(tags)}
    elements[0x7FE00010] = ("OW", pixels)
    return corpus.file(elements, syntax)


def by_tag(tags: dict[str, tuple[str, bytes]]) -> Elements:
    return {int(tag[1:], 16): element for tag, element in tags.items()}


def encapsulated(syntax: str, *pieces: bytes, frames: int = 1, table: bytes = b"", **tags: tuple[str, bytes]) -> bytes:
    """A grey image of eight bits whose fragments are these."""
    elements = {**corpus.image(encapsulated=True, size=SIZE), **by_tag(tags)}
    bits = {0x00280100: 8, 0x00280101: 8, 0x00280102: 7}
    elements |= {tag: ("US", SHORT(value)) for tag, value in bits.items()}
    elements[0x00280008] = ("IS", f"{frames} ".encode())
    of_file, of_image = (EXPLICIT_LITTLE.element(0x00020010, "UI", one.encode()) for one in (PLAIN, syntax))
    head = corpus.file(elements).replace(of_file, of_image)
    data = corpus.encapsulated_pixels(*(one + bytes(len(one) % 2) for one in pieces))
    empty = EXPLICIT_LITTLE.header(0xFFFEE000, "", 0)
    return head + data.replace(empty, EXPLICIT_LITTLE.header(0xFFFEE000, "", len(table)) + table, 1)


def cleaned(data: bytes) -> Deidentified:
    found = deidentifier().file(memoryview(data))
    assert isinstance(found, Deidentified), found
    return found


def read(data: bytes) -> Any:
    return pydicom.dcmread(io.BytesIO(data))


def jpeg(**options: Any) -> bytes:
    out = io.BytesIO()
    GREY.save(out, "JPEG", quality=90, **options)
    return out.getvalue()


def jpeg_2000(**options: Any) -> bytes:
    out = io.BytesIO()
    GREY.save(out, "JPEG2000", **{"no_jp2": True, "irreversible": False, **options})
    return out.getvalue()


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">L4s", len(content) + 8, kind) + content


@pytest.mark.parametrize("syntax", ["implicit", "explicit", "big endian", "deflated"])
@pytest.mark.parametrize("more", [SECRET, SECRET * 100, bytes(50) + SECRET, bytes(128)], ids=len)
def test_what_follows_the_last_frame_is_cut_off(syntax: str, more: bytes) -> None:
    pixels = bytes(range(128))
    found = cleaned(native(pixels + more, syntax))
    assert read(found.bytes(memoryview(native(pixels + more, syntax)))).PixelData == pixels
    assert dict(found.cut) == ({streams.TRAILING: 1} if any(more) else {})


@pytest.mark.parametrize(
    ("photometric", "samples", "bits", "wanted"),
    [
        (b"YBR_FULL_422", 3, 8, 128 * 2),
        (b"YBR_PARTIAL_420 ", 3, 8, 192),
        (b"RGB ", 3, 8, 384),
        (b"MONOCHROME2 ", 1, 1, 16),
        (b"MONOCHROME2 ", 1, 12, 192),
        (b"MONOCHROME2 ", 1, 32, 512),
    ],
)
def test_pages_beyond_the_number_of_frames_are_cut_off(
    photometric: bytes, samples: int, bits: int, wanted: int
) -> None:
    pixels = (bytes(range(256)) * 3)[:wanted]
    data = native(
        pixels + SECRET,
        t00280002=("US", SHORT(samples)),
        t00280004=("CS", photometric),
        t00280008=("IS", b"2 "),
        t00280100=("US", SHORT(bits)),
        t00280101=("US", SHORT(bits)),
        t00280102=("US", SHORT(bits - 1)),
    )
    assert read(anonymised(data, burned_in="allow")).PixelData == pixels


def test_the_byte_that_makes_the_length_even_becomes_zero() -> None:
    for syntax, value, clean in (("explicit", b"abcS", b"abc\0"), ("big endian", b"baSc", b"ba\0c")):
        encoding = corpus.SYNTAXES[syntax][1]
        tags = {"t00280010": 1, "t00280011": 3, "t00280100": 8, "t00280101": 8, "t00280102": 7}
        one = {tag: ("US", encoding.short.pack(number)) for tag, number in tags.items()}
        assert read(anonymised(native(value, syntax, **one))).PixelData == clean
        assert read(anonymised(native(value + SECRET, syntax, **one))).PixelData == clean


@pytest.mark.parametrize(("tag", "vr", "size"), [(0x7FE00008, "OF", 256), (0x7FE00009, "OD", 512)])
def test_what_follows_floating_point_pixels_is_cut_off(tag: int, vr: str, size: int) -> None:
    elements = corpus.image()
    del elements[0x7FE00010]
    elements[tag] = (vr, bytes([7]) * size + SECRET)
    found = read(anonymised(corpus.file(elements)))
    assert found[tag].value == bytes([7]) * size


STREAMS = {
    "comment": (BASELINE, lambda: jpeg(comment=SECRET)),
    "Exif": (BASELINE, lambda: jpeg(exif=b"Exif\0\0MM\0*" + SECRET)),
    "ICC": (BASELINE, lambda: jpeg(icc_profile=SECRET)),
    "application data of others": (BASELINE, lambda: jpeg()[:2] + segment(0xED, SECRET) + jpeg()[2:]),
    "Adobe's segment with more": (BASELINE, lambda: jpeg()[:2] + segment(0xEE, b"Adobe" + SECRET) + jpeg()[2:]),
    "thumbnail": (BASELINE, lambda: jpeg()[:2] + segment(0xE0, b"JFXX\0\x10" + SECRET) + jpeg()[2:]),
    "after a JPEG": (BASELINE, lambda: jpeg() + SECRET),
    "a JPEG after a JPEG": (BASELINE, lambda: jpeg() + jpeg(comment=SECRET)),
    "before a JPEG": (BASELINE, lambda: SECRET + jpeg()),
    "between scans": (BASELINE, lambda: jpeg(progressive=True)[:-2] + segment(0xFE, SECRET) + b"\xff\xd9"),
    "JPEG 2000 comment": (JPEG_2000, lambda: jpeg_2000(comment=SECRET)),
    "after a JPEG 2000": (JPEG_2000, lambda: jpeg_2000() + SECRET),
    "before a JPEG 2000": (JPEG_2000, lambda: SECRET + jpeg_2000()),
    "JP2 boxes": (JPEG_2000, lambda: jp2_with(box(b"xml ", SECRET), box(b"uuid", SECRET))),
}


def jp2_with(*boxes: bytes) -> bytes:
    plain = jpeg_2000(no_jp2=False)
    at = plain.index(b"jp2c") - 4
    return plain[:at] + b"".join(boxes) + plain[at:]


@pytest.mark.parametrize("name", STREAMS)
def test_only_the_picture_of_a_compressed_frame_leaves(name: str) -> None:
    syntax, make = STREAMS[name]
    data = encapsulated(syntax, make())
    found = cleaned(data)
    out = found.bytes(memoryview(data))
    assert SECRET not in out
    assert sum(found.cut.values()) >= 1
    plain = jpeg(progressive=True) if name == "between scans" else jpeg() if syntax == BASELINE else jpeg_2000()
    assert (pixel_array(io.BytesIO(out)) == np.asarray(Image.open(io.BytesIO(plain)))).all()


def test_dcmtk_decodes_the_same_pixels_of_jpeg_ls_without_its_comments(tmp_path: Path) -> None:
    before = real.path("MR_small_jpeg_ls_lossless.dcm").read_bytes()
    stream = next(generate_frames(read(before).PixelData, number_of_frames=1))
    more = segment(0xFE, SECRET)
    at = before.index(stream[:16])
    dirty = before[: at - 4] + struct.pack("<L", len(stream) + len(more)) + stream[:2] + more + before[at + 2 :]
    out = anonymised(dirty)
    assert SECRET in dirty
    assert SECRET not in out
    (tmp_path / "in.dcm").write_bytes(out)
    subprocess.run(["dcmdjpls", "in.dcm", "out.dcm"], cwd=tmp_path, check=True)
    assert read((tmp_path / "out.dcm").read_bytes()).PixelData == read(real.path("MR_small.dcm").read_bytes()).PixelData


def test_boxes_of_jpeg_xl_beside_the_picture_are_left_out() -> None:
    head = box(b"JXL ", b"\r\n\x87\n") + box(b"ftyp", b"jxl \0\0\0\0jxl ")
    picture = box(b"jxlc", b"\xff\x0a the picture")
    dirty = head + box(b"Exif", SECRET) + picture + box(b"brob", SECRET) + box(b"jbrd", SECRET)
    found = read(anonymised(encapsulated(JPEG_XL, dirty)))
    assert next(generate_frames(found.PixelData, number_of_frames=1)) == head + picture


def test_the_tail_of_a_deflated_frame_is_cut_off() -> None:
    compressor = zlib.compressobj(wbits=-15)
    frame = compressor.compress(bytes(range(256))) + compressor.flush()
    assert SECRET not in anonymised(encapsulated(DEFLATED_FRAMES, frame + SECRET))
    compressor = zlib.compressobj(wbits=-15)
    larger = compressor.compress(bytes(range(256)) + SECRET) + compressor.flush()
    held = deidentifier().file(memoryview(encapsulated(DEFLATED_FRAMES, larger)))
    assert isinstance(held, Held)
    assert "deflated frame" in held.reason


def test_uncompressed_frames_in_fragments_have_the_size_of_the_image() -> None:
    frame = bytes(range(256))
    data = encapsulated(ENCAPSULATED_UNCOMPRESSED, frame + SECRET, frame, frame + SECRET, frames=2)
    found = cleaned(data)
    assert SECRET not in found.bytes(memoryview(data))
    assert dict(found.cut) == {streams.TRAILING: 1, fragments.EXTRA_FRAGMENTS: 1}


def test_the_unused_part_of_an_rle_header_is_blanked() -> None:
    header = struct.pack("<LL", 1, 64) + SECRET.ljust(56, b"x")
    out = anonymised(encapsulated(RLE, header + b"\x81\x07\x81\x07"))
    assert SECRET not in out


@pytest.mark.parametrize("split", [1, 2, 5])
@pytest.mark.parametrize("table", ["none", "right", "wrong"])
def test_offset_tables_hold_after_frames_were_cleaned(table: str, split: int) -> None:
    frames = [jpeg(comment=SECRET * number) for number in (1, 2, 3)]
    frames = [one + bytes(len(one) % 2) for one in frames]
    step = [-(-len(one) // split // 2) * 2 + 2 for one in frames]
    pieces = [[one[at : at + size] for at in range(0, len(one), size)] for one, size in zip(frames, step, strict=True)]
    sizes = [sum(8 + len(part) for part in parts) for parts in pieces]
    right = struct.pack("<3L", 0, sizes[0], sizes[0] + sizes[1])
    tables = {"none": b"", "right": right, "wrong": SECRET[:12]}
    flat = [part for parts in pieces for part in parts]
    data = encapsulated(BASELINE, *flat, b"extra " + SECRET, frames=3, table=tables[table])
    found = read(anonymised(data))
    assert SECRET[:12] not in anonymised(data)
    offsets = parse_basic_offsets(found.PixelData)
    whole = list(generate_frames(found.PixelData, number_of_frames=3))
    assert len(whole) == 3
    if table != "none":
        assert offsets == [0, len(whole[0]) + 8, len(whole[0]) + len(whole[1]) + 16]
    assert all((one == pixel_array(io.BytesIO(anonymised(data)))[0]).all() for one in found.pixel_array)


def test_the_extended_offset_table_holds() -> None:
    frames = [jpeg(comment=SECRET), jpeg(comment=SECRET * 2)]
    names = SECRET
    data = encapsulated(
        BASELINE, *frames, frames=2, t7FE00001=("OV", names), t7FE00002=("OV", names), t7FE00003=("UV", bytes(8))
    )
    out = anonymised(data)
    assert SECRET not in out
    found = read(out)
    assert "EncapsulatedPixelDataValueTotalLength" not in found
    size, other = (len(jpeg()) for _ in range(2))
    assert struct.unpack("<2Q", found.ExtendedOffsetTable) == (0, size + size % 2 + 8)
    assert struct.unpack("<2Q", found.ExtendedOffsetTableLengths) == (size, other)


def test_a_wrong_offset_table_of_clean_frames_is_written_again() -> None:
    frame = corpus.jpeg_2000(b"tile")
    data = encapsulated(JPEG_2000, frame, table=b"JOHN")
    assert b"JOHN" not in anonymised(data)


def test_what_is_not_a_picture_at_all_is_withheld() -> None:
    for syntax in (BASELINE, JPEG_2000, RLE, JPEG_XL):
        held = deidentifier().file(memoryview(encapsulated(syntax, SECRET)))
        assert isinstance(held, Held)
        assert "SMITH" not in held.reason


def jpeg_2000_with(marker: int, content: bytes) -> bytes:
    """A stream with one more segment in its main header, before COD."""
    plain = jpeg_2000()
    at = plain.index(b"\xff\x52")
    return plain[:at] + struct.pack(">HH", marker, len(content) + 2) + content + plain[at:]


# Huffman's tables of one code, quantisation, and colours of JPEG-LS, with more behind what they say.
HUFFMAN, QUANTISATION = bytes([0, 1, *bytes(15), 0]), bytes(65)
WITH_MORE = {
    "DNL before a scan": segment(0xDC, b"JN"),
    "arithmetic conditions": segment(0xCC, SECRET),
    "hierarchy": segment(0xDE, SECRET),
    "expansion": segment(0xDF, b"J"),
    "a Huffman table": segment(0xC4, HUFFMAN + SECRET),
    "a quantisation table": segment(0xDB, QUANTISATION + SECRET),
    "a restart interval": segment(0xDD, SECRET),
    "parameters of JPEG-LS": segment(0xF8, b"\1" + bytes(10)),
    "a table of JPEG-LS": segment(0xF8, b"\x63" + SECRET),
}


@pytest.mark.parametrize("name", WITH_MORE)
def test_a_segment_that_holds_more_than_the_picture_needs_withholds_a_jpeg(name: str) -> None:
    data = encapsulated(BASELINE, jpeg()[:2] + WITH_MORE[name] + jpeg()[2:])
    held = deidentifier().file(memoryview(data))
    assert isinstance(held, Held)
    assert held.reason.startswith("a JPEG stream with")


@pytest.mark.parametrize("marker", [0xFF30, 0xFF56, 0xFF59, 0xFF63, 0xFF68, 0xFF6F, 0xFF70, 0xFF74, 0xFF79])
def test_a_segment_that_no_decoder_needs_withholds_a_jpeg_2000(marker: int) -> None:
    data = encapsulated(JPEG_2000, jpeg_2000_with(marker, SECRET + SECRET))
    held = deidentifier().file(memoryview(data))
    assert isinstance(held, Held)
    assert "that no decoder needs" in held.reason


def jp2_of_colours(of_type: bytes = b"", in_header: bytes = b"", channels: bytes = b"") -> bytes:
    plain = jpeg_2000(no_jp2=False)
    picture = plain[plain.index(b"jp2c") - 4 :]
    header = plain[plain.index(b"ihdr") - 4 : plain.index(b"colr") - 4] + box(b"colr", b"\1\0\0\0\0\0\x11")
    header += box(b"cdef", struct.pack(">4H", 1, 0, 0, 1) + channels) + in_header
    kind = box(b"ftyp", b"jp2 \0\0\0\0jp2 " + of_type)
    return box(b"jP  ", b"\r\n\x87\n") + kind + box(b"jp2h", header) + picture


@pytest.mark.parametrize("more", [{}, {"of_type": SECRET}, {"in_header": box(b"res ", SECRET)}, {"in_header": SECRET}])
def test_a_header_that_orders_channels_is_written_again_with_nothing_else(more: dict[str, bytes]) -> None:
    before = jp2_of_colours(**more)
    found = read(anonymised(encapsulated(JPEG_2000, before)))
    frame = next(generate_frames(found.PixelData, number_of_frames=1))
    assert SECRET not in frame
    at = frame.index(b"jp2c")
    assert frame[:at] == jp2_of_colours()[:at]
    assert (np.asarray(Image.open(io.BytesIO(frame))) == np.asarray(Image.open(io.BytesIO(jpeg_2000())))).all()


@pytest.mark.parametrize("more", [{"channels": SECRET}, {"in_header": box(b"pclr", b"\0\1\1\7" + SECRET)}])
def test_a_header_of_colours_that_holds_more_than_it_says_is_withheld(more: dict[str, bytes]) -> None:
    held = deidentifier().file(memoryview(encapsulated(JPEG_2000, jp2_of_colours(**more))))
    assert isinstance(held, Held)
    assert held.reason == "a JPEG 2000 file with colours of its own"


def test_what_follows_the_last_tile_of_a_stream_without_end_is_cut_off() -> None:
    stream = corpus.jpeg_2000()[:-2]
    out = anonymised(encapsulated(JPEG_2000, stream + SECRET))
    assert stream in out
    assert SECRET not in out


def test_a_second_picture_beside_the_only_frame_is_cut_off() -> None:
    first, second = jpeg(), jpeg(comment=SECRET)
    data = encapsulated(BASELINE, first, second)
    assert len(next(generate_frames(read(anonymised(data)).PixelData, number_of_frames=1))) <= len(first) + 1


def test_a_frame_in_several_fragments_stays_as_it_is() -> None:
    clean = corpus.jpeg_2000(b"a tile of some length")
    before = encapsulated(JPEG_2000, clean[:20], clean[20:40], clean[40:])
    assert anonymised(before).endswith(before[before.index(b"\xe0\x7f\x10\x00") :])


@pytest.mark.parametrize(
    "syntax", [JPEG_XL, "1.2.840.10008.1.2.4.111", "1.2.840.10008.1.2.4.112", "1.2.840.10008.1.2.4.202"]
)
def test_transfer_syntaxes_of_this_year_are_known(syntax: str) -> None:
    found = read(anonymised(encapsulated(syntax, corpus.jpeg_2000())))
    assert str(found.file_meta.TransferSyntaxUID) == syntax


@pytest.mark.parametrize(
    ("syntax", "reason"),
    [
        ("1.2.840.113619.5.2", "private transfer syntax"),
        ("1.2.840.10008.1.2.4.999", "PS3.6 2026c"),
        ("1.2.840.10008.1.2.4.94", "JPIP Referenced"),
        ("1.2.840.10008.1.2.7.1", "SMPTE ST 2110-20"),
    ],
)
def test_transfer_syntaxes_that_nothing_can_be_done_with_are_refused_with_the_reason(syntax: str, reason: str) -> None:
    with pytest.raises(Unsupported, match=reason):
        anonymised(encapsulated(syntax, corpus.jpeg_2000()))


def test_too_few_bytes_are_still_refused() -> None:
    with pytest.raises(Malformed, match="the file is cut"):
        anonymised(native(bytes(100)))


def sampled(values: list[int], stored: int, *, high: int | None = None, signed: int = 0, **more: Any) -> bytes:
    """An image of these values of 16 bits, in the syntax of `more`."""
    syntax = more.pop("syntax", "explicit")
    short = corpus.SYNTAXES[syntax][1].short.pack
    tags = {
        "t00280010": 1,
        "t00280011": len(values),
        "t00280101": stored,
        "t00280102": stored - 1 if high is None else high,
        "t00280103": signed,
    }
    elements = {tag: ("US", short(number)) for tag, number in tags.items()}
    elements |= {tag: ("US", short(number)) for tag, number in more.items()}
    return native(b"".join(short(one) for one in values), syntax, **elements)


def values_of(data: bytes, syntax: str = "explicit") -> list[int]:
    pixels = read(data).PixelData
    return [one[0] for one in corpus.SYNTAXES[syntax][1].short.iter_unpack(pixels)]


@pytest.mark.parametrize("syntax", ["implicit", "explicit", "big endian", "deflated"])
@pytest.mark.parametrize(
    ("stored", "signed", "before", "after"),
    [
        (12, 0, [0x1234, 0xF00F, 0x0FFF, 0x0000], [0x0234, 0x000F, 0x0FFF, 0x0000]),
        (10, 0, [0x0400, 0x03FF], [0x0000, 0x03FF]),
        (8, 0, [0x5341, 0x00FF], [0x0041, 0x00FF]),
        (5, 0, [0x5341, 0x001F], [0x0001, 0x001F]),
        # A sign that isn't extended everywhere, an overlay over positive and over negative samples.
        (12, 1, [0x0800, 0xF800, 0x07FF], [0xF800, 0xF800, 0x07FF]),
        (12, 1, [0x1001, 0xF801], [0x0001, 0xF801]),
        (12, 1, [0xE801, 0xF801], [0xF801, 0xF801]),
        (8, 1, [0x5380, 0x537F], [0xFF80, 0x007F]),
        (9, 1, [0x0180, 0xFF00], [0xFF80, 0xFF00]),
    ],
)
def test_unused_bits_are_cleared(syntax: str, stored: int, signed: int, before: list[int], after: list[int]) -> None:
    data = sampled(before, stored, signed=signed, syntax=syntax)
    assert values_of(anonymised(data), syntax) == after
    assert dict(cleaned(data).cut) == {unused_bits.UNUSED_BITS: 1}


@pytest.mark.parametrize(
    ("values", "stored", "tags"),
    [
        ([0x0FFF, 0], 12, {}),
        ([0xF800, 0xFFFF, 0x07FF], 12, {"signed": 1}),
        ([0x0800, 0x0FFF, 0x07FF], 12, {"signed": 1}),
        ([0xFFFF, 0x1234], 16, {}),
        ([0xFFF0, 0x1230], 12, {"high": 15}),
        # A HighBit that is wrong: all samples lie in the lowest bits.
        ([0x0FFF, 0x0123], 12, {"high": 15}),
        ([0x0FFF, 0x0123], 12, {"high": 40}),
        ([0xF830, 0x0123], 12, {"t00280120": 0xF830}),
    ],
)
def test_signs_padding_and_samples_in_high_bits_stay(values: list[int], stored: int, tags: dict[str, int]) -> None:
    data = sampled(values, stored, **tags)
    assert values_of(anonymised(data)) == values
    assert not cleaned(data).cut


def test_what_stands_below_and_above_samples_is_withheld() -> None:
    held = deidentifier().file(memoryview(sampled([0xFFF1, 0x1230], 12, high=15)))
    assert isinstance(held, Held)
    assert "HighBit" in held.reason


def test_unused_bits_are_cleared_in_every_block_of_a_large_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autorthanc_spool.deidentify.unused_bits._BLOCK_BYTES", 16)
    values = [number & 0x0FFF for number in range(64)]
    dirty = [*values[:40], values[40] | 0x8000, *values[41:]]
    assert values_of(anonymised(sampled(dirty, 12))) == values
    changed = struct.pack("<8H", *values[40:48])
    # Only the block that changed is held in memory.
    assert changed in cleaned(sampled(dirty, 12)).pieces


def test_padding_and_pages_and_unused_bits_go_together() -> None:
    data = sampled([0xF001, 2, 3], 12)
    data = data.replace(b"\x01\xf0\x02\0\x03\0", b"\x01\xf0\x02\0\x03\0" + SECRET)
    at = data.rindex(b"OW\0\0") + 4
    data = data[:at] + struct.pack("<L", 6 + len(SECRET)) + data[at + 4 :]
    assert values_of(anonymised(data)) == [1, 2, 3]


@pytest.mark.parametrize("outer", [corpus.OUTER, 0x00082112, 0x52009229])
@pytest.mark.parametrize(
    ("tag", "vr"),
    [
        (0x7FE00010, "OW"),
        (0x7FE00008, "OF"),
        (0x7FE00009, "OD"),
        (0x7FE00001, "OV"),
        (0x60003000, "OW"),
        (0x54001010, "OW"),
        (0x54001010, "OB"),
    ],
)
def test_pixels_and_curves_of_other_sequences_are_removed(outer: int, tag: int, vr: str) -> None:
    elements = corpus.image()
    elements[outer] = ("SQ", [{tag: (vr, SECRET), corpus.OUTER: ("SQ", [{tag: (vr, SECRET)}])}])
    elements[0x00880200] = ("SQ", [{0x7FE00010: ("OW", SECRET)}])
    out = anonymised(corpus.file(elements))
    assert SECRET not in out
    assert "IconImageSequence" not in read(out)


def test_waveforms_stay_where_they_belong() -> None:
    elements = corpus.image()
    elements[0x54000100] = ("SQ", [{0x54001010: ("OW", b"a heart beats!!!")}])
    assert read(anonymised(corpus.file(elements))).WaveformSequence[0].WaveformData == b"a heart beats!!!"


BULK = {
    0x00281201: "OW", 0x00281221: "OW", 0x00660016: "OF", 0x54000110: "OB", 0x54000112: "OW",
    0x00720067: "OW",
}  # fmt: skip


@pytest.mark.parametrize("tag", BULK, ids=lambda tag: f"{tag:08X}")
@pytest.mark.parametrize("numbers", [bytes(range(64)), bytes(range(256)) * 400], ids=len)
def test_numbers_in_one_run_stay_unless_the_patient_is_named_in_or_behind_them(tag: int, numbers: bytes) -> None:
    def left(value: bytes) -> bytes | None:
        out = read(
            anonymised(corpus.file({**corpus.image(), 0x00100010: ("PN", b"Cnryfamily^A"), tag: (BULK[tag], value)}))
        )
        return out[tag].value if tag in out else None

    assert left(numbers) == numbers
    assert left(numbers + b"CNRYfamily 1941 ") is None
    assert left(b"cnryfamily^a1941" + numbers) is None


def profile(*texts: tuple[bytes, bytes]) -> bytes:
    """An ICC profile of these tags, and of a curve of numbers."""
    tags = [*texts, (b"rTRC", b"curv" + bytes(range(16)))]
    entries, content, start = b"", b"", 132 + 12 * len(tags)
    for name, one in tags:
        entries += struct.pack(">4sLL", name, start + len(content), len(one))
        content += one
    whole = bytes(128) + struct.pack(">L", len(tags)) + entries + content
    return whole + bytes(len(whole) % 2)


@pytest.mark.parametrize(
    "named",
    [
        (b"cprt", b"text\0\0\0\0of Mrs cnryfamily\0\0"),
        (b"desc", b"desc\0\0\0\0\0\0\0\x10scan: CNRYFAMILY."),
        (b"cprt", struct.pack(">8sLL4sLL", b"mluc", 1, 12, b"enUS", 20, 28) + "Cnryfamily".encode("utf-16-be")),
    ],
    ids=["text", "description", "languages"],
)
def test_texts_of_a_colour_profile_are_blanked_where_they_name_the_patient(named: tuple[bytes, bytes]) -> None:
    elements = {**corpus.image(), 0x00100010: ("PN", b"Cnryfamily^John "), 0x00282000: ("OB", profile(named))}
    found = cleaned(corpus.file(elements))
    out = found.bytes(memoryview(corpus.file(elements)))
    assert b"cnryfamily" not in out.lower().replace(b"\0", b"")
    assert read(out).ICCProfile[-20:] == profile(named)[-20:]
    assert found.emptied["ICCProfile"] == 1


def test_a_colour_profile_of_nobody_stays_and_one_that_hides_a_name_goes() -> None:
    plain = profile((b"cprt", b"text\0\0\0\0of nobody\0"))
    hiding = profile((b"abcd", b"data\0\0\0\0cnryfamily"))
    for value, expected in ((plain, plain), (hiding, None)):
        elements = {**corpus.image(), 0x00100010: ("PN", b"Cnryfamily^John "), 0x00282000: ("OB", value)}
        assert read(anonymised(corpus.file(elements))).get("ICCProfile") == expected
