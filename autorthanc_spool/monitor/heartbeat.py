"""The heartbeat: ``state/processors/HOST-PID.json``, by which others see that a processor lives, and what it does.

*Alive* is what the kernel says: a processor holds ``locks/processor-HOST-PID.lock`` to its end, whatever end that is. A
file whose lock is free belongs to a dead one. *At work* is what the working thread says: the file holds when it last
looked at the spool, and when something last moved (`core.pulse`). A ticker writes the file, so that a processor whose
working thread hangs says so, and one that was stopped has a file that grows old.

Times are measured by the clock that is never set (CLOCK_MONOTONIC, with the boot that it belongs to), so that a jump of
the machine's clock neither raises an alarm nor hides anything. Only of a processor on another machine nobody can read
that clock; then the time of day counts, and clocks may differ by `CLOCK_TOLERANCE_S`.

Nothing in the file identifies a patient.
"""

from __future__ import annotations

import errno
import json
import os
import re
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from autorthanc_spool import __version__
from autorthanc_spool.core.marker import TIME_FORMAT
from autorthanc_spool.core.pulse import Pulse
from autorthanc_spool.disk import durable, locks
from autorthanc_spool.disk.locks import ResourceLock
from autorthanc_spool.disk.mounts import FILE_NAME
from autorthanc_spool.monitor.observer import FiledMarker, Observer
from autorthanc_spool.spool.directories import CLOCK_TOLERANCE_S, utc
from autorthanc_spool.spool.spool import Claim

FORMAT = 1
FOLDER = "state/processors"
# The file is written this often, and at once when a marker is begun or filed; but thousands of quick ones in a second
# don't each pay for a file.
INTERVAL_S = 5.0
SHORTEST_S = 0.2
# What is left of a processor that died on another machine is shown for so long; on the same one, until the next starts.
KEPT_S = 86400.0
_BOOT = Path("/proc/sys/kernel/random/boot_id")
# Names that Lua or this program made; a person may call a marker's file anything, a patient's name for instance.
_OUR_NAME = re.compile(r"(?:\d{8}T\d{6}Z-)?(?:study|series)-[0-9a-f]{8}(?:-[0-9a-f]{8}){4}(?:\.\d+)?\.json")


@dataclass(frozen=True)
class Trouble:
    """What a processor finds wrong outside itself: since when (UTC), and what to do about it."""

    what: str
    since: str
    text: str


@dataclass(frozen=True)
class Processor:
    """A processor as its heartbeat shows it. Times are UTC, ages in seconds; "" and None where there is none.

    `silent_s` is for how long nothing moved in it, `patience_s` how long that may rightly be at the moment.
    `unwritten_s` is the age of the file, which another thread writes than the one that works.
    `is_alive` is the kernel's word.
    """

    host: str
    pid: int
    version: str
    is_alive: bool
    since: str
    since_s: float
    looked: str
    looked_s: float | None
    silent_s: float
    patience_s: float = 0.0
    unwritten_s: float = 0.0
    marker: str = ""
    marker_since: str = ""
    marker_s: float | None = None
    troubles: tuple[Trouble, ...] = ()

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return f"{self.host}, process {self.pid}"

    @property
    def at_work(self) -> str:
        """What it works on, as the end of a sentence."""
        return f", with {self.marker} being worked on since {self.marker_since}" if self.marker else ""


class Heartbeat(Observer):
    """Writes the heartbeat of this processor, from the thread that works and from the ticker."""

    def __init__(self, spool: Path, pulse: Pulse) -> None:
        self._spool = spool
        self._pulse = pulse
        self._key = _key(socket.gethostname(), os.getpid())
        self._lock: ResourceLock | None = None
        # Where one thread writes, the other one needn't.
        self._writing = threading.Lock()
        self._begin_s = self._written_s = time.monotonic()
        self._looked_s: float | None = None
        self._work: tuple[str, float] | None = None
        self._troubles: Mapping[str, tuple[float, str]] = {}
        self._has_news = False
        self._home = b""

    def begin(self) -> None:
        """Take the lock, remove what dead processors of this machine left, and write."""
        self._begin_s = time.monotonic()
        self._pulse.beat()
        self._hold_lock()
        _remove_dead(self._spool)
        self._write()

    def looked(self) -> None:
        """Note when; the first look says that all outside answers."""
        self._has_news |= self._looked_s is None
        self._looked_s = time.monotonic()
        self._pulse.beat()

    def claimed(self, claim: Claim) -> None:
        """Note what is in work."""
        self._pulse.beat()
        self._work = (_shown(claim), time.monotonic())
        self._news()

    def filed(self, filed: FiledMarker) -> None:  # noqa: ARG002 - whatever it was
        """Note that nothing is in work."""
        self._pulse.beat()
        self._work = None
        self._looked_s = time.monotonic()
        self._news()

    def passed_over(self, claim: Claim) -> None:  # noqa: ARG002 - whatever it was
        """Note that something moves; thousands may follow each other, and none is in work for long."""
        self._pulse.beat()
        self._looked_s = time.monotonic()

    def trouble_began(self, what: str, text: str) -> None:
        """Show the trouble from now on."""
        self._troubles = {**self._troubles, what: (time.monotonic(), text)}
        self._has_news = True

    def trouble_ended(self, what: str) -> None:
        """Show the trouble no longer."""
        self._troubles = {name: one for name, one in self._troubles.items() if name != what}
        self._has_news = True

    def tick(self) -> None:
        """Write when it is time."""
        if self._has_news or time.monotonic() - self._written_s >= INTERVAL_S:
            self._written_s = time.monotonic()
            # Below the mount point of a spool that is away, nothing is written; that it is away, the work says.
            if self._is_home():
                self._hold_lock()
                self._write()

    def end(self) -> None:
        """Remove the file, then let go of the lock."""
        with suppress(FileNotFoundError):
            self._path.unlink()
        if self._lock:
            self._lock.release()

    @property
    def _path(self) -> Path:
        return self._spool / FOLDER / f"{self._key.removeprefix('processor-')}.json"

    def _is_home(self) -> bool:
        with suppress(OSError):
            found = (self._spool / FILE_NAME).read_bytes()
            # The first pass over a new spool makes the file.
            self._home = self._home or found
            return found == self._home
        return not self._home

    def _news(self) -> None:
        self._has_news = True
        if time.monotonic() - self._written_s >= SHORTEST_S:
            self._write()

    def _hold_lock(self) -> None:
        if self._lock and self._lock.is_held():
            return
        # A person has emptied locks/, this machine was cut off from the spool for a while, or it is the beginning.
        if self._lock:
            self._lock.release()
        number, key = 1, self._key
        # Whoever looks holds it for a moment.
        while (lock := locks.take(self._spool / "locks", key, wait_s=1.0)) is None:
            # Another machine has the same name, and a process of the same number.
            number += 1
            key = f"{self._key}.{number}"
        self._lock, self._key = lock, key

    def _write(self) -> None:
        if not self._writing.acquire(blocking=False):
            return
        try:
            # Also where it fails: a full disk isn't tried a thousand times a second.
            self._written_s, self._has_news = time.monotonic(), False
            # In ASCII: a file name may have bytes that are no text.
            self._show((json.dumps(self._content(), ensure_ascii=True) + "\n").encode())
        finally:
            self._writing.release()

    def _show(self, data: bytes) -> None:
        try:
            durable.show(self._path, data)
        except OSError as error:
            # That the disk is full is what it has to say.
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            durable.show_on_full_disk(self._path, data)

    def _content(self) -> dict[str, Any]:
        now_s, moved, work = time.monotonic(), self._pulse.last, self._work

        def at(monotonic_s: float | None) -> str | None:
            return None if monotonic_s is None else utc(time.time() - (now_s - monotonic_s))

        return {
            "format": FORMAT,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "version": __version__,
            "since": at(self._begin_s),
            "looked": at(self._looked_s),
            "moved": at(moved[0]),
            "patience_s": moved[1],
            "marker": work[0] if work else None,
            "marker_since": at(work[1]) if work else None,
            "written": at(now_s),
            "troubles": [
                {"what": what, "since": at(since_s), "text": text} for what, (since_s, text) in self._troubles.items()
            ],
            # The same times by the clock that is never set; it begins with each boot.
            "boot": _boot(),
            "monotonic_s": {
                "since": self._begin_s,
                "looked": self._looked_s,
                "moved": moved[0],
                "written": now_s,
                "marker_since": work[1] if work else None,
            },
        }


def processors(spool: Path) -> tuple[Processor, ...]:
    """Read all heartbeats, the latest to begin first. Nothing is changed."""
    found = (_read(path, spool) for path in sorted((spool / FOLDER).glob("*.json")) if path.name[0] != ".")
    return tuple(sorted((one for one in found if one), key=lambda one: one.since_s))


def here(spool: Path) -> tuple[Processor, ...]:
    """Read the heartbeats of this machine."""
    return tuple(one for one in processors(spool) if one.host == socket.gethostname())


def _read(path: Path, spool: Path) -> Processor | None:
    try:
        content = _load(path)
        ages = _Ages(content)
        return Processor(
            host=str(content["host"]),
            pid=int(content["pid"]),
            version=str(content.get("version", "")),
            is_alive=locks.is_held(spool / "locks", f"processor-{path.stem}"),
            since=str(content["since"]),
            since_s=ages.of("since") or 0.0,
            looked=str(content.get("looked") or ""),
            looked_s=ages.of("looked"),
            silent_s=max(0.0, (ages.of("moved") or 0.0) - ages.tolerance_s),
            patience_s=float(content.get("patience_s", 0.0)),
            unwritten_s=max(0.0, (ages.of("written") or 0.0) - ages.tolerance_s),
            marker=str(content.get("marker") or ""),
            marker_since=str(content.get("marker_since") or ""),
            marker_s=ages.of("marker_since"),
            troubles=tuple(
                Trouble(str(one["what"]), str(one["since"]), str(one["text"])) for one in content.get("troubles", ())
            ),
        )
    except (FileNotFoundError, IsADirectoryError):
        # It was removed a moment ago, or is a person's folder.
        return None
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        # It isn't one of ours.
        return None


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except ValueError:
        # On a full disk it may be half written for a moment.
        time.sleep(0.05)
        return json.loads(path.read_bytes())


class _Ages:
    """How long ago the times of a heartbeat are."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        self._content = content
        boot = _boot()
        is_same_boot = bool(boot) and content.get("boot") == boot
        self._monotonic: Mapping[str, Any] = content.get("monotonic_s", {}) if is_same_boot else {}
        # So far may the clocks of two machines be apart.
        self.tolerance_s = 0.0 if is_same_boot else CLOCK_TOLERANCE_S

    def of(self, name: str) -> float | None:
        if self._content.get(name) is None:
            return None
        if isinstance(self._monotonic.get(name), int | float):
            return max(0.0, time.monotonic() - float(self._monotonic[name]))
        then = datetime.strptime(str(self._content[name]), TIME_FORMAT).replace(tzinfo=UTC)
        return max(0.0, (datetime.now(UTC) - then).total_seconds())


def _remove_dead(spool: Path) -> None:
    """Remove what dead processors left: those of this machine, whose place this one takes, and old ones."""
    for path in (spool / FOLDER).glob("*.json"):
        one = _read(path, spool)
        if one and not one.is_alive and (one.host == socket.gethostname() or one.silent_s > KEPT_S):
            path.unlink(missing_ok=True)


def _key(host: str, pid: int) -> str:
    return f"processor-{re.sub(r'[^A-Za-z0-9._-]', '_', host)}-{pid}"


def _shown(claim: Claim) -> str:
    name = claim.item.name
    return name if _OUR_NAME.fullmatch(name) else f"{claim.marker.key}.json"


def _boot() -> str:
    with suppress(OSError):
        return _BOOT.read_text().strip()
    return ""
