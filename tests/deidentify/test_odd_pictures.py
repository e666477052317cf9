"""Images as some devices write them, not quite as the standard has it: black where it must be, the rest as it was."""

import io
from dataclasses import replace

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless

from autorthanc_spool.deidentify.inspection import inspect
from autorthanc_spool.rules import AnonymiseOptions
from tests.deidentify.pictures import (
    SECONDARY_CAPTURE,
    Picture,
    area,
    held,
    redacted,
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
