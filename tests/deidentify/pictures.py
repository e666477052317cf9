"""Images in which every sample is another number, as they may be stored, and what is black in them."""

from __future__ import annotations

import io
import json
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
)

from autorthanc_spool.deidentify.file import Deidentified, Deidentifier, Held
from autorthanc_spool.deidentify.profile import Profile
from autorthanc_spool.deidentify.pseudonym import Pseudonymiser
from autorthanc_spool.rules import AnonymiseOptions
from autorthanc_spool.rules.pixel_regions import PixelRegions, parse_regions
from tests.deidentify.make import KEY
from tests.helpers import datasets

NATIVE = {
    "implicit": ImplicitVRLittleEndian,
    "explicit": ExplicitVRLittleEndian,
    "big endian": ExplicitVRBigEndian,
    "deflated": DeflatedExplicitVRLittleEndian,
}
# By dcmtk, which has nothing in common with what decodes them here.
DCMTK = {"RLE": ["dcmcrle"], "JPEG lossless": ["dcmcjpeg", "+e1", "+un"], "JPEG-LS": ["dcmcjpls", "+el", "+un"]}
LOSSLESS = ("JPEG 2000", *DCMTK)

ULTRASOUND = "1.2.840.10008.5.1.4.1.1.6.1"
ULTRASOUND_MULTI_FRAME = "1.2.840.10008.5.1.4.1.1.3.1"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


@dataclass(frozen=True)
class Picture:
    """How an image is stored; rows and columns are odd where nothing forbids it."""

    photometric: str = "MONOCHROME2"
    allocated: int = 8
    stored: int = 8
    is_signed: bool = False
    planar: int = 0
    frames: int = 2
    rows: int = 11
    columns: int = 13
    sop_class: str = SECONDARY_CAPTURE

    @property
    def samples(self) -> int:
        return 1 if self.photometric in ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR") else 3

    @property
    def kind(self) -> str:
        return f"{'i' if self.is_signed else 'u'}{self.allocated // 8}"

    def values(self) -> Any:
        """Samples by frame, row, column and colour, none of them black."""
        shape = (self.frames, self.rows, self.columns, self.samples)
        numbers = np.arange(np.prod(shape), dtype=np.int64).reshape(shape)
        least = -(1 << self.stored - 1) if self.is_signed else 0
        return (numbers * 7 % ((1 << self.stored) - 5) + least + 3).astype(self.kind)

    def data_set(self, values: Any = None) -> Dataset:
        values = self.values() if values is None else values
        data = pydicom.dcmread(io.BytesIO(datasets.make_instance()))
        data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = self.sop_class
        data.Modality = "OT" if self.sop_class == SECONDARY_CAPTURE else "US"
        data.Rows, data.Columns = self.rows, self.columns
        data.NumberOfFrames = str(self.frames)
        data.SamplesPerPixel, data.PhotometricInterpretation = self.samples, self.photometric
        data.BitsAllocated, data.BitsStored, data.HighBit = self.allocated, self.stored, self.stored - 1
        data.PixelRepresentation = int(self.is_signed)
        if self.samples > 1:
            data.PlanarConfiguration = self.planar
        if self.photometric == "PALETTE COLOR":
            add_palette(data)
        stored = values.transpose(0, 3, 1, 2) if self.planar else values
        pixels = np.ascontiguousarray(stored).tobytes()
        data.PixelData = pixels + bytes(len(pixels) % 2)
        data["PixelData"].VR = "OW" if self.allocated > 8 else "OB"
        return data


DARKEST = 3


def add_palette(data: Dataset) -> None:
    """A palette of 256 colours, in which the one of number 3 is the darkest."""
    shades = [200 - number % 100 for number in range(256)]
    shades[DARKEST] = 2
    for colour in ("Red", "Green", "Blue"):
        setattr(data, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 16])
        data[f"{colour}PaletteColorLookupTableDescriptor"].VR = "US"
        table = np.array([shade << 8 for shade in shades], dtype="<u2").tobytes()
        setattr(data, f"{colour}PaletteColorLookupTableData", table)


def written(data: Dataset, syntax: str = "explicit") -> bytes:
    """Write a file in a syntax."""
    if syntax in NATIVE:
        return _native(data, syntax)
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    if syntax in DCMTK:
        return _by_dcmtk(_native(data, "explicit"), DCMTK[syntax])
    data = pydicom.dcmread(io.BytesIO(_native(data, "explicit")))
    data.compress(JPEG2000Lossless, encoding_plugin="pylibjpeg", generate_instance_uid=False)
    return _saved(data)


def _native(data: Dataset, syntax: str) -> bytes:
    big = syntax == "big endian"
    data = pydicom.dcmread(io.BytesIO(_saved(data))) if data.get("PixelData") else data
    for element in [one for one in data if big and one.VR == "OW"]:
        size = data.BitsAllocated // 8 if element.keyword == "PixelData" else 2
        element.value = np.frombuffer(element.value, dtype=f"<u{size}").astype(f">u{size}").tobytes()
    data.file_meta.TransferSyntaxUID = NATIVE[syntax]
    out = io.BytesIO()
    encoding = {"implicit_vr": syntax == "implicit", "little_endian": not big}
    pydicom.dcmwrite(out, data, **encoding, force_encoding=True)
    return out.getvalue()


def _by_dcmtk(data: bytes, command: Sequence[str]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "in.dcm", Path(folder) / "out.dcm"
        source.write_bytes(data)
        subprocess.run([*command, str(source), str(target)], check=True, capture_output=True)
        return target.read_bytes()


def _saved(data: Dataset) -> bytes:
    out = io.BytesIO()
    data.save_as(out, enforce_file_format=True)
    return out.getvalue()


def with_regions(data: Dataset, *corners: tuple[int, int, int, int], kind: int = 1) -> Dataset:
    """Add regions of ultrasound: left, top, right and bottom, the last ones included."""
    data.SequenceOfUltrasoundRegions = []
    for left, top, right, bottom in corners:
        region = Dataset()
        region.RegionSpatialFormat, region.RegionDataType, region.RegionFlags = kind, 1, 0
        region.RegionLocationMinX0, region.RegionLocationMinY0 = left, top
        region.RegionLocationMaxX1, region.RegionLocationMaxY1 = right, bottom
        data.SequenceOfUltrasoundRegions.append(region)
    return data


def regions_file(name: str = "device", **content: Any) -> PixelRegions:
    """Read what a file of pixel_regions/ says; without conditions, of all images."""
    tags = content.pop("Tags", [{"TagName": "Rows", "Present": True}])
    return parse_regions(name, json.dumps({"IsActive": True, "Tags": tags, **content}).encode())


def area(left: int, top: int, width: int, height: int) -> dict[str, int]:
    return {"Left": left, "Top": top, "Width": width, "Height": height}


def redacting(*files: PixelRegions, **options: Any) -> Deidentifier:
    chosen = AnonymiseOptions("P", **{"burned_in": "redact", **options})
    return Deidentifier(Profile(chosen, None, files), Pseudonymiser(KEY, "P"))


def redacted(data: bytes, *files: PixelRegions, **options: Any) -> tuple[Deidentified, bytes]:
    found = redacting(*files, **options).file(memoryview(data))
    assert isinstance(found, Deidentified), found
    made = found.bytes(memoryview(data))
    assert len(made) == found.size_bytes
    return found, made


def held(data: bytes, *files: PixelRegions, **options: Any) -> str:
    found = redacting(*files, **options).file(memoryview(data))
    assert isinstance(found, Held), found
    return found.reason


def samples_of(data: bytes, picture: Picture) -> Any:
    """Read the samples of an uncompressed file, by frame, row, column and colour."""
    read = pydicom.dcmread(io.BytesIO(data))
    order = ">" if read.file_meta.TransferSyntaxUID == ExplicitVRBigEndian else "<"
    count = picture.frames * picture.rows * picture.columns * picture.samples
    flat = np.frombuffer(read.PixelData, dtype=f"{order}{picture.kind}")[:count]
    if read.get("PlanarConfiguration") == 1:
        planes = flat.reshape(picture.frames, picture.samples, picture.rows, picture.columns)
        return planes.transpose(0, 2, 3, 1)
    return flat.reshape(picture.frames, picture.rows, picture.columns, picture.samples)


def as_ultrasound(picture: Picture) -> Picture:
    return replace(picture, sop_class=ULTRASOUND_MULTI_FRAME if picture.frames > 1 else ULTRASOUND)
