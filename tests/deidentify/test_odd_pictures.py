"""Images as some devices write them, not quite as the standard has it: black where it must be, the rest as it was."""

import io
import mmap
import struct
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import data_store
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import MPEG4HP41, JPEG2000Lossless

from autorthanc_spool.deidentify.clues import tag_of
from autorthanc_spool.deidentify.file import Deidentified
from autorthanc_spool.deidentify.inspection import inspect
from autorthanc_spool.rules import AnonymiseOptions
from tests.deidentify import real
from tests.deidentify.pictures import (
    SECONDARY_CAPTURE,
    Picture,
    area,
    held,
    redacted,
    redacting,
    regions_file,
    samples_of,
    written,
)

TOP = regions_file("top", BlackOut=[area(0, 0, 72, 3)])


def in_jpeg_2000(picture: Picture) -> bytes:
    """pydicom's own encoder refuses headers that contradict the frame."""
    frames = []
    for frame in picture.values():
        out = io.BytesIO()
        Image.fromarray(frame).save(out, "JPEG2000", no_jp2=True, irreversible=False, mct=0)
        frames.append(out.getvalue())
    data = picture.data_set()
    data.file_meta.TransferSyntaxUID = JPEG2000Lossless
    data.PixelData = encapsulate(frames)
    data["PixelData"].VR, data["PixelData"].is_undefined_length = "OB", True
    out = io.BytesIO()
    pydicom.dcmwrite(out, data, implicit_vr=False, little_endian=True, force_encoding=True)
    return out.getvalue()


@pytest.mark.parametrize("planar", [0, 1])
@pytest.mark.parametrize("syntax", ["RLE", "JPEG lossless", "JPEG-LS", "JPEG 2000"])
def test_how_colours_lie_is_what_the_codec_made_and_not_what_the_header_says(syntax: str, planar: int) -> None:
    picture = Picture("RGB", rows=64, columns=72, frames=2, sop_class=SECONDARY_CAPTURE)
    made = in_jpeg_2000(picture) if syntax == "JPEG 2000" else written(picture.data_set(), syntax)
    read = pydicom.dcmread(io.BytesIO(made))
    read.PlanarConfiguration = planar
    out = io.BytesIO()
    read.save_as(out)
    _, data = redacted(out.getvalue(), TOP)
    after = samples_of(data, picture)
    assert not after[:, :3].any()
    assert np.array_equal(after[:, 3:], picture.values()[:, 3:])
    # Some classes allow colours by pixel only, so that no other way is chosen unasked.
    written_as = pydicom.dcmread(io.BytesIO(data)).PlanarConfiguration
    assert written_as == (planar if syntax == "RLE" else 0)


GREY = Picture("MONOCHROME2", 16, 12, is_signed=True, frames=1, rows=10, columns=12)
ROW = regions_file("row", BlackOut=[area(0, 0, 12, 1)])


def black_of(data: Dataset, picture: Picture = GREY) -> int:
    """The sample that the upper row became."""
    made = samples_of(redacted(written(data), ROW)[1], picture)
    (value,) = {*made[0, 0].flat}
    return int(value)


@pytest.mark.parametrize(
    "tags",
    [
        {"WindowCenter": "0", "WindowWidth": "1e308", "RescaleSlope": "1e-300"},
        {"WindowCenter": "40"},
    ],
    ids=str,
)
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_a_window_that_cannot_be_computed_with_counts_as_none(tags: dict[str, str], photometric: str) -> None:
    data = replace(GREY, photometric=photometric).data_set()
    for keyword, value in tags.items():
        setattr(data, keyword, value)
    assert black_of(data) == (GREY.values().min() if photometric == "MONOCHROME2" else 2047)


def test_the_least_sample_is_found_where_its_sign_is_not_extended() -> None:
    values = np.arange(-60, 60, dtype="<i2").reshape(1, 10, 12, 1)
    assert black_of(GREY.data_set(values & 0xFFF)) == black_of(GREY.data_set(values)) == -60


@pytest.mark.parametrize("high", [255, 65535])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2", "RGB"])
def test_a_high_bit_that_no_sample_has_can_be_looked_at(photometric: str, high: int) -> None:
    picture = Picture(photometric, frames=1, rows=10, columns=12)
    data = picture.data_set()
    data.HighBit = high
    found = inspect(memoryview(written(data)), AnonymiseOptions("P", burned_in="redact"), [ROW])
    before, after = found.before(0), found.after(0)
    assert before[:1].any()
    assert not after[:1].any()


def test_what_is_withheld_in_any_case_is_said_to_be_so_also_where_its_pixels_are_cut() -> None:
    data = GREY.data_set()
    data.Rows = 11
    never = regions_file("never", Image="withhold")
    found = inspect(memoryview(written(data)), AnonymiseOptions("P", burned_in="redact"), [never])
    assert held(written(data), never) == "pixel_regions/never.json says so"
    assert found.is_withheld
    assert found.said.startswith(
        "withheld: pixel_regions/never.json says so; no picture: the pixel data have 240 bytes"
    )


@pytest.mark.parametrize("planar", [0, 1])
def test_colours_in_the_upper_bits_are_seen_however_they_lie(planar: int) -> None:
    picture = Picture("RGB", 16, 12, planar=planar, frames=1, rows=10, columns=12)
    data = picture.data_set(picture.values() << 4)
    data.HighBit = 15
    found = inspect(memoryview(written(data)), AnonymiseOptions("P", burned_in="redact"), [ROW])
    assert np.array_equal(found.before(0), picture.values()[0] >> 4)


COLOURS = Picture("PALETTE COLOR", frames=1, rows=10, columns=12)


def with_palette(
    picture: Picture, table: Any, first: int = 0, *, bits: int = 16, kind: str = "", entries: int = 256
) -> Dataset:
    """An image with this palette for all three colours; `kind` is "Segmented" or nothing."""
    data = picture.data_set()
    for colour in ("Red", "Green", "Blue"):
        del data[f"{colour}PaletteColorLookupTableData"]
        setattr(data, f"{colour}PaletteColorLookupTableDescriptor", [entries % 65536, first, bits])
        data.add_new(tag_of(f"{kind}{colour}PaletteColorLookupTableData"), "OW", np.asarray(table).tobytes())
    return data


@pytest.mark.parametrize(
    ("stored", "entries", "first", "darkest", "wanted"),
    [
        (8, 256, 0, 77, 77),
        (8, 65536, 0, 40_000, 5),
        (6, 256, 0, 200, 5),
        (8, 100, 250, 50, 255),
        (8, 100, 20, 7, 27),
    ],
)
def test_black_in_a_palette_is_the_darkest_colour_that_a_sample_can_show(
    stored: int, entries: int, first: int, darkest: int, wanted: int
) -> None:
    table = np.full(entries, 200 << 8, "<u2")
    # What a sample can show is a little darker than the rest, and what none can show is black.
    table[5] = 100 << 8
    table[darkest] = 0
    picture = replace(COLOURS, stored=stored)
    assert black_of(with_palette(picture, table, first, entries=entries), picture) == wanted


def test_segments_of_a_palette_are_read_with_eight_and_sixteen_bits() -> None:
    # Three entries, and a ramp from the last of them.
    eight = np.array([0, 3, 200, 9, 200, 1, 253, 50], "u1")
    assert black_of(with_palette(COLOURS, eight, bits=8, kind="Segmented"), COLOURS) == 1
    sixteen = np.array([0, 3, 60_000, 9, 60_000, 1, 253, 5_000], "<u2")
    assert black_of(with_palette(COLOURS, sixteen, kind="Segmented"), COLOURS) == 1


@pytest.mark.parametrize(
    "segments",
    [[0, 10, 5], [0, 2, 1, 2], [2, 1, 0, 0], [5, 5, 5], []],
    ids=["cut", "short", "indirect", "unknown", "none"],
)
def test_a_palette_that_cannot_be_read_withholds(segments: list[int]) -> None:
    data = with_palette(COLOURS, np.array(segments, "<u2"), kind="Segmented")
    assert "colours by a palette that is missing or can't be read" in held(written(data), ROW)
    redacted(written(data), regions_file(Image="clean"))


def test_a_damaged_palette_that_stands_for_millions_of_values_is_read_no_further_than_it_has_entries() -> None:
    data = with_palette(COLOURS, np.array([1, 65_535, 1] * 500, "<u2"), kind="Segmented")
    tracemalloc.start()
    try:
        black_of(data, COLOURS)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10_000_000


@pytest.mark.parametrize("tag", [0x7FE00020, 0x7FE00030, 0x7FE00040, 0x7F000010, 0x60203000, 0x50003000])
def test_what_may_hold_the_picture_once_more_goes(tag: int) -> None:
    data = GREY.data_set()
    data.add_new(tag, "OW", b"the picture, once more")
    _, made = redacted(written(data), ROW)
    assert b"once more" not in made


@pytest.mark.parametrize("is_signed", [True, False])
def test_a_large_frame_is_held_once(is_signed: bool, tmp_path: Path) -> None:
    picture = Picture("MONOCHROME2", 16, 12, is_signed=is_signed, frames=1, rows=6000, columns=5000)
    head = replace(picture, rows=1, columns=1).data_set()
    head.Rows, head.Columns = picture.rows, picture.columns
    size, small = picture.rows * picture.columns * 2, written(head)
    at = small.rindex(b"\xe0\x7f\x10\x00OW\0\0") + 8
    with (tmp_path / "large.dcm").open("w+b") as stream:
        # All but the first page of this file lies nowhere.
        stream.write(small[:at] + struct.pack("<L", size))
        stream.truncate(at + 4 + size)
        source = memoryview(mmap.mmap(stream.fileno(), 0, prot=mmap.PROT_READ))
    tracemalloc.start()
    try:
        found = redacting(TOP).file(source)
        assert isinstance(found, Deidentified)
        assert sum(map(len, found.chunks(source))) > size
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1.2 * size


@pytest.mark.parametrize(
    "tags",
    [
        {"RescaleSlope": "1e-300", "RescaleIntercept": "0"},
        {"RescaleSlope": "1e308", "RescaleIntercept": "0"},
        {"RescaleSlope": "1", "RescaleIntercept": "1e20"},
        {"RescaleSlope": "1", "RescaleIntercept": "1e20", "WindowCenter": "40", "WindowWidth": "400"},
    ],
    ids=str,
)
def test_what_samples_mean_hides_none_of_them(tags: dict[str, str]) -> None:
    """Text detection sees what a viewer may show, and such a slope is no way to get a name past it."""
    data = replace(GREY, is_signed=False).data_set()
    for keyword, value in tags.items():
        setattr(data, keyword, value)
    seen = inspect(memoryview(written(data)), AnonymiseOptions("P", burned_in="redact"), [ROW]).before(0)
    assert (seen.min(), seen.max()) == (0, 255)
    assert len(np.unique(seen)) > 50


def test_a_falling_slope_turns_the_shades_over() -> None:
    data = GREY.data_set()
    data.RescaleIntercept, data.RescaleSlope = "0", "-1"
    options = AnonymiseOptions("P", burned_in="redact")
    seen = inspect(memoryview(written(data)), options, [ROW]).before(0)
    assert seen.reshape(-1)[GREY.values().argmin()] == 255
    data.WindowCenter, data.WindowWidth = "0", "1"
    seen = inspect(memoryview(written(data)), options, [ROW]).before(0)
    assert np.array_equal(seen == 0, GREY.values()[0, :, :, 0] > 0)


@pytest.mark.parametrize("bits", [8, 12])
def test_colours_by_plane_come_by_pixel_where_the_header_says_so(bits: int) -> None:
    picture = Picture("RGB", 8 if bits == 8 else 16, bits, frames=2)
    _, data = redacted(written(picture.data_set(), "RLE"), regions_file(BlackOut=[area(0, 0, 13, 1)]))
    assert pydicom.dcmread(io.BytesIO(data)).PlanarConfiguration == 0
    assert np.array_equal(samples_of(data, picture)[:, 1:], picture.values()[:, 1:])


def test_lossy_ultrasound_is_as_valid_uncompressed_as_it_was(tmp_path: Path) -> None:
    source = Path(data_store.__file__).parent / "data" / "color3d_jpeg_baseline.dcm"
    before = source.read_bytes()
    _, data = redacted(before, regions_file(BlackOut=[area(0, 0, 100, 50)]), recode=True)
    assert real.errors_of(data, tmp_path) - real.errors_of(before, tmp_path) == set()
    one, two = pydicom.dcmread(io.BytesIO(before)), pydicom.dcmread(io.BytesIO(data))
    assert (two.PhotometricInterpretation, two.LossyImageCompression) == ("RGB", "01")
    stays = (two.pixel_array != 0).any(axis=(0, 3))
    assert stays.mean() > 0.3
    assert np.array_equal(one.pixel_array[:, stays], two.pixel_array[:, stays])


def single_bits() -> Dataset:
    data = GREY.data_set()
    data.Rows = data.Columns = 16
    data.BitsAllocated = data.BitsStored = 1
    data.HighBit, data.PixelRepresentation, data.PixelData = 0, 0, bytes(32)
    return data


def video() -> Dataset:
    data = Picture("YBR_FULL", frames=1, rows=10, columns=12).data_set()
    data.PhotometricInterpretation, data.file_meta.TransferSyntaxUID = "YBR_PARTIAL_420", MPEG4HP41
    data.PixelData = encapsulate([bytes(100)])
    data["PixelData"].VR, data["PixelData"].is_undefined_length = "OB", True
    return data


@pytest.mark.parametrize("make", [single_bits, video])
def test_what_is_said_to_be_clean_leaves_though_nothing_here_could_change_it(make: Callable[[], Dataset]) -> None:
    out = io.BytesIO()
    make().save_as(out, enforce_file_format=True)
    data, clean = out.getvalue(), regions_file("clean", Image="clean")
    found, made = redacted(data, clean)
    assert found.black.sources == ("pixel_regions/clean.json",)
    assert pydicom.dcmread(io.BytesIO(made)).BurnedInAnnotation == "NO"
    # Not where somebody has to look, or something has to be black.
    assert held(data, clean, detect="check")
    assert held(data, clean, ROW)


@pytest.mark.parametrize("annotated", ["YES", "NO", None])
@pytest.mark.parametrize("options", [{}, {"detect": "blackout"}], ids=str)
def test_graphics_in_unused_bits_withhold_whatever_the_image_says(annotated: str | None, options: Any) -> None:
    data = GREY.data_set()
    for tag, value in ((0x60000010, 10), (0x60000011, 12), (0x60000100, 16), (0x60000102, 12)):
        data.add_new(tag, "US", value)
    if annotated:
        data.BurnedInAnnotation = annotated
    for file in (ROW, regions_file(Image="clean")):
        assert held(written(data, "RLE"), file, **options) == "graphics in unused bits of the pixel data"


@pytest.mark.parametrize("used", [8, 12, 16])
def test_colours_are_seen_also_where_fewer_bits_are_used_than_said(used: int) -> None:
    picture = Picture("RGB", 16, used, frames=1, rows=10, columns=12)
    data = picture.data_set()
    data.BitsStored, data.HighBit = 16, 15
    seen = inspect(memoryview(written(data)), AnonymiseOptions("P", burned_in="redact"), [ROW]).before(0)
    wanted = picture.values()[0] >> max(int(picture.values().max()).bit_length() - 8, 0)
    assert np.array_equal(seen, wanted)
    assert seen.max() > 127
