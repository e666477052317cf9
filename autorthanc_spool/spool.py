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
then the record is renamed over it. A full disk can spoil the record, never the marker; a crash between the two
renames is completed by the next recovery, which knows the marker by its inode. A marker that is gone from
``processing/`` was taken by a person, and is left to him.

Lock files don't pile up; how that is safe stands in `locks`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from autorthanc_spool import durable, locks, marker
from autorthanc_spool.errors import MarkerError, SpoolError, UsageError
from autorthanc_spool.ledger import Ledger
from autorthanc_spool.lifecycle import Event, State, target
from autorthanc_spool.locks import ResourceLock
from autorthanc_spool.marker import Marker

# An empty or unparsable file may still be written to by a person's editor or `cp`.
REST_S = 2.0
# A marker that took this many processes down with it is more than bad luck.
MAX_DEATHS = 50
# Orthanc writes here as another user of the same group; the new files inherit the group.
SHARED_MODE = 0o2770
PRIVATE_MODE = 0o2750

Clock = Callable[[], float]
# Makes the content of a filed marker out of where and when it was filed.
Record = Callable[[dict[str, str]], bytes]


@dataclass(frozen=True)
class Item:
    """One marker's file: its state, its name, and its path."""

    state: State
    name: str
    path: Path


@dataclass(frozen=True)
class Claim:
    """A marker in ``processing/`` that is ours, with the lock of its resource.

    `companions` are the other markers of the resource that waited when it was claimed, and ask for no more.
    """

    item: Item
    marker: Marker
    lock: ResourceLock
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
        self.ledger = Ledger(root / "ledger")
        self._clock = clock
        self._parsed: dict[Path, tuple[tuple[int, int, int], Marker | MarkerError]] = {}

    # The folders

    def lay_out(self, owner: tuple[int, int] | None = None) -> None:
        """Make the folders that are missing; as root, give new ones to the owner (UID, GID)."""
        for name in ("", "tmp", *(str(state) for state in State), "locks"):
            _make_directory(self.root / name, SHARED_MODE, owner)
        for name in ("ledger", "ledger/names", "state", "state/filing", "state/rules"):
            _make_directory(self.root / name, PRIVATE_MODE, owner)

    def directory(self, state: State) -> Path:
        """The directory of a state."""
        return self.root / state

    # Looking

    def items(self, state: State) -> list[Item]:
        """List the markers of a state, oldest name first. Only ``*.json`` without a leading dot counts."""
        folder = self.directory(state)
        folders = sorted(folder.glob("????-??-??")) if state is State.DONE else [folder]
        return [Item(state, name, place / name) for place in folders for name in _names(place)]

    def read(self, item: Item) -> Marker:
        """Read a marker. Raises MarkerError when it names nothing, FileNotFoundError when it is gone."""
        status = item.path.stat()
        version = (status.st_ino, status.st_mtime_ns, status.st_size)
        known = self._parsed.get(item.path)
        if known is None or known[0] != version:
            known = (version, _parse(item, status.st_size))
            # The cache spares thousands of waiting markers from being read at each scan; it is no second truth.
            if len(self._parsed) > 50_000:
                self._parsed.clear()
            self._parsed[item.path] = known
        if isinstance(known[1], MarkerError):
            raise known[1]
        return known[1]

    def find(self, fragment: str) -> Item:
        """Find the one marker whose name, or path below the spool, holds the fragment."""
        named = [item for state in State for item in self.items(state)]
        exact = [item for item in named if fragment in (item.name, item.name.removesuffix(".json"), str(item.path))]
        found = exact or [item for item in named if fragment in f"{item.path.relative_to(self.root)}"]
        if not found:
            raise UsageError(f"no marker's name holds {fragment!r}; `autorthanc-spool list` shows what there is")
        if len(found) > 1:
            some = ", ".join(f"{item.path.relative_to(self.root)}" for item in found[:4])
            more = f" and {len(found) - 4} more" if len(found) > 4 else ""
            raise UsageError(f"{fragment!r} could be any of {some}{more}; name a part that only one of them has")
        return found[0]

    def waiting_for(self, key: str) -> bool:
        """Whether a marker of the resource lies anywhere where it will be, or may yet be, worked on."""
        states = (State.INCOMING, State.PROCESSING, State.DEFERRED, State.HOLD)
        return next(self._waiting(key, *states), None) is not None

    def next_due_s(self) -> float | None:
        """Seconds until something that lies here becomes due; None when nothing does."""
        now = self._clock()
        times = [_mtime(item) - now for item in self.items(State.DEFERRED)]
        times += [_rested_at(item) - now for item in self.items(State.INCOMING) if self._is_unreadable(item)]
        return max(0.0, min(times)) if times else None

    def is_resting(self) -> bool:
        """Whether something in ``incoming/`` is too young to be judged."""
        return any(self._is_unreadable(item) and not self._has_rested(item) for item in self.items(State.INCOMING))

    # The life of a marker

    def put(self, new_marker: Marker) -> Item:
        """Drop a new marker into ``incoming/``, as the Lua script does."""
        scratch = self.root / "tmp" / f".{os.getpid()}-{marker.file_name(new_marker)}"
        scratch.unlink(missing_ok=True)
        durable.create(scratch, marker.dump(new_marker))
        path = self._move(scratch, State.INCOMING, marker.file_name(new_marker))
        return Item(State.INCOMING, path.name, path)

    def claims(self) -> Iterator[Claim]:
        """Claim what is due, one after the other, until nothing is left whose resource nobody works on.

        The consumer files each claim before it asks for the next one.
        """
        found = True
        while found:
            found = False
            for item in self._due():
                with suppress(FileNotFoundError):
                    claim = self._claim(item)
                    if claim:
                        found = True
                        yield claim

    def recover(self) -> list[Item]:
        """Take back what dead processes left: markers to ``deferred/``, half-filed records to their markers."""
        self._complete_filing()
        return [item for item in self.items(State.PROCESSING) if self._recover(item)]

    def file(self, claim: Claim, event: Event, result: Marker, due_in_s: float = 0.0) -> Item | None:
        """File a claim with its record, and its companions with it; None when a person had taken it."""
        try:
            if not claim.is_ours():
                return None
            filed = self._file(claim.item, event, _record_of(result), due_in_s)
            for companion in claim.companions if filed else ():
                self._supersede(companion, claim)
            return filed
        finally:
            claim.lock.release()

    def make_due(self, kinds: set[str]) -> None:
        """Make the deferred markers due now whose error is of one of these kinds: its cause is gone."""
        for item in self.items(State.DEFERRED):
            with suppress(FileNotFoundError, MarkerError):
                if (self.read(item).error or {}).get("kind") in kinds:
                    os.utime(item.path, (self._clock(), self._clock()))

    def move(self, item: Item, event: Event) -> Item:
        """Move a marker for a person: what `mv` would do, with the transitions checked."""
        state = target(item.state, event)
        if state is None:
            raise UsageError(f"{item.name} is in {item.state}/: {event} isn't possible there")
        path = self._move(item.path, state, item.name)
        return Item(state, path.name, path)

    def delete(self, item: Item) -> None:
        """Remove a marker for a person, and record that its resource is refused, so that it isn't brought back."""
        with suppress(MarkerError):
            found = self.read(item)
            with self.locked(found.key):
                record = self.ledger.read(found.key)
                self.ledger.write(replace(record, refused=_utc(self._clock())))
        item.path.unlink(missing_ok=True)

    # Locks

    @contextmanager
    def locked(self, key: str, wait_s: float = 10.0) -> Iterator[None]:
        """Hold a lock, waiting for it if need be."""
        lock = locks.take(self.root / "locks", key, wait_s)
        if lock is None:
            raise SpoolError(f"{key} is being worked on; try again when its marker has left processing/")
        try:
            yield
        finally:
            lock.release()

    def _try_lock(self, key: str) -> ResourceLock | None:
        return locks.take(self.root / "locks", key)

    # Inside

    def _due(self) -> Iterator[Item]:
        now = self._clock()
        yield from self.items(State.INCOMING)
        for item in self.items(State.DEFERRED):
            with suppress(FileNotFoundError):
                if item.path.stat().st_mtime <= now:
                    yield item

    def _claim(self, item: Item) -> Claim | None:
        try:
            found = self.read(item)
        except MarkerError as error:
            self._judge_unreadable(item, error)
            return None
        lock = self._try_lock(found.key)
        if lock is None:
            return None
        try:
            claim = self._take(item, found, lock)
        except BaseException:
            lock.release()
            raise
        if claim is None:
            lock.release()
        return claim

    def _take(self, item: Item, found: Marker, lock: ResourceLock) -> Claim | None:
        status = item.path.stat()
        again = item.state is State.INCOMING and found.asks_again
        if again:
            record = self.ledger.read(found.key)
            self.ledger.write(record.asked_again(found.rules))
        path = self._move(item.path, State.PROCESSING, item.name)
        claimed = Item(State.PROCESSING, path.name, path)
        if path.stat().st_ino != status.st_ino:
            # A person put another file there between our reading and our renaming: it gets its own turn.
            self._move(path, item.state, item.name)
            return None
        companions = tuple(
            other
            for other in self._waiting(found.key, State.INCOMING, State.DEFERRED)
            if self._asks_no_more(other, found, again)
        )
        counted = found.restarted() if item.state is State.INCOMING else found
        return Claim(claimed, counted, lock, companions, status.st_ino)

    def _waiting(self, key: str, *states: State) -> Iterator[Item]:
        """Find the markers of a resource; only those whose names don't tell are read, there may be thousands."""
        for state in states:
            for item in self.items(state):
                named = marker.named_resource(item.name)
                if (f"{named[0]}-{named[1]}" if named else self._content_key(item)) == key:
                    yield item

    def _asks_no_more(self, other: Item, claimed: Marker, again: bool) -> bool:
        with suppress(FileNotFoundError, MarkerError):
            found = self.read(other)
            other_again = other.state is State.INCOMING and found.asks_again
            return claimed.covers(found) and (again or not other_again)
        return False

    def _supersede(self, item: Item, claim: Claim) -> None:
        with suppress(FileNotFoundError, MarkerError):
            found = self.read(item)
            record = replace(found, error=None, outcomes={}, extra={**found.extra, "superseded_by": claim.item.name})
            self._file(item, Event.SUPERSEDE, _record_of(record))

    def _recover(self, item: Item) -> bool:
        try:
            found = self.read(item)
        except FileNotFoundError:
            return False
        except MarkerError as error:
            return self._judge_unreadable(item, error)
        lock = self._try_lock(found.key)
        if lock is None:
            return False
        try:
            # Its owner may have filed it between our listing and our locking: then the move below finds nothing.
            dead = replace(found, deaths=found.deaths + 1, error=_died(found.deaths + 1))
            event = Event.FAIL if dead.deaths > MAX_DEATHS else Event.DEFER
            return self._file(item, event, _record_of(dead)) is not None
        finally:
            lock.release()

    def _file(self, item: Item, event: Event, record: Record, due_in_s: float = 0.0) -> Item | None:
        state = target(item.state, event)
        if state is None:
            raise ValueError(f"no transition leads from {item.state} by {event}")
        path, now = self._free_path(state, item.name), self._clock()
        filed = {"path": str(path.relative_to(self.root)), "time": _utc(now)}
        try:
            written = self._write_record(item.path.stat().st_ino, record(filed), now + due_in_s)
            durable.move(item.path, path)
        except FileNotFoundError:
            return None
        if written:
            durable.replace(written, path)
        return Item(state, path.name, path)

    def _write_record(self, inode: int, data: bytes, due: float) -> Path | None:
        """Write the record beside the marker; None when the disk is full: then the marker goes on without it."""
        path = self.root / "state" / "filing" / f"{inode}.json"
        try:
            path.unlink(missing_ok=True)
            durable.create(path, data)
            # The modification time says when a deferred marker is due.
            os.utime(path, (due, due))
        except OSError:
            return None
        return path

    def _complete_filing(self) -> None:
        """Finish what a crash interrupted between the two renames of `_file`."""
        for record in sorted((self.root / "state" / "filing").glob("*.json")):
            with suppress(FileNotFoundError, MarkerError, ValueError):
                self._complete_one(record)

    def _complete_one(self, record: Path) -> None:
        filed = marker.parse(record.name, record.read_bytes())
        lock = self._try_lock(filed.key)
        if lock is None:
            return
        try:
            path = self.root / str((filed.filed or {}).get("path", ""))
            if path.is_file() and path.stat().st_ino == int(record.stem):
                durable.replace(record, path)
            else:
                record.unlink(missing_ok=True)
        finally:
            lock.release()

    def _judge_unreadable(self, item: Item, error: MarkerError) -> bool:
        if not self._has_rested(item):
            return False
        data = item.path.read_bytes() if item.path.stat().st_size <= marker.MAX_SIZE_BYTES else b""
        return self._file(item, Event.REJECT, lambda filed: marker.dump_rejected(data, str(error), filed)) is not None

    def _move(self, source: Path, state: State, name: str) -> Path:
        while True:
            path = self._free_path(state, name)
            with suppress(FileExistsError):
                durable.move(source, path)
                return path

    def _free_path(self, state: State, name: str) -> Path:
        folder = self.directory(state)
        if state is State.DONE:
            folder = folder / datetime.fromtimestamp(self._clock(), UTC).strftime("%Y-%m-%d")
            if not folder.is_dir():
                _make_directory(folder, SHARED_MODE, _owner_of(self.directory(state)))
        path, number = folder / name, 1
        while path.exists():
            number += 1
            path = folder / f"{name.removesuffix('.json')}.{number}.json"
        return path

    def _content_key(self, item: Item) -> str | None:
        with suppress(FileNotFoundError, MarkerError):
            return self.read(item).key
        return None

    def _is_unreadable(self, item: Item) -> bool:
        try:
            self.read(item)
        except MarkerError:
            return True
        except FileNotFoundError:
            return False
        return False

    def _has_rested(self, item: Item) -> bool:
        now = self._clock()
        # A time in the future means that the clock was set back: then there is nothing to measure the rest by.
        return not now < _rested_at(item) <= now + REST_S


def _names(folder: Path) -> list[str]:
    try:
        names = os.listdir(folder)  # noqa: PTH208 - thousands of names, and no paths are needed of most
    except FileNotFoundError:
        return []
    return sorted(name for name in names if name.endswith(".json") and not name.startswith("."))


def _parse(item: Item, size_bytes: int) -> Marker | MarkerError:
    if size_bytes > marker.MAX_SIZE_BYTES:
        return MarkerError(f"it has {size_bytes} bytes; a marker is a small JSON object")
    try:
        return marker.parse(item.name, item.path.read_bytes())
    except MarkerError as error:
        return error
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            raise
        return MarkerError(f"it can't be read: {error.strerror}; mend its owner or permissions, or remove it")


def _record_of(result: Marker) -> Record:
    return lambda filed: marker.dump(replace(result, filed=filed))


def _died(times: int) -> dict[str, object]:
    return {"kind": "WorkerDied", "text": f"the process that worked on it died ({times} of {MAX_DEATHS} times)"}


def _rested_at(item: Item) -> float:
    # The change time can't be set by `touch -d` or `cp -p`, and a rename renews it.
    try:
        return item.path.stat().st_ctime + REST_S
    except FileNotFoundError:
        return 0.0


def _mtime(item: Item) -> float:
    try:
        return item.path.stat().st_mtime
    except FileNotFoundError:
        return float("inf")


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime(marker.TIME_FORMAT)


def _owner_of(folder: Path) -> tuple[int, int] | None:
    if os.geteuid() != 0:
        return None
    status = folder.stat()
    return status.st_uid, status.st_gid


def _make_directory(folder: Path, mode: int, owner: tuple[int, int] | None) -> None:
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        return
    if owner:
        os.chown(folder, *owner)
    folder.chmod(mode)
    durable.sync_directory(folder.parent)
