"""Filing: a marker goes to its next directory, and gets its record there.

The record is written to ``state/filing/INODE.json`` first, then the marker is renamed to its new directory, then the
record is renamed over it. A full disk can spoil the record, never the marker; a crash between the two renames is
completed by the next recovery, which knows the marker by its inode. A marker that is gone was taken by a person, and
is left to him.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from autorthanc_spool.core import marker
from autorthanc_spool.core.errors import MarkerError, SpoolUnavailable
from autorthanc_spool.core.marker import Marker
from autorthanc_spool.core.states import Event, target
from autorthanc_spool.disk import durable, locks
from autorthanc_spool.disk.locks import ResourceLock
from autorthanc_spool.spool.directories import Item, Shelves

log = logging.getLogger(__name__)

# Makes the content of a filed marker out of where and when it was filed; None leaves it as it is.
Record = Callable[[dict[str, str]], bytes | None]


class Cabinet(Shelves):
    """The spool, as far as filing goes; `spool` says who files what."""

    def _move_filed(self, item: Item, event: Event, record: Record, due_in_s: float = 0.0) -> Item | None:
        """File a marker; None when a person had taken it.

        Raises SpoolUnavailable, when the marker was moved but its record couldn't be written.
        """
        state = target(item.state, event)
        if state is None:
            raise ValueError(f"no transition leads from {item.state} by {event}")
        path, now = self.free_path(state, item.name), self._clock()
        filed = {"path": str(path.relative_to(self.root)), "time": utc(now)}
        written: Path | None = None
        try:
            written = self.root / "state" / "filing" / f"{item.path.lstat().st_ino}.json"
            trouble = _write_record(written, record(filed), now + due_in_s)
            if trouble:
                # Its own time has to say when it is due: what is due at once would be tried over and over.
                _set_time(item.path, now + due_in_s)
            durable.move(item.path, path)
        except FileNotFoundError:
            if written:
                written.unlink(missing_ok=True)
            return None
        except FileExistsError:
            # Another process just filed a marker of the same name there.
            return self._move_filed(item, event, record, due_in_s)
        if trouble:
            raise SpoolUnavailable(
                f"{item.name} went to {state}/ without its record, because the spool can't be written "
                f"({trouble.strerror}); free some space, or mend the folder state/filing"
            ) from trouble
        # Where there is no record, or a recovery that ran meanwhile did this for us, there is nothing to rename.
        with suppress(FileNotFoundError):
            durable.replace(written, path)
        return Item(state, path.name, path)

    def complete_filing(self) -> None:
        """Finish what a crash interrupted between the two renames."""
        for record in sorted((self.root / "state" / "filing").glob("*.json")):
            with suppress(FileNotFoundError):
                self._complete_one(record)

    def _complete_one(self, record: Path) -> None:
        content = record.read_bytes()
        try:
            key = marker.parse(record.name, content).key
        except MarkerError:
            key = _unreadable_key(record.stem)
        lock = self.try_lock(key)
        if lock is None:
            return
        try:
            path = self.root / marker.filed_path(content)
            if path.is_file() and str(path.stat().st_ino) == record.stem:
                durable.replace(record, path)
            else:
                record.unlink(missing_ok=True)
        finally:
            lock.release()

    def _judge_unreadable(self, item: Item, error: MarkerError) -> bool:
        """Put aside what names nothing, when it has rested; tell whether it was."""
        if not self.has_rested(item):
            return False
        # Nobody works on it, so it has no lock of a resource; this one keeps a recovery away from its record.
        lock = self.try_lock(_unreadable_key(str(item.path.lstat().st_ino)))
        if lock is None:
            return False
        try:
            filed = self._move_filed(item, Event.REJECT, _rejection_of(item, error))
            if filed:
                show = filed.name.removesuffix(".json")
                log.warning("%s -> failed/: it is no marker (`autorthanc-spool show %s` tells why)", item.name, show)
            return filed is not None
        finally:
            lock.release()

    def try_lock(self, key: str) -> ResourceLock | None:
        """Take the lock of a resource, or whatever else has a name; None when another one has it."""
        return locks.take(self.root / "locks", key)


def record_of(result: Marker) -> Record:
    """The record of a marker whose run ended with this result."""
    return lambda filed: marker.dump(replace(result, filed=filed))


def utc(seconds: float) -> str:
    """Write a time as markers do."""
    return datetime.fromtimestamp(seconds, UTC).strftime(marker.TIME_FORMAT)


def _unreadable_key(inode: str) -> str:
    return f"filing-{inode}"


def _write_record(path: Path, data: bytes | None, due: float) -> OSError | None:
    """Write the record beside the marker; give back why it can't be: then the marker goes on without it."""
    try:
        path.unlink(missing_ok=True)
        if data is not None:
            durable.create(path, data)
            # The modification time says when a deferred marker is due.
            _set_time(path, due)
    except OSError as error:
        return error
    return None


def _set_time(path: Path, time_s: float) -> None:
    # Only its owner may do this, and a marker belongs to whoever wrote it.
    with suppress(OSError):
        os.utime(path, (time_s, time_s))


def _rejection_of(item: Item, error: MarkerError) -> Record:
    data = _content(item)
    return lambda filed: None if data is None else marker.dump_rejected(data, str(error), filed)


def _content(item: Item) -> bytes | None:
    """Read what a person put there by mistake; None when it can't be read or is too large to be copied."""
    try:
        status = item.path.lstat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > marker.MAX_SIZE_BYTES:
            return None
        return item.path.read_bytes()
    except PermissionError:
        return None
