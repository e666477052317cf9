"""The spool: the directory is the state. The only mover of markers and the only taker of locks.

::

    tmp/  incoming/  processing/  deferred/  failed/  hold/  done/YYYY-MM-DD/  locks/  ledger/  state/

The protocol, told once:

*Claim.* Lock, then rename. The lock is that of the *resource* (``locks/study-ID.lock``, flock, never waited for); the
rename from ``incoming/`` or ``deferred/`` to ``processing/`` decides who has the marker. The lock says that its owner
is alive, because the kernel drops it with the process, and keeps two runs of one resource apart. Markers are never
locked themselves. What asks for the work to be done *again* is written into the ledger before the rename, so that a
crash between the two repeats it instead of forgetting it.

*Recover.* A file in ``processing/`` whose lock can be taken has no owner: it goes to ``deferred/``, due now. No lease,
no time-out.

*File.* The record is written to ``state/filing/INODE.json`` first, then the marker is renamed to its new directory,
then the record is renamed over it. A full disk can spoil the record, never the marker; a crash between the two renames
is completed by the next recovery, which knows the marker by its inode. A marker that is gone from ``processing/`` was
taken by a person, and is left to him.

Lock files don't pile up; how that is safe stands in `locks`.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from autorthanc_spool.core import marker
from autorthanc_spool.core.errors import Cause, MarkerError, SpoolError, SpoolUnavailable, UsageError, WorkerDied
from autorthanc_spool.core.marker import Marker, Rejected
from autorthanc_spool.core.outcome import Problem
from autorthanc_spool.core.states import Event, State, target
from autorthanc_spool.disk import durable, locks
from autorthanc_spool.disk.locks import ResourceLock
from autorthanc_spool.spool.directories import Clock, Directories, Item, utc
from autorthanc_spool.spool.ledger import HeldRecord, Ledger, LedgerError

log = logging.getLogger(__name__)

# A marker that took this many processes down with it is more than bad luck.
MAX_DEATHS = 50
# More than the record of an ordinary study, with the checksums of its files.
PROBE_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Claim:
    """A marker in ``processing/`` that is ours, with the lock and the ledger's record of its resource.

    `companions` are the other markers of the resource that waited when it was claimed, and ask for nothing else.
    """

    item: Item
    marker: Marker
    lock: ResourceLock
    record: HeldRecord
    companions: tuple[Item, ...]
    inode: int

    def is_ours(self) -> bool:
        """Whether the marker still lies in ``processing/``: a person may have taken it away."""
        with suppress(FileNotFoundError):
            return self.item.path.stat().st_ino == self.inode
        return False


class Spool:
    """One spool directory, shared with Orthanc, with other processes, and with a person at a shell."""

    def __init__(self, root: Path, clock: Clock) -> None:
        self.root = root
        self.directories = Directories(root, clock)
        self.ledger = Ledger(root / "ledger")
        self._clock = clock

    # The life of a marker

    def claims(self) -> Iterator[Claim]:
        """Claim what is due, one after the other, until nothing is left whose resource nobody works on.

        The consumer files each claim before it asks for the next one.
        """
        found = True
        while found:
            found = False
            for item in self._due():
                claim = None
                with suppress(FileNotFoundError):
                    claim = self._claim(item)
                if claim:
                    found = True
                    yield claim

    def recover(self) -> list[Item]:
        """Take back what dead processes left: markers to ``deferred/``, half-filed records to their markers."""
        self._complete_filing()
        return [item for item in self.directories.items(State.PROCESSING) if self._recover(item)]

    def sweep_locks(self) -> list[str]:
        """Remove the lock files of dead processes, and name them. One that is held stays."""
        swept = []
        for path in sorted((self.root / "locks").glob("*.lock")):
            lock = self.try_lock(path.stem)
            if lock:
                lock.release()
                swept.append(path.name)
        return swept

    def file(self, claim: Claim, event: Event, result: Marker, due_in_s: float = 0.0) -> Item | None:
        """File a claim with its record, and its companions with it; None when a person had taken it."""
        try:
            if not claim.is_ours():
                return None
            filed = self._file(claim.item, event, result, due_in_s)
            for companion in claim.companions if filed else ():
                self._supersede(companion, claim)
            return filed
        finally:
            claim.lock.release()

    def make_due(self, causes: Collection[Cause]) -> None:
        """Make the deferred markers due now that wait for one of these: it is back."""
        self._wake(lambda found: any(problem.wakes_on in causes for problem in found.problems))

    def make_due_behind(self, key: str) -> None:
        """Make the deferred markers due now that wait for this resource."""
        self._wake(lambda found: found.error is not None and found.error.waits_for == key)

    def _wake(self, is_meant: Callable[[Marker], bool]) -> None:
        for item in self.directories.items(State.DEFERRED):
            # Only its owner may set a marker's time: where processors run as several users, each does it for its own.
            with suppress(FileNotFoundError, MarkerError, PermissionError):
                if is_meant(self.directories.read(item)):
                    os.utime(item.path, (self._clock(), self._clock()))

    def try_writing(self) -> None:
        """Write a little, and remove it. Raises OSError: on a full disk markers can be moved, but nothing be noted."""
        probe = self.root / "state" / f".probe-{os.getpid()}"
        probe.unlink(missing_ok=True)
        durable.create(probe, bytes(PROBE_BYTES))
        probe.unlink()

    def move(self, item: Item, event: Event) -> Item:
        """Move a marker for a person: what `mv` would do, with the transitions checked."""
        state = target(item.state, event)
        if state is None:
            raise UsageError(f"{item.name} is in {item.state}/: {event} isn't possible there")
        path = self.directories.relocate(item.path, state, item.name)
        return Item(state, path.name, path)

    def delete(self, item: Item, wait_s: float = 10.0) -> None:
        """Remove a marker for a person, and record that its resource is refused, so that it isn't brought back."""
        with suppress(MarkerError):
            found = self.directories.read(item)
            with self.locked(found.key, wait_s):
                record = self.ledger.read(found.key)
                self.ledger.write(replace(record, refused=utc(self._clock())))
        item.path.unlink(missing_ok=True)

    # Locks

    def try_lock(self, key: str) -> ResourceLock | None:
        """Take the lock of a resource, or whatever else has a name; None when another one has it."""
        return locks.take(self.root / "locks", key)

    @contextmanager
    def locked(self, key: str, wait_s: float) -> Iterator[None]:
        """Hold a lock, waiting for it if need be."""
        lock = locks.take(self.root / "locks", key, wait_s)
        if lock is None:
            raise SpoolError(f"{key} is being worked on; try again when its marker has left processing/")
        try:
            yield
        finally:
            lock.release()

    # Inside

    def _due(self) -> Iterator[Item]:
        yield from self.directories.items(State.INCOMING)
        yield from (item for item in self.directories.items(State.DEFERRED) if self.directories.due_in_s(item) <= 0)

    def _claim(self, item: Item) -> Claim | None:
        try:
            found = self.directories.read(item)
        except MarkerError as error:
            self._judge_unreadable(item, error)
            return None
        is_whole = item.state is not State.INCOMING or not self.directories.may_be_unfinished(item)
        if not is_whole and not self.directories.has_rested(item):
            return None
        lock = self.try_lock(found.key)
        if lock is None:
            return None
        claim = None
        try:
            # It may have been moved, or replaced by another one, before we had the lock.
            if self.directories.read(item) == found:
                claim = self._take(item, found, lock)
            return claim
        finally:
            if claim is None:
                lock.release()

    def _take(self, item: Item, found: Marker, lock: ResourceLock) -> Claim | None:
        status = item.path.stat()
        again = item.state is State.INCOMING and found.asks_again
        if again:
            # A record that can't be understood is judged by the run, which puts the marker aside with the reason.
            with suppress(LedgerError):
                self.ledger.write(self.ledger.read(found.key).asked_again(found.rules))
        path = self.directories.relocate(item.path, State.PROCESSING, item.name)
        claimed = Item(State.PROCESSING, path.name, path)
        if path.stat().st_ino != status.st_ino:
            # A person put another file there between our reading and our renaming: it gets its own turn.
            self.directories.relocate(path, item.state, item.name)
            return None
        companions = tuple(
            other
            for other in self.directories.waiting({found.key}, State.INCOMING, State.DEFERRED)
            if self._asks_no_more(other, found, again)
        )
        counted = found.restarted() if item.state is State.INCOMING else found
        record = HeldRecord(self.ledger, found.key)
        return Claim(claimed, counted, lock, record, companions, status.st_ino)

    def _asks_no_more(self, other: Item, claimed: Marker, again: bool) -> bool:
        with suppress(FileNotFoundError, MarkerError):
            found = self.directories.read(other)
            other_again = other.state is State.INCOMING and found.asks_again
            return claimed.covers(found) and (again or not other_again)
        return False

    def _supersede(self, item: Item, claim: Claim) -> None:
        with suppress(FileNotFoundError, MarkerError):
            found = self.directories.read(item)
            record = replace(found, error=None, outcomes={}, extra={**found.extra, "superseded_by": claim.item.name})
            self._file(item, Event.SUPERSEDE, record)

    def _recover(self, item: Item) -> bool:
        try:
            found = self.directories.read(item)
        except FileNotFoundError:
            return False
        except MarkerError as error:
            return self._judge_unreadable(item, error)
        lock = self.try_lock(found.key)
        if lock is None:
            return False
        try:
            # Its owner may have filed it between our listing and our locking: then the move below finds nothing.
            dead = replace(found, deaths=found.deaths + 1, error=_died(found.deaths + 1))
            event = Event.FAIL if dead.deaths > MAX_DEATHS else Event.DEFER
            return self._file(item, event, dead) is not None
        finally:
            lock.release()

    # Filing

    def _file(self, item: Item, event: Event, result: Marker | Rejected, due_in_s: float = 0.0) -> Item | None:
        """File a marker; None when a person had taken it.

        Raises SpoolUnavailable, when the marker was moved but its record couldn't be written.
        """
        state = target(item.state, event)
        if state is None:
            raise ValueError(f"no transition leads from {item.state} by {event}")
        path, now = self.directories.free_path(state, item.name), self._clock()
        filed = {"path": str(path.relative_to(self.root)), "time": utc(now)}
        written: Path | None = None
        try:
            written = self.root / "state" / "filing" / f"{item.path.lstat().st_ino}.json"
            trouble = _write_record(written, marker.record(result, filed), now + due_in_s)
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
            return self._file(item, event, result, due_in_s)
        if trouble:
            raise SpoolUnavailable(
                f"{item.name} went to {state}/ without its record, because the spool can't be written "
                f"({trouble.strerror}); free some space, or fix the folder state/filing"
            ) from trouble
        # Where there is no record, or a recovery that ran meanwhile did this for us, there is nothing to rename.
        with suppress(FileNotFoundError):
            durable.replace(written, path)
        return Item(state, path.name, path)

    def _complete_filing(self) -> None:
        """Finish what a crash interrupted between the two renames."""
        for written in sorted((self.root / "state" / "filing").glob("*.json")):
            with suppress(FileNotFoundError):
                self._complete_one(written)

    def _complete_one(self, written: Path) -> None:
        content = written.read_bytes()
        try:
            key = marker.parse(written.name, content).key
        except MarkerError:
            key = _unreadable_key(written.stem)
        lock = self.try_lock(key)
        if lock is None:
            return
        try:
            path = self.root / marker.filed_path(content)
            if path.is_file() and str(path.stat().st_ino) == written.stem:
                durable.replace(written, path)
            else:
                written.unlink(missing_ok=True)
        finally:
            lock.release()

    def _judge_unreadable(self, item: Item, error: MarkerError) -> bool:
        """Put aside what names nothing, when it has rested; tell whether it was."""
        if not self.directories.has_rested(item):
            return False
        # Nobody works on it, so it has no lock of a resource; this one keeps a recovery away from its record.
        lock = self.try_lock(_unreadable_key(str(item.path.lstat().st_ino)))
        if lock is None:
            return False
        try:
            filed = self._file(item, Event.REJECT, Rejected(_content(item), error))
            if filed:
                show = filed.name.removesuffix(".json")
                log.warning("%s -> failed/: it is not a marker (`autorthanc-spool show %s` tells why)", item.name, show)
            return filed is not None
        finally:
            lock.release()


def _died(times: int) -> Problem:
    return Problem.of(WorkerDied(f"the process that worked on it died ({times} of {MAX_DEATHS} times)"))


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
