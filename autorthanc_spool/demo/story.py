"""What happens during the demonstration, shown as it happens, from the events of the file system."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from autorthanc_spool.core import marker
from autorthanc_spool.core.errors import MarkerError
from autorthanc_spool.core.states import State
from autorthanc_spool.settings import Settings

_WORKING = ".WORKING"

# The steps that can be seen from outside, in their order.
_COMPLETE = "Orthanc finds the study complete: its marker is in spool/incoming/"
_CLAIMED = "the processor claims the marker, and writes into output/{}/{}"
_PUBLISHED = "published, by one rename: output/{}/{}"
_FILED = "the marker is filed, with a record of what was done: spool/done/{}/"


class Story(FileSystemEventHandler):
    """Listens to the spool and the output, and prints each step once, with the seconds since the beginning.

    `ended` is called once: with None when the study is published and its record filed, else with what is wrong.
    """

    def __init__(
        self, settings: Settings, console: Console, clock: Callable[[], float], ended: Callable[[str | None], None]
    ) -> None:
        self.published: Path | None = None
        self.record: Path | None = None
        self._settings = settings
        self._console = console
        self._clock = clock
        self._begin = clock()
        self._ended = ended
        self._observer = Observer()
        self._shown: set[str] = set()
        self._has_ended = False
        # Steps are printed by the main thread and by the observer's.
        self._lock = threading.Lock()

    def tell(self, *steps: str) -> None:
        """Print steps, unless they were printed before."""
        with self._lock:
            for step in steps:
                if step not in self._shown:
                    self._shown.add(step)
                    self._console.print(f"[dim]{self._clock() - self._begin:6.2f} s[/]  {step}")

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Show what happens in the site from here on."""
        # It reports its own end as an error.
        logging.getLogger("watchdog").addHandler(logging.NullHandler())
        self._observer.start()
        try:
            self._listen_to(self._settings.output_path)
            for state in (State.INCOMING, State.FAILED, State.DONE):
                self._listen_to(self._settings.spool_path / state)
            yield
        finally:
            self._observer.stop()
            self._observer.join()

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Show what the event means, if it is one of the steps."""
        if event.event_type in {"created", "moved"}:
            # A rename has two names; the new one counts.
            self._look_at(Path(os.fsdecode(event.dest_path or event.src_path)))

    def _listen_to(self, folder: Path) -> None:
        # Watching a tree as a whole loses events of folders that are just being made; so each folder has its watch, and
        # what was in it before is looked at once.
        self._observer.schedule(self, str(folder), recursive=False)
        for path in folder.iterdir():
            self._look_at(path)

    def _look_at(self, path: Path) -> None:
        if path.parent in (self._settings.output_path, self._settings.spool_path / State.DONE) and path.is_dir():
            self._listen_to(path)
        elif path.is_relative_to(self._settings.output_path):
            self._look_at_output(path)
        elif "-study-" in path.name and path.suffix == ".json":
            self._look_at_marker(path)
        if self.published and self.record:
            self.tell(_FILED.format(self.record.parent.name))
            self._end(None)

    def _look_at_output(self, path: Path) -> None:
        # The observer keeps back what happens in a folder within half a second of a move out of it. So a step can be
        # seen late, and is printed when a later one shows that it was made.
        match path.relative_to(self._settings.output_path).parts:
            case [rule, name] if name.endswith(_WORKING):
                self.tell(_COMPLETE, _CLAIMED.format(rule, name))
            case [rule, name] if not name.startswith("."):
                self.tell(_COMPLETE, _CLAIMED.format(rule, name + _WORKING), _PUBLISHED.format(rule, name))
                self.published = path

    def _look_at_marker(self, path: Path) -> None:
        match path.relative_to(self._settings.spool_path).parts:
            case [State.INCOMING, _]:
                self.tell(_COMPLETE)
            case [State.FAILED, _]:
                self._end("the marker went to spool/failed/")
            case [State.DONE, *_] if _is_record(path):
                self.record = path

    def _end(self, problem: str | None) -> None:
        with self._lock:
            if not self._has_ended:
                self._has_ended = True
                self._ended(problem)


def _is_record(path: Path) -> bool:
    # The marker is moved first, then its content is replaced; it may also be moved on.
    try:
        return bool(marker.parse(path.name, path.read_bytes()).outcomes)
    except (OSError, MarkerError):
        return False
