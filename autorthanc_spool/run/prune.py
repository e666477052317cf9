"""What is no longer needed: old records, and what dead processes left behind. The ledger stays.

Only what is known to be ours is removed: markers in day folders of ``done/``, files in ``tmp/`` that are no longer
written, scratch files of the ledger, lock files that nobody holds, and below the output only a ``.WORKING`` that the
ledger knows by its inode, or an empty one of a name that it has given out, under the resource's lock. Anything else is
left where it is, and reported.

Today's and yesterday's folders in ``done/`` are never touched: a process may be filing into one at this moment.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from autorthanc_spool.core import marker
from autorthanc_spool.core.errors import (
    AuditUnavailable,
    FolderMissing,
    MarkerError,
    OutputUnavailable,
    RulesUnavailable,
)
from autorthanc_spool.core.record import Record
from autorthanc_spool.core.states import State
from autorthanc_spool.disk import durable, locks
from autorthanc_spool.output import publish
from autorthanc_spool.output.working import WORKING, published_name, unfinished_name
from autorthanc_spool.run.planner import deciding
from autorthanc_spool.run.tools import Tools
from autorthanc_spool.spool.ledger import HeldRecord, LedgerError

LOCK = "prune"
# A process that writes for longer than a day and a half is dead, or was stopped and is better off with an error.
STALE_S = 36 * 3600.0


@dataclass(frozen=True)
class Removed:
    """How many things of one kind were removed at one place, as a path below the spool or ``output/RULE``."""

    what: str
    where: str
    number: int


@dataclass(frozen=True)
class Pruned:
    """What was removed, and sentences about what was left because it isn't known as ours."""

    removed: tuple[Removed, ...]
    left: tuple[str, ...]


def prune(tools: Tools, *, is_dry_run: bool = False) -> Pruned | None:
    """Remove all that may go; None when another process does so. A dry run only says what, and leaves locks alone."""
    lock = locks.take(tools.spool.root / "locks", LOCK)
    if lock is None:
        return None
    try:
        return _Pruner(tools, is_dry_run).run(date.min)
    finally:
        lock.release()


def prune_daily(tools: Tools) -> Pruned | None:
    """Prune when that was last done on another day; None when there was nothing to do."""
    memory = _Memory(tools.spool.root / "state" / "prune.json")
    today = tools.clock().date()
    if memory.read()[0] == today:
        return None
    lock = locks.take(tools.spool.root / "locks", LOCK)
    if lock is None:
        return None
    try:
        last, looked_through = memory.read()
        if last == today:
            return None
        pruner = _Pruner(tools, is_dry_run=False)
        pruned = pruner.run(looked_through)
        memory.write(today, pruner.looked_through)
        return pruned
    finally:
        lock.release()


class _Memory:
    """The day of the last pruning, and the last day of ``done/`` whose records were looked into."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> tuple[date, date]:
        try:
            content = json.loads(self._path.read_bytes())
            return date.fromisoformat(content["day"]), date.fromisoformat(content["looked_through"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return date.min, date.min

    def write(self, day: date, looked_through: date) -> None:
        content = {"format": 1, "day": day.isoformat(), "looked_through": looked_through.isoformat()}
        durable.write(self._path, (json.dumps(content) + "\n").encode(), self._path.parent, mode=0o640)


class _Pruner:
    def __init__(self, tools: Tools, is_dry_run: bool) -> None:
        self._tools = tools
        self._root = tools.spool.root
        self._is_dry_run = is_dry_run
        self._now_s = tools.clock().timestamp()
        self._removed: Counter[tuple[str, str]] = Counter()
        self._left: list[str] = []
        self.looked_through = date.min

    def run(self, looked_through: date) -> Pruned:
        """Prune; days of ``done/`` up to `looked_through` were looked into before, for what no rule matched."""
        self.looked_through = looked_through
        for day, folder in _days(self._root / State.DONE):
            self._prune_day(day, folder)
        self._prune_scratch()
        self._prune_output()
        if not self._is_dry_run:
            for _ in self._tools.spool.sweep_locks():
                self._removed["locks that nobody held", "locks/"] += 1
        removed = (Removed(what, where, number) for (what, where), number in self._removed.items())
        return Pruned(tuple(removed), tuple(self._left))

    # Records

    def _prune_day(self, day: date, folder: Path) -> None:
        settings = self._tools.settings
        age_days = (datetime.fromtimestamp(self._now_s, UTC).date() - day).days
        is_old = _is_over(age_days, settings.done_retention_days)
        is_old_if_unmatched = _is_over(age_days, settings.done_unmatched_retention_days)
        where = str(folder.relative_to(self._root))
        if is_old:
            for path in _records(folder):
                self._remove(path, "records", where)
        elif is_old_if_unmatched and day > self.looked_through:
            for path in _records(folder):
                self._tools.pulse.beat()
                if _matched_nothing(path):
                    self._remove(path, "records of what no rule matched", where)
            self.looked_through = day
        if age_days > 1 and not self._is_dry_run:
            with suppress(OSError):
                folder.rmdir()
                self._removed["empty folder", where] += 1

    def _remove(self, path: Path, what: str, where: str) -> None:
        self._tools.pulse.beat()
        if not self._is_dry_run:
            try:
                path.unlink()
            except FileNotFoundError:
                # A person moved it away a moment ago.
                return
        self._removed[what, where] += 1

    # What dead processes left

    def _prune_scratch(self) -> None:
        for path in _entries(self._root / "tmp"):
            self._remove_stale(path, "tmp/")
        ledger, state = self._root / "ledger", self._root / "state"
        folders = (
            *ledger.glob("??"),
            ledger / "names",
            ledger / "writing",
            state,
            state / "roots",
            state / "processors",
        )
        for folder in folders:
            for path in _hidden(folder):
                self._remove_stale(path, f"{folder.relative_to(self._root).parts[0]}/")

    def _remove_stale(self, path: Path, where: str) -> None:
        with suppress(FileNotFoundError):
            status = path.lstat()
            # A copy may bring an old modification time with it; the change time says when it came here.
            if self._now_s - max(status.st_mtime, status.st_ctime) > STALE_S and not path.is_dir():
                self._remove(path, "unfinished files", where)

    def _prune_output(self) -> None:
        depths = self._depths()
        for root in self._tools.places.used():
            path = self._tools.places.path(root)
            try:
                self._tools.places.at(root)
                for folder in _entries(path):
                    if folder.is_dir() and not folder.is_symlink():
                        self._prune_rule_folder(root, folder, depths)
            except FolderMissing as error:
                self._left.append(str(error))
            except OSError as error:
                # The error's own text names the file, and that names a patient.
                self._left.append(f"the output {path} can't be tidied up: {error.strerror}; fix its owner or mode")

    def _depths(self) -> dict[str, int]:
        """How many folders deep the names of each rule lie, by its folder."""
        try:
            rules = deciding(self._tools.rulebook.read())
        except RulesUnavailable:
            # The next prune looks deeper again.
            return {}
        return {rule.folder: len(rule.name_template.components) - 1 if rule.name_template else 0 for rule in rules}

    def _prune_rule_folder(self, root: str, folder: Path, depths: Mapping[str, int]) -> None:
        names = [str(path.relative_to(folder)) for path in _working(folder, depths.get(folder.name, 0))]
        foreign = sum(not self._prune_working(root, folder.name, name) for name in names)
        # A share has folders of others, too.
        if foreign and (not root or folder.name in depths):
            # Their names are a patient's.
            self._left.append(
                f"{root or 'output'}/{folder.name}: {foreign} with {WORKING} in the name left alone, as the ledger "
                f"doesn't know them; look into them and remove them yourself: ls -d {folder}/*{WORKING}*"
            )

    def _prune_working(self, root: str, folder: str, name: str) -> bool:
        """Remove what a dead run left; False when it isn't known as ours."""
        ledger, published = self._tools.spool.ledger, published_name(name)
        key = ledger.owner(folder, published) or ledger.owner(folder, published.removesuffix(".zip"))
        lock = locks.take(self._root / "locks", key) if key else None
        if key is None:
            return False
        if lock is None:
            # Somebody is working on it.
            return True
        try:
            record = HeldRecord(ledger, key, lock.check)
            if _knows(record.now, root, folder, name):
                if not self._is_dry_run:
                    self._recover(record)
            elif not self._remove_empty(root, folder, name):
                return False
            self._removed[f"{WORKING} of dead runs", f"{root or 'output'}/{folder}"] += 1
        except (LedgerError, FolderMissing, OutputUnavailable) as error:
            # Of the same study, something may be undecided on another share, which is away.
            self._left.append(str(error))
        finally:
            lock.release()
        return True

    def _remove_empty(self, root: str, folder: str, name: str) -> bool:
        # A crash between making the folder and entering it leaves an empty one, under a name that is the resource's.
        path = self._tools.places.path(root) / folder / name
        if not name.endswith(WORKING) or not path.is_dir() or path.is_symlink() or any(path.iterdir()):
            return False
        if not self._is_dry_run:
            path.rmdir()
        return True

    def _recover(self, record: HeldRecord) -> None:
        publish.recover(record, self._tools.places.at)
        with suppress(AuditUnavailable):
            self._tools.audit.settle(record)


def _working(folder: Path, depth: int) -> Iterator[Path]:
    """What has the mark of something unfinished in its name, so many folders down at most."""
    for path in _entries(folder):
        if WORKING in path.name:
            yield path
        elif depth and path.is_dir() and not path.is_symlink():
            yield from _working(path, depth - 1)


def _knows(record: Record, root: str, folder: str, name: str) -> bool:
    intent, aside = record.intent, record.aside
    begun = [*record.left, *([record.working] if record.working else [])]
    known = {(one.root, one.folder, one.name) for one in begun}
    if aside:
        known.add((aside.root, aside.folder, aside.place))
    if intent:
        known.update((intent.root, intent.folder, one.parked_name) for one in intent.parked)
    # What a crash left in the middle of being removed.
    return (root, folder, unfinished_name(name)) in known


def _is_over(age_days: int, retention_days: int) -> bool:
    # Zero keeps records permanently. What was filed late on its day has had all of its days.
    return 0 < retention_days < age_days


def _days(done: Path) -> Iterator[tuple[date, Path]]:
    for folder in sorted(done.glob("????-??-??")):
        # What a link leads to isn't ours.
        if not folder.is_symlink():
            with suppress(ValueError):
                yield date.fromisoformat(folder.name), folder


def _records(folder: Path) -> Iterator[Path]:
    """The records of a day, one after the other, in no order: there may be a million."""
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        for entry in entries:
            # A folder can't be removed like a record, and reading a pipe would wait for somebody to write into it.
            if entry.name.endswith(".json") and entry.name[0] != "." and entry.is_file(follow_symlinks=False):
                yield Path(entry.path)


def _matched_nothing(path: Path) -> bool:
    try:
        return not marker.parse(path.name, path.read_bytes()).outcomes
    except (OSError, MarkerError):
        return False


def _hidden(folder: Path) -> list[Path]:
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        return [Path(entry.path) for entry in entries if entry.name.startswith(".")]
    return []


def _entries(folder: Path) -> list[Path]:
    try:
        return [folder / name for name in sorted(os.listdir(folder))]  # noqa: PTH208 - thousands of names
    except (FileNotFoundError, NotADirectoryError):
        return []
