"""Images as some devices write them, not quite as the standard has it: black where it must be, the rest as it was."""

import io

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless

from tests.deidentify.pictures import SECONDARY_CAPTURE, Picture, area, redacted, regions_file, samples_of, written

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
