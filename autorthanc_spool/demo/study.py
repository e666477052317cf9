"""A small study for the demonstration: real images that pydicom ships, under an invented patient."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid
from pynetdicom import AE

from autorthanc_spool.core.errors import SpoolError

PATIENT_NAME = "Phantom^Demo"
PATIENT_ID = "DEMO-0001"
STUDY_DESCRIPTION = "Demo: head and brain"

# Seconds to wait for Orthanc's part of the conversation; it is on the same machine.
_NETWORK_TIMEOUT_S = 15


@dataclass(frozen=True)
class _Source:
    """One series: the shipped file that its instances are made of."""

    file_name: str
    description: str
    number: int
    instances: int


_SERIES = (
    _Source("CT_small.dcm", "localizer", 1, 3),
    _Source("MR_small.dcm", "axial t1", 2, 4),
    _Source("MR_small.dcm", "axial t2", 3, 2),
)


def make() -> list[Dataset]:
    """Make the study: one patient, one study, several series, new UIDs."""
    study_uid = generate_uid()
    return [dataset for source in _SERIES for dataset in _series(source, study_uid)]


def _series(source: _Source, study_uid: str) -> Iterator[Dataset]:
    path = get_testdata_file(source.file_name, download=False)
    if not isinstance(path, str):
        raise SpoolError(f"this pydicom has no {source.file_name}; pip install --force-reinstall pydicom brings it")
    series_uid = generate_uid()
    for number in range(1, source.instances + 1):
        dataset = dcmread(path)
        dataset.PatientName = PATIENT_NAME
        dataset.PatientID = PATIENT_ID
        dataset.StudyInstanceUID = study_uid
        dataset.StudyID = "1"
        dataset.StudyDate = "20260101"
        dataset.StudyDescription = STUDY_DESCRIPTION
        dataset.SeriesInstanceUID = series_uid
        dataset.SeriesNumber = source.number
        dataset.SeriesDate = "20260101"
        dataset.SeriesDescription = source.description
        dataset.InstanceNumber = number
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        yield dataset


def send(datasets: Sequence[Dataset], port: int, aet: str) -> None:
    """Send by C-STORE to this machine, as a scanner does. Raises SpoolError when one isn't taken."""
    entity = AE(ae_title="DEMOSCANNER")
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = _NETWORK_TIMEOUT_S
    for dataset in datasets:
        entity.add_requested_context(dataset.SOPClassUID, dataset.file_meta.TransferSyntaxUID)
    association = entity.associate("127.0.0.1", port, ae_title=aet)
    if not association.is_established:
        raise SpoolError(f"Orthanc refuses a DICOM association on port {port}; its log says why")
    try:
        for dataset in datasets:
            status = association.send_c_store(dataset)
            if status.get("Status") != 0:
                raise SpoolError(f"Orthanc refused an image (C-STORE status {status.get('Status')}); its log says why")
    finally:
        association.release()
