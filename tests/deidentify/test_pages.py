"""Pages with a name in their pixels, stored under the SOP classes of images: withheld, and real images aren't."""

import io
import zlib
from collections.abc import Iterator
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import UID

from autorthanc_spool.deidentify.clues import Clue, Filled, Is, Measures, Not, Says, tag_of
from autorthanc_spool.deidentify.evidence import TABLE, Row
from autorthanc_spool.deidentify.file import Held
from autorthanc_spool.deidentify.reader import known_vr
from tests.deidentify import real
from tests.deidentify.make import anonymised, deidentifier
from tests.helpers import datasets

CT, MR, PET = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.128"
CR, DX, XA = "1.2.840.10008.5.1.4.1.1.1", "1.2.840.10008.5.1.4.1.1.1.1", "1.2.840.10008.5.1.4.1.1.12.1"
DOSE, SEG = "1.2.840.10008.5.1.4.1.1.481.2", "1.2.840.10008.5.1.4.1.1.66.4"
GRID = {"SOPClassUID": DOSE, "Modality": "RTDOSE", "DoseGridScaling": "0.001"}
NO_POSITION = {"ImagePositionPatient": None}
COLOUR = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}


@pytest.fixture(autouse=True)
def anything_can_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """Real files have values that are too long for their VR."""
    for mode in ("reading_validation_mode", "writing_validation_mode"):
        monkeypatch.setattr(pydicom.config.settings, mode, pydicom.config.IGNORE)


def reason(data: bytes, **options: Any) -> str | None:
    """Why a file is withheld, None when it leaves."""
    result = deidentifier(**options).file(memoryview(data))
    return str(result.reason) if isinstance(result, Held) else None


def page(**keywords: Any) -> bytes:
    """A CT image with some attributes of a page, and as many pixels as they say."""
    rows, columns = (keywords.get(keyword, 16) for keyword in ("Rows", "Columns"))
    samples = keywords.get("SamplesPerPixel", 1)
    return datasets.make_instance(**{"PixelData": bytes(rows * columns * samples * 2), **keywords})


def examples(row: Row) -> Iterator[dict[str, Any]]:
    """Attributes that fulfil a row, once for each alternative of its first clue."""
    for first in alternatives(row.clues[0]):
        keywords: dict[str, Any] = {}
        for clue in row.clues[1:]:
            other = next(iter(alternatives(clue)))
            for keyword, value in other.items():
                keywords[keyword] = [*keywords[keyword], *value] if isinstance(keywords.get(keyword), list) else value
        for keyword, value in first.items():
            known = keywords.get(keyword)
            keywords[keyword] = [*known, *value] if isinstance(known, list) and isinstance(value, list) else value
        yield keywords


def alternatives(clue: Clue) -> Iterator[dict[str, Any]]:
    match clue:
        case Says(keywords, phrases):
            yield from ({keyword: text(keyword, one.strip("*"))} for keyword in keywords for one in phrases)
        case Is(keyword, values):
            yield from ({keyword: text(keyword, value)} for value in values)
        case Measures(keyword, numbers, at_least):
            yield from ({keyword: number} for number in numbers or (at_least,))
        case Filled(keywords):
            yield from ({keyword: filling(keyword)} for keyword in keywords)
        case Not(Filled(("ImagePositionPatient", *_))):
            yield NO_POSITION
        case Not(Is("ImageType", _)):
            yield {"ImageType": ["DERIVED"]}
        case _:
            yield {}


def text(keyword: str, value: str) -> str | list[str]:
    return ["DERIVED", value] if keyword == "ImageType" else value


def filling(keyword: str) -> str:
    vr = known_vr(tag_of(keyword))
    return {"DA": "20260102", "TM": "0304", "CS": "DI"}.get(vr or "", "ACME 1")


EXAMPLES = [(row, keywords) for row in TABLE for keywords in examples(row)]


@pytest.mark.parametrize(("row", "keywords"), EXAMPLES, ids=lambda one: one.shows if isinstance(one, Row) else str(one))
def test_every_row_of_the_table_withholds(row: Row, keywords: dict[str, Any]) -> None:
    data = page(**{"SpecificCharacterSet": "ISO_IR 192", **keywords})
    assert (reason(data) or "").startswith("perhaps ")
    assert reason(page(**{"SpecificCharacterSet": "ISO_IR 192", **keywords, "BurnedInAnnotation": "YES"})) == (
        "BurnedInAnnotation is YES"
    )
    assert reason(data, burned_in="allow") is None


def test_every_row_says_where_it_is_known_from_and_none_stands_in_the_shadow_of_another() -> None:
    assert all(row.shows and len(row.source) > 15 and row.clues for row in TABLE)
    assert len({row.clues for row in TABLE}) == len(TABLE)


# As scanners and workstations write them; none is made from the table.
PAGES: dict[str, dict[str, Any]] = {
    "Siemens protocol": {"ImageType": ["DERIVED", "SECONDARY", "OTHER", "CT_SOM5 PROT"], "Manufacturer": "SIEMENS"},
    "Siemens protocol by name": {"SeriesDescription": "Patient Protocol", "SeriesNumber": "501"},
    "Siemens Force": {"ImageType": ["ORIGINAL", "PRIMARY", "OTHER", "CT_SOM7 PROT"], "Rows": 1024},
    "GE dose": {"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"], "SeriesDescription": "Dose Report"},
    "GE dose by number": {
        "ImageType": ["DERIVED", "SECONDARY"],
        "Manufacturer": "GE MEDICAL SYSTEMS",
        "SeriesNumber": "999",
    },
    "Philips dose": {"ImageType": ["DERIVED", "SECONDARY", "DOSE_INFO"], "SeriesDescription": "Dose Info"},
    "Toshiba": {"Manufacturer": "TOSHIBA", "ImageType": ["DERIVED", "SECONDARY"], "WindowWidth": "1.0"},
    "Canon": {"Manufacturer": "CANON_MEC", "SeriesDescription": "Summary 2"},
    "exam summary": {"SeriesDescription": "EXAM_SUMMARY"},
    "saved screen": {"ImageType": ["DERIVED", "SECONDARY", "SAVED SCREEN"]},
    "screen saved by a reader": {"SeriesDescription": "Screen Save - ReadRoom 3"},
    "radiation dose": {"SeriesDescription": "X-Ray Radiation Dose Information"},
    "capture of a workstation": {
        "ImageType": ["DERIVED", "SECONDARY"],
        "SecondaryCaptureDeviceManufacturer": "AW",
        "ConversionType": "WSD",
        **NO_POSITION,
    },
    "capture that has a position": {"ConversionType": "WSD"},
    "day of capture": {"DateOfSecondaryCapture": "20260102"},
    "other modality": {"Modality": "OT"},
    "report as an image": {"Modality": "SR"},
    "document as an image": {"Modality": "DOC", "SOPClassUID": CR},
    "colour": COLOUR,
    "colour MR": {**COLOUR, "SOPClassUID": MR, "Modality": "MR"},
    "palette": {"PhotometricInterpretation": "PALETTE COLOR"},
    "secondary without position": {"ImageType": ["DERIVED", "SECONDARY", "OTHER"], **NO_POSITION},
    "fusion of a workstation": {**COLOUR, "SOPClassUID": PET, "Modality": "PT"},
    "Phoenix": {"SOPClassUID": MR, "Modality": "MR", "ImageType": ["ORIGINAL", "PRIMARY", "OTHER", "CSA REPORT"]},
    "German": {"SeriesDescription": "Patientenprotokoll"},
    "French": {"SeriesDescription": "Capture d'écran"},
    "digitised film": {"SOPClassUID": CR, "Modality": "CR", "Manufacturer": "VIDAR"},
    "captured fluoroscopy": {"SOPClassUID": XA, "Modality": "XA", "ConversionType": "DV", **NO_POSITION},
    "result of a catheter laboratory": {"SOPClassUID": XA, "Modality": "XA", "ImageType": ["DERIVED", "SECONDARY"]},
    "data of the dose": {"SeriesDescription": "Exam Dose Data"},
    "dose under the class of a dose grid": {"SOPClassUID": DOSE, "SeriesDescription": "Dose Report"},
    "report under the class of a segmentation": {"SOPClassUID": SEG, "SeriesDescription": "Report"},
    "screen among dose grids": {**GRID, "ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]},
    "a study of nothing but a report": {"StudyDescription": " dose  report "},
}


@pytest.mark.parametrize("keywords", PAGES.values(), ids=PAGES)
def test_a_page_of_a_scanner_or_workstation_is_withheld_and_the_reason_names_no_value(keywords: dict[str, Any]) -> None:
    told = reason(page(**{"PatientName": "Quillfeather^Zenobia", **keywords}))
    assert told is not None
    assert told.startswith("perhaps ")
    assert not any(word in told for word in ("Quillfeather", "ReadRoom", "20260102", "AW"))


# What could be taken for a page by its words or form, and is an image.
IMAGES: dict[str, dict[str, Any]] = {
    "plain": {},
    "localizer": {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"], "SeriesDescription": "Topogram 0.6"},
    "Siemens slices": {"ImageType": ["ORIGINAL", "PRIMARY", "AXIAL", "CT_SOM5 SPI"], "Manufacturer": "SIEMENS"},
    "proton density": {"ProtocolName": "PROTON DENSITY", "ImageType": ["ORIGINAL", "PRIMARY", "PROTON_DENSITY"]},
    "low dose": {"SeriesDescription": "Low Dose Chest", "ProtocolName": "low radiation dose thorax"},
    "protocol of a study": {
        "StudyDescription": "CT stroke protocol with dose report",
        "ProtocolName": "Stroke Protocol",
    },
    "cardiac": {"SeriesDescription": "SnapShot Pulse 75%", "Manufacturer": "GE MEDICAL SYSTEMS"},
    "screening": {"SeriesDescription": "Lung screening"},
    "reformat": {"ImageType": ["DERIVED", "SECONDARY", "MPR", "CSA MPR", "", "CSAPARALLEL"]},
    "tensor": {"SOPClassUID": MR, "Modality": "MR", "ImageType": ["DERIVED", "PRIMARY", "DIFFUSION"], **NO_POSITION},
    "map of diffusion": {
        **COLOUR,
        "SOPClassUID": MR,
        "Modality": "MR",
        "ImageType": ["DERIVED", "PRIMARY", "DIFFUSION", "FA"],
    },
    "slices of a toolkit": {"ConversionType": "DV"},
    "resampled": {
        "SecondaryCaptureDeviceManufacturer": "SIEMENS",
        "DerivationDescription": "MEDCOM RESAMPLED",
        "ImageType": ["DERIVED", "SECONDARY", "AXIAL"],
    },
    "empty": {"ConversionType": "", "SecondaryCaptureDeviceManufacturer": "", "SeriesDescription": "", "ImageType": ""},
    "series 999": {"SeriesNumber": "999", "Manufacturer": "GE MEDICAL SYSTEMS"},
    "PET": {"SOPClassUID": PET, "Modality": "PT"},
    "CR": {"SOPClassUID": CR, "Modality": "CR", "ConversionType": "DI", **NO_POSITION},
    "DX": {"SOPClassUID": DX, "Modality": "DX", **NO_POSITION},
    "XA": {"SOPClassUID": XA, "Modality": "XA", "ImageType": ["ORIGINAL", "PRIMARY", "SINGLE PLANE"], **NO_POSITION},
    "dose grid": {**GRID, "SeriesDescription": "Dose"},
    "dose grid of a plan": {**GRID, "SeriesDescription": "Dose Summary", "ProtocolName": "PROTOCOL"},
    "dose grid of a study": {**GRID, "StudyDescription": "Dose Report"},
    "segmentation": {
        "SOPClassUID": SEG,
        "Modality": "SEG",
        "SeriesDescription": "Report",
        **NO_POSITION,
    },
    "PET of low dose": {"SOPClassUID": PET, "Modality": "PT", "SeriesDescription": "AC low dose data"},
    "CT of high dose": {"SeriesDescription": "High Dose Data set"},
}


@pytest.mark.parametrize("keywords", IMAGES.values(), ids=IMAGES)
def test_an_image_leaves_although_a_word_or_its_form_is_like_a_page(keywords: dict[str, Any]) -> None:
    assert reason(page(**keywords)) is None


@pytest.mark.parametrize(
    "keywords",
    [
        {"SeriesDescription": "Dose Report"},
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.66", "Modality": "US"},
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.78.2", "Modality": "OP"},
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.91.1", "Modality": "SM"},
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.481.3", "Modality": "RTSTRUCT", "BurnedInAnnotation": "YES"},
    ],
)
def test_what_has_no_pixels_shows_no_name(keywords: dict[str, Any]) -> None:
    found = pydicom.dcmread(io.BytesIO(page(**keywords)))
    for keyword in ("PixelData", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit"):
        del found[keyword]
    for burned_in in ("withhold", "redact"):
        assert reason(datasets.encode(found), burned_in=burned_in) is None


def test_a_dose_grid_that_says_that_a_name_is_burned_in_is_withheld() -> None:
    assert reason(page(**GRID, SeriesDescription="Dose", BurnedInAnnotation="YES")) == "BurnedInAnnotation is YES"


@pytest.mark.parametrize(
    ("keywords", "is_held"),
    [
        ({"SeriesDescription": "Dose Report"}, True),
        ({"ImageType": ["DERIVED", "SECONDARY", "OTHER", "CT_SOM5 PROT"]}, True),
        ({"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}, False),
        ({"ConversionType": "WSD"}, False),
        (COLOUR, False),
    ],
)
def test_no_is_believed_of_a_screen_but_not_of_a_page_that_prints_the_name(keywords: Any, is_held: bool) -> None:
    assert (reason(page(**keywords, BurnedInAnnotation="NO")) is not None) == is_held
    assert reason(page(**keywords, BurnedInAnnotation="")) is not None
    assert reason(page(**keywords, BurnedInAnnotation=["NO", "YES"])) == "BurnedInAnnotation is YES"


ODD = [
    b"dOsE rEpOrT",
    b"DOSE_REPORT\0",
    b"  Dose\t--  Report ",
    b"DoseReports",
    b"Series 999: dose report\\x",
    "D\N{LATIN CAPITAL LETTER O WITH ACUTE}se R\N{LATIN SMALL LETTER E WITH ACUTE}port".encode("latin-1"),
    "Dose Report ".encode("utf-16-le"),
]


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99"])
@pytest.mark.parametrize("vr", ["LO", "UN"])
@pytest.mark.parametrize("value", ODD, ids=repr)
def test_evidence_is_found_however_it_is_written(value: bytes, vr: str, syntax: str) -> None:
    found = pydicom.dcmread(io.BytesIO(page(SpecificCharacterSet="ISO_IR 100")))
    found.add_new(0x0008103E, vr, value if vr == "UN" else "")
    marker = b"SERIES DESCRIPTION IS HERE".ljust(len(value) + len(value) % 2)[: len(value) + len(value) % 2]
    found["SeriesDescription"].value = marker if vr == "UN" else marker.decode()
    plain = written(found, syntax)
    head, content = split(plain)
    whole = zlib.decompress(content, -15) if syntax.endswith(".99") else content
    assert whole.count(marker) == 1
    whole = whole.replace(marker, value.ljust(len(marker)))
    if syntax.endswith(".99"):
        stream = zlib.compressobj(wbits=-15)
        whole = stream.compress(whole) + stream.flush()
    assert reason(head + whole) == 'perhaps a dose report: SeriesDescription says "DOSE REPORT"'


def written(found: Dataset, syntax: str) -> bytes:
    found.file_meta.TransferSyntaxUID = UID(syntax)
    out = io.BytesIO()
    found.save_as(out, implicit_vr=syntax == "1.2.840.10008.1.2", little_endian=True)
    return out.getvalue()


def split(data: bytes) -> tuple[bytes, bytes]:
    """The head of a file, up to its data set, and the rest."""
    length = int.from_bytes(data[140:144], "little")
    return data[: 144 + length], data[144 + length :]


# Real ones of each modality in pydicom's package that left when only exact words were known.
REAL = ["CT_small.dcm", "693_J2KI.dcm", "J2K_pixelrep_mismatch.dcm", "MR_small.dcm", "MR_small_implicit.dcm"]
REAL += ["examples_overlay.dcm", "rtdose.dcm", "rtplan.dcm", "rtstruct.dcm", "liver_1frame.dcm", "waveform_ecg.dcm"]


@pytest.mark.parametrize("name", REAL)
def test_a_real_image_leaves(name: str) -> None:
    anonymised(real.path(name).read_bytes())


def test_every_real_image_of_the_studies_on_pydicoms_medium_leaves() -> None:
    paths = [path for path in (real.FOLDER / "dicomdirtests").rglob("*") if path.is_file() and path.name.isdigit()]
    assert len(paths) > 25
    assert {pydicom.dcmread(path).Modality for path in paths} == {"CT", "MR", "CR"}
    assert [path.name for path in paths if reason(path.read_bytes()) is not None] == []
