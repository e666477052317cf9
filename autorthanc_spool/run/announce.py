"""What lies published is announced again to a consumer that began to watch later; how, `output.announce` describes.

``state/announcing/KEY`` is there while a publication of the resource may lie aside. It says where to look after a
crash; what is to be done is in the ledger.
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from dataclasses import dataclass

from autorthanc_spool.core import naming
from autorthanc_spool.core.errors import FolderMissing, SpoolError, UsageError
from autorthanc_spool.core.record import Entry, Record, place
from autorthanc_spool.disk import durable
from autorthanc_spool.output import announce as announcing
from autorthanc_spool.output.folders import output_trouble
from autorthanc_spool.run.tools import Tools
from autorthanc_spool.spool.ledger import HeldRecord, LedgerError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Lying:
    """A publication that lies in the output as it was published."""

    key: str
    rule: str
    entry: Entry

    @property
    def folder(self) -> str:
        """The rule's folder."""
        return naming.rule_folder(self.rule)

    @property
    def place(self) -> str:
        """Where it lies: FOLDER/NAME below the output, the whole path where it was delivered to."""
        return place(self.entry.root, self.folder, self.entry.name)


@dataclass(frozen=True)
class Published:
    """What lies there, the oldest first; `away` says which roots can't be looked at."""

    lying: tuple[Lying, ...]
    away: tuple[str, ...]


def published(tools: Tools, rule: str | None) -> Published:
    """List what lies published by a rule, or by all. Raises UsageError."""
    recover(tools)
    found, rules = [], set()
    away: dict[str, str] = {}
    for key in tools.spool.ledger.keys():  # noqa: SIM118 - it is a method of the ledger, not of a dictionary
        for name, entry in _read(tools, key).entries.items():
            rules.add(name)
            if rule in (None, name) and entry.name:
                found.append(Lying(key, name, entry))
    for root in {one.entry.root for one in found}:
        try:
            tools.places.at(root)
        except FolderMissing as error:
            away[root] = str(error)
    there = [one for one in found if one.entry.root not in away and _is_there(tools, one)]
    if rule is not None and rule not in rules and not (tools.settings.rules_path / f"{rule}.json").exists():
        raise UsageError(
            f"no rule {rule!r} has published anything; those that have: {', '.join(sorted(rules)) or 'none'}"
        )
    ordered = sorted(there, key=lambda one: (one.entry.time, one.key, one.rule))
    return Published(tuple(ordered), tuple(sorted(away.values())))


def announce(tools: Tools, one: Lying) -> bool | None:
    """Move it away and back; False when it was taken meanwhile, None while its resource is worked on."""
    lock = tools.spool.try_lock(one.key)
    if lock is None:
        return None
    try:
        record = HeldRecord(tools.spool.ledger, one.key, lock.check)
        now = record.now
        if now.entries.get(one.rule) != one.entry or now.intent or now.working or now.aside:
            return None
        note = tools.spool.root / "state" / "announcing" / one.key
        note.unlink(missing_ok=True)
        durable.create(note, b"")
        durable.sync_directory(note.parent)
        with output_trouble(), tools.places.at(one.entry.root).rule_folder(one.folder) as folder:
            aside = announcing.planned(one.rule, one.folder, folder, one.entry)
            is_seen = announcing.announce(record, folder, aside)
        if record.now.aside is None:
            note.unlink(missing_ok=True)
        return is_seen
    finally:
        lock.release()


def recover(tools: Tools) -> None:
    """Move back what a process that died had moved away. What can't be now is tried again at the next look."""
    for key in _noted(tools):
        lock = tools.spool.try_lock(key)
        if lock is None:
            continue
        try:
            _recover(tools, HeldRecord(tools.spool.ledger, key, lock.check))
        except (SpoolError, OSError) as error:
            # Other work doesn't wait for whatever is wrong there; the error's own text may name a patient.
            log.debug("what was being announced of %s isn't back yet: %s", key, type(error).__name__)
        finally:
            lock.release()


def _noted(tools: Tools) -> list[str]:
    with suppress(FileNotFoundError):
        return sorted(os.listdir(tools.spool.root / "state" / "announcing"))  # noqa: PTH208 - names are enough
    return []


def _recover(tools: Tools, record: HeldRecord) -> None:
    aside = record.now.aside
    if aside:
        with output_trouble(), tools.places.at(aside.root).rule_folder(aside.folder) as folder:
            if not announcing.bring_back(record, folder):
                return
        log.warning("%s: its announcement was interrupted by a process that died, and is completed", record.now.key)
    (tools.spool.root / "state" / "announcing" / record.now.key).unlink(missing_ok=True)


def _read(tools: Tools, key: str) -> Record:
    try:
        return tools.spool.ledger.read(key)
    except LedgerError as error:
        log.warning("%s", error)
        return Record(key)


def _is_there(tools: Tools, one: Lying) -> bool:
    path = tools.places.path(one.entry.root) / one.folder / one.entry.name
    if path.parent.is_symlink():
        return False
    try:
        return path.lstat().st_ino == one.entry.inode
    except (FileNotFoundError, NotADirectoryError):
        return False
