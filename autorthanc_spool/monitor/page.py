"""`state/status.html` and `state/status.json`: what a wall screen shows, replaced while a processor lives.

At most once a second while something changes, else every 30 s; and so rarely that looking takes no more than two per
cent of the time, however much waits. Of several processors, the one that has the role writes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from autorthanc_spool.core.states import State
from autorthanc_spool.disk import durable
from autorthanc_spool.monitor import html, snapshot
from autorthanc_spool.monitor.health import is_at_work
from autorthanc_spool.monitor.heartbeat import processors
from autorthanc_spool.monitor.observer import FiledMarker, Observer
from autorthanc_spool.monitor.role import Role
from autorthanc_spool.monitor.snapshot import Outside
from autorthanc_spool.spool.spool import Claim, Spool

INTERVAL_S = 30.0
SHARE = 0.02
NAME = "status.html"


class Page(Observer):
    """Writes both files. `spool` is one of its own, as the ticker is a thread of its own."""

    needs_spool = True

    def __init__(self, spool: Spool, outside: Callable[[], Outside], clock: Callable[[], datetime]) -> None:
        self._spool = spool
        self._state = spool.root / "state"
        self._outside = outside
        self._clock = clock
        self._seen: tuple[int, ...] = ()
        self._role = Role(self._state, "status")
        self._processors: frozenset[tuple[str, bool]] = frozenset()
        self._is_changed = True
        self._has_looked = False
        self._rest_until_s = 0.0

    def looked(self) -> None:
        """Have the first look written soon."""
        self._is_changed |= not self._has_looked
        self._has_looked = True

    def filed(self, filed: FiledMarker) -> None:  # noqa: ARG002 - that something was filed is enough
        """Have it written soon."""
        self._is_changed = True

    def passed_over(self, claim: Claim) -> None:  # noqa: ARG002 - that something changed is enough
        """Have it written soon."""
        self._is_changed = True

    def trouble_began(self, what: str, text: str) -> None:  # noqa: ARG002 - the snapshot asks the heartbeat
        """Have it written soon."""
        self._is_changed = True

    def trouble_ended(self, what: str) -> None:  # noqa: ARG002 - as above
        """Have it written soon."""
        self._is_changed = True

    def tick(self) -> None:
        """Write both files, when it is time."""
        if not self._role.hold():
            return
        begin_s = time.monotonic()
        seen = tuple(map(_changed_ns, self._watched()))
        # Nothing in the spool changes when a processor is stopped, hangs or dies.
        found = frozenset((one.name, is_at_work(one)) for one in processors(self._spool.root))
        self._is_changed |= found != self._processors
        self._processors = found
        is_due = self._is_changed or seen != self._seen or self._age_s() >= INTERVAL_S
        if begin_s < self._rest_until_s or not is_due or self._age_s() < 1.0:
            return
        try:
            self._is_changed, self._seen = False, seen
            self._write()
        finally:
            self._rest_until_s = begin_s + (time.monotonic() - begin_s) / SHARE

    def end(self) -> None:
        """Say that this processor is gone."""
        try:
            if self._role.hold():
                self._write()
        finally:
            self._role.release()

    def _write(self) -> None:
        found = snapshot.take(self._spool, self._outside(), self._clock())
        data = json.dumps(found, indent=1, ensure_ascii=True).encode() + b"\n"
        durable.show(self._state / "status.json", data)
        durable.show(self._state / NAME, html.page(found).encode(errors="backslashreplace"))

    def _watched(self) -> list[Path]:
        return [self._spool.root, *(self._spool.directories.of(state) for state in State)]

    def _age_s(self) -> float:
        """Seconds since anybody wrote the page; a clock that was set back makes it due."""
        try:
            age_s = time.time() - (self._state / NAME).stat().st_mtime
        except FileNotFoundError:
            return INTERVAL_S
        return age_s if age_s >= 0 else INTERVAL_S


def _changed_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0
