"""NAME.WORKING, where all is written that is going to be published, and made durable."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from autorthanc_spool.core.pulse import Pulse
from autorthanc_spool.disk.writeback import WriteBehind
from autorthanc_spool.output.contents import OPEN_DIRECTORY, READ
from autorthanc_spool.output.rights import Rights

WORKING = ".WORKING"
_GONE = f"~gone{WORKING}"
_TAKEOVERS = re.compile(r"~\d+\Z", re.ASCII)

# 1980-01-01 UTC, the first day that an archive can hold: the time of what is published anonymised.
NO_TIME_S = 315532800

_CREATE_FILE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW


def working_name(name: str, takeovers: int) -> str:
    """The name of a working folder: ``NAME.WORKING``, after takeovers ``NAME~1.WORKING``.

    No name of a publication holds a ``~``. Each ends in ``.WORKING``, for consumers that look for that.
    """
    return f"{name}~{takeovers}{WORKING}" if takeovers else name + WORKING


def gone_name(name: str) -> str:
    """What something unfinished is called while it is being removed."""
    return name + _GONE


def unfinished_name(name: str) -> str:
    """The name without the mark of being removed."""
    return name.removesuffix(_GONE)


def published_name(name: str) -> str:
    """What something unfinished, or parked, was going to be called, or was."""
    return _TAKEOVERS.sub("", name.partition(WORKING)[0])


class WorkingFolder:
    """``OUT/RULE/NAME.WORKING``, open. Files may be added by several threads at once. `name` is its last component."""

    def __init__(self, name: str, descriptor: int, rights: Rights, pulse: Pulse, *, hides_time: bool = False) -> None:
        self.name = name
        # Whether it wasn't there before.
        self.is_new = True
        self._descriptor = descriptor
        self._rights = rights
        self._hides_time = hides_time
        self._written = WriteBehind(pulse)
        self.inode = os.fstat(descriptor).st_ino
        self._rights.give(descriptor, 0o777)

    def close(self) -> None:
        """Close the directory; it stays where it is."""
        self._written.close()
        os.close(self._descriptor)

    def make_folder(self, folder: str) -> None:
        """Make one folder inside; its name may be a path, whose parents are there."""
        parent, _, last = folder.rpartition("/")
        with self._open_folder(parent or ".") as descriptor:
            os.mkdir(last, self._rights.mode(0o777), dir_fd=descriptor)
        with self._open_folder(folder) as descriptor:
            self._rights.give(descriptor, 0o777)

    @contextmanager
    def add(self, folder: str, name: str) -> Iterator[IO[bytes]]:
        """Write a new file, of the owner and mode that it should have; `sync` makes it durable."""
        with self._open_folder(folder) as parent:
            descriptor = os.open(name, _CREATE_FILE, self._rights.mode(0o666), dir_fd=parent)
        # Buffered: a bare write to a disk that is nearly full may write less than it was given, and not say so.
        with os.fdopen(descriptor, "wb") as stream:
            self._rights.give(descriptor, 0o666)
            # Before, for an archive, which gives its entries the time of its file; and after all was written.
            self._hide_time(descriptor)
            yield stream
            stream.flush()
            self._hide_time(descriptor)
            self._written.add(descriptor)

    def read(self, name: str) -> IO[bytes]:
        """Open a file that lies in the folder itself, to read it back."""
        return os.fdopen(os.open(name, READ, dir_fd=self._descriptor), "rb")

    def sync(self, folders: list[str]) -> None:
        """Make the content of all files durable, and their names in these folders."""
        self._written.finish()
        for folder in folders:
            with self._open_folder(folder) as descriptor:
                self._hide_time(descriptor)
                os.fsync(descriptor)
        self._hide_time(self._descriptor)
        os.fsync(self._descriptor)

    @contextmanager
    def _open_folder(self, folder: str) -> Iterator[int]:
        descriptor = os.dup(self._descriptor)
        try:
            for name in folder.split("/"):
                above, descriptor = descriptor, os.open(name, OPEN_DIRECTORY, dir_fd=descriptor)
                os.close(above)
            yield descriptor
        finally:
            os.close(descriptor)

    def _hide_time(self, descriptor: int) -> None:
        if self._hides_time:
            os.utime(descriptor, (NO_TIME_S, NO_TIME_S))
