"""The doorbell: file-system events that say no more than "look again".

Events get lost (a full queue, NFS, CIFS, bind mounts), come as another kind than they were, and stop when a watched
directory is replaced by another one of the same name. So nothing is read from them, and every poll interval counts as
one; at each poll the watched directories are compared with those that the watch was set on.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from pathlib import Path

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver
from watchdog.observers.polling import PollingObserver

log = logging.getLogger(__name__)

# What somebody reads is no news; without this list, our own scans would ring.
_SILENT = {"opened", "closed_no_write"}


class Doorbell(FileSystemEventHandler):
    """Rings when something happens in one of the directories."""

    def __init__(self, directories: Iterable[Path], *, polling_s: float | None) -> None:
        """`polling_s` makes it look by itself at this interval, for file systems without events."""
        self._directories = tuple(directories)
        self._polling_s = polling_s
        self._rung = threading.Event()
        self._observer: BaseObserver | None = None
        self._watched: dict[Path, int] = {}

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Ring, whatever it is."""
        if event.event_type not in _SILENT:
            self._rung.set()

    def ring(self) -> None:
        """Ring by hand; a signal handler does."""
        self._rung.set()

    def wait(self, timeout_s: float) -> None:
        """Wait for the next ring, at most `timeout_s`; several rings count as one."""
        self._watch()
        self._rung.wait(timeout_s)
        self._rung.clear()

    def close(self) -> None:
        """Stop watching."""
        if self._observer:
            self._observer.stop()
            self._observer.join()
            self._observer = None

    def _watch(self) -> None:
        present = {directory: _inode(directory) for directory in self._directories}
        if self._observer and present == self._watched:
            return
        self.close()
        self._watched = present
        self._observer = PollingObserver(timeout=self._polling_s) if self._polling_s else Observer()
        try:
            for directory, inode in present.items():
                if inode:
                    self._observer.schedule(self, str(directory), recursive=False)
            self._observer.start()
        except OSError as error:
            # inotify's watches or instances are used up (fs.inotify.max_user_watches), or a directory just went.
            log.warning("file-system events can't be had (%s): looking every poll interval instead", error.strerror)
            self._observer = None
        # Whatever happened before the watch was set is found by looking once.
        self._rung.set()


def _inode(directory: Path) -> int:
    try:
        return directory.stat().st_ino
    except OSError:
        return 0
