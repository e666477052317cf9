"""Markers: the contract between the Lua script, a person at a shell, and the processor.

A marker is one small JSON object in one file. Its file name is its identity through all states; its content names one
study or series of Orthanc. What the file doesn't say, its name may: an empty file called ``study-ORTHANCID.json`` is
a whole marker. Keys that this version doesn't know are kept as they are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from autorthanc_spool.core.dicom import RESOURCE_ID_PATTERN, Level, resource_key
from autorthanc_spool.core.errors import MarkerError
from autorthanc_spool.core.outcome import (
    WITHHELD,
    Outcome,
    Problem,
    outcomes_content,
    problem_content,
    read_outcomes,
    read_problem,
)
from autorthanc_spool.core.states import State

FORMAT = 1
TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
NAME_TIME_FORMAT = "%Y%m%dT%H%M%SZ"

# A marker is a few hundred bytes when it comes, and grows by the list of files when it is filed. What is larger than
# this in incoming/ was put there by mistake, and isn't read into memory.
MAX_SIZE_BYTES = 64 * 1024 * 1024

_NAME = re.compile(rf"(?:^|[^a-z])(study|series)-({RESOURCE_ID_PATTERN.pattern})(?![0-9a-f-])", re.IGNORECASE)
_EVENTS = {Level.STUDY: "StableStudy", Level.SERIES: "StableSeries"}
# Whoever writes a marker with one of these wakes the processor up; any other source is a person who wants it done.
_WAKE_UPS = {"lua", "reconcile", "replay"}
_OWN_KEYS = {"format", "event", "level", "id", "source", "time", "rules"}
_RECORD_KEYS = {"attempts", "deferrals", "deaths", "error", "outcomes", "filed", "superseded_by"}
_WITHHELD = f'"{WITHHELD}"'.encode()


@dataclass(frozen=True)
class Marker:
    """One wake-up for one resource, and, once filed, the record of what was done.

    `rules` narrows it to some rules; None means all. `filed` says where it was filed last, as a path below the
    spool; None when it never was. `attempts` counts failures that are the resource's own, `deferrals` all waits in
    a row (for the back-off), `deaths` the processes that died with it.
    """

    level: Level
    resource_id: str
    source: str = ""
    event: str = ""
    time: str = ""
    rules: tuple[str, ...] | None = None
    attempts: int = 0
    deferrals: int = 0
    deaths: int = 0
    error: Problem | None = None
    outcomes: Mapping[str, Outcome] = field(default_factory=dict)
    filed: Mapping[str, Any] | None = None
    superseded_by: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The name of the resource's lock and of its record in the ledger."""
        return resource_key(self.level, self.resource_id)

    @property
    def last_state(self) -> State | None:
        """The state that it was filed in last."""
        path = str((self.filed or {}).get("path", ""))
        return next((state for state in State if path.startswith(f"{state}/")), None)

    @property
    def filed_time(self) -> str:
        """When it was filed last, as markers spell times; "" when it doesn't say."""
        return str((self.filed or {}).get("time", ""))

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Its own problem, and those of its rules."""
        found = [self.error, *(outcome.problem for outcome in self.outcomes.values())]
        return tuple(problem for problem in found if problem)

    @property
    def asks_again(self) -> bool:
        """Whether all of it is to be done again when it lies in incoming/: back from done/, or a person's own."""
        if self.last_state is not None:
            return self.last_state is State.DONE
        return self.source not in _WAKE_UPS

    def covers(self, other: Marker) -> bool:
        """Whether a run of this one does all that the other asks for; 'again' is the spool's to compare."""
        if self.key != other.key:
            return False
        return self.rules is None or (other.rules is not None and set(other.rules) <= set(self.rules))

    @property
    def published(self) -> Mapping[str, Outcome]:
        """The outcomes that list the checksums of what was published, without what went wrong beside that."""
        return {rule: one.without_problem for rule, one in self.outcomes.items() if one.md5sums}

    def restarted(self) -> Marker:
        """The marker with its counts set back, as it is when a person requeues it."""
        return replace(self, attempts=0, deferrals=0, deaths=0, error=None, outcomes=self.published)


@dataclass(frozen=True)
class Rejected:
    """A file that is not a marker: what it held, None when that can't be copied, and why it was rejected."""

    data: bytes | None
    reason: MarkerError

    def dump(self, filed: Mapping[str, str]) -> bytes | None:
        """Write its record."""
        if self.data is None:
            return None
        try:
            content = json.loads(self.data)
        except (ValueError, RecursionError):
            content = None
        if not isinstance(content, dict):
            content = {"content": self.data.decode(errors="backslashreplace")}
        content |= {"filed": filed, "error": problem_content(Problem.of(self.reason))}
        return _encoded(content)


def new(level: Level, resource_id: str, source: str, now: datetime, rules: tuple[str, ...] | None = None) -> Marker:
    """Make a marker as another source than Lua writes it."""
    time = now.astimezone(UTC).strftime(TIME_FORMAT)
    return Marker(level, resource_id, source=source, event=_EVENTS[level], time=time, rules=rules)


def file_name(marker: Marker) -> str:
    """Give the file name of a new marker: time, level and ID."""
    written = datetime.strptime(marker.time, TIME_FORMAT)
    return f"{written.strftime(NAME_TIME_FORMAT)}-{marker.key}.json"


def named_resource(name: str) -> tuple[Level, str] | None:
    """Read level and ID out of a marker's file name; None when it doesn't hold them."""
    found = _NAME.search(name)
    return (Level(found[1].lower()), found[2].lower()) if found else None


def parse(name: str, data: bytes) -> Marker:
    """Read a marker from its file name and content.

    Raises MarkerError with a text that says what is wrong and what would be right.
    """
    content = _object(data)
    if content.get("format", FORMAT) != FORMAT:
        raise MarkerError(f'"format" is {_show(content["format"])}; this version reads format {FORMAT}')
    try:
        level, resource_id = _resource(name, content)
    except MarkerError:
        # The record of what was rejected before keeps its first reason, whoever puts it back.
        if "content" in content and (reason := recorded_reason(data)):
            raise MarkerError(reason) from None
        raise
    filed = content.get("filed")
    return Marker(
        level=level,
        resource_id=resource_id,
        source=str(content.get("source", "")),
        event=str(content.get("event", "")),
        time=str(content.get("time", "")),
        rules=_rules(content),
        attempts=_count(content, "attempts"),
        deferrals=_count(content, "deferrals"),
        deaths=_count(content, "deaths"),
        error=read_problem(content.get("error")),
        outcomes=read_outcomes(content.get("outcomes")),
        filed=filed if isinstance(filed, dict) else None,
        superseded_by=str(content.get("superseded_by", "")),
        extra={key: value for key, value in content.items() if key not in _OWN_KEYS | _RECORD_KEYS},
    )


def dump(marker: Marker) -> bytes:
    """Write a marker as indented JSON, for `cat`."""
    content: dict[str, Any] = {"format": FORMAT}
    if marker.event:
        content["event"] = marker.event
    content |= {"level": marker.level.capitalize(), "id": marker.resource_id}
    content |= {key: value for key in ("source", "time") if (value := getattr(marker, key))}
    if marker.rules is not None:
        content["rules"] = list(marker.rules)
    content |= marker.extra
    content |= {"superseded_by": marker.superseded_by} if marker.superseded_by else {}
    if marker.filed is not None:
        content |= {"filed": marker.filed, "attempts": marker.attempts}
        content |= {key: value for key in ("deferrals", "deaths") if (value := getattr(marker, key))}
        content |= {"error": problem_content(marker.error) if marker.error else None}
        content |= {"outcomes": outcomes_content(marker.outcomes)}
    return _encoded(content)


def record(result: Marker | Rejected, filed: Mapping[str, str]) -> bytes | None:
    """Write the record of what was filed at this place and time; None where the file stays as it is."""
    return dump(replace(result, filed=filed)) if isinstance(result, Marker) else result.dump(filed)


def _encoded(content: Mapping[str, Any]) -> bytes:
    # A file name may hold bytes that aren't UTF-8: written as an escape of JSON, they are read back as they were.
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode(errors="backslashreplace")


def may_withhold(data: bytes) -> bool:
    """Whether a record may say that something was withheld; of most, this is all that has to be looked at."""
    return _WITHHELD in data


def filed_path(data: bytes) -> str:
    """Read from a record where its marker was filed, as a path below the spool; "" when it doesn't say."""
    try:
        return str(json.loads(data)["filed"]["path"])
    except (ValueError, TypeError, KeyError):
        return ""


def recorded_reason(data: bytes) -> str:
    """Read from the record of a file that is not a marker why it was rejected; "" when it doesn't say."""
    try:
        return str(json.loads(data)["error"]["text"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return ""


def _object(data: bytes) -> dict[str, Any]:
    if not data.strip():
        return {}
    try:
        # Editors on Windows begin a file with a byte order mark.
        content = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise MarkerError(
            f"it isn't JSON ({_reason(error)}); a marker is an object like "
            '{"level": "study", "id": "an Orthanc ID"}, or an empty file named study-ORTHANCID.json'
        ) from None
    if not isinstance(content, dict):
        raise MarkerError('it is JSON but not an object; write {"level": "study", "id": "an Orthanc ID"}')
    return content


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"line {error.lineno}, column {error.colno}: {error.msg}"
    return "it can't be decoded" if isinstance(error, UnicodeDecodeError) else "it is nested too deeply"


def _resource(name: str, content: dict[str, Any]) -> tuple[Level, str]:
    named = named_resource(name)
    level = content.get("level", named[0] if named else None)
    resource_id = content.get("id", named[1] if named else None)
    if level is None or resource_id is None:
        missing = '"level"' if level is None else '"id"'
        raise MarkerError(
            f'it has no {missing}, and its file name names no resource; write {{"level": "study", '
            '"id": "an Orthanc ID"}, or name the empty file study-ORTHANCID.json'
        )
    if not isinstance(level, str) or level.lower() not in set(Level):
        raise MarkerError(f'"level" is {_show(level)}; expected "study" or "series"')
    if not isinstance(resource_id, str) or not RESOURCE_ID_PATTERN.fullmatch(resource_id.lower()):
        raise MarkerError(
            f'"id" is {_show(resource_id)}; expected an Orthanc ID: five groups of eight hexadecimal digits, '
            "as at the end of the address that Orthanc Explorer shows for the study"
        )
    return Level(level.lower()), resource_id.lower()


def _rules(content: dict[str, Any]) -> tuple[str, ...] | None:
    rules = content.get("rules")
    if rules is None:
        return None
    if isinstance(rules, str):
        return (rules,)
    if not isinstance(rules, list) or not all(isinstance(rule, str) for rule in rules):
        raise MarkerError(f'"rules" is {_show(rules)}; expected a list of rule names')
    return tuple(rules)


def _count(content: dict[str, Any], key: str) -> int:
    value = content.get(key, 0)
    return value if isinstance(value, int) and value >= 0 else 0


def _show(value: object) -> str:
    # A marker may hold anything, also a patient's name: only its beginning is shown, and only of what should be an
    # identifier or a word of ours.
    text = json.dumps(value, ensure_ascii=True)
    return text if len(text) <= 60 else f"{text[:57]}..."
