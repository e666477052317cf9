"""What the ledger knows about a study or series: pure values, and their text; `ledger` reads and writes the files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

FORMAT = 1


@dataclass(frozen=True)
class Entry:
    """What one rule did for the resource.

    `content` is the digest of the instances, `fields` that of the rule's fields that shape the output, `name` the
    published folder or archive below the rule's folder ("" when nothing is published), `inode` and `tree` say
    whether what is there is what was published. `again` asks for it to be done once more. `root` is what the rule
    delivered to, "" the output.
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
    root: str = ""


@dataclass(frozen=True)
class Sending:
    """What one rule sent of the resource to one destination.

    `content` is the digest of the instances, `fields` that of the rule's fields that shape what is sent. `outcome` is
    "" while it is under way, then ``forwarded``; `since` is when trying began to fail. `job` and `transaction` are
    Orthanc's, to look after what was begun; `missing` are the Orthanc IDs of the instances that the destination
    refused so far.
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
    """What is in the way of a publication, and the name that it is moved to.

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

    `owes` is the line that the audit log lacks once it is made; empty without an audit log. `held` says which instances
    it holds, as in the record.
    """

    rule: str
    folder: str
    entry: Entry
    parked: tuple[Parked, ...] = ()
    owes: Mapping[str, Any] = field(default_factory=dict)
    held: str = ""

    @property
    def root(self) -> str:
        """Where it is made: what the rule delivers to, "" the output."""
        return self.entry.root


@dataclass(frozen=True)
class Working:
    """A working directory that was made for the resource, or something else of ours that is to be removed."""

    folder: str
    name: str
    inode: int
    root: str = ""


@dataclass(frozen=True)
class Aside:
    """A publication that is announced again: it is moved into the folder `place` beside it, and back at once."""

    rule: str
    folder: str
    name: str
    place: str
    inode: int
    root: str = ""


@dataclass(frozen=True)
class Deletion:
    """What is about to be deleted from Orthanc for a rule, until all of it is gone.

    `files` are those stored files, as `plan.stored_file` gives them. `owes` is the line that the audit log lacks once
    they are gone; empty without an audit log.
    """

    rule: str
    files: tuple[str, ...]
    owes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Writer:
    """Who wrote the record last: a process, and which of all the works with the record that was, counted from 1."""

    host: str
    process: int
    run: int


@dataclass(frozen=True)
class Seen:
    """The state of the resource when a run last looked at it."""

    last_update: str
    series: tuple[str, ...]


@dataclass(frozen=True)
class Record:
    """All that the ledger knows about one resource.

    `entries` are by rule, `sendings` by rule and destination; `owed` are the lines that the audit log lacks. `left` is
    what was begun and given up, and couldn't be removed yet, because the share that it lies on is away.

    `deletion` is under way. `gone` are all stored files that ever were to be deleted for a rule: they count as there
    when it is judged whether the content is what was exported, so that what is left isn't taken for something new.
    `sealed` are the outputs, FOLDER/NAME, that may hold the only copies of something, and so are never replaced.
    `deleted` is when the last of the resource was deleted; "" once it was seen in Orthanc since.

    `held` says by rule which instances were published: the first eight digits of each Orthanc ID, without a separator.

    `takeovers` counts the runs that others had to clear up after. Working directories are called by it, so that a
    process that was cut off, and is late, never finds what it means under a name that it knows.
    """

    key: str
    seen: Seen | None = None
    entries: Mapping[str, Entry] = field(default_factory=dict)
    intent: Intent | None = None
    working: Working | None = None
    left: tuple[Working, ...] = ()
    aside: Aside | None = None
    refused: str = ""
    owed: tuple[Mapping[str, Any], ...] = ()
    sendings: Mapping[str, Mapping[str, Sending]] = field(default_factory=dict)
    deletion: Deletion | None = None
    gone: tuple[str, ...] = ()
    sealed: tuple[str, ...] = ()
    held: Mapping[str, str] = field(default_factory=dict)
    deleted: str = ""
    takeovers: int = 0
    writer: Writer | None = None

    @property
    def is_asked_again(self) -> bool:
        """Whether something is to be done once more."""
        sent = [one.again for sendings in self.sendings.values() for one in sendings.values()]
        return any([*sent, *(entry.again for entry in self.entries.values())])

    @property
    def is_unfinished(self) -> bool:
        """Whether something that was begun has to be completed."""
        return any((self.intent, self.working, self.left, self.aside, self.deletion, self.owed))

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

    def with_published(self, intent: Intent) -> Record:
        """The record after the rule did its work: nothing is under way."""
        entries = {**self.entries, intent.rule: intent.entry}
        held = {**self.held, intent.rule: intent.held} if intent.held else self.held
        return replace(self, entries=entries, held=held, intent=None, working=None).owing(intent.owes)

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


def place(root: str, folder: str, name: str) -> str:
    """Say where something was published: FOLDER/NAME below the output, the whole path where a rule delivers to."""
    return f"{root}/{folder}/{name}" if root else f"{folder}/{name}"


def _is_asked(rule: str, rules: tuple[str, ...] | None) -> bool:
    return rules is None or rule in rules


# Published into the output; a publication that was begun before its instances were noted.
_NEWER = (("root", ""), ("held", ""))


def dump(record: Record) -> bytes:
    """Write a record as JSON, for `cat`; what is empty is left out."""
    content = {"format": FORMAT, **{key: value for key, value in _content(record).items() if value}}
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()


def _content(record: Record) -> dict[str, Any]:
    # What says nothing is written as it was before there was such a key.
    return asdict(record, dict_factory=lambda pairs: {key: value for key, value in pairs if (key, value) not in _NEWER})


def parse(key: str, data: bytes) -> Record:
    """Read a record. Raises ValueError, TypeError, KeyError or AttributeError when it isn't one, or another's."""
    content = json.loads(data)
    if content["format"] != FORMAT or content["key"] != key:
        raise ValueError(key)
    seen, intent, working = content.get("seen"), content.get("intent"), content.get("working")
    deletion, aside = content.get("deletion"), content.get("aside")
    return Record(
        key=key,
        seen=Seen(seen["last_update"], tuple(seen["series"])) if seen else None,
        entries={rule: Entry(**entry) for rule, entry in content.get("entries", {}).items()},
        intent=_intent(intent) if intent else None,
        working=Working(**working) if working else None,
        left=tuple(Working(**one) for one in content.get("left", ())),
        aside=Aside(**aside) if aside else None,
        refused=content.get("refused", ""),
        sendings={
            rule: {name: Sending(**{**one, "missing": tuple(one.get("missing", ()))}) for name, one in sent.items()}
            for rule, sent in content.get("sendings", {}).items()
        },
        owed=tuple(content.get("owed", ())),
        deletion=Deletion(**{**deletion, "files": tuple(deletion["files"])}) if deletion else None,
        gone=tuple(content.get("gone", ())),
        sealed=tuple(content.get("sealed", ())),
        held=content.get("held", {}),
        deleted=content.get("deleted", ""),
        takeovers=content.get("takeovers", 0),
        writer=Writer(**content["writer"]) if "writer" in content else None,
    )


def _intent(content: dict[str, Any]) -> Intent:
    parked = tuple(Parked(**one) for one in content["parked"])
    entry, owes, held = Entry(**content["entry"]), content.get("owes", {}), content.get("held", "")
    return Intent(content["rule"], content["folder"], entry, parked, owes, held)
