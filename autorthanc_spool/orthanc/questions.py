"""What only `doctor` asks Orthanc, and the little that it writes there. Speaks HTTP through the client in `orthanc`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from autorthanc_spool.core.dicom import RESOURCE_ID_PATTERN
from autorthanc_spool.core.errors import OrthancFault
from autorthanc_spool.orthanc.answers import parse_time
from autorthanc_spool.orthanc.client import Orthanc

# Orthanc's own limit may be lower; it says by "Done" whether there is more.
_PAGE = 1000


@dataclass(frozen=True)
class Change:
    """One row of ``/changes``; `time` is UTC."""

    kind: str
    resource_id: str
    time: datetime


def runs_lua(orthanc: Orthanc) -> bool:
    """Ask whether Orthanc runs Lua that comes by HTTP; an empty script is sent."""
    return orthanc.post("/tools/execute-script", b"").status == 200


def last_changes(orthanc: Orthanc, number: int) -> Iterator[Change]:
    """Give the last rows of ``/changes``, oldest first."""
    last = _count(_page(orthanc, "/changes?last"), "Last")
    since, is_done = max(0, last - number), False
    while not is_done:
        page = _page(orthanc, f"/changes?since={since}&limit={_PAGE}")
        rows = page.get("Changes")
        yield from (_change(row) for row in rows if isinstance(row, dict)) if isinstance(rows, list) else ()
        following = _count(page, "Last")
        is_done = page.get("Done") is not False or following <= since
        since = following


def upload(orthanc: Orthanc, data: bytes) -> str:
    """Upload a DICOM file; give the ID of its study. Raises OrthancFault."""
    answer = orthanc.post("/instances", data)
    if answer.status != 200:
        raise OrthancFault(f"Orthanc answers {answer.status} to an uploaded file; its log says why")
    try:
        study_id = json.loads(answer.data)["ParentStudy"]
    except (ValueError, KeyError, TypeError):
        study_id = None
    if not isinstance(study_id, str) or not RESOURCE_ID_PATTERN.fullmatch(study_id):
        raise OrthancFault("Orthanc doesn't say where it put an uploaded file")
    return study_id


def _page(orthanc: Orthanc, path: str) -> Mapping[str, Any]:
    page = orthanc.look(path)
    if page is None:
        raise OrthancFault("Orthanc knows no /changes")
    return page


def _count(page: Mapping[str, Any], key: str) -> int:
    value = page.get(key)
    return value if isinstance(value, int) else 0


def _change(row: Mapping[str, Any]) -> Change:
    return Change(str(row.get("ChangeType", "")), str(row.get("ID", "")), parse_time(str(row.get("Date", ""))))
