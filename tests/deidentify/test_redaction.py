"""Black where it should be, and not one byte changed elsewhere: however the samples are stored."""

import io
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import ExplicitVRLittleEndian

from autorthanc_spool.deidentify.blackening import blacken, fills, whole_pairs
from autorthanc_spool.deidentify.boxes import Box, outside
from autorthanc_spool.deidentify.layout import Layout
from autorthanc_spool.deidentify.viewing import Viewing
from tests.deidentify.pictures import (
    DARKEST,
    LOSSLESS,
    NATIVE,
    Picture,
    area,
    held,
    redacted,
    regions_file,
    samples_of,
    written,
)

# Left, top, width, height; the second one is as wide as the image.
AREAS = [area(1, 0, 3, 2), area(0, 5, 13, 1), area(9, 8, 4, 3)]
SCRIPT = regions_file(BlackOut=AREAS)


def mask(picture: Picture, areas: list[dict[str, int]] = AREAS) -> Any:
    found = np.zeros((picture.rows, picture.columns), bool)
    for one in areas:
        found[one["Top"] : one["Top"] + one["Height"], one["Left"] : one["Left"] + one["Width"]] = True
    return found


GREYS = [
    Picture(photometric, allocated, stored, is_signed)
    for photometric in ("MONOCHROME1", "MONOCHROME2")
    for allocated, stored in ((8, 8), (8, 7), (16, 16), (16, 12), (16, 9), (32, 32))
    for is_signed in (False, True)
]
COLOURS = [
    Picture(photometric, allocated, allocated, planar=planar)
    for photometric in ("RGB", "YBR_FULL")
    for allocated in (8, 16)
    for planar in (0, 1)
]
PALETTE = Picture("PALETTE COLOR")
ALL = [*GREYS, *COLOURS, PALETTE, Picture("PALETTE COLOR", 16, 8)]


def names(pictures: list[Picture]) -> list[str]:
    return [
        f"{one.photometric} {one.allocated}/{one.stored}{' signed' * one.is_signed}{' planar' * one.planar}"
        for one in pictures
    ]


def black_of(picture: Picture) -> list[int]:
    """What is black where no window says otherwise."""
    high = (1 << picture.stored - 1) - 1 if picture.is_signed else (1 << picture.stored) - 1
    # Of signed samples, the least one that there is: a lower one would make all others brighter in a viewer.
    low = int(picture.values()[0].min()) if picture.is_signed else 0
    greys = {"MONOCHROME1": [high], "MONOCHROME2": [low], "PALETTE COLOR": [DARKEST]}
    neutral = 1 << picture.stored - 1
    return greys.get(picture.photometric) or ([0, 0, 0] if picture.photometric == "RGB" else [0, neutral, neutral])


def check(data: bytes, picture: Picture, areas: list[dict[str, int]] = AREAS) -> None:
    before, after, black = picture.values(), samples_of(data, picture), mask(picture, areas)
    assert (after[:, ~black] == before[:, ~black]).all()
    assert (after[:, black] == black_of(picture)).all()


@pytest.mark.parametrize("syntax", NATIVE)
@pytest.mark.parametrize("picture", ALL, ids=names(ALL))
def test_boxes_are_black_and_all_around_them_stays(picture: Picture, syntax: str) -> None:
    found, data = redacted(written(picture.data_set(), syntax), SCRIPT)
    assert (found.black.boxes, found.black.sources) == (3, ("pixel_regions/device.json",))
    assert pydicom.dcmread(io.BytesIO(data)).file_meta.TransferSyntaxUID == NATIVE[syntax]
    check(data, picture)


# The encoder of JPEG 2000 halves an image five times.
RECODED = [replace(one, rows=37, columns=41) for one in ALL if one.allocated < 32 and not one.planar]


@pytest.mark.parametrize("syntax", LOSSLESS)
@pytest.mark.parametrize("picture", RECODED, ids=names(RECODED))
def test_losslessly_compressed_frames_come_out_uncompressed_and_the_same(picture: Picture, syntax: str) -> None:
    _, data = redacted(written(picture.data_set(), syntax), SCRIPT)
    after = pydicom.dcmread(io.BytesIO(data))
    assert after.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert after.PhotometricInterpretation == picture.photometric
    assert "LossyImageCompression" not in after
    check(data, picture)


@pytest.mark.parametrize("syntax", NATIVE)
@pytest.mark.parametrize("photometric", ["YBR_FULL_422", "YBR_PARTIAL_422"])
def test_where_two_pixels_share_a_colour_boxes_are_widened_to_both(photometric: str, syntax: str) -> None:
    picture = Picture(photometric, rows=6, columns=8, frames=2)
    pairs = picture.values().reshape(2, 6, -1)[:, :, :16]
    data = picture.data_set()
    data.PixelData = pairs.tobytes()
    _, made = redacted(written(data, syntax), regions_file(BlackOut=[area(3, 1, 2, 2)]))
    after = np.frombuffer(pydicom.dcmread(io.BytesIO(made)).PixelData, np.uint8).reshape(2, 6, 16)
    wanted = pairs.copy()
    shade = 16 if photometric == "YBR_PARTIAL_422" else 0
    wanted[:, 1:3, 4:12] = [shade, shade, 128, 128] * 2
    assert (after == wanted).all()


def test_the_pixels_around_the_stored_bits_and_those_that_pad_stay_as_they_were() -> None:
    picture = Picture("MONOCHROME2", 16, 12)
    values = picture.values()
    # What follows the image is cut off, and what is in unused bits is cleared, with black boxes as without.
    values[0, 10, 12] |= 0xF000
    values[0, 4, 4] = 0xF830
    data = picture.data_set(values)
    data.add_new(0x00280120, "US", 0xF830)
    data.PixelData += b"SMITH^JOHN"
    _, made = redacted(written(data), SCRIPT)
    after = samples_of(made, picture)
    wanted = values.copy()
    wanted[0, 10, 12] = 0
    wanted[:, mask(picture)] = 0
    assert (after == wanted).all()
    assert b"SMITH" not in made


def test_the_shade_of_black_is_that_of_the_window_where_shades_are_signed() -> None:
    picture = Picture("MONOCHROME2", 16, 16, is_signed=True)
    data = picture.data_set()
    data.RescaleSlope, data.RescaleIntercept, data.WindowCenter, data.WindowWidth = "2", "-100", "40", "400"
    _, made = redacted(written(data), SCRIPT)
    assert (samples_of(made, picture)[:, mask(picture)] == -30).all()
    data.RescaleSlope = "-2"
    _, made = redacted(written(data), SCRIPT)
    assert (samples_of(made, picture)[:, mask(picture)] == 30).all()


boxes = st.builds(
    lambda top, left, rows, columns: Box(top, left, top + rows, left + columns),
    *[st.integers(-2, 12)] * 2,
    *[st.integers(0, 9)] * 2,
)


@given(st.lists(boxes, max_size=5))
def test_what_is_outside_of_boxes_is_covered_once_and_they_are_not(inside: list[Box]) -> None:
    image = Box(0, 0, 10, 11)
    wanted, found = np.zeros((10, 11), int), np.zeros((10, 11), int)
    for one in (box.clipped(image) for box in inside):
        if not one.is_empty:
            wanted[one.top : one.bottom, one.left : one.right] = 1
    for one in outside(inside, image):
        assert one.within(image)
        assert not one.is_empty
        found[one.top : one.bottom, one.left : one.right] += 1
    assert (found + wanted == 1).all()


@given(
    st.sampled_from([*COLOURS, PALETTE, *GREYS[::3], Picture("YBR_FULL_422", columns=14)]),
    st.lists(boxes, min_size=1, max_size=4),
)
def test_black_is_written_in_the_boxes_and_nowhere_else(picture: Picture, black: list[Box]) -> None:
    layout = layout_of_picture(picture)
    before = bytearray(range(1, 256)) * (layout.frame_bytes // 255 + 1)
    before = before[: layout.frame_bytes]
    after = bytearray(before)
    blacken(after, fills(black, layout, Viewing()))
    changed = {at for at in range(len(before)) if before[at] != after[at]}
    in_boxes = set()
    for one in (box.clipped(layout.box) for box in whole_pairs(black, layout)):
        for row in range(one.top, one.bottom):
            for column in range(one.left, one.right):
                in_boxes |= set(bytes_of(row, column, layout))
    assert changed <= in_boxes


def layout_of_picture(picture: Picture) -> Layout:
    return Layout(
        picture.rows, picture.columns, picture.samples, picture.photometric, bool(picture.planar), picture.allocated,
        picture.stored, picture.stored - 1, picture.is_signed, 1, is_subsampled="422" in picture.photometric,
    )  # fmt: skip


def bytes_of(row: int, column: int, layout: Layout) -> list[int]:
    """Where the bytes of a pixel lie, by the standard's words and not by the program's."""
    size, place = layout.sample_bytes, row * layout.columns + column
    if layout.is_subsampled:
        pair = place // 2 * 4
        return [pair + place % 2, pair + 2, pair + 3]
    if layout.is_planar:
        plane = layout.rows * layout.columns
        starts = [(number * plane + place) * size for number in range(layout.samples)]
    else:
        starts = [(place * layout.samples + number) * size for number in range(layout.samples)]
    return [start + byte for start in starts for byte in range(size)]


FLOATS = {"FloatPixelData": "f4", "DoubleFloatPixelData": "f8"}


def floating(keyword: str, *, with_pixels: bool) -> bytes:
    picture = Picture(rows=8, columns=8, frames=1)
    data = picture.data_set()
    setattr(data, keyword, np.arange(64, dtype=FLOATS[keyword]).tobytes())
    if not with_pixels:
        del data.PixelData
    return written(data)


@pytest.mark.parametrize("with_pixels", [False, True])
@pytest.mark.parametrize("keyword", FLOATS)
def test_floating_point_pixels_are_withheld_where_anything_is_said_or_looked_for(
    keyword: str, with_pixels: bool
) -> None:
    data = floating(keyword, with_pixels=with_pixels)
    assert held(data, regions_file(Image="withhold")) == "pixel_regions/device.json says so"
    why = "floating-point pixel data, which can't be looked at or changed"
    assert why in held(data, SCRIPT)
    assert why in held(data, regions_file(Image="clean"))
    assert why in held(data, detect="check")
    assert why in held(data, detect="blackout")


@pytest.mark.parametrize("is_signed", [False, True])
def test_bits_outside_those_stored_are_cleared_in_what_was_compressed(tmp_path: Path, is_signed: bool) -> None:
    picture = Picture("MONOCHROME2", 16, 12, is_signed)
    data = picture.data_set()
    samples = np.frombuffer(data.PixelData, "<u2").copy()
    # Something is drawn into the bits above, outside of the boxes.
    samples[5::7] ^= 0x5000
    data.PixelData = samples.tobytes()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    compressed = written(data, "RLE")
    # pydicom clears them itself when it decodes.
    (tmp_path / "in.dcm").write_bytes(compressed)
    subprocess.run(["dcmdrle", "in.dcm", "out.dcm"], cwd=tmp_path, check=True)
    assert samples_of((tmp_path / "out.dcm").read_bytes(), picture).astype("<u2").tobytes() == samples.tobytes()
    _, after = redacted(compressed, SCRIPT)
    check(after, picture)
