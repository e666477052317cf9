"""The ledger: what was done, one file per resource; the truth, where markers are only wake-ups.

::

    ledger/0a/study-0a4b249f-….json    the record of one resource; read and written under the resource's lock
    ledger/writing/.KEY.TOKEN          a record that is being written, until it is renamed to its place
    ledger/names/<sha256>              the name RULE/NAME belongs to the resource that is written inside, permanently;
                                       "folder": names of resources lie below it

A record is replaced as a whole, durably, at these moments: when something is to be done again (before the claim), when
a working directory was made, before the rename that publishes (the intent), after it, when the run has seen the
resource, before and after something is deleted from Orthanc, and before and after a publication is announced again.
Whatever a crash leaves behind, `intent`, `working`, `left`, `deletion` and `aside` say whose it is.

*A late writer is refused.* A process that was cut off from the spool may have lost its lock without knowing, and
another one may be at work. So whoever begins to work with a record (`HeldRecord`) first removes what lies in
``writing/`` under its key, and only then reads it. Whoever writes puts the new record into ``writing/``, then makes
sure that it holds the lock and that the record still is by the writer that it was by (`Record.writer`), then renames.
However late that rename comes: either it was made before the other one looked, or nothing is left to be renamed.
"""

from __future__ import annotations

import hashlib
import os
import socket
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import replace
from pathlib import Path

from autorthanc_spool.core.errors import ClaimLost, SpoolError, SpoolUnavailable
from autorthanc_spool.core.pulse import Pulse, no_pulse
from autorthanc_spool.core.record import Record, Writer, dump, parse
from autorthanc_spool.disk import durable

_FOLDER = "folder"


class LedgerError(SpoolError):
    """A record can't be understood."""


class Ledger:
    """The only reader and writer of the ledger."""

    def __init__(self, folder: Path, pulse: Pulse | None = None) -> None:
        self._folder = folder
        # Beats with each record: reconciliation may read a hundred thousand.
        self._pulse = pulse or no_pulse()

    def read(self, key: str) -> Record:
        """Read the record of a resource; an empty one when there is none."""
        path = self._path(key)
        self._pulse.beat()
        try:
            with _spool_trouble():
                data = _bytes_of(path)
            return parse(key, data) if data is not None else Record(key)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise LedgerError(
                f"the ledger's record ledger/{key_folder(key)}/{key}.json can't be understood; move it away to have "
                "everything of this resource done again, or restore it from a backup"
            ) from None

    def begin(self, key: str) -> None:
        """Refuse whatever another process was about to write of a resource; the caller holds its lock."""
        with _spool_trouble(), suppress(FileNotFoundError):
            for name in os.listdir(self._writing):  # noqa: PTH208 - most often there is none
                if name.startswith(f".{key}."):
                    (self._writing / name).unlink(missing_ok=True)

    def write(self, record: Record, check: Callable[[], None] = lambda: None, *, keeps: bool = True) -> Record:
        """Replace the record of a resource, durably; the last thing before is `check`, which may refuse it.

        The caller holds the resource's lock. With `keeps` false, a power cut may bring the earlier record back.
        """
        path, scratch = self._path(record.key), self._writing / f".{record.key}.{uuid.uuid4().hex}"
        with _spool_trouble():
            for folder in (path.parent, self._writing):
                if not folder.is_dir():
                    folder.mkdir(mode=0o750, exist_ok=True)
                    durable.sync_directory(self._folder)
            durable.create(scratch, dump(record), mode=0o640)
            with ExitStack() as undo:
                undo.callback(_remove, scratch)
                check()
                try:
                    durable.replace(scratch, path, keeps_name=keeps)
                except FileNotFoundError:
                    check()
                    raise
                undo.pop_all()
        return record

    def forget(self, key: str) -> None:
        """Remove the record of a resource that never was a patient's; the caller holds the resource's lock."""
        self._path(key).unlink(missing_ok=True)

    def keys(self) -> list[str]:
        """List the keys of all records."""
        return sorted(path.stem for path in self._folder.glob("??/*.json") if not path.name.startswith("."))

    def reserve(self, folder: str, name: str, key: str) -> bool:
        """Give the name FOLDER/NAME to a resource permanently; False when it belongs to another one."""
        return self._reserve(folder, name, key) == key

    def reserve_folder(self, folder: str, name: str) -> bool:
        """Have FOLDER/NAME be a folder of names permanently; False when it is a name."""
        return self._written(folder, name) == _FOLDER or self._reserve(folder, name, _FOLDER) == _FOLDER

    def owner(self, folder: str, name: str) -> str | None:
        """Return the key of the resource that the name belongs to."""
        found = self._written(folder, name)
        return None if found == _FOLDER else found

    def _reserve(self, folder: str, name: str, owner: str) -> str | None:
        """Write who has a name, unless somebody has it; return who does."""
        path = self._name_path(folder, name)
        scratch = path.with_name(f".{path.name}-{uuid.uuid4().hex}")
        # The owner is written before the name exists, so that a crash never leaves a name without one.
        with _spool_trouble():
            durable.create(scratch, f"{owner}\n".encode(), mode=0o640)
            try:
                durable.move(scratch, path)
            except FileExistsError:
                scratch.unlink(missing_ok=True)
                return self._written(folder, name)
        return owner

    def _written(self, folder: str, name: str) -> str | None:
        with _spool_trouble():
            data = _bytes_of(self._name_path(folder, name))
        # What can't be read is somebody's name all the same.
        return None if data is None else data.decode(errors="replace").strip()

    @property
    def _writing(self) -> Path:
        return self._folder / "writing"

    def _path(self, key: str) -> Path:
        return self._folder / key_folder(key) / f"{key}.json"

    def _name_path(self, folder: str, name: str) -> Path:
        return self._folder / "names" / hashlib.sha256(f"{folder}/{name}".encode()).hexdigest()


class HeldRecord:
    """The record of one resource while its lock is held: read once, and written through.

    `check` raises ClaimLost when the lock is lost.
    """

    def __init__(self, ledger: Ledger, key: str, check: Callable[[], None]) -> None:
        self._ledger = ledger
        self._key = key
        self._known: Record | None = None
        self._own: Writer | None = None
        # Who may have written the record: whoever wrote it before, until it is known to be this one.
        self._writers: tuple[Writer | None, ...] = ()
        self.check = check

    @property
    def now(self) -> Record:
        """What the ledger holds. Raises LedgerError, ClaimLost."""
        if self._known is None:
            self._known = self._read()
        return self._known

    def write(self, record: Record, *, keeps: bool = True) -> Record:
        """Replace it, durably; with `keeps` false, a power cut may bring the earlier one back.

        Raises ClaimLost when another process has written it since.
        """
        _ = self.now
        # Where writing fails, only the disk knows which of the two it holds.
        self._known = None
        self._writers = (*self._writers, self._own)
        self._known = self._ledger.write(replace(record, writer=self._own), self._check_writer, keeps=keeps)
        self._writers = (self._own,)
        return self._known

    def _read(self) -> Record:
        if self._own is None:
            self._ledger.begin(self._key)
        found = self._ledger.read(self._key)
        if self._own is None:
            run = found.writer.run + 1 if found.writer else 1
            self._own = Writer(socket.gethostname(), os.getpid(), run)
            self._writers = (found.writer,)
        elif found.writer not in self._writers:
            raise ClaimLost(f"another process has written the ledger's record of {self._key}")
        return found

    def _check_writer(self) -> None:
        self._read()
        self.check()


def _spool_trouble() -> AbstractContextManager[None]:
    return durable.passing_trouble(SpoolUnavailable, "the spool")


def key_folder(key: str) -> str:
    """Spread the records over 256 folders, by the first two digits of the ID."""
    return key.partition("-")[2][:2]


def _bytes_of(path: Path) -> bytes | None:
    with suppress(FileNotFoundError):
        return path.read_bytes()
    return None


def _remove(scratch: Path) -> None:
    # Where it can't be removed now, whoever begins next does it.
    with suppress(OSError):
        scratch.unlink()
