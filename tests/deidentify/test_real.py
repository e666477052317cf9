"""Real files: read whole, cleaned, and as valid afterwards as they were before."""

import io
import subprocess
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.pixels import pixel_array
from pydicom.uid import JPEGExtended12Bit

from autorthanc_spool.deidentify import streams
from autorthanc_spool.deidentify.errors import DeidentificationError
from autorthanc_spool.deidentify.file import Deidentified
from autorthanc_spool.rules import Keep
from tests.deidentify import real
from tests.deidentify.make import anonymised, deidentifier
from tests.deidentify.real import REFUSED, TAKEN
from tests.helpers import datasets

COMMENT, TRAILING = streams.COMMENT, streams.TRAILING
# Those whose pixel data hold more than the picture: what a compressor wrote, a byte that pads and isn't 0.
CUT = {
    "693_J2KI.dcm": [COMMENT],
    "GDCMJ2K_TextGBR.dcm": [COMMENT],
    "J2K_pixelrep_mismatch.dcm": [COMMENT],
    "JPEG-lossy.dcm": [TRAILING],
    "JPEG2000-embedded-sequence-delimiter.dcm": [COMMENT],
    "JPEG2000.dcm": [COMMENT],
    "JPGExtended.dcm": [TRAILING],
    "MR_small_jp2klossless.dcm": [COMMENT],
    "SC_rgb_gdcm_KY.dcm": [COMMENT],
    "examples_jpeg2k.dcm": [COMMENT, TRAILING],
}

# No decoder reads them as they are: one is made up, the other one's stream is broken.
NO_PICTURE = {"JPEG2000-embedded-sequence-delimiter.dcm", "GDCMJ2K_TextGBR.dcm"}

PROFILES = {
    "basic": frozenset(),
    "research": frozenset({Keep.MODIFIED_DATES, Keep.PATIENT_CHARACTERISTICS, Keep.DESCRIPTORS, Keep.DEVICE}),
}

# Text in which files repeat what they say elsewhere, and which identifies nobody.
SHORTEST_NEEDLE = 6


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_whole_or_no_image_of_a_study_is_refused(name: str) -> None:
    with pytest.raises(DeidentificationError, match=REFUSED[name]):
        deidentifier().file(memoryview(real.path(name).read_bytes()))


@pytest.mark.parametrize("keep", PROFILES.values(), ids=PROFILES)
@pytest.mark.parametrize("name", TAKEN)
def test_a_real_file_is_cleaned(name: str, keep: frozenset[Keep]) -> None:
    before = real.path(name).read_bytes()
    after = anonymised(before, keep=keep, burned_in="allow", structured="clean")
    original, found = pydicom.dcmread(io.BytesIO(before), force=True), pydicom.dcmread(io.BytesIO(after))
    assert needles_in(after, original) == []
    if name == "MR_small_padded.dcm":
        assert found.PixelData == original.PixelData[:-128]
    elif name in CUT:
        assert Counter(cut_from(before)) == Counter(CUT[name])
        assert name in NO_PICTURE or (picture_of(found) == picture_of(original)).all()
    else:
        assert found.get("PixelData") == original.get("PixelData")
    if "TransferSyntaxUID" in original.file_meta:
        assert found.file_meta.TransferSyntaxUID == original.file_meta.TransferSyntaxUID
    assert found.PatientIdentityRemoved == "YES"
    # Every value can be read.
    assert len(str(found)) > 100


def cut_from(data: bytes) -> Mapping[str, int]:
    """What is counted as cut off the pixels of a file."""
    found = deidentifier(burned_in="allow").file(memoryview(data))
    assert isinstance(found, Deidentified)
    return found.cut


def picture_of(data_set: Dataset) -> Any:
    """What a decoder makes of it: dcmtk where Pillow lacks twelve bits, else Pillow."""
    if data_set.file_meta.TransferSyntaxUID not in (JPEGExtended12Bit,):
        return pixel_array(data_set)
    with tempfile.TemporaryDirectory() as folder:
        data_set.save_as(Path(folder) / "in.dcm")
        subprocess.run(["dcmdjpeg", "in.dcm", "out.dcm"], cwd=folder, check=True)
        return pixel_array(Path(folder) / "out.dcm")


def needles_in(data: bytes, original: Dataset) -> list[str]:
    """Names, identifiers and UIDs of a file that are in these bytes."""
    keywords = ("PatientName", "PatientID", "AccessionNumber", "ReferringPhysicianName", "OperatorsName")
    uids = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID")
    values = [str(original.get(keyword) or "") for keyword in (*keywords, *uids)]
    lower = data.lower()
    return [value for value in values if len(value) >= SHORTEST_NEEDLE and value.lower().encode() in lower]


VERIFIED = ["CT_small.dcm", "MR_small.dcm", "rtplan.dcm", "examples_overlay.dcm", "JPEG2000.dcm", "synthetic"]


@pytest.mark.parametrize("keep", PROFILES.values(), ids=PROFILES)
@pytest.mark.parametrize("name", VERIFIED)
def test_dciodvfy_finds_no_new_error(name: str, keep: frozenset[Keep], tmp_path: Path) -> None:
    before = datasets.make_instance() if name == "synthetic" else real.path(name).read_bytes()
    after = anonymised(before, keep=keep, burned_in="allow")
    assert real.errors_of(after, tmp_path) - real.errors_of(before, tmp_path) == set()
