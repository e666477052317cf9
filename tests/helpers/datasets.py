"""Synthetic DICOM: a hierarchy of patients, studies, series and instances with deterministic UIDs."""

from __future__ import annotations

import io
from typing import Any

import numpy
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid


def uid(*parts: object) -> str:
    return generate_uid(prefix="1.2.826.0.1.3680043.10.1467.", entropy_srcs=["test", *map(str, parts)])


def make_instance(
    patient: str = "PAT1", study: str = "1", series: int = 1, instance: int = 1, *, size: int = 16, **keywords: Any
) -> bytes:
    """Make a CT instance of `size` × `size` pixels; any attribute can be set, None removes it."""
    data = Dataset()
    data.SOPClassUID = CTImageStorage
    data.SOPInstanceUID = uid(patient, study, series, instance)
    data.StudyInstanceUID = uid(patient, study)
    data.SeriesInstanceUID = uid(patient, study, series)
    data.FrameOfReferenceUID = uid(patient, study, "frame")
    data.PatientID, data.PatientName = patient, f"Family{patient}^Given"
    data.PatientBirthDate, data.PatientSex = "19700102", "O"
    data.StudyID, data.StudyDate, data.StudyTime = study, "20260102", "030405"
    data.StudyDescription, data.AccessionNumber, data.ReferringPhysicianName = "brain", f"ACC{study}", ""
    data.Modality, data.SeriesNumber, data.SeriesDate = "CT", str(series), "20260102"
    data.SeriesDescription, data.InstanceNumber = f"axial t{series}", str(instance)
    data.ImagePositionPatient, data.ImageOrientationPatient = [0, 0, instance], [1, 0, 0, 0, 1, 0]
    data.PixelSpacing, data.SliceThickness = [1, 1], "1"
    data.Rows = data.Columns = size
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 0
    data.RescaleIntercept, data.RescaleSlope, data.ImageType = "-1024", "1", ["ORIGINAL", "PRIMARY", "AXIAL"]
    pixels = numpy.random.default_rng(instance).integers(0, 4096, (size, size), dtype="uint16")
    data.PixelData = pixels.tobytes()
    for keyword, value in keywords.items():
        if value is None:
            delattr(data, keyword)
        else:
            setattr(data, keyword, value)
    return encode(data)


def make_study(
    patient: str = "PAT1", study: str = "1", *, series: int = 2, instances: int = 3, **keywords: Any
) -> list[bytes]:
    """Make all files of a study."""
    return [
        make_instance(patient, study, number, instance, **keywords)
        for number in range(1, series + 1)
        for instance in range(1, instances + 1)
    ]


def encode(data: Dataset) -> bytes:
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    buffer = io.BytesIO()
    data.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
