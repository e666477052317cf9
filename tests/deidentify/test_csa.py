"""Siemens CSA headers: what identifies is blanked in them, and real dcm2niix reads the rest as before."""

import gzip
import io
import json
import struct
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import MRImageStorage

from autorthanc_spool.deidentify.csa import CsaCleaner
from autorthanc_spool.deidentify.file import Deidentified
from autorthanc_spool.deidentify.haystack import Haystack
from autorthanc_spool.deidentify.needles import Needle, NeedleKind
from autorthanc_spool.rules import Keep, PrivateElement
from tests.deidentify.make import deidentifier
from tests.helpers import csa, datasets

CREATOR = "SIEMENS CSA HEADER"
HEADERS = (PrivateElement(CREATOR, 0x29, 0x10), PrivateElement(CREATOR, 0x29, 0x20))
# What dcm2niix reads beside the CSA headers, so that only these can make a difference.
KEEP = frozenset({Keep.MODIFIED_DATES, Keep.DESCRIPTORS, Keep.INSTITUTION})
NAME, ID, SERIAL, STATION, DAY = "Grünspan^Leonhard", "MRN-0047110815", "45152", "AWP45152", "20260102"
SCANNER_UID = f"1.3.12.2.1107.5.2.19.{SERIAL}.2026010212131415161718192"
DIRECTIONS = [(0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.6, 0.8), (0.6, 0.0, 0.8), (0.8, 0.6, 0.0)]
B_VALUES = [0, 1000, 1000, 1000, 1000, 1000]
SLICES = 4


def scanner_file(number: int = 1, *, is_new: bool = True) -> bytes:
    """A diffusion volume as Siemens writes it: a mosaic, described by its CSA headers alone."""
    data = pydicom.dcmread(io.BytesIO(datasets.make_instance(ID, "77", 5, number, size=64)))
    data.SpecificCharacterSet, data.PatientName, data.PatientID = "ISO_IR 100", NAME, ID
    data.SOPClassUID, data.Modality, data.Manufacturer = MRImageStorage, "MR", "SIEMENS"
    data.SOPInstanceUID = f"{SCANNER_UID}{number}"
    data.ImageType = ["ORIGINAL", "PRIMARY", "DIFFUSION", "NONE", "ND", "MOSAIC"]
    data.DeviceSerialNumber, data.StationName = SERIAL, STATION
    data.AcquisitionNumber, data.AcquisitionTime, data.AcquisitionDate = number, f"1213{number:02}.0", DAY
    data.ScanningSequence, data.MRAcquisitionType, data.SequenceName = "EP", "2D", f"ep_b{B_VALUES[number - 1]}"
    data.EchoTime, data.RepetitionTime, data.FlipAngle, data.MagneticFieldStrength = "93", "6600", "90", "3"
    data.ImageOrientationPatient, data.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [-32, -32, 0]
    data.InPlanePhaseEncodingDirection, data.SpacingBetweenSlices = "COL", "3"
    data.PatientPosition, data.SoftwareVersions = "HFS", "syngo MR B17"
    data.AcquisitionMatrix = [32, 0, 0, 32]
    pixels = numpy.random.default_rng(number).integers(1, 4096, (64, 64), dtype="uint16")
    data.PixelData = pixels.tobytes()
    add(data, image_header(number, is_new=is_new), series_header(is_new=is_new))
    return datasets.encode(data)


def add(data: Dataset, image: bytes, series: bytes) -> None:
    block = data.private_block(0x29, CREATOR, create=True)
    block.add_new(0x10, "OB", image)
    block.add_new(0x20, "OB", series)


def image_header(number: int, *, is_new: bool = True) -> bytes:
    direction = DIRECTIONS[number - 1]
    tags: csa.Tags = {
        "EchoLinePosition": ("IS", ["16"]),
        "B_value": ("IS", [f"{B_VALUES[number - 1]}"]),
        "NumberOfImagesInMosaic": ("US", [f"{SLICES}"]),
        "PhaseEncodingDirectionPositive": ("IS", ["1"]),
        "DiffusionGradientDirection": ("FD", [f"{one:.8f}" for one in direction] if any(direction) else []),
        "SliceNormalVector": ("FD", ["0.00000000", "0.00000000", "1.00000000"]),
        "DiffusionDirectionality": ("CS", ["DIRECTIONAL"]),
        "BandwidthPerPixelPhaseEncode": ("FD", ["19.05500000"]),
        "MosaicRefAcqTimes": ("FD", [f"{1650.0 * slice_:.8f}" for slice_ in (0, 2, 1, 3)]),
        "ImaCoilString": ("LO", [f"HEA;{STATION}"]),
        "RealDwellTime": ("IS", ["2800"]),
        "Note": ("SH", ["MRN 47110815"]),
        "PatientReport": ("LO", ["Grünspan, Leonhard"]),
        "ReferencedImageSequence": ("UI", ["1.2.840.10008.5.1.4.1.1.4", SCANNER_UID]),
    }
    return csa.header(tags, is_new=is_new, garbage=f"$MRC${STATION}$Gruenspan".encode())


def series_header(*, is_new: bool = True) -> bytes:
    text_ = csa.protocol(name="Leonhard Grünspan", patient="9988", serial=SERIAL, day="2.1.2026", uid=SCANNER_UID)
    tags: csa.Tags = {
        "UsedPatientWeight": ("IS", ["80"]),
        "CoilForGradient2": ("SH", ["AS092"]),
        "MrPhoenixProtocol": ("UN", [text_]),
        "RepresentativeImage": ("UI", [SCANNER_UID]),
        "StudyDay": ("LO", ["20260102"]),
    }
    return csa.header(tags, is_new=is_new)


def deidentified(data: bytes, **options: Any) -> tuple[Deidentified, bytes]:
    options = {"safe_private": HEADERS, "keep": KEEP, **options}
    found = deidentifier(**options).file(memoryview(data))
    assert isinstance(found, Deidentified)
    return found, found.bytes(memoryview(data))


def converted(folder: Path, files: Iterable[bytes]) -> dict[str, Any]:
    """What dcm2niix makes of some files: its JSON, and everything else as it is."""
    source, target = folder / "dicom", folder / "nifti"
    source.mkdir(parents=True)
    target.mkdir()
    for number, data in enumerate(files):
        (source / f"{number}.dcm").write_bytes(data)
    subprocess.run(["dcm2niix", "-b", "y", "-f", "out", "-o", target, source], check=True, capture_output=True)
    found: dict[str, Any] = {path.suffix: path.read_bytes() for path in target.iterdir() if path.suffix != ".json"}
    return {**found, "json": json.loads((target / "out.json").read_text())}


def with_headers_of(original: bytes, anonymised: bytes) -> bytes:
    """The original with the cleaned headers, and nothing else changed."""
    before, after = (pydicom.dcmread(io.BytesIO(one)) for one in (original, anonymised))
    for element in (0x10, 0x20):
        before[0x29, 0x1000 + element].value = after[0x29, 0x1000 + element].value
    out = io.BytesIO()
    before.save_as(out)
    return out.getvalue()


def headers(data: bytes) -> bytes:
    found = pydicom.dcmread(io.BytesIO(data))
    return b"".join(bytes(found[0x29, 0x1000 + element].value) for element in (0x10, 0x20))


IDENTIFYING = [
    b"gr\xfcnspan", b"gruenspan", b"leonhard", b"0815", b"9988", SERIAL.encode(), STATION.encode().lower(), b"20260102",
    b"2.1.2026", b"1.3.12.2",
]  # fmt: skip


@pytest.mark.parametrize("is_new", [True, False], ids=["SV10", "older"])
def test_nothing_that_identifies_is_left_in_a_header_of_the_same_length(is_new: bool) -> None:
    data = scanner_file(2, is_new=is_new)
    for needle in IDENTIFYING:
        assert needle in headers(data).lower()
    found, after = deidentified(data)
    assert found.private_removed == {}
    assert found.private_cleaned == {f"(0029,xx10) {CREATOR}": 1, f"(0029,xx20) {CREATOR}": 1}
    for needle in IDENTIFYING:
        assert needle not in headers(after).lower(), needle
    assert len(headers(after)) == len(headers(data))
    for kept in (b"B_value", b"1000", b"4950.00000000", b"1.2.840.10008.5.1.4.1.1.4", b"alTR[0]", b"6600000"):
        assert kept in headers(after), kept


def test_dcm2niix_reads_the_same_of_a_series_with_cleaned_headers(tmp_path: Path) -> None:
    files = [scanner_file(number) for number in range(1, len(DIRECTIONS) + 1)]
    cleaned = [with_headers_of(data, deidentified(data)[1]) for data in files]
    before, after = converted(tmp_path / "before", files), converted(tmp_path / "after", cleaned)
    assert before[".bval"].split() == [f"{one}".encode() for one in B_VALUES]
    assert len(before[".bvec"].split()) == 3 * len(DIRECTIONS)
    assert before["json"]["SliceTiming"] == [0, 3.3, 1.65, 4.95]
    assert before["json"]["ParallelReductionFactorInPlane"] == 2
    # The coil's text held the station.
    assert before["json"].pop("CoilString", None) in (None, f"HEA;{STATION}")
    assert after == before


def test_dcm2niix_reads_the_same_of_a_whole_anonymised_series(tmp_path: Path) -> None:
    files = [scanner_file(number) for number in range(1, len(DIRECTIONS) + 1)]
    anonymised = [deidentified(data)[1] for data in files]
    before, after = converted(tmp_path / "before", files), converted(tmp_path / "after", anonymised)
    for key in (".bval", ".bvec", ".nii"):
        assert after[key] == before[key], key
    gone = before["json"].keys() - after["json"].keys()
    changed = {key for key in before["json"].keys() - gone if before["json"][key] != after["json"][key]}
    assert gone | changed <= {"CoilString", "StationName", "DeviceSerialNumber"}


def real_file() -> bytes:
    path = Path(__file__).parent / "data" / "siemens_dwi_1000.dcm.gz"
    return gzip.decompress(path.read_bytes())


def test_a_real_header_is_cleaned_and_dcm2niix_reads_the_same(tmp_path: Path) -> None:
    data = real_file()
    for needle in (b"35119", b"1.3.12.2"):
        assert needle in headers(data)
    found, anonymised = deidentified(data)
    assert found.private_removed == {}
    assert sum(found.private_cleaned.values()) == 2
    original = pydicom.dcmread(io.BytesIO(data))
    uids = {str(element.value) for element in original.iterall() if element.VR == "UI"}
    for needle in (b"35119", b"20100114", b"1.3.12.2", *(uid.encode() for uid in uids if "10008" not in uid)):
        assert needle not in anonymised, needle
    # Of the scanner's memory, pieces of the station's name lay behind names of tags.
    assert b"$MRC" in headers(data)
    assert b"$MRC" not in headers(anonymised)
    before = converted(tmp_path / "before", [data])
    after = converted(tmp_path / "after", [with_headers_of(data, anonymised)])
    assert len(before[".bvec"].split()) == 3
    assert len(before["json"]["SliceTiming"]) == 48
    assert after == before


def test_with_everything_kept_a_header_stays_but_for_the_scanners_memory() -> None:
    keep = frozenset({Keep.FULL_DATES, Keep.UIDS, Keep.DEVICE, Keep.INSTITUTION})
    data = real_file()
    _, after = deidentified(data, keep=keep)
    for kept in (b"1.3.12.2.1107.5.2.32.35119.2010011420070434054586384", b"B_value"):
        assert kept in headers(after)
    assert b"$MRC" not in headers(after)


def cut(header: bytes) -> bytes:
    return header[:-200]


def longer(header: bytes) -> bytes:
    return header + b"Leonhard"


def wrong_length(header: bytes) -> bytes:
    at = 16 + 84
    return header[:at] + struct.pack("<2i", 1, 1 << 30) + header[at + 8 :]


def wrong_count(header: bytes) -> bytes:
    return header[:8] + struct.pack("<I", 9) + header[12:]


def binary(header: bytes) -> bytes:
    return header.replace(b"DIRECTIONAL", b"DIREC\x01\x02\x03NAL")


@pytest.mark.parametrize("damage", [cut, longer, wrong_length, wrong_count, binary], ids=lambda one: one.__name__)
def test_a_header_that_cannot_be_understood_is_removed_and_counted(damage: Any) -> None:
    data = pydicom.dcmread(io.BytesIO(scanner_file(2)))
    add(data, damage(image_header(2)), series_header())
    found, after = deidentified(datasets.encode(data))
    assert found.private_removed == {f"(0029,xx10) {CREATOR}": 1}
    assert (0x29, 0x1010) not in pydicom.dcmread(io.BytesIO(after))
    assert (0x29, 0x1020) in pydicom.dcmread(io.BytesIO(after))


def test_what_stands_beside_the_headers_stays() -> None:
    data = pydicom.dcmread(io.BytesIO(scanner_file(2)))
    block = data.private_block(0x29, CREATOR)
    block.add_new(0x08, "CS", "IMAGE NUM 4")
    block.add_new(0x09, "LO", "20090307")
    safe = (*HEADERS, PrivateElement(CREATOR, 0x29, 0x08), PrivateElement(CREATOR, 0x29, 0x09))
    found, after = deidentified(datasets.encode(data), safe_private=safe)
    assert found.private_removed == {}
    published = pydicom.dcmread(io.BytesIO(after))
    assert [published[0x29, 0x1000 + one].value for one in (0x08, 0x09)] == ["IMAGE NUM 4", "20090307"]


def test_a_measured_value_that_equals_an_identifier_stays() -> None:
    data = pydicom.dcmread(io.BytesIO(scanner_file(2)))
    data.PatientID = "1000"
    data.AccessionNumber = "6600000"
    found, after = deidentified(datasets.encode(data))
    assert found.private_removed == {}
    assert b"1000\0" in headers(after)
    assert b"= 6600000" in headers(after)


def test_the_protocol_of_newer_machines_is_cleaned_as_text() -> None:
    creator = "SIEMENS MR SDS 01"
    data = pydicom.dcmread(io.BytesIO(scanner_file(2)))
    text_ = csa.protocol(name="Leonhard Gr\xfcnspan", patient="9988", serial=SERIAL, day="2.1.2026", uid=SCANNER_UID)
    data.private_block(0x21, creator, create=True).add_new(0x19, "OB", text_.encode("latin-1"))
    found, after = deidentified(datasets.encode(data), safe_private=(PrivateElement(creator, 0x21, 0x19),))
    assert found.private_cleaned == {f"(0021,xx19) {creator}": 1}
    value = bytes(pydicom.dcmread(io.BytesIO(after))[0x21, 0x1019].value)
    for needle in IDENTIFYING:
        assert needle not in value.lower()
    for kept in (b"alTR[0]", b"6600000", b"%SiemensSeq%\\ep2d_diff", b"3.141593", b'<ParamLong."SliceCount">  { 48  }'):
        assert kept in value, kept


def test_a_name_in_utf_8_is_crossed_out_of_a_protocol() -> None:
    haystack = Haystack(frozenset({Needle(NeedleKind.NAME, "山田^太郎".encode(), ("utf-8",))}), keeps_uids=False)
    value = '### ASCCONV BEGIN ###\ntNote = "山田 太郎"\nlCount = 4\n### ASCCONV END ###\n'.encode()
    cleaned = CsaCleaner(haystack, frozenset()).cleaned(value)
    assert cleaned is not None
    assert len(cleaned) == len(value)
    assert "山田".encode() not in cleaned
    assert b"lCount = 4" in cleaned
