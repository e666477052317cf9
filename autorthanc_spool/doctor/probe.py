"""Whether our Lua script is active, found by trying: a synthetic study goes in, its marker has to come out.

The locks of the probe's study and series are held all the while, so that no processor claims their markers: the study
is exported by no rule. At the end the study, its markers and whatever was filed of them are removed. Its UIDs are
always the same, so that what a probe that was killed left in Orthanc is removed by the next one.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from autorthanc_spool.core.dicom import Level, orthanc_id, resource_key
from autorthanc_spool.core.errors import MarkerError
from autorthanc_spool.core.states import State
from autorthanc_spool.doctor.finding import Finding, broken, ok
from autorthanc_spool.doctor.traffic import LUA_FIX
from autorthanc_spool.orthanc.questions import last_changes, upload
from autorthanc_spool.run.doorbell import Doorbell
from autorthanc_spool.run.tools import Tools

PATIENT_ID = "AUTORTHANC-DOCTOR"
_ROOT = "2.25.268435455002026112"
STUDY_UID, SERIES_UID, INSTANCE_UID = f"{_ROOT}1", f"{_ROOT}2", f"{_ROOT}3"
# Orthanc declares stability up to about a second after StableAge; a slow machine may take longer.
PATIENCE_S = 15.0


STUDY_ID = orthanc_id(PATIENT_ID, STUDY_UID)
SERIES_ID = orthanc_id(PATIENT_ID, STUDY_UID, SERIES_UID)
_KEYS = (resource_key(Level.STUDY, STUDY_ID), resource_key(Level.SERIES, SERIES_ID))


def probe(tools: Tools, say: Callable[[str], None]) -> Iterator[Finding]:
    """Send the probe, wait for its marker, clean up."""
    with tools.spool.locked(_KEYS[0], 1.0), tools.spool.locked(_KEYS[1], 1.0):
        try:
            tools.orthanc.delete(f"/studies/{STUDY_ID}")
            upload(tools.orthanc, instance())
            wait_s = tools.settings.stable_age_s + PATIENCE_S
            say(
                f"a synthetic study was sent; its marker is due in {tools.settings.stable_age_s} s (ORTHANC_STABLE_AGE)"
            )
            yield _judge(tools, _came(tools, wait_s))
        finally:
            tools.orthanc.delete(f"/studies/{STUDY_ID}")
            _forget(tools)


def _judge(tools: Tools, came: bool) -> Finding:
    if came:
        return ok("Lua script", "the marker of a synthetic study came into the spool")
    is_stable = any(
        row.kind == "StableStudy" and row.resource_id == STUDY_ID for row in last_changes(tools.orthanc, 1000)
    )
    if is_stable:
        return broken("Lua script", "a synthetic study became stable, and Lua wrote no marker into this spool", LUA_FIX)
    return broken(
        "Lua script",
        f"a synthetic study didn't become stable within {tools.settings.stable_age_s} s",
        "set ORTHANC_STABLE_AGE to the StableAge of Orthanc's configuration",
    )


def _came(tools: Tools, wait_s: float) -> bool:
    polling_s = tools.settings.poll_interval_s if tools.settings.observer == "polling" else None
    doorbell = Doorbell([tools.spool.directories.of(State.INCOMING)], polling_s=polling_s)
    deadline = time.monotonic() + wait_s
    try:
        while (left_s := deadline - time.monotonic()) > 0:
            doorbell.wait(min(left_s, 1.0))
            if _is_announced(tools):
                return True
        return False
    finally:
        doorbell.close()


def _is_announced(tools: Tools) -> bool:
    for item in tools.spool.directories.waiting({_KEYS[0]}, *State):
        with suppress(FileNotFoundError, MarkerError):
            if tools.spool.directories.read(item).source == "lua":
                return True
    return False


def _forget(tools: Tools) -> None:
    for key in _KEYS:
        for item in list(tools.spool.directories.waiting({key}, *State)):
            item.path.unlink(missing_ok=True)
        tools.spool.ledger.forget(key)


def instance() -> bytes:
    """Make the probe's one file: a tiny image of nobody."""
    data = Dataset()
    data.SOPClassUID, data.SOPInstanceUID = SecondaryCaptureImageStorage, INSTANCE_UID
    data.StudyInstanceUID, data.SeriesInstanceUID = STUDY_UID, SERIES_UID
    data.PatientID, data.PatientName, data.PatientBirthDate, data.PatientSex = PATIENT_ID, "Doctor^Probe", "", ""
    data.StudyID, data.StudyDate, data.StudyTime = "0", "20000101", "000000"
    data.StudyDescription, data.SeriesDescription = "autorthanc-spool doctor", "probe"
    data.AccessionNumber, data.ReferringPhysicianName = "", ""
    data.Modality, data.ConversionType, data.SeriesNumber, data.InstanceNumber = "OT", "SYN", "1", "1"
    data.Rows = data.Columns = 1
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 8, 8, 7, 0
    data.PixelData = b"\0\0"
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    buffer = io.BytesIO()
    data.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
