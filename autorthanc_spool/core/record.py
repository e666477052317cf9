"""What the ledger knows about a study or series: pure values; `ledger` reads and writes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any


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
    `transaction` are Orthanc's, to look after what was begun;
    `missing` are the Orthanc IDs of the instances that the destination refused so far.
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
    missing: tuple[str, ...] = ()
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
class Deletion:
    """What is about to be deleted from Orthanc for a rule, until all of it is gone.

    `files` are those stored files, as `plan.stored_files` tells them. `owes` is the line that the audit log lacks once
    they are gone; empty without an audit log.
    """

    rule: str
    files: tuple[str, ...]
    owes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Seen:
    """The state of the resource when a run last looked at it."""

    last_update: str
    series: tuple[str, ...]


@dataclass(frozen=True)
class Record:
    """All that the ledger knows about one resource.

    `entries` are by rule, `sendings` by rule and destination; `owed` are the lines that the audit log lacks.

    `deletion` is under way. `gone` are all stored files that ever were to be deleted for a rule: they count as there
    when it is judged whether the content is what was exported, so that what is left isn't taken for something new.
    `sealed` are the outputs, FOLDER/NAME, that may hold the only copies of them, and so are never replaced. `deleted`
    is when the last of the resource was deleted; "" once it was seen in Orthanc since.
    """

    key: str
    seen: Seen | None = None
    entries: Mapping[str, Entry] = field(default_factory=dict)
    intent: Intent | None = None
    working: Working | None = None
    refused: str = ""
    owed: tuple[Mapping[str, Any], ...] = ()
    sendings: Mapping[str, Mapping[str, Sending]] = field(default_factory=dict)
    deletion: Deletion | None = None
    gone: tuple[str, ...] = ()
    sealed: tuple[str, ...] = ()
    deleted: str = ""

    @property
    def is_asked_again(self) -> bool:
        """Whether something is to be done once more."""
        sent = [one.again for sendings in self.sendings.values() for one in sendings.values()]
        return any([*sent, *(entry.again for entry in self.entries.values())])

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
