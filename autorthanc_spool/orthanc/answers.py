"""What Orthanc's answers mean: from parsed JSON to values. Pure.

Answers are trusted for nothing but their meaning: an identifier is checked before it comes near a URL or a path.
Source: https://orthanc.uclouvain.be/book/users/rest.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from autorthanc_spool.core.dicom import RESOURCE_ID_PATTERN, Instance, Level, Resource, Series
from autorthanc_spool.core.errors import OrthancFault

TIME_FORMAT = "%Y%m%dT%H%M%S"
# In a database that comes from an Orthanc before 0.9, LastUpdate may be missing.
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Answer:
    """What Orthanc says to what was sent to it."""

    status: int
    data: bytes

    def object(self) -> Mapping[str, Any]:
        """Its content, if that is an object; else an empty one."""
        try:
            content = json.loads(self.data)
        except ValueError:
            return {}
        return content if isinstance(content, dict) else {}


@dataclass(frozen=True)
class StudySummary:
    """A study in the list of all studies."""

    resource_id: str
    last_update: str
    is_stable: bool
    series: tuple[str, ...]

    @property
    def last_update_time(self) -> datetime:
        """When its last instance came, by Orthanc's clock."""
        return parse_last_update(self.last_update)


@dataclass(frozen=True)
class Change:
    """One row of Orthanc's log of changes."""

    seq: int
    kind: str
    resource_id: str
    date: str


@dataclass(frozen=True)
class Attachment:
    """What Orthanc says of a stored DICOM file; `md5` is "" where it keeps none.

    `is_plain` says that the file is stored as it came, not compressed: then both sizes and both MD5s are the same.
    """

    uuid: str
    size_bytes: int
    md5: str
    is_plain: bool


def parse_time(text: str) -> datetime:
    """Read a time as Orthanc writes it: UTC, ``20261124T015904``."""
    try:
        return datetime.strptime(text, TIME_FORMAT).replace(tzinfo=UTC)
    except ValueError:
        raise OrthancFault("Orthanc gives a time that can't be understood") from None


def parse_last_update(text: str) -> datetime:
    """Read when a resource was changed last; of what Orthanc doesn't say it, that is long ago."""
    return parse_time(text) if text else _LONG_AGO


def read_changes(content: Any) -> list[Change]:
    """Read the rows of ``/changes``."""
    rows = object_of(content, "/changes").get("Changes")
    found = [object_of(row, "/changes") for row in rows] if isinstance(rows, list) else []
    return [
        Change(row["Seq"], str(row.get("ChangeType")), str(row.get("ID")), str(row.get("Date")))
        for row in found
        if isinstance(row.get("Seq"), int)
    ]


def read_instance(content: Mapping[str, Any]) -> Instance:
    """Read one instance of a list."""
    size = content.get("FileSize")
    if not isinstance(size, int):
        raise OrthancFault("Orthanc lists an instance without its size")
    tags = _tags(content, "MainDicomTags")
    return Instance(
        resource_id=checked_id(content.get("ID")),
        series_id=checked_id(content.get("ParentSeries")),
        SOPInstanceUID=tags.get("SOPInstanceUID", ""),
        InstanceNumber=tags.get("InstanceNumber", ""),
        file_size_bytes=size,
        file_uuid=str(content.get("FileUuid", "")),
    )


def read_attachment(content: Mapping[str, Any]) -> Attachment:
    """Read what ``/attachments/dicom/info`` says."""
    size, md5 = content.get("UncompressedSize"), content.get("UncompressedMD5")
    if not isinstance(size, int) or not isinstance(md5, str):
        raise OrthancFault("Orthanc describes a stored file without its size or MD5")
    is_plain = (content.get("CompressedSize"), content.get("CompressedMD5")) == (size, md5)
    return Attachment(str(content.get("Uuid", "")), size, md5.lower(), is_plain)


def read_study_summary(content: Mapping[str, Any]) -> StudySummary:
    """Read one study of the list of all."""
    series = content.get("Series")
    return StudySummary(
        resource_id=checked_id(content.get("ID")),
        last_update=str(content.get("LastUpdate", "")),
        is_stable=content.get("IsStable") is True,
        series=tuple(sorted(checked_id(one) for one in series)) if isinstance(series, list) else (),
    )


def read_resource(
    level: Level, main: Mapping[str, Any], study: Mapping[str, Any], series: tuple[Series, ...]
) -> Resource:
    """Put a study or series together; `study` holds the tags of study and patient."""
    return Resource(
        level=level,
        resource_id=checked_id(main.get("ID")),
        patient_tags=_tags(study, "PatientMainDicomTags"),
        study_tags=_tags(study, "MainDicomTags"),
        series=series,
        instances=(),
        last_update=str(main.get("LastUpdate", "")),
        is_stable=main.get("IsStable") is True,
        is_copy=any(key in item for item in (main, study) for key in ("AnonymizedFrom", "ModifiedFrom")),
    )


def read_series(content: Mapping[str, Any]) -> Series:
    """Read one series."""
    return Series(
        resource_id=checked_id(content.get("ID")),
        tags=_tags(content, "MainDicomTags"),
        last_update=str(content.get("LastUpdate", "")),
        is_stable=content.get("IsStable") is True,
        instances=len(content["Instances"]) if isinstance(content.get("Instances"), list) else 0,
    )


def instance_order(InstanceNumber: str) -> tuple[int, int]:
    """Sort instances by number; what is not a number comes last."""
    try:
        return 0, int(InstanceNumber)
    except ValueError:
        return 1, 0


def first_instance(resource: Resource, series_id: str) -> Instance | None:
    """Choose the instance that speaks for a series: lowest InstanceNumber, then ID; None when none is listed."""
    candidates = [instance for instance in resource.instances if instance.series_id == series_id]
    return min(candidates, key=lambda one: (*instance_order(one.InstanceNumber), one.resource_id), default=None)


def _tags(content: Mapping[str, Any], key: str) -> Mapping[str, str]:
    tags = content.get(key)
    return (
        {str(name): value for name, value in tags.items() if isinstance(value, str)} if isinstance(tags, dict) else {}
    )


def checked_id(resource_id: object) -> str:
    """Give an identifier back, if it is one."""
    if not isinstance(resource_id, str) or not RESOURCE_ID_PATTERN.fullmatch(resource_id):
        raise OrthancFault("Orthanc returned something that isn't an ID")
    return resource_id


def object_of(content: Any, path: str) -> Mapping[str, Any]:
    """Give an object back, if it is one."""
    if not isinstance(content, dict):
        raise OrthancFault(f"Orthanc's answer to {shape(path)} is not an object")
    return content


def shape(path: str) -> str:
    """Give a path without its identifiers."""
    return RESOURCE_ID_PATTERN.sub("ID", path)


def cause(error: Exception) -> str:
    """Say why Orthanc can't be reached, in words; `error` is the HTTP client's."""
    reason = getattr(error, "reason", None) or error
    names = {
        "NewConnectionError": "connection refused or no such host",
        "NameResolutionError": "no such host",
        "ConnectTimeoutError": "no connection within 5 s",
        "ReadTimeoutError": "no answer in time",
        "ResponseError": "it redirects to another address, where the password isn't sent",
        "SSLError": "its TLS certificate isn't trusted; set AUTORTHANC_CA_FILE",
        "ProtocolError": "the connection broke",
        "IncompleteRead": "the connection broke",
        "ConnectionError": "the connection broke",
        "TimeoutError": "no answer in time",
    }
    classes = [kind.__name__ for kind in type(reason).__mro__]
    return next((names[name] for name in classes if name in names), classes[0])
