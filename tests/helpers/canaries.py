"""A study that names its patient in many places, and a look at everything that a site holds of it."""

import io
from pathlib import Path
from typing import Any

import pydicom

from tests.helpers import datasets
from tests.helpers.site import Site

NAME = "Cnryfamily^Cnrygiven"
PATIENT_ID = "CNRY4711"


def canary_study(patient: str = PATIENT_ID, **keywords: Any) -> list[bytes]:
    """A study that names its patient in many places."""
    options = {
        "PatientName": NAME,
        "PatientBirthDate": "19410203",
        "AccessionNumber": "CNRYACC",
        "StudyDescription": "MR of Cnryfamily",
        "SeriesDescription": "t1 cnryfamily",
        "InstitutionName": "CNRY clinic",
        "OtherPatientIDs": "CNRYOTHER",
        "StationName": "CNRYSTATION",
        **keywords,
    }
    return [nested(data) for data in datasets.make_study(patient, "CNRYSTUDYID", **options)]


def nested(data: bytes) -> bytes:
    found = pydicom.dcmread(io.BytesIO(data))
    item = pydicom.Dataset()
    item.PatientName, item.PatientID, item.StudyDate = NAME, PATIENT_ID, "19660607"
    item.add_new(0x00090010, "LO", "CNRYCREATOR")
    item.add_new(0x00091001, "LO", "CNRY in a private element")
    deeper = pydicom.Dataset()
    deeper.AnatomicRegionSequence = [item]
    found.AnatomicRegionSequence = [deeper]
    found.add_new(0x00090010, "LO", "CNRYCREATOR")
    found.add_new(0x00091001, "LO", "CNRY in a private element")
    found.file_meta.SourceApplicationEntityTitle = "CNRYAET"
    out = io.BytesIO()
    found.save_as(out)
    return out.getvalue()


def everything_below(*folders: Path) -> dict[str, bytes]:
    """All files with their content, dotted ones too."""
    return {str(path): path.read_bytes() for folder in folders for path in folder.rglob("*") if path.is_file()}


def assert_nothing_left(site: Site, files: list[bytes], *more: str) -> None:
    """Neither names nor contents below the output, nor what the spool and the log say, hold anything original."""
    originals = [pydicom.dcmread(io.BytesIO(data)) for data in files]
    uids = {
        str(one[tag].value) for one in originals for tag in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
    }
    needles = [b"cnry", b"19410203", b"19660607", *(uid.encode() for uid in uids)]
    texts = {text: text.encode() for text in more}
    for name, content in {**everything_below(site.output, site.spool), **texts}.items():
        below = name.replace(str(site.root), "")
        for needle in needles:
            assert needle not in content.lower(), (name, needle)
            assert needle not in below.lower().encode(), (name, needle)
