"""Locks of resources: flock on ``locks/KEY.lock``, removed by whoever holds it.

A lock says that its owner is alive: the kernel drops it with the process, so nothing has to expire and nobody has to
clean up. Because lock files are removed, two processes could each hold a lock of the same name: one on the file that
was removed, one on the file that took its place. Therefore whoever takes one checks that it is still at the path.
"""

from __future__ import annotations

import os
from pathlib import Path

from filelock import FileLock, Timeout


class ResourceLock:
    """A lock that is held; `release` removes its file."""

    def __init__(self, path: Path, lock: FileLock, status: os.stat_result) -> None:
        self._path = path
        self._lock = lock
        self._status = status

    def release(self) -> None:
        """Remove the file while it is still ours, then let go of it."""
        # A person may have emptied locks/, and another process have taken the lock again: that one isn't ours.
        try:
            if _is_at(self._path, self._status):
                self._path.unlink(missing_ok=True)
        finally:
            self._lock.release()


def take(folder: Path, key: str, wait_s: float = 0.0) -> ResourceLock | None:
    """Take the lock of a resource; None when another one has it, and still has it after `wait_s`."""
    path = folder / f"{key}.lock"
    while True:
        held: list[os.stat_result] = []
        # Without flock nobody can know whether an owner is alive, so a file system that lacks it is refused.
        lock = FileLock(
            path,
            mode=0o660,
            thread_local=False,
            fallback_to_soft=False,
            on_acquired=lambda descriptor, held=held: held.append(os.fstat(descriptor)),  # type: ignore[misc]
        )
        try:
            lock.acquire(timeout=wait_s)
        except Timeout:
            return None
        if _is_at(path, held[-1]):
            return ResourceLock(path, lock, held[-1])
        lock.release()


def _is_at(path: Path, status: os.stat_result) -> bool:
    try:
        return os.path.samestat(path.stat(), status)
    except FileNotFoundError:
        return False
