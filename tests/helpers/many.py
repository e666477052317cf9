"""A spool with very many markers."""

import hashlib

from autorthanc_spool.core import marker
from autorthanc_spool.core.dicom import Level
from autorthanc_spool.core.states import State
from autorthanc_spool.spool.spool import Spool


def orthanc_id(number: int) -> str:
    digest = hashlib.sha1(str(number).encode()).hexdigest()
    return "-".join(digest[start : start + 8] for start in range(0, 40, 8))


def fill(spool: Spool, resources: int, markers_each: int = 1) -> None:
    for number in range(resources):
        for copy in range(markers_each):
            name = f"20261123T{copy:06d}Z-study-{orthanc_id(number)}.json"
            found = marker.Marker(Level.STUDY, orthanc_id(number), source="lua", event="StableStudy")
            (spool.directories.of(State.INCOMING) / name).write_bytes(marker.dump(found))
