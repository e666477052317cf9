"""The audit log: one JSON line for each export that was made or that failed, for whoever has to account for it.

*What has left must be in it.* So the line and what it reports are one atomic write: the ledger's record of the resource
*owes* the line (`Record.owing`) from the moment that it holds the work, and `settle` pays: it appends what is owed and
makes that durable, then clears it from the ledger. A crash between the two repeats the line, equal in every field; it
never loses one. While the log can't be written, nothing new leaves: `check` is asked before each export, and raises
an error that waits.

*Who owns the file.* It is opened for each line, with O_APPEND, so that logrotate may rename it at any time, and several
processes may share it. A line is one write; where a full disk cuts it short, the next one begins on a line of its own.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import stat
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from autorthanc_spool.core.dicom import Resource
from autorthanc_spool.core.errors import AuditUnavailable, SpoolError
from autorthanc_spool.core.outcome import WITHHELD, Deleted, Outcome, Word
from autorthanc_spool.core.record import Entry, Sending
from autorthanc_spool.disk import durable
from autorthanc_spool.spool import audit_key
from autorthanc_spool.spool.ledger import HeldRecord

MODE = 0o640

# What stands for the StudyInstanceUID: in the ledger, and in lines of earlier versions; in the log.
PLAIN, KEYED = "study_uid_sha256", "study_uid_hmac"

Line = Mapping[str, Any]


@dataclass(frozen=True)
class Amount:
    """How much left: instances and bytes."""

    instances: int = 0
    size_bytes: int = 0


def line(resource: Resource, rule: str, outcome: str, amount: Amount, **more: Any) -> Line:
    """Say what happened to a rule's work on a resource: ``published``, ``forwarded``, ``deleted`` or ``failed``.

    `more` holds `time` (UTC, ISO 8601), and what else belongs to the outcome: `destination`, `error` (a kind, no
    text). The patient doesn't appear. In the log itself, the UID's hash is keyed.
    """
    StudyInstanceUID = resource.study_tags.get("StudyInstanceUID", "")
    return {
        "outcome": outcome,
        "rule": rule,
        "level": str(resource.level),
        "id": resource.resource_id,
        PLAIN: hashlib.sha256(StudyInstanceUID.encode()).hexdigest(),
        "instances": amount.instances,
        "bytes": amount.size_bytes,
        **more,
    }


def keyed(content: Line, key: bytes) -> Line:
    """Put the keyed hash of the StudyInstanceUID in the place of the plain one, which whoever has UIDs can compute."""
    return {
        KEYED if name == PLAIN else name: keyed_hash(str(value), key) if name == PLAIN else value
        for name, value in content.items()
    }


def keyed_hash(plain: str, key: bytes) -> str:
    """Hash the hexadecimal SHA-256 of a UID with the key (HMAC-SHA256, RFC 2104)."""
    return hmac.new(key, plain.encode(), hashlib.sha256).hexdigest()


def completed(line: Line, deleted: Deleted, intended: int) -> Line:
    """Add to the line of a deletion how much of what was intended is gone; an empty line stays empty."""
    if not line:
        return {}
    gone = {"instances": deleted.instances, "bytes": deleted.size_bytes, "time": deleted.time}
    # Two parts of one deletion, of the same second perhaps, mustn't look like one line that a crash repeated.
    more = {"intended": intended} if deleted.instances < intended else {}
    return {**line, **gone, **more}


def _withheld(details: Mapping[str, Any]) -> dict[str, int]:
    count = Outcome("", details=details).withheld
    return {WITHHELD: count} if count else {}


class AuditLog:
    """The file of AUTORTHANC_AUDIT_LOG; without one, lines are empty, nothing is owed and nothing written."""

    def __init__(self, path: Path | None, host: str, key_file: Path, owner: tuple[int, int] | None = None) -> None:
        self._path = path
        self._host = host
        self._key_file = key_file
        self._owner = owner

    def published(self, resource: Resource, rule: str, entry: Entry, details: Mapping[str, Any]) -> Line:
        """Say what was published, and how many files were withheld."""
        amount = Amount(entry.instances, entry.size_bytes)
        return self._line(resource, rule, entry.outcome, amount, time=entry.time, **_withheld(details))

    def forwarded(self, resource: Resource, rule: str, destination: str, sending: Sending) -> Line:
        """Say what a destination has got."""
        amount = Amount(sending.instances, sending.size_bytes)
        return self._line(
            resource,
            rule,
            sending.outcome,
            amount,
            time=sending.time,
            destination=destination,
            **_withheld(sending.details),
        )

    def deleted(self, resource: Resource, rule: str) -> Line:
        """Say what is about to be deleted from Orthanc; how much, and when, is added to it afterwards."""
        return self._line(resource, rule, "deleted", Amount())

    def failed(self, resource: Resource, rule: str, error: SpoolError, time: str, **more: str) -> Line:
        """Say what failed: of the error only its kind, no text."""
        return self._line(resource, rule, Word.FAILED, Amount(), error=type(error).__name__, time=time, **more)

    def _line(self, resource: Resource, rule: str, outcome: str, amount: Amount, **more: Any) -> Line:
        return line(resource, rule, outcome, amount, **more) if self._path else {}

    def check(self) -> None:
        """Raise AuditUnavailable when the log can't be written to; ask before anything leaves."""
        if self._path:
            audit_key.read_or_make(self._key_file, self._owner)
            os.close(self._open(self._path))

    def settle(self, record: HeldRecord) -> None:
        """Append the lines that the record owes, and clear them. Raises AuditUnavailable; then they stay owed."""
        if not self._path or not record.now.owed:
            return
        for owed in record.now.owed:
            self._append(self._path, owed)
        record.write(replace(record.now, owed=()))

    def _append(self, path: Path, content: Line) -> None:
        line = keyed(content, audit_key.read_or_make(self._key_file, self._owner))
        data = (json.dumps({**line, "host": self._host}, ensure_ascii=False) + "\n").encode()
        descriptor = self._open(path)
        try:
            if _is_cut_short(descriptor):
                data = b"\n" + data
            written = os.write(descriptor, data)
            os.fsync(descriptor)
        except OSError as error:
            raise _unavailable(path, error.strerror) from None
        finally:
            os.close(descriptor)
        if written != len(data):
            raise _unavailable(path, "the disk is full")

    def _open(self, path: Path) -> int:
        try:
            is_new = not path.exists()
            # Without waiting: somebody may have put a pipe there.
            descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK, MODE)
            with ExitStack() as undo:
                undo.callback(os.close, descriptor)
                self._introduce(path, descriptor, is_new)
                undo.pop_all()
        except OSError as error:
            raise _unavailable(path, error.strerror) from None
        return descriptor

    def _introduce(self, path: Path, descriptor: int, is_new: bool) -> None:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise _unavailable(path, "it is not a file")
        if is_new:
            os.fchmod(descriptor, MODE)
            if self._owner:
                os.fchown(descriptor, *self._owner)
            durable.sync_directory(path.parent)


def _is_cut_short(descriptor: int) -> bool:
    size_bytes = os.fstat(descriptor).st_size
    return size_bytes > 0 and os.pread(descriptor, 1, size_bytes - 1) != b"\n"


def _unavailable(path: Path, reason: str | None) -> AuditUnavailable:
    return AuditUnavailable(
        f"the audit log {path} can't be written ({reason}), so nothing is exported; fix it (AUTORTHANC_AUDIT_LOG)"
    )
