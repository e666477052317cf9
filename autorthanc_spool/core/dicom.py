"""What the rest of the package calls a DICOM resource: pure values, no network, no files.

``resource_id`` is always Orthanc's own identifier (five groups of eight hexadecimal digits), never a UID. Main tags
are keyed by DICOM keyword, the tags of an instance by ``gggg,eeee`` in lower case, as Orthanc's ``/tags?short`` gives
them; every value is text, several values are joined by a backslash. A value of an instance that Orthanc has, but leaves
out of its lists because it is long or not known to be text, is None.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

# Orthanc identifiers are SHA-1 digests: https://orthanc.uclouvain.be/book/faq/orthanc-ids.html
RESOURCE_ID_PATTERN = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{8}){4}")


def orthanc_id(*parts: str) -> str:
    """Compute Orthanc's ID: https://orthanc.uclouvain.be/book/faq/orthanc-ids.html"""
    digits = hashlib.sha1("|".join(parts).encode(), usedforsecurity=False).hexdigest()
    return "-".join(digits[start : start + 8] for start in range(0, 40, 8))


class Level(StrEnum):
    """The levels of the DICOM hierarchy that a marker can name."""

    STUDY = "study"
    SERIES = "series"


def resource_key(level: Level, resource_id: str) -> str:
    """Name a resource in one word: LEVEL-ID."""
    return f"{level}-{resource_id}"


@dataclass(frozen=True)
class Instance:
    """One stored DICOM file, as Orthanc lists it."""

    resource_id: str
    series_id: str
    SOPInstanceUID: str
    InstanceNumber: str
    file_size_bytes: int
    file_uuid: str


@dataclass(frozen=True)
class Series:
    """One series: main tags, number of instances (0: not known), and, once asked for, the tags of the first one."""

    resource_id: str
    tags: Mapping[str, str]
    first_instance_tags: Mapping[str, str | None] | None = None
    last_update: str = ""
    is_stable: bool = True
    instances: int = 0


@dataclass(frozen=True)
class Resource:
    """A study or a series at one moment.

    On a series, `series` holds that series alone; `siblings` are, once asked for, all series of its study.
    """

    level: Level
    resource_id: str
    patient_tags: Mapping[str, str]
    study_tags: Mapping[str, str]
    series: tuple[Series, ...]
    instances: tuple[Instance, ...]
    last_update: str
    is_stable: bool
    is_copy: bool
    siblings: tuple[Series, ...] | None = None

    @property
    def study_series(self) -> tuple[Series, ...] | None:
        """All series of the study; None on a series for which they weren't asked for."""
        return self.series if self.level is Level.STUDY else self.siblings

    @property
    def key(self) -> str:
        """LEVEL-ID."""
        return resource_key(self.level, self.resource_id)
