"""The doorbell: file-system events that say only "look again".

Events get lost (a full queue, NFS, CIFS, bind mounts), come as another kind than they were, and stop when a watched
directory is replaced by another one of the same name. So nothing is read from them, and every poll interval counts as
one; at each poll the watched directories are compared with those that the watch was set on.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from watchdog import events
from watchdog.events import FileSystemEvent, FileSystemEventHandler

from autorthanc_spool.core.pulse import Pulse, no_pulse

if TYPE_CHECKING:
    from watchdog.observers.api import BaseObserver

log = logging.getLogger(__name__)

# Whoever waits for longer than this says in between that it is waiting.
BEAT_S = 5.0

# All but what somebody reads, which our own scans do: the kernel isn't even asked for that.
_NEWS: list[type[FileSystemEvent]] = [
    events.DirAttribEvent, events.DirCreatedEvent, events.DirDeletedEvent, events.DirModifiedEvent,
    events.DirMovedEvent, events.FileAttribEvent, events.FileClosedEvent, events.FileCreatedEvent,
    events.FileDeletedEvent, events.FileModifiedEvent, events.FileMovedEvent,
]  # fmt: skip


class Doorbell(FileSystemEventHandler):
    """Rings when something happens in one of the directories."""

    def __init__(self, directories: Iterable[Path], *, polling_s: float | None, pulse: Pulse | None = None) -> None:
        """`polling_s` makes it look by itself at this interval, for file systems without events."""
        self._directories = tuple(directories)
        self._pulse = pulse or no_pulse()
        self._polling_s = polling_s
        # A signal handler rings too, perhaps in the middle of a ring: of all that could be waited for, only this
        # queue may be entered twice by one thread. An Event would wait for itself permanently.
        self._rings: SimpleQueue[None] = SimpleQueue()
        self._observer: BaseObserver | None = None
        self._watched: dict[Path, tuple[int, int]] = {}
        self._is_deaf = False

    def on_any_event(self, event: FileSystemEvent) -> None:  # noqa: ARG002 - nothing is read from it
        """Ring, whatever it is."""
        if self._rings.empty():
            self.ring()

    def ring(self) -> None:
        """Ring by hand; a signal handler does."""
        self._rings.put(None)

    def wait(self, timeout_s: float) -> None:
        """Wait for the next ring, at most `timeout_s`; several rings count as one."""
        if self._watch():
            # Whatever happened before the watch was set is found by looking once.
            return
        end_s = time.monotonic() + timeout_s
        while not self._has_rung(min(end_s - time.monotonic(), BEAT_S)) and time.monotonic() < end_s:
            pass

    def _has_rung(self, timeout_s: float) -> bool:
        # Who waits for work says so: it isn't hanging.
        self._pulse.beat()
        try:
            self._rings.get(timeout=max(timeout_s, 0.0))
        except Empty:
            return False
        with suppress(Empty):
            while not self._rings.empty():
                self._rings.get_nowait()
        return True

    def close(self) -> None:
        """Stop watching."""
        observer, self._observer = self._observer, None
        if observer:
            # Also one whose start failed halfway has threads.
            observer.stop()
            if observer.is_alive():
                observer.join()

    def _watch(self) -> bool:
        """Watch the directories that are there; return whether the watch was renewed."""
        # Their import takes a while; `run --once` rarely has to wait, and most commands never.
        from watchdog.observers import Observer
        from watchdog.observers.inotify_move_event_grouper import InotifyMoveEventGrouper
        from watchdog.observers.polling import PollingObserver

        # What leaves a directory would be kept back, with all that comes behind it, until it might appear in another
        # one: each claim would make the processor deaf for half a second. Here both are events.
        InotifyMoveEventGrouper.delay = 0
        logging.getLogger("watchdog.observers.inotify").addFilter(_tells_something)
        present = {directory: _identity(directory) for directory in self._directories}
        if self._observer and present == self._watched and self._is_listening():
            return False
        self.close()
        self._watched = present
        try:
            # Some versions of watchdog ask the kernel for inotify here, others when they start.
            self._observer = PollingObserver(timeout=self._polling_s) if self._polling_s else Observer()
            for directory, identity in present.items():
                if identity != _NOWHERE:
                    self._observer.schedule(self, str(directory), recursive=False, event_filter=_NEWS)
            self._observer.start()
        except OSError as error:
            self._give_up(error)
            return False
        if self._is_deaf:
            log.info("file-system events work again")
        self._is_deaf = False
        return True

    def _is_listening(self) -> bool:
        # The thread of a directory that was deleted ends; the next one of that name may get the same inode.
        return self._observer is not None and all(emitter.is_alive() for emitter in self._observer.emitters)

    def _give_up(self, error: OSError) -> None:
        # inotify's watches or instances are used up (fs.inotify.max_user_watches), or a directory just went.
        self.close()
        if not self._is_deaf:
            log.warning(
                "file-system events don't work (%s): looking every poll interval instead; raise the limits "
                "fs.inotify.max_user_instances and max_user_watches, or set AUTORTHANC_OBSERVER=polling",
                error.strerror,
            )
        self._is_deaf = True


def _tells_something(record: logging.LogRecord) -> bool:
    # watchdog 6 reports as an error that one of its threads was asked for events after it was stopped.
    return "thread is inactive" not in record.getMessage()


_NOWHERE = (0, 0)


def _identity(directory: Path) -> tuple[int, int]:
    try:
        status = directory.stat()
    except OSError:
        return _NOWHERE
    return status.st_dev, status.st_ino
