"""`state/statistics/`: what the processors of this spool did, in numbers that outlive them.

A processor takes the first file that no other one has, ``1.json``, ``2.json`` …, holds its lock for as long as it
lives, and goes on from the numbers in it. So a number never falls, there are as many files as there ever were
processors at one time, and whoever wants to know adds them up. A file is replaced at most once a second: a process that
is killed takes the last second of its counting with it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

from autorthanc_spool.core.marker import TIME_FORMAT
from autorthanc_spool.disk import durable, locks
from autorthanc_spool.disk.locks import ResourceLock
from autorthanc_spool.monitor.counts import PASSED_OVER, Counts, gained, hour_of, last_hours, total
from autorthanc_spool.monitor.observer import FiledMarker, Observer
from autorthanc_spool.spool.spool import Claim

log = logging.getLogger(__name__)

FOLDER = "state/statistics"
_SUFFIX = ".json"


def read(folder: Path) -> Counts:
    """Add up the numbers of all processors; a file that can't be read counts nothing."""
    found = []
    for path in folder.glob(f"[0-9]*{_SUFFIX}"):
        with suppress(OSError, ValueError):
            found.append(Counts.parse(path.read_bytes()))
    return total(found)


class Statistics(Observer):
    """Counts what this processor does. `clock` gives the time in the site's zone."""

    needs_spool = True

    def __init__(self, folder: Path, clock: Callable[[], datetime]) -> None:
        self._folder = folder
        self._clock = clock
        # `filed` and `tick` come from two threads.
        self._guard = threading.Lock()
        self._counts = Counts()
        self._is_changed = False
        self._path: Path | None = None
        self._held: ResourceLock | None = None

    def begin(self) -> None:
        """Go on from the numbers of whoever had the file before."""
        self._open()

    def filed(self, filed: FiledMarker) -> None:
        """Count the outcomes of a marker."""
        if filed.item is None:
            return
        now = self._clock()
        hour = hour_of(now)
        begun = (now - timedelta(seconds=filed.took_s)).astimezone(UTC).strftime(TIME_FORMAT)
        with self._guard:
            for rule, outcome in filed.outcomes.items():
                self._counts.note(hour, rule, gained(filed.claim.marker, rule, outcome, begun))
            self._counts.note_run(filed.item.state, filed.took_s)
            self._is_changed = True

    def passed_over(self, claim: Claim) -> None:  # noqa: ARG002 - there is nothing to count but that it was there
        """Count it, as it leaves no record."""
        with self._guard:
            self._counts.runs[PASSED_OVER] += 1
            self._is_changed = True

    def tick(self) -> None:
        """Write what has changed."""
        if self._path is None:
            # What couldn't be opened at the beginning may be all right by now; until then, all is kept in memory.
            self._open()
        self._write()

    def end(self) -> None:
        """Write the rest, and leave the file to the next processor."""
        try:
            self._write()
        finally:
            if self._held:
                self._held.release()

    def _open(self) -> None:
        number, held = next(
            (number, held) for number in count(1) if (held := locks.take(self._folder, str(number))) is not None
        )
        path = self._folder / f"{number}{_SUFFIX}"
        with ExitStack() as undo:
            undo.callback(held.release)
            before = _left_behind(path)
            undo.pop_all()
        with self._guard:
            self._counts.add(before)
            self._path, self._held = path, held

    def _write(self) -> None:
        with self._guard:
            if not self._is_changed or self._path is None:
                return
            oldest = next(last_hours(self._clock()))
            self._counts.forget_before(hour_of(oldest))
            data = self._counts.dump()
            self._is_changed = False
        with ExitStack() as undo:
            undo.callback(self._keep_for_later)
            durable.write(self._path, data, self._folder)
            undo.pop_all()

    def _keep_for_later(self) -> None:
        self._is_changed = True


def _left_behind(path: Path) -> Counts:
    """Read a file that is ours now; a damaged one is put aside, and its numbers begin at zero."""
    try:
        return Counts.parse(path.read_bytes())
    except FileNotFoundError:
        return Counts()
    except ValueError as error:
        aside = path.with_suffix(".damaged")
        path.replace(aside)
        log.warning("the statistics %s are damaged (%s): their numbers begin at zero; they are kept as %s", path, error,
                    aside.name)  # fmt: skip
        return Counts()
