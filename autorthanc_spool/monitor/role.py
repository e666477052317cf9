"""A task that one of several processors has at a time, and that a stopped one loses.

A lock alone would stay with a process that was stopped, or hangs, for as long as that lasts. So whoever has the role
touches the lock's file again and again, and whoever has seen for long enough, by its own clock, that nobody does,
removes the file and takes the role. The other one sees that, once it goes on, by its file being gone.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

from autorthanc_spool.disk import locks
from autorthanc_spool.disk.locks import ResourceLock

# Longer than anything that is done between two touches; shorter than it takes until a processor counts as silent.
FORSAKEN_S = 60.0


class Role:
    """Ask `hold` before each piece of work, and at least every minute."""

    def __init__(self, folder: Path, key: str) -> None:
        self._folder = folder
        self._key = key
        self._path = folder / f"{key}.lock"
        self._lock: ResourceLock | None = None
        self._seen = (0, 0.0)

    def hold(self) -> bool:
        """Try to get it; return whether this process has it."""
        if self._lock and not self._lock.is_in_place():
            self.release()
        if self._lock is None:
            if self._is_forsaken():
                self._path.unlink(missing_ok=True)
            self._lock = locks.take(self._folder, self._key)
        if self._lock is None:
            return False
        with suppress(OSError):
            os.utime(self._path)
        return True

    def release(self) -> None:
        """Let go of it."""
        if self._lock:
            self._lock.release()
        self._lock = None

    def _is_forsaken(self) -> bool:
        try:
            touched_ns = self._path.stat().st_mtime_ns
        except FileNotFoundError:
            return False
        if touched_ns != self._seen[0]:
            self._seen = (touched_ns, time.monotonic())
        return time.monotonic() - self._seen[1] > FORSAKEN_S
