"""The outcomes of a run: frozen values, and how a marker's record spells them.

No other module knows the keys. What is read keeps the keys that this version doesn't know.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from autorthanc_spool.core.errors import WAKES_ON, Cause, SpoolError

# Keys of `Outcome.details`: whose pseudonym the files carry, the id of the key that it was made with, which files may
# not leave and why, which attributes were emptied because they held an identity, which private values were removed or
# cleaned for that, what was cut off pixel data that isn't the image, how much of images was blacked out; size and MD5
# of an archive.
PSEUDONYM = "pseudonym"
PSEUDONYM_KEY = "pseudonym_key"
WITHHELD = "withheld"
EMPTIED = "emptied"
PRIVATE_REMOVED = "private_removed"
PRIVATE_CLEANED = "private_cleaned"
CUT = "cut_from_pixels"
BLACKED_OUT = "blacked_out"
ARCHIVE_BYTES = "archive_bytes"
ARCHIVE_MD5 = "archive_md5"

_PROBLEM_KEYS = {"kind", "text", "instance", "last_update", "waits_for", "traceback", "refused"}
_OUTCOME_KEYS = {
    "outcome", "path", "since", "instances", "bytes", "time", "md5sums", "kept", "committed", "forward",
    "deleted_from_orthanc", "error", "needed_bytes",
}  # fmt: skip


class Word(StrEnum):
    """The outcome of one rule's work, in a word."""

    PUBLISHED = "published"
    FORWARDED = "forwarded"
    UNCHANGED = "unchanged"
    DEFERRED = "deferred"
    FAILED = "failed"


@dataclass(frozen=True)
class Problem:
    """An error, as a record keeps it. `kind` is the name of its class.

    `refused` are Orthanc's IDs of what a destination of FORWARD didn't take.
    `instance` is Orthanc's ID of the one file that it is about; `last_update` and `waits_for` are what a later run
    compares; `traceback` has the places that a mistake of the program came through.
    """

    kind: str
    text: str
    instance: str = ""
    last_update: str = ""
    waits_for: str = ""
    traceback: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, error: SpoolError) -> Problem:
        """What is kept of an error."""
        instance = error.instance_id
        text = f"instance {instance}: {error}" if instance else str(error)
        kind = type(error).__name__
        return cls(kind, text, instance, error.last_update, error.waits_for, error.traceback, error.refused)

    def is_a(self, error: type[SpoolError]) -> bool:
        """Whether it was an error of exactly this class."""
        return self.kind == error.__name__

    @property
    def wakes_on(self) -> Cause | None:
        """What has to come back before it is worth another try; None where only time will show."""
        return WAKES_ON.get(self.kind)


@dataclass(frozen=True)
class Deleted:
    """What was deleted from Orthanc for a rule. `kept` are the IDs of instances that were replaced since."""

    rule: str
    instances: int
    size_bytes: int
    time: str
    kept: tuple[str, ...] = ()

    def with_earlier(self, earlier: Deleted | None) -> Deleted:
        """Count an interrupted deletion and the rest of it together."""
        if earlier is None:
            return self
        return replace(
            self, instances=self.instances + earlier.instances, size_bytes=self.size_bytes + earlier.size_bytes
        )


@dataclass(frozen=True)
class Outcome:
    """The outcome of one rule's work, or of its sending to one destination.

    `path` is the publication, FOLDER/NAME below the output; `since` is when an unchanged one was made. `instances` and
    `size_bytes` count what left; None where nothing did. `md5sums` are lines as `md5sum --check` reads them, `kept` the
    earlier outputs that were parked and not removed, `forward` the outcomes by destination, `needed_bytes` the room
    that was lacking. `details` is what the content says about itself (`PSEUDONYM`, `WITHHELD` …), and what this
    version doesn't know.
    """

    word: str
    problem: Problem | None = None
    path: str = ""
    since: str = ""
    instances: int | None = None
    size_bytes: int | None = None
    time: str = ""
    md5sums: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    committed: bool = False
    forward: Mapping[str, Outcome] = field(default_factory=dict)
    deleted: Deleted | None = None
    needed_bytes: int = 0
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def without_problem(self) -> Outcome:
        """What it published, without what went wrong beside that, and without what was sent."""
        return replace(self, word=Word.PUBLISHED, problem=None, forward={})

    @property
    def withheld(self) -> int:
        """How many files were withheld."""
        found = self.details.get(WITHHELD)
        count = found.get("count") if isinstance(found, Mapping) else None
        return count if isinstance(count, int) else 0

    @property
    def sentence(self) -> str:
        """The word, and how much of it was withheld: ``published 1 of 4 files, 3 withheld``."""
        if not self.withheld or not self.instances or self.word not in (Word.PUBLISHED, Word.FORWARDED):
            return self.word
        return f"{self.word} {self.instances} of {self.instances + self.withheld} files, {self.withheld} withheld"


def read_problem(content: object) -> Problem | None:
    """Read what `problem_content` wrote; None for anything else."""
    if not isinstance(content, Mapping):
        return None
    return Problem(
        kind=_text(content, "kind"),
        text=_text(content, "text"),
        instance=_text(content, "instance"),
        last_update=_text(content, "last_update"),
        waits_for=_text(content, "waits_for"),
        traceback=_texts(content, "traceback"),
        refused=_texts(content, "refused"),
        extra={key: value for key, value in content.items() if key not in _PROBLEM_KEYS},
    )


def problem_content(problem: Problem) -> dict[str, Any]:
    """Spell a problem as the record has it."""
    content: dict[str, Any] = {"kind": problem.kind, "text": problem.text}
    more = {"instance": problem.instance, "last_update": problem.last_update, "waits_for": problem.waits_for}
    content |= {key: value for key, value in more.items() if value}
    content |= {"traceback": list(problem.traceback)} if problem.traceback else {}
    content |= {"refused": list(problem.refused)} if problem.refused else {}
    return content | dict(problem.extra)


def read_outcomes(content: object) -> dict[str, Outcome]:
    """Read outcomes by rule or destination; what is not an outcome is left out."""
    if not isinstance(content, Mapping):
        return {}
    return {str(name): _read_outcome(name, one) for name, one in content.items() if isinstance(one, Mapping)}


def outcomes_content(outcomes: Mapping[str, Outcome]) -> dict[str, Any]:
    """Spell outcomes as the record has them."""
    return {name: outcome_content(one) for name, one in outcomes.items()}


def outcome_content(outcome: Outcome) -> dict[str, Any]:
    """Spell an outcome as the record has it."""
    content: dict[str, Any] = {
        "outcome": outcome.word,
        "path": outcome.path,
        "since": outcome.since,
        "instances": outcome.instances,
        "bytes": outcome.size_bytes,
        "time": outcome.time,
        **outcome.details,
        "md5sums": list(outcome.md5sums),
        "kept": list(outcome.kept),
        "committed": outcome.committed,
        "forward": outcomes_content(outcome.forward),
        "deleted_from_orthanc": _deleted_content(outcome.deleted) if outcome.deleted else None,
        "error": problem_content(outcome.problem) if outcome.problem else None,
    }
    content |= {"needed_bytes": outcome.needed_bytes} if outcome.needed_bytes else {}
    # A count of none says something; an empty text or list says nothing.
    return {key: value for key, value in content.items() if value or type(value) is int or key in outcome.details}


def _read_outcome(name: str, content: Mapping[str, Any]) -> Outcome:
    return Outcome(
        word=_text(content, "outcome"),
        problem=read_problem(content.get("error")),
        path=_text(content, "path"),
        since=_text(content, "since"),
        instances=_number(content, "instances"),
        size_bytes=_number(content, "bytes"),
        time=_text(content, "time"),
        md5sums=_texts(content, "md5sums"),
        kept=_texts(content, "kept"),
        committed=content.get("committed") is True,
        forward=read_outcomes(content.get("forward")),
        deleted=_read_deleted(name, content.get("deleted_from_orthanc")),
        needed_bytes=_number(content, "needed_bytes") or 0,
        details={key: value for key, value in content.items() if key not in _OUTCOME_KEYS},
    )


def _deleted_content(deleted: Deleted) -> dict[str, Any]:
    content: dict[str, Any] = {"instances": deleted.instances, "bytes": deleted.size_bytes, "time": deleted.time}
    return content | ({"kept": list(deleted.kept)} if deleted.kept else {})


def _read_deleted(rule: str, content: object) -> Deleted | None:
    if not isinstance(content, Mapping):
        return None
    instances, size_bytes = _number(content, "instances") or 0, _number(content, "bytes") or 0
    return Deleted(rule, instances, size_bytes, _text(content, "time"), _texts(content, "kept"))


def _text(content: Mapping[str, Any], key: str) -> str:
    value = content.get(key)
    return value if isinstance(value, str) else ""


def _texts(content: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = content.get(key)
    return tuple(map(str, value)) if isinstance(value, list) else ()


def _number(content: Mapping[str, Any], key: str) -> int | None:
    value = content.get(key)
    return value if isinstance(value, int) else None
