"""Locks of resources: flock on ``locks/KEY.lock``, removed by whoever holds it.

A lock says that its owner is alive: the kernel drops it with the process, so nothing has to expire and nobody has to
clean up. Because lock files are removed, two processes could each hold a lock of the same name: one on the file that
was removed, one on the file that took its place. Therefore whoever takes one checks that it is still at the path, and
on a network file system asks the server for that, as what another host removed may still show here for a while.

On a file system of several machines, a lock can be lost while its owner lives: its machine was cut off, the server gave
the lock to another one, and nothing tells the owner when it is connected again. Therefore it asks, before each step
that others see (`ResourceLock.check`): to take on the same descriptor what it holds is granted, to take what somebody
else has is refused, and a descriptor that was cut off answers with an error. Who had it in between and let go of it has
removed the file.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from contextlib import ExitStack, suppress
from pathlib import Path

from filelock import lock_descriptor, unlock_descriptor

from autorthanc_spool.core.errors import ClaimLost
from autorthanc_spool.disk import durable

MODE = 0o660
_CREATE = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
# How often a lock that somebody has is tried again.
RETRY_S = 0.05
_CLOSED = -1

# A network file system forgets a name that another host removed after a second, or by its mount options a minute.
MOST_STALE_S = 75.0
STALE_PAUSE_S = 0.02


class ResourceLock:
    """A lock that is held; `release` removes its file."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor
        self.is_lost = False

    def is_in_place(self) -> bool:
        """Whether others still find it: a person may have emptied locks/."""
        return _is_at(self._path, self._descriptor)

    def is_held(self) -> bool:
        """Whether it still is this process that holds it. What was lost once stays lost."""
        if not self.is_lost:
            self.is_lost = not self._is_granted() or not self.is_in_place()
        return not self.is_lost

    def check(self) -> None:
        """Make sure that it still is this process that holds it. Raises ClaimLost."""
        if not self.is_held():
            raise ClaimLost(f"the lock {self._path.name} was lost while the spool was away")

    def release(self) -> None:
        """Remove the file while it is still ours, then let go of it; twice is the same as once."""
        descriptor = self._descriptor
        if descriptor == _CLOSED:
            return
        try:
            # A person may have emptied locks/, or the lock be another process's since: that one isn't ours.
            if self.is_held():
                self._path.unlink(missing_ok=True)
        except OSError as error:
            # Whoever takes it next removes the file.
            if not durable.is_away(error):
                raise
        finally:
            self._descriptor = _CLOSED
            # A process that was forked meanwhile has the descriptor, too. On a share that is away, both may fail.
            with suppress(OSError):
                unlock_descriptor(descriptor)
            with suppress(OSError):
                os.close(descriptor)

    def _is_granted(self) -> bool:
        try:
            return lock_descriptor(self._descriptor, blocking=False)
        except OSError:
            # Whatever it is: what can't be known to be held counts as lost.
            return False


def take(folder: Path, key: str, wait_s: float = 0.0) -> ResourceLock | None:
    """Take the lock of a resource; None when another one has it, and still has it after `wait_s`."""
    path, end_s = folder / f"{key}.lock", time.monotonic() + wait_s
    while (lock := _take(path)) is None and time.monotonic() < end_s:
        time.sleep(RETRY_S)
    return lock


def _take(path: Path) -> ResourceLock | None:
    stale_until_s = time.monotonic() + MOST_STALE_S
    while True:
        try:
            with ExitStack() as undo:
                descriptor = os.open(path, _CREATE, MODE)
                undo.callback(os.close, descriptor)
                # Without flock nobody can know whether an owner is alive: a file system that lacks it says ENOSYS.
                if not lock_descriptor(descriptor, blocking=False):
                    return None
                if _is_at(path, descriptor):
                    if os.fstat(descriptor).st_uid == os.geteuid():
                        # Processors of one group may run as several users, whatever the umask is.
                        os.fchmod(descriptor, MODE)
                    undo.pop_all()
                    return ResourceLock(path, descriptor)
            if time.monotonic() > stale_until_s:
                raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK), str(path))
        except OSError as error:
            # Its owner on another host removed it, and this one still knows its name for a while.
            if not _is_removed(error) or not path.parent.is_dir() or time.monotonic() > stale_until_s:
                raise
        time.sleep(STALE_PAUSE_S)


def is_held(folder: Path, key: str) -> bool:
    """Whether somebody alive holds the lock. Nothing is made or removed, and who may only read may ask."""
    try:
        descriptor = os.open(folder / f"{key}.lock", os.O_RDONLY)
    except OSError as error:
        if _is_removed(error):
            return False
        raise
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether the open file is the one at the path.

    What other hosts did to a file may show here a second or a minute late: network file systems keep attributes. A
    change of the file itself goes to the server, and brings back what is true there: how many names it has.
    """
    try:
        try:
            os.utime(descriptor)
        except OSError as error:
            # A full disk, or one that keeps no times, says nothing of the lock.
            if _is_removed(error) or durable.is_away(error):
                raise
        status = os.fstat(descriptor)
    except OSError:
        # It was removed, or this machine was cut off for so long that what was open is lost, and its lock with it.
        return False
    try:
        return status.st_nlink > 0 and os.path.samestat(path.stat(), status)
    except OSError as error:
        if _is_removed(error):
            return False
        raise


def _is_removed(error: OSError) -> bool:
    return isinstance(error, FileNotFoundError) or durable.is_gone(error)
