"""The ledger: what was done, one file per resource; the truth, where markers are only wake-ups.

::

    ledger/0a/study-0a4b249f-….json    the record of one resource; read and written under the resource's lock
    ledger/names/<sha256>              the name RULE/NAME belongs to the resource that is written inside, permanently

A record is replaced as a whole, durably, at these moments: when something is to be done again (before the claim), when
a working directory was made, before the rename that publishes (the intent), after it, when the run has seen the
resource, and before and after something is deleted from Orthanc. Whatever a crash leaves behind, `intent`, `working`
and `deletion` tell whose it is.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from autorthanc_spool.core.errors import SpoolError, SpoolUnavailable
from autorthanc_spool.core.record import Deletion, Entry, Intent, Parked, Record, Seen, Sending, Working
from autorthanc_spool.disk import durable

FORMAT = 1


class LedgerError(SpoolError):
    """A record can't be understood."""


class Ledger:
    """The only reader and writer of the ledger."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, key: str) -> Record:
        """Read the record of a resource; an empty one when there is none."""
        path = self._path(key)
        try:
            content = json.loads(path.read_bytes())
            return _record(key, content)
        except FileNotFoundError:
            return Record(key)
        except (ValueError, TypeError, KeyError, AttributeError):
            raise LedgerError(
                f"the ledger's record ledger/{key_folder(key)}/{key}.json can't be understood; move it away to have "
                "everything of this resource done again, or restore it from a backup"
            ) from None

    def write(self, record: Record) -> Record:
        """Replace the record of a resource, durably; the caller holds the resource's lock."""
        path = self._path(record.key)
        with _spool_trouble():
            if not path.parent.is_dir():
                path.parent.mkdir(mode=0o750, exist_ok=True)
                durable.sync_directory(self._folder)
            durable.write(path, _dump(record), path.parent, mode=0o640)
        return record

    def forget(self, key: str) -> None:
        """Remove the record of a resource that never was a patient's; the caller holds the resource's lock."""
        self._path(key).unlink(missing_ok=True)

    def keys(self) -> list[str]:
        """List the keys of all records."""
        return sorted(path.stem for path in self._folder.glob("??/*.json") if not path.name.startswith("."))

    def reserve(self, folder: str, name: str, key: str) -> bool:
        """Give the name FOLDER/NAME to a resource permanently; False when it belongs to another one."""
        path = self._name_path(folder, name)
        scratch = path.with_name(f".{path.name}-{key}")
        scratch.unlink(missing_ok=True)
        # The owner is written before the name exists, so that a crash never leaves a name without one.
        with _spool_trouble():
            durable.create(scratch, f"{key}\n".encode(), mode=0o640)
            try:
                durable.move(scratch, path)
            except FileExistsError:
                scratch.unlink(missing_ok=True)
                return self.owner(folder, name) == key
        return True

    def owner(self, folder: str, name: str) -> str | None:
        """Tell the key of the resource that the name belongs to."""
        try:
            return self._name_path(folder, name).read_text().strip()
        except FileNotFoundError:
            return None

    def _path(self, key: str) -> Path:
        return self._folder / key_folder(key) / f"{key}.json"

    def _name_path(self, folder: str, name: str) -> Path:
        return self._folder / "names" / hashlib.sha256(f"{folder}/{name}".encode()).hexdigest()


class HeldRecord:
    """The record of one resource while its lock is held: read once, and written through."""

    def __init__(self, ledger: Ledger, key: str) -> None:
        self._ledger = ledger
        self._key = key
        self._known: Record | None = None

    @property
    def now(self) -> Record:
        """What the ledger holds. Raises LedgerError."""
        if self._known is None:
            self._known = self._ledger.read(self._key)
        return self._known

    def write(self, record: Record) -> Record:
        """Replace it, durably."""
        # Where writing fails, only the disk knows which of the two it holds.
        self._known = None
        self._known = self._ledger.write(record)
        return self._known


def _spool_trouble() -> AbstractContextManager[None]:
    return durable.passing_trouble(SpoolUnavailable, "the spool")


def key_folder(key: str) -> str:
    """Spread the records over 256 folders, by the first two digits of the ID."""
    return key.partition("-")[2][:2]


def _dump(record: Record) -> bytes:
    content = {"format": FORMAT, **{key: value for key, value in asdict(record).items() if value}}
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()


def _record(key: str, content: dict[str, Any]) -> Record:
    if content["format"] != FORMAT or content["key"] != key:
        raise ValueError(key)
    seen, intent, working = content.get("seen"), content.get("intent"), content.get("working")
    deletion = content.get("deletion")
    return Record(
        key=key,
        seen=Seen(seen["last_update"], tuple(seen["series"])) if seen else None,
        entries={rule: Entry(**entry) for rule, entry in content.get("entries", {}).items()},
        intent=_intent(intent) if intent else None,
        working=Working(**working) if working else None,
        refused=content.get("refused", ""),
        sendings={
            rule: {name: Sending(**{**one, "missing": tuple(one.get("missing", ()))}) for name, one in sent.items()}
            for rule, sent in content.get("sendings", {}).items()
        },
        owed=tuple(content.get("owed", ())),
        deletion=Deletion(**{**deletion, "files": tuple(deletion["files"])}) if deletion else None,
        gone=tuple(content.get("gone", ())),
        sealed=tuple(content.get("sealed", ())),
        deleted=content.get("deleted", ""),
    )


def _intent(content: dict[str, Any]) -> Intent:
    parked = tuple(Parked(**one) for one in content["parked"])
    return Intent(content["rule"], content["folder"], Entry(**content["entry"]), parked, content.get("owes", {}))
