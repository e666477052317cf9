"""The spool: the directory is the state. The only mover of markers and the only taker of locks.

::

    tmp/  incoming/  processing/  deferred/  failed/  hold/  done/YYYY-MM-DD/  locks/  ledger/  state/

The protocol:

*Claim.* Lock, then rename. The lock is that of the *resource* (``locks/study-ID.lock``, flock, never waited for); the
rename from ``incoming/`` or ``deferred/`` to ``processing/`` decides who has the marker. The lock says that its owner
is alive, because the kernel drops it with the process, and keeps two runs of one resource apart. Markers are never
locked themselves. What asks for the work to be done *again* is written into the ledger before the rename, so that a
crash between the two repeats it instead of forgetting it.

*Look.* What waits is listed once for many claims (`queue`). That list is a hint: whatever it says, the rename decides.

*Pass over.* A marker that asks for nothing is claimed in the same way, but nothing of that is synchronised, and it is
removed instead of filed. When a power cut undoes this, the marker is passed over once more.

*Recover.* A file in ``processing/`` whose lock can be taken has no owner: it goes to ``deferred/``, due now. No lease,
no time-out.

*File.* The marker is renamed to its new directory, and its record over it (`filing`). A marker that is gone from
``processing/`` was taken by a person, and is left to them.

*Fence.* On a file system of several machines a claim can be lost while its owner lives: the machine was cut off, and
others took the marker back and claimed it. So before each step that others see, the owner makes sure that it holds the
lock, that the lock's file is at its path, and that the marker lies in ``processing/`` (`Claim.check`); the ledger
refuses what it writes too late, and `output.publish` what it publishes too late. Whoever has lost a claim says so once,
and touches nothing of it again.

Lock files don't pile up; `locks` explains how that is safe.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from autorthanc_spool.core.errors import (
    Cause,
    MarkerError,
    MarkerTaken,
    SpoolError,
    UsageError,
    WorkerDied,
)
from autorthanc_spool.core.marker import Marker
from autorthanc_spool.core.outcome import Problem
from autorthanc_spool.core.pulse import Pulse
from autorthanc_spool.core.states import TRANSITIONS, Event, State, target
from autorthanc_spool.disk import durable, locks
from autorthanc_spool.disk.locks import ResourceLock
from autorthanc_spool.spool.directories import Clock, Directories, Item, shown, utc
from autorthanc_spool.spool.filing import Filer
from autorthanc_spool.spool.ledger import HeldRecord, Ledger, LedgerError
from autorthanc_spool.spool.queue import Queue

log = logging.getLogger(__name__)

# A marker that took this many processes down with it is more than bad luck.
MAX_DEATHS = 50
# More than the record of an ordinary study, with the checksums of its files.
PROBE_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Claim:
    """A marker in ``processing/`` that is ours, with the lock and the ledger's record of its resource.

    `companions` are the other markers of the resource that waited when it was claimed, and ask for nothing else.
    `is_idle` says that the marker asks for nothing: it is to be passed over, not filed.
    """

    item: Item
    marker: Marker
    lock: ResourceLock
    record: HeldRecord
    companions: tuple[Item, ...]
    inode: int
    is_idle: bool = False

    def is_ours(self) -> bool:
        """Whether the marker still lies in ``processing/``: a person may have taken it away."""
        with suppress(FileNotFoundError):
            return self.item.path.stat().st_ino == self.inode
        return False

    def check(self) -> None:
        """Make sure, before a step that others see, that the work is still ours. Raises ClaimLost, MarkerTaken."""
        self.lock.check()
        if not self.is_ours():
            raise MarkerTaken("a person took the marker out of processing/")


class _Busy(Exception):
    """Somebody else works on the resource."""


# Whether a marker asks for nothing, by what the ledger knows of its resource.
IsIdle = Callable[[Marker, HeldRecord], bool]


def never_idle() -> IsIdle:
    """Let each marker be filed."""
    return lambda _marker, _record: False


class Spool:
    """One spool directory, shared with Orthanc, with other processes, and with a person at a shell."""

    def __init__(
        self,
        root: Path,
        clock: Clock,
        pulse: Pulse | None = None,
        moment: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` is that of files and people; `moment` is never set, and measures how long something takes."""
        self.root = root
        self.directories = Directories(root, clock)
        self._queue = Queue(self.directories, moment)
        # Where names were changed that a power cut may change back, which harms nobody.
        self._unsynced: set[Path] = set()
        self._filer = Filer(self.directories, clock, self._unsynced)
        self.ledger = Ledger(root / "ledger", pulse)
        self._clock = clock

    # The life of a marker

    def claims(self, idle: Callable[[], IsIdle] = never_idle) -> Iterator[Claim]:
        """Claim what is due, one after the other, until nothing is left whose resource nobody works on.

        The consumer files each claim, or passes it over, before it asks for the next one. `idle` is called after each
        look at what waits: what its answer says was so when all markers of that look were there.
        """
        found, has_skipped = True, False
        while found or has_skipped:
            # Where there was nothing to claim beside others, all that is left is tried.
            may_skip, found, has_skipped = found, False, False
            judges: list[IsIdle] = []
            busy: set[str] = set()

            def looked(judges: list[IsIdle] = judges) -> None:
                judges[:] = [idle()]

            for item in self._queue.due(looked):
                try:
                    claim = self._claim(item, judges[0], busy)
                except (FileNotFoundError, _Busy):
                    if may_skip:
                        has_skipped = True
                        self._queue.step_aside()
                    continue
                if claim:
                    found = True
                    yield claim

    def recover(self) -> list[Item]:
        """Take back what dead processes left: markers to ``deferred/``, half-filed records to their markers."""
        self._filer.complete(self.try_lock)
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

    def file(
        self, claim: Claim, event: Event, result: Marker, due_in_s: float = 0.0, *, keeps: bool = True
    ) -> Item | None:
        """File a claim with its record, and its companions with it; None when somebody had taken it.

        A claim whose lock was lost (`ResourceLock.is_lost`) belongs to whoever has it now. With `keeps` false, the
        names are made durable by the next `sync`.
        """
        try:
            if not claim.lock.is_held() or not claim.is_ours():
                return None
            filed = self._filer.file(claim.item, event, result, due_in_s, keeps=keeps)
            for companion in claim.companions if filed else ():
                self._supersede(companion, claim)
            return filed
        finally:
            claim.lock.release()

    def pass_over(self, claim: Claim) -> bool:
        """Remove a marker that asks for nothing; False when a person had taken it."""
        try:
            if not claim.is_ours():
                return False
            claim.item.path.unlink(missing_ok=True)
            return True
        finally:
            claim.lock.release()

    def sync(self) -> None:
        """Make the names durable that weren't made so one by one."""
        while self._unsynced:
            # A day of done/ may have been pruned meanwhile, and its names with it.
            with suppress(FileNotFoundError):
                durable.sync_directory(self._unsynced.pop())

    def make_due(self, causes: Collection[Cause]) -> None:
        """Make the deferred markers due now that wait for one of these: it is back."""
        self._wake(lambda found: any(problem.wakes_on in causes for problem in found.problems))

    def make_due_behind(self, key: str) -> None:
        """Make the deferred markers due now that wait for this resource."""
        self._wake(lambda found: found.error is not None and found.error.waits_for == key)

    def make_due_for(self, destination: str) -> None:
        """Make the deferred markers due now that still have something to send there."""
        self._wake(
            lambda found: any(
                destination in one.forward and one.forward[destination].problem for one in found.outcomes.values()
            )
        )

    def flush(self) -> tuple[int, int]:
        """Make all deferred markers due now, for a person; return how many are, and how many may not be touched."""
        due, refused = 0, 0
        for item in self.directories.items(State.DEFERRED):
            try:
                # Without a time of ours: so whoever may write the file may do this, as `touch` does.
                os.utime(item.path)
                due += 1
            except FileNotFoundError:
                continue
            except PermissionError:
                refused += 1
        return due, refused

    def _wake(self, is_meant: Callable[[Marker], bool]) -> None:
        for item in self.directories.items(State.DEFERRED):
            # Only its owner may set a marker's time: where processors run as several users, each does it for its own.
            with suppress(FileNotFoundError, MarkerError, PermissionError):
                if is_meant(self.directories.read(item)):
                    os.utime(item.path, (self._clock(), self._clock()))

    def try_writing(self) -> None:
        """Write a little, and remove it. Raises OSError: on a full disk markers can be moved, but nothing be noted."""
        probe = self.root / "state" / durable.own_name("probe")
        probe.unlink(missing_ok=True)
        durable.create(probe, bytes(PROBE_BYTES))
        probe.unlink()

    def check_moves(self, items: Iterable[Item], event: Event) -> None:
        """Make sure that a person may move all of these. Raises UsageError."""
        for item in items:
            if target(item.state, event) is None:
                raise UsageError(f"{shown(item.name)} is in {item.state}/: {event} isn't possible there")

    def move(self, item: Item, event: Event) -> Item:
        """Move a marker for a person: what `mv` would do, with the transitions checked. Raises FileNotFoundError.

        Thousands may follow each other: `make_moves_durable` comes once, after the last.
        """
        self.check_moves([item], event)
        path = self.directories.relocate(item.path, TRANSITIONS[item.state, event], item.name, is_durable=False)
        return Item(State(path.parent.name), path.name, path)

    def make_moves_durable(self, items: Iterable[Item]) -> None:
        """Make the moves from and to these places outlast a power cut."""
        for folder in {item.path.parent for item in items}:
            with suppress(FileNotFoundError):
                durable.sync_directory(folder)

    def delete(self, item: Item, wait_s: float = 10.0) -> None:
        """Remove a marker for a person, and record that its resource is refused, so that it isn't brought back."""
        with suppress(MarkerError):
            found = self.directories.read(item)
            with self.locked(found.key, wait_s) as lock:
                record = HeldRecord(self.ledger, found.key, lock.check)
                record.write(replace(record.now, refused=utc(self._clock())))
        item.path.unlink(missing_ok=True)

    # Locks

    def try_lock(self, key: str) -> ResourceLock | None:
        """Take the lock of a resource, or whatever else has a name; None when another one has it."""
        return locks.take(self.root / "locks", key)

    @contextmanager
    def locked(self, key: str, wait_s: float) -> Iterator[ResourceLock]:
        """Hold a lock, waiting for it if need be."""
        lock = locks.take(self.root / "locks", key, wait_s)
        if lock is None:
            raise SpoolError(f"{key} is being worked on; try again when its marker has left processing/")
        try:
            yield lock
        finally:
            lock.release()

    # Inside

    def _claim(self, item: Item, is_idle: IsIdle, busy: set[str]) -> Claim | None:
        try:
            found = self.directories.read(item)
        except MarkerError as error:
            self._filer.reject(item, error, self.try_lock)
            return None
        is_whole = item.state is not State.INCOMING or not self.directories.may_be_unfinished(item)
        if not is_whole and not self.directories.has_rested(item):
            return None
        if found.key in busy:
            return None
        lock = self.try_lock(found.key)
        if lock is None:
            # Its other markers are not tried in this round.
            busy.add(found.key)
            raise _Busy
        claim = None
        try:
            # It may have been moved, or replaced by another one, before we had the lock.
            if self.directories.read(item) == found:
                claim = self._take(item, found, lock, is_idle)
            return claim
        finally:
            if claim is None:
                lock.release()

    def _take(self, item: Item, found: Marker, lock: ResourceLock, judge: IsIdle) -> Claim | None:
        status, record = item.path.stat(), HeldRecord(self.ledger, found.key, lock.check)
        again = item.state is State.INCOMING and found.asks_again
        is_idle = not again and judge(found, record)
        if again:
            # A record that can't be understood is judged by the run, which puts the marker aside with the reason.
            with suppress(LedgerError):
                record.write(record.now.asked_again(found.rules))
        # Where a power cut undoes this, the marker waits once more; one that asks for all of it again would ask twice.
        path = self.directories.relocate(item.path, State.PROCESSING, item.name, is_durable=again)
        self._unsynced.update(() if again else (item.path.parent, path.parent))
        claimed = Item(State.PROCESSING, path.name, path)
        if path.stat().st_ino != status.st_ino:
            # A person put another file there between our reading and our renaming: it gets its own turn.
            self.directories.relocate(path, item.state, item.name)
            return None
        companions = () if is_idle else self._companions(item, found, again)
        counted = found.restarted() if item.state is State.INCOMING else found
        return Claim(claimed, counted, lock, record, companions, status.st_ino, is_idle)

    def _companions(self, item: Item, found: Marker, again: bool) -> tuple[Item, ...]:
        others = self._queue.others(item, found.resource_id)
        return tuple(other for other in others if self._asks_no_more(other, found, again))

    def _asks_no_more(self, other: Item, claimed: Marker, again: bool) -> bool:
        with suppress(FileNotFoundError, MarkerError):
            found = self.directories.read(other)
            other_again = other.state is State.INCOMING and found.asks_again
            return claimed.covers(found) and (again or not other_again)
        return False

    def _supersede(self, item: Item, claim: Claim) -> None:
        with suppress(FileNotFoundError, MarkerError):
            found = self.directories.read(item)
            record = replace(found, error=None, outcomes={}, superseded_by=claim.item.name)
            self._filer.file(item, Event.SUPERSEDE, record)

    def _recover(self, item: Item) -> bool:
        try:
            found = self.directories.read(item)
        except FileNotFoundError:
            return False
        except MarkerError as error:
            return self._filer.reject(item, error, self.try_lock)
        lock = self.try_lock(found.key)
        if lock is None:
            return False
        try:
            # Its owner may have filed it between our listing and our locking: then the move below finds nothing.
            dead = replace(found, deaths=found.deaths + 1, error=_died(found.deaths + 1))
            event = Event.FAIL if dead.deaths > MAX_DEATHS else Event.DEFER
            return self._filer.file(item, event, dead) is not None
        finally:
            lock.release()


def _died(times: int) -> Problem:
    return Problem.of(WorkerDied(f"the process that worked on it died ({times} of {MAX_DEATHS} times)"))
