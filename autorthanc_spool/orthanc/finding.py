"""Which studies a person means: asked of Orthanc by identifier, by name, or by the beginning of Orthanc's own ID.

Speaks HTTP through the client in `orthanc`. Nothing of what is found is kept.
Source: https://orthanc.uclouvain.be/book/users/rest-cheatsheet.html
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from autorthanc_spool.core.dicom import RESOURCE_ID_PATTERN, Level, Resource
from autorthanc_spool.core.errors import OrthancFault, ResourceMissing
from autorthanc_spool.orthanc.answers import checked_id
from autorthanc_spool.orthanc.client import Orthanc

_SEARCHED = ("PatientID", "AccessionNumber", "PatientName")
# What /tools/lookup compares, and where it lies that has it.
_LOOKED_UP = ("PatientID", "AccessionNumber", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
_PLACES = {"Patient": "/patients", "Study": "/studies", "Series": "/series", "Instance": "/instances"}


@dataclass(frozen=True)
class FoundStudy:
    """A study in Orthanc with its series."""

    resource: Resource

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of the study and of its series."""
        return (self.resource.key, *(f"{Level.SERIES}-{one.resource_id}" for one in self.resource.series))


def studies(orthanc: Orthanc, text: str) -> list[str]:
    """Find the IDs of studies by identifier, or by name."""
    return list(dict.fromkeys([*_looked_up(orthanc, text), *_searched(orthanc, text)]))


def study(orthanc: Orthanc, study_id: str) -> FoundStudy | None:
    """Read a study; None when Orthanc has none."""
    try:
        return FoundStudy(orthanc.resource(Level.STUDY, study_id))
    except ResourceMissing:
        return None


def parent_study(orthanc: Orthanc, series_id: str) -> str | None:
    """The study of a series; None when Orthanc has no such series."""
    try:
        return orthanc.parent_study(series_id)
    except ResourceMissing:
        return None


def _looked_up(orthanc: Orthanc, text: str) -> Iterator[str]:
    """By PatientID, AccessionNumber, or a UID of any level: Orthanc compares the whole of it."""
    for row in _rows(orthanc, "/tools/lookup", text.encode()):
        kind, resource_id = str(row.get("Type")), checked_id(row.get("ID"))
        path = f"{_PLACES.get(kind, '')}/{resource_id}"
        # Orthanc drops what isn't printable ASCII before it compares: MÜLLER is MLLER to it, and 山田 nothing at all.
        found = orthanc.look(path) if kind in _PLACES else None
        if found is None or not any(_holds(found, keyword, text) for keyword in _LOOKED_UP):
            continue
        if kind == "Study":
            yield resource_id
        elif kind == "Patient":
            yield from _studies_of(orthanc, f"{path}/studies")
        elif (above := orthanc.look(f"{path}/study")) is not None:
            yield checked_id(above.get("ID"))


def _searched(orthanc: Orthanc, text: str) -> Iterator[str]:
    """By a whole PatientID or AccessionNumber in any letter case, or any part of a name."""
    for keyword in _SEARCHED:
        wanted = f"*{text}*" if keyword == "PatientName" else text
        query = {"Level": "Study", "CaseSensitive": False, "Expand": True, "Query": {keyword: wanted}}
        for row in _rows(orthanc, "/tools/find", json.dumps(query).encode()):
            # A star or a backslash in the text means more to Orthanc than to the person who typed it.
            if _holds(row, keyword, text):
                yield checked_id(row.get("ID"))


def _holds(row: Mapping[str, Any], keyword: str, text: str) -> bool:
    tags = [row.get(name) for name in ("MainDicomTags", "PatientMainDicomTags")]
    values = [str(one.get(keyword, "")).casefold() for one in tags if isinstance(one, dict)]
    wanted = text.casefold()
    return any(wanted in value if keyword == "PatientName" else wanted == value.strip() for value in values)


def by_beginning(orthanc: Orthanc, text: str) -> Iterator[str]:
    """Find the IDs of studies by the beginning of Orthanc's ID of the study, or of one of its series."""
    beginning = text.lower()
    if not is_beginning(beginning):
        return
    if not RESOURCE_ID_PATTERN.fullmatch(beginning):
        yield from (one for one in _ids(orthanc, "/studies") if one.startswith(beginning))
    elif study(orthanc, beginning):
        yield beginning
        return
    series = [one for one in _ids(orthanc, "/series") if one.startswith(beginning)]
    yield from (above for one in series if (above := parent_study(orthanc, one)))


def is_beginning(text: str) -> bool:
    """Whether it can be the beginning of an Orthanc ID, and says enough to look for it."""
    whole = "00000000-00000000-00000000-00000000-00000000"
    return 4 <= len(text) <= len(whole) and bool(RESOURCE_ID_PATTERN.fullmatch(text + whole[len(text) :]))


def _ids(orthanc: Orthanc, path: str) -> list[str]:
    return [checked_id(one) for one in orthanc.listed(path)]


def _studies_of(orthanc: Orthanc, path: str) -> Iterator[str]:
    yield from (checked_id(one.get("ID")) for one in orthanc.listed(path) if isinstance(one, dict))


def _rows(orthanc: Orthanc, path: str, body: bytes) -> Iterator[Mapping[str, Any]]:
    answer = orthanc.post(path, body)
    if answer.status == 400:
        # Stars and question marks aren't part of an identifier for Orthanc.
        return
    try:
        rows = json.loads(answer.data) if answer.status == 200 else None
    except ValueError:
        rows = None
    if not isinstance(rows, list):
        raise OrthancFault(f"Orthanc answers {answer.status} to {path}, and not with a list; its log says why")
    yield from (row for row in rows if isinstance(row, dict))
