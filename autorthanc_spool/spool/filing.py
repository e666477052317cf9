"""Filing: a marker goes where it belongs, and its record is written over it.

The record is written to ``state/filing/INODE.json`` first, then the marker is renamed to its new directory, then the
record is renamed over it. A full disk can spoil the record, never the marker; a crash between the two renames is
completed by the next recovery, which knows the marker by its inode.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from autorthanc_spool.core import marker
from autorthanc_spool.core.errors import MarkerError, SpoolUnavailable
from autorthanc_spool.core.marker import Marker, Rejected
from autorthanc_spool.core.states import Event, target
from autorthanc_spool.disk import durable
from autorthanc_spool.disk.locks import ResourceLock
from autorthanc_spool.spool.directories import Clock, Directories, Item, shell_word, shown, utc

log = logging.getLogger(__name__)

# Takes the lock of a key; None when another one has it.
TryLock = Callable[[str], ResourceLock | None]


class Filer:
    """Files markers; the caller holds the lock of each.

    `unsynced` gets the folders whose names are to be made durable later.
    """

    def __init__(self, directories: Directories, clock: Clock, unsynced: set[Path]) -> None:
        self._directories = directories
        self._root = directories.root
        self._clock = clock
        self._unsynced = unsynced

    def file(
        self, item: Item, event: Event, result: Marker | Rejected, due_in_s: float = 0.0, *, keeps: bool = True
    ) -> Item | None:
        """File a marker; None when a person had taken it.

        Raises SpoolUnavailable, when the marker was moved but its record couldn't be written.
        """
        state = target(item.state, event)
        if state is None:
            raise ValueError(f"no transition leads from {item.state} by {event}")
        path, now = self._directories.free_path(state, item.name), self._clock()
        filed = {"path": str(path.relative_to(self._root)), "time": utc(now)}
        written: Path | None = None
        try:
            written = self._root / "state" / "filing" / f"{item.path.lstat().st_ino}.json"
            trouble = _write_record(written, marker.record(result, filed), now + due_in_s)
            if trouble:
                # Its own time has to say when it is due: what is due at once would be tried over and over.
                _set_time(item.path, now + due_in_s)
            if keeps:
                durable.move(item.path, path)
            else:
                durable.rename_exclusively(str(item.path), str(path))
                self._unsynced.update((item.path.parent, path.parent))
        except FileNotFoundError:
            if written:
                written.unlink(missing_ok=True)
            return None
        except FileExistsError:
            # Another process just filed a marker of the same name there.
            return self.file(item, event, result, due_in_s, keeps=keeps)
        if trouble:
            raise SpoolUnavailable(
                f"{item.name} went to {state}/ without its record, because the spool can't be written "
                f"({trouble.strerror}); free some space, or fix the folder state/filing"
            ) from trouble
        # Where there is no record, or a recovery that ran meanwhile did this for us, there is nothing to rename.
        with suppress(FileNotFoundError):
            durable.replace(written, path, keeps_name=keeps)
        return Item(state, path.name, path)

    def complete(self, try_lock: TryLock) -> None:
        """Finish what a crash interrupted between the two renames."""
        for written in sorted((self._root / "state" / "filing").glob("*.json")):
            with suppress(FileNotFoundError):
                self._complete(written, try_lock)

    def _complete(self, written: Path, try_lock: TryLock) -> None:
        content = written.read_bytes()
        try:
            key = marker.parse(written.name, content).key
        except MarkerError:
            key = _unreadable_key(written.stem)
        lock = try_lock(key)
        if lock is None:
            return
        try:
            path = self._root / marker.filed_path(content)
            if path.is_file() and str(path.stat().st_ino) == written.stem:
                durable.replace(written, path)
            else:
                written.unlink(missing_ok=True)
        finally:
            lock.release()

    def reject(self, item: Item, error: MarkerError, try_lock: TryLock) -> bool:
        """Put aside what names nothing, when it has rested; return whether it was."""
        if not self._directories.has_rested(item):
            return False
        # Nobody works on it, so it has no lock of a resource; this one keeps a recovery away from its record.
        lock = try_lock(_unreadable_key(str(item.path.lstat().st_ino)))
        if lock is None:
            return False
        try:
            filed = self.file(item, Event.REJECT, Rejected(_content(item), error))
            if filed:
                name = shell_word(filed.name.removesuffix(".json"))
                text = "%s -> failed/: it is not a marker (`autorthanc-spool show %s` says why)"
                log.error(text, shown(item.name), name)
            return filed is not None
        finally:
            lock.release()


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


def _content(item: Item) -> bytes | None:
    """Read what a person put there by mistake; None when it can't be read or is too large to be copied."""
    try:
        status = item.path.lstat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > marker.MAX_SIZE_BYTES:
            return None
        return item.path.read_bytes()
    except PermissionError:
        return None
