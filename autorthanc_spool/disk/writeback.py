"""Many files, made durable together.

To synchronise each file after it was written means to wait for the disk a thousand times, mostly for its journal. Here
the kernel is asked to begin with a file's content at once; the file is synchronised when some dozens of others have
followed, by then there is little left to wait for, and the journal is written once for all of them. The descriptors
stay open until then, because what went wrong meanwhile is reported to them.
"""

from __future__ import annotations

import ctypes
import os
from collections import deque
from contextlib import suppress

from autorthanc_spool.core.pulse import Pulse

# So many files may be on their way; each holds a descriptor, and a process has 1024.
WAITING = 64

SYNC_FILE_RANGE_WRITE = 2  # linux/fs.h

_libc = ctypes.CDLL(None, use_errno=True)


class WriteBehind:
    """The files that were written and aren't durable yet. Safe to be used by several threads at once."""

    def __init__(self, pulse: Pulse) -> None:
        self._pulse = pulse
        self._descriptors: deque[int] = deque()

    def add(self, descriptor: int) -> None:
        """Take charge of a file whose content is complete; the caller may close its own descriptor."""
        begin(descriptor)
        self._descriptors.append(os.dup(descriptor))
        while len(self._descriptors) > WAITING:
            self._finish_one()

    def finish(self) -> None:
        """Make all files durable. Raises OSError for what couldn't be written."""
        while self._descriptors:
            self._finish_one()

    def close(self) -> None:
        """Let go of what wasn't finished."""
        while self._descriptors:
            with suppress(OSError):
                os.close(self._descriptors.popleft())

    def _finish_one(self) -> None:
        try:
            descriptor = self._descriptors.popleft()
        except IndexError:
            # Another thread was faster.
            return
        try:
            os.fsync(descriptor)
            self._pulse.beat()
        finally:
            os.close(descriptor)


def begin(descriptor: int) -> None:
    """Ask the kernel to begin with what was written into a file so far."""
    call = getattr(_libc, "sync_file_range", None)
    if call is not None:
        # A hint: where a file system doesn't know it, synchronising does all the work.
        call(descriptor, ctypes.c_int64(0), ctypes.c_int64(0), SYNC_FILE_RANGE_WRITE)
