"""The ledger: what was done, one file per resource; the truth, where markers are only wake-ups.

::

    ledger/0a/study-0a4b249f-….json    the record of one resource; read and written under the resource's lock
    ledger/names/<sha256>              the name RULE/NAME belongs to the resource that is written inside, for ever

A record is replaced as a whole, durably, at these moments: when something is to be done again (before the claim), when
a working directory was made, before the rename that publishes (the intent), after it, and when the run has seen the
resource. Whatever a crash leaves behind, `intent` and `working` tell whose it is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from autorthanc_spool import durable
from autorthanc_spool.errors import SpoolError, SpoolUnavailable

FORMAT = 1


@dataclass(frozen=True)
class Entry:
    """What one rule did for the resource.

    `content` is the digest of the instances, `fields` that of the rule's fields that shape the output, `name` the
    published folder or archive below the rule's folder ("" when nothing is published), `inode` and `tree` tell
    whether what stands there is what was published. `again` asks for it to be done once more.
    """

    content: str
    fields: str
    outcome: str
    name: str = ""
    inode: int = 0
    tree: str = ""
    instances: int = 0
    size_bytes: int = 0
    time: str = ""
    again: bool = False
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Sending:
    """What one rule sent of the resource to one destination.

    `content` is the digest of the instances, `fields` that of the rule's fields that shape what is sent. `outcome` is
    "" while it is under way, then ``forwarded``; `since` is the time from which on it was tried in vain. `job` and
    `transaction` are Orthanc's, to look after what was begun.
    """

    content: str
    fields: str
    since: str = ""
    outcome: str = ""
    job: str = ""
    transaction: str = ""
    instances: int = 0
    size_bytes: int = 0
    committed: bool = False
    time: str = ""
    again: bool = False
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Parked:
    """What stands in the way of a publication, and the name that it is moved to.

    `tree` is what we published there, "" when that isn't known: only what still is exactly that is ever deleted, and
    `is_condemned` says that this was found.
    """

    name: str
    parked_name: str
    inode: int
    tree: str
    is_condemned: bool = False


@dataclass(frozen=True)
class Intent:
    """The publication that is about to be made: the rename to `entry.name`, and what is parked for it.

    `owes` is the line that the audit log lacks once it is made; empty without an audit log.
    """

    rule: str
    folder: str
    entry: Entry
    parked: tuple[Parked, ...] = ()
    owes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Working:
    """A working directory that was made for the resource."""

    folder: str
    name: str
    inode: int


@dataclass(frozen=True)
class Seen:
    """The state of the resource when a run last looked at it."""

    last_update: str
    series: tuple[str, ...]


@dataclass(frozen=True)
class Record:
    """All that the ledger knows about one resource.

    `entries` are by rule, `sendings` by rule and destination; `owed` are the lines that the audit log lacks.
    """

    key: str
    seen: Seen | None = None
    entries: Mapping[str, Entry] = field(default_factory=dict)
    intent: Intent | None = None
    working: Working | None = None
    refused: str = ""
    owed: tuple[Mapping[str, Any], ...] = ()
    sendings: Mapping[str, Mapping[str, Sending]] = field(default_factory=dict)

    def sending(self, rule: str, destination: str) -> Sending | None:
        """What the rule sent to the destination, or was about to."""
        return self.sendings.get(rule, {}).get(destination)

    def details(self) -> Iterator[Mapping[str, Any]]:
        """What is kept beside the numbers about everything that was published or sent."""
        yield from (entry.details for entry in self.entries.values())
        yield from (one.details for sent in self.sendings.values() for one in sent.values())

    def with_sending(self, rule: str, destination: str, sending: Sending) -> Record:
        """The record with this instead of what it held about the rule and the destination."""
        return replace(self, sendings={**self.sendings, rule: {**self.sendings.get(rule, {}), destination: sending}})

    def with_entry(self, rule: str, entry: Entry) -> Record:
        """The record after the rule did its work: nothing is under way any more."""
        return replace(self, entries={**self.entries, rule: entry}, intent=None, working=None)

    def owing(self, line: Mapping[str, Any]) -> Record:
        """The record with one more line that the audit log lacks; the same line is owed once, an empty one never."""
        return replace(self, owed=(*self.owed, line)) if line and line not in self.owed else self

    def asked_again(self, rules: tuple[str, ...] | None) -> Record:
        """The record with the work of these rules (None: of all) to be done again."""
        entries = {
            rule: replace(entry, again=True) if _is_asked(rule, rules) else entry
            for rule, entry in self.entries.items()
        }
        sendings = {
            rule: {name: replace(one, again=True) for name, one in sent.items()} if _is_asked(rule, rules) else sent
            for rule, sent in self.sendings.items()
        }
        return replace(self, entries=entries, sendings=sendings, refused="")


def _is_asked(rule: str, rules: tuple[str, ...] | None) -> bool:
    return rules is None or rule in rules


class LedgerError(SpoolError):
    """A record can't be understood."""


class Ledger:
    """The only reader and writer of the ledger."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def lay_out(self) -> None:
        """Make the folders that are missing."""
        (self._folder / "names").mkdir(mode=0o750, parents=True, exist_ok=True)

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
                "everything of this resource done anew, or restore it from a backup"
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
        """Give the name FOLDER/NAME to a resource for ever; False when it belongs to another one."""
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
    return Record(
        key=key,
        seen=Seen(seen["last_update"], tuple(seen["series"])) if seen else None,
        entries={rule: Entry(**entry) for rule, entry in content.get("entries", {}).items()},
        intent=_intent(intent) if intent else None,
        working=Working(**working) if working else None,
        refused=content.get("refused", ""),
        sendings={
            rule: {name: Sending(**one) for name, one in sent.items()}
            for rule, sent in content.get("sendings", {}).items()
        },
        owed=tuple(content.get("owed", ())),
    )


def _intent(content: dict[str, Any]) -> Intent:
    parked = tuple(Parked(**one) for one in content["parked"])
    return Intent(content["rule"], content["folder"], Entry(**content["entry"]), parked, content.get("owes", {}))
