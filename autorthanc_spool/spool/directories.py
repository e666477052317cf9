"""The directories of the spool: making them, listing them, reading markers, and moving without overwriting.

What the moves mean, and who may make them when, is explained in `spool`.
"""

from __future__ import annotations

import calendar
import math
import os
import re
import shlex
import stat
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from autorthanc_spool.core import marker
from autorthanc_spool.core.errors import MarkerError, SpoolUnavailable
from autorthanc_spool.core.marker import Marker
from autorthanc_spool.core.states import State
from autorthanc_spool.disk import durable

# An empty or unparsable file may still be written to by a person's editor or `cp`.
REST_S = 2.0
# What came so long ago has rested for long when it is looked at.
YOUNG_S = 60.0
# So far may the clocks of two machines differ that share a spool.
CLOCK_TOLERANCE_S = 300.0
# Orthanc writes here as another user of the same group; the new files inherit the group.
SHARED_MODE = 0o2770
PRIVATE_MODE = 0o2750
# All that a clone of this project has in its `spool/`.
README = "README.md"
# Surrogates that stand for no byte of a file name; JSON may hold them.
_HALF_CHARACTER = re.compile(r"[\ud800-\udc7f\udd00-\udfff]")

Clock = Callable[[], float]


@dataclass(frozen=True)
class Item:
    """One marker's file: its state, its name, and its path."""

    state: State
    name: str
    path: Path

    @property
    def shown(self) -> str:
        """STATE/NAME as commands print it, and take it back."""
        return shown(f"{self.state}/{self.name}")


class Directories:
    """The directories of one spool."""

    def __init__(self, root: Path, clock: Clock) -> None:
        self.root = root
        self._clock = clock
        self._parsed: dict[Path, tuple[tuple[int, int, int], Marker | MarkerError]] = {}

    def lay_out(self, owner: tuple[int, int] | None = None) -> None:
        """Make the folders that are missing; as root, give new ones to the owner (UID, GID)."""
        if not self.of(State.INCOMING).exists() and is_as_cloned(self.root):
            _close_clone(self.root, owner)
        for name in ("", "tmp", *(str(state) for state in State), "locks"):
            _make_directory(self.root / name, SHARED_MODE, owner)
        below = ("", "announcing", "filing", "processors", "rules", "statistics")
        for name in ("ledger", "ledger/names", "ledger/writing", *(f"state/{one}" for one in below)):
            _make_directory(self.root / name, PRIVATE_MODE, owner)

    def of(self, state: State) -> Path:
        """The directory of a state."""
        return self.root / state

    def items(self, state: State) -> list[Item]:
        """List the markers of a state, oldest name first. Only ``*.json`` without a leading dot counts."""
        folder = self.of(state)
        days = (path for path in folder.glob("????-??-??") if path.is_dir())
        # What lies beside the days was moved there by a person.
        folders = [folder, *sorted(days)] if state is State.DONE else [folder]
        return [Item(state, name, place / name) for place in folders for name in _names(place)]

    def names(self, state: State) -> list[str]:
        """List the names of the markers of a state that isn't kept by day, oldest first."""
        return _names(self.of(state))

    def read(self, item: Item) -> Marker:
        """Read a marker. Raises MarkerError when it names nothing, FileNotFoundError when it is gone."""
        status = item.path.lstat()
        version = (status.st_ino, status.st_mtime_ns, status.st_size)
        known = self._parsed.get(item.path)
        if known is None or known[0] != version:
            known = (version, _parse(item, status))
            # The cache spares thousands of waiting markers from being read at each scan; it is not a second truth.
            if len(self._parsed) > 50_000:
                self._parsed.clear()
            self._parsed[item.path] = known
        if isinstance(known[1], MarkerError):
            raise known[1]
        return known[1]

    def waiting_keys(self, *states: State) -> set[str]:
        """The keys of all resources that have a marker in one of these states."""
        items = (self.item(state, name) for state in states for name in self.names(state))
        return {key for item in items if (key := self.key_of(item))}

    def item(self, state: State, name: str) -> Item:
        """Give the marker of this name in a state that isn't kept by day, whether it is there or not."""
        return Item(state, name, self.of(state) / name)

    def changed(self, state: State) -> Iterator[tuple[float, str]]:
        """Find since when each marker of a state is there, and its name, in no order; not of those kept by day.

        A rename renews the change time, and `touch -d` can't set it. What is deferred was renamed with each attempt: if
        its name says when it was written, it waits since then.
        """
        with suppress(FileNotFoundError), os.scandir(self.of(state)) as entries:
            for entry in entries:
                if _is_name(entry.name):
                    with suppress(FileNotFoundError):
                        changed_s = entry.stat(follow_symlinks=False).st_ctime
                        yield since_s(state, entry.name, changed_s), entry.name

    def next_due_s(self) -> float | None:
        """Seconds until something that lies here becomes due; None when nothing does."""
        now = self._clock()
        # Whoever looked at them just now has judged the older ones.
        young = [name for time_s, name in self.changed(State.INCOMING) if time_s > now - YOUNG_S]
        unfinished = filter(self.may_be_unfinished, (self.item(State.INCOMING, name) for name in young))
        times = [_rested_at(item) - now for item in unfinished]
        deferred_s = self.next_deferred_s()
        times += [] if deferred_s is None else [deferred_s]
        return max(0.0, min(times)) if times else None

    def next_deferred_s(self) -> float | None:
        """Seconds until something in ``deferred/`` becomes due; None when nothing is there."""
        times = [self.due_in_s(item) for item in self.items(State.DEFERRED)]
        return max(0.0, min(times)) if times else None

    def due_in_s(self, item: Item) -> float:
        """Seconds until a deferred marker is due; infinite when it is gone."""
        now = self._clock()
        wait_s = _mtime(item) - now
        if wait_s > CLOCK_TOLERANCE_S and self._filed_after(item, now + CLOCK_TOLERANCE_S):
            # The clock was set back since: then there is nothing to measure the wait by, and it could last for years.
            return 0.0
        return wait_s

    def _filed_after(self, item: Item, time_s: float) -> bool:
        with suppress(FileNotFoundError, MarkerError):
            return self.read(item).filed_time > utc(time_s)
        return False

    def is_resting(self) -> bool:
        """Whether something in ``incoming/`` is too young to be judged."""
        items = (self.item(State.INCOMING, name) for name in self.names(State.INCOMING))
        return any(self.may_be_unfinished(item) and not self.has_rested(item) for item in items)

    def waiting(self, keys: Collection[str], *states: State) -> Iterator[Item]:
        """Find the markers of some resources; only those whose names don't say are read, there may be thousands."""
        for state in states:
            folder = self.of(state)
            for name in _names(folder):
                named = _key_in(name)
                item = Item(state, name, folder / name) if named is None or named in keys else None
                if item and self.key_of(item) in keys:
                    yield item

    def key_of(self, item: Item) -> str:
        """The key of a marker's resource; "" when it names none."""
        return _key_in(item.name) or self._content_key(item) or ""

    def _content_key(self, item: Item) -> str | None:
        with suppress(FileNotFoundError, MarkerError):
            return self.read(item).key
        return None

    def put(self, new_marker: Marker) -> Item:
        """Drop a new marker into ``incoming/``, as the Lua script does. Raises SpoolUnavailable."""
        scratch = self.root / "tmp" / durable.own_name(marker.file_name(new_marker))
        with durable.passing_trouble(SpoolUnavailable, "the spool"):
            scratch.unlink(missing_ok=True)
            durable.create(scratch, marker.dump(new_marker))
            path = self.relocate(scratch, State.INCOMING, marker.file_name(new_marker))
        return Item(State.INCOMING, path.name, path)

    def relocate(self, source: Path, state: State, name: str, *, is_durable: bool = True) -> Path:
        """Move a file into the directory of a state, under a name that is free there."""
        self._parsed.pop(source, None)
        while True:
            path = self.free_path(state, name)
            with suppress(FileExistsError):
                if is_durable:
                    durable.move(source, path)
                else:
                    durable.rename_exclusively(str(source), str(path))
                return path

    def free_path(self, state: State, name: str) -> Path:
        """Give the path that a marker of this name would get: nothing there is overwritten."""
        folder = self.of(state)
        if state is State.DONE:
            folder = folder / datetime.fromtimestamp(self._clock(), UTC).strftime("%Y-%m-%d")
            if not folder.is_dir():
                _make_directory(folder, SHARED_MODE, _owner_of(self.of(state)))
        path, number = folder / name, 1
        while os.path.lexists(path):
            number += 1
            path = folder / f"{name.removesuffix('.json')}.{number}.json"
        return path

    def may_be_unfinished(self, item: Item) -> bool:
        """Whether somebody may still be writing the file: it is empty, or can't be understood."""
        try:
            self.read(item)
            return item.path.lstat().st_size == 0
        except MarkerError:
            return True
        except FileNotFoundError:
            return False

    def has_rested(self, item: Item) -> bool:
        """Whether nobody has touched the file for so long that it can be judged."""
        now = self._clock()
        # A time in the future means that the clock was set back: then there is nothing to measure the rest by.
        return not now < _rested_at(item) <= now + REST_S


def since_s(state: State, name: str, changed_s: float) -> float:
    """Since when a marker is in a state, by its change time; what is deferred waits since it was written."""
    return min(changed_s, _written_s(name)) if state is State.DEFERRED else changed_s


def _written_s(name: str) -> float:
    """When a marker was written, by a name like 20260131T093000Z-study-….json, in seconds since 1970; else infinity."""
    if name[8:9] != "T" or name[15:17] != "Z-":
        return math.inf
    digits = (name[0:4], name[4:6], name[6:8], name[9:11], name[11:13], name[13:15])
    return calendar.timegm(tuple(map(int, digits))) if all(map(str.isdecimal, digits)) else math.inf


def shown(text: str) -> str:
    """Write a file name on one line, for a terminal or a pipe.

    Bytes that aren't UTF-8 read ``\\xff``, whatever the locale is; what breaks a line or can't be seen is escaped too.
    """
    text = _HALF_CHARACTER.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
    decoded = text.encode(errors="surrogateescape").decode(errors="backslashreplace")
    if decoded.isprintable():
        return decoded
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in decoded)


def shell_word(text: str) -> str:
    """Write a file name as a word that a shell takes, on one line; of what can't be typed, as one of bash and zsh."""
    if text.isprintable():
        return shlex.quote(text)
    return "$'" + "".join(map(_typed, text)) + "'"


def _typed(one: str) -> str:
    if one.isprintable():
        return f"\\{one}" if one in "\\'" else one
    data = one.encode(errors="surrogateescape")
    return f"\\x{data[0]:02x}" if len(data) == 1 else f"\\U{ord(one):08x}"


def utc(seconds: float) -> str:
    """Write a time as markers do."""
    return datetime.fromtimestamp(seconds, UTC).strftime(marker.TIME_FORMAT)


def _names(folder: Path) -> list[str]:
    try:
        names = os.listdir(folder)  # noqa: PTH208 - thousands of names, and no paths are needed of most
    except FileNotFoundError:
        return []
    return sorted(filter(_is_name, names))


def _is_name(name: str) -> bool:
    return name.endswith(".json") and not name.startswith(".")


def _parse(item: Item, status: os.stat_result) -> Marker | MarkerError:
    if not stat.S_ISREG(status.st_mode):
        return MarkerError(
            "it is not a regular file (a folder, a link, a pipe); a marker is a small JSON object in a file"
        )
    if status.st_size > marker.MAX_SIZE_BYTES:
        return MarkerError(f"it has {status.st_size} bytes; a marker is a small JSON object")
    try:
        return marker.parse(item.name, item.path.read_bytes())
    except MarkerError as error:
        return error
    except OSError as error:
        if isinstance(error, FileNotFoundError) or durable.is_away(error):
            # That says nothing of the marker.
            raise
        return MarkerError(f"it can't be read: {error.strerror}; fix its owner or permissions, or remove it")


def _key_in(name: str) -> str | None:
    named = marker.named_resource(name)
    return f"{named[0]}-{named[1]}" if named else None


def _rested_at(item: Item) -> float:
    # The change time can't be set by `touch -d` or `cp -p`, and a rename renews it.
    try:
        return item.path.lstat().st_ctime + REST_S
    except FileNotFoundError:
        return 0.0


def _mtime(item: Item) -> float:
    try:
        return item.path.stat().st_mtime
    except FileNotFoundError:
        return float("inf")


def _owner_of(folder: Path) -> tuple[int, int] | None:
    if os.geteuid() != 0:
        return None
    status = folder.stat()
    return status.st_uid, status.st_gid


def is_as_cloned(root: Path) -> bool:
    """Whether a spool is as git made it: the README, and nothing else."""
    return root.is_dir() and os.listdir(root) == [README]  # noqa: PTH208 - names are enough


def _close_clone(root: Path, owner: tuple[int, int] | None) -> None:
    # git gave it the modes of code. Where it is somebody else's, `doctor` says how to close it.
    if os.geteuid() in (0, root.stat().st_uid):
        if owner:
            os.chown(root, *owner)
        root.chmod(SHARED_MODE)


def _make_directory(folder: Path, mode: int, owner: tuple[int, int] | None) -> None:
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        return
    if owner:
        os.chown(folder, *owner)
    folder.chmod(mode)
    durable.sync_directory(folder.parent)
