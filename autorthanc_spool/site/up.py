"""Orthanc and the processor on this machine, without Docker: start both, show their logs, end both.

The processor starts when Orthanc answers, and ends before it. Neither outlives this process, nor each other.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from io import TextIOWrapper
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Protocol, Self, TextIO

from autorthanc_spool.core.errors import OrthancUnavailable, PasswordRefused
from autorthanc_spool.disk import durable
from autorthanc_spool.monitor import notice_check
from autorthanc_spool.run import access
from autorthanc_spool.settings import Settings, environment_of
from autorthanc_spool.settings.variables import NAMES
from autorthanc_spool.site import orthanc_config, preflight, shipped
from autorthanc_spool.site.children import Child, Event, Events, Stop, stop_signals

CONFIGURATION_NAME = "orthanc.json"

# Where distributions, and Orthanc's own binaries, put plugins.
PLUGIN_FOLDERS = tuple(map(Path, ("/usr/share/orthanc/plugins", "/usr/local/share/orthanc/plugins")))
EXPLORER = "libOrthancExplorer2.so"

# Orthanc answers within a second; when it converts an old database it may take hours, and says so in its log.
ASK_INTERVAL_S = 0.1
PATIENCE_S = 30.0
NOTICE_INTERVAL_S = 15.0


def up(settings: Settings) -> int:
    """Run until Ctrl-C, SIGTERM, or the end of either; give the exit code.

    Raises SettingsError before anything is started or written.
    """
    environ = os.environ
    program = preflight.check(settings, environ)
    log = Log(sys.stdout)
    for sentence in notes(settings):
        log.say(sentence)
    settings = on_this_machine(settings)
    events: Events = SimpleQueue()
    with stop_signals(events), Pair(settings, environ, events, log) as pair:
        event = pair.start(program) or next_event(events, settings, environ)
        if isinstance(event, Stop):
            log.say(f"ending ({event.reason})")
            return 0 if pair.end() else 1
        log.say(f"{event}; its last lines are above. Ending everything.")
        with suppress(OSError):
            notice_check.tell(settings.spool_path, settings, environ, restart_s=0.0)
        return 1


def next_event(events: Events, settings: Settings, environ: Mapping[str, str]) -> Event:
    """Wait for what ends it all; meanwhile send notices when the processor was stopped, and so can't."""
    while True:
        try:
            return events.get(timeout=NOTICE_INTERVAL_S)
        except Empty:
            # A spool that is away is for the processor to report.
            with suppress(OSError):
                notice_check.tell(settings.spool_path, settings, environ)


def on_this_machine(settings: Settings) -> Settings:
    """Let the processor speak to the Orthanc that is started here."""
    return replace(settings, orthanc_url=f"http://127.0.0.1:{orthanc_config.web_port(settings)}")


def notes(settings: Settings) -> list[str]:
    """Say what a person should know before it starts."""
    url = on_this_machine(settings).orthanc_url
    sentences = [f"Orthanc's pages: {url} · DICOM: {settings.aet_name}, port {settings.aet_port}"]
    sentences.append(f"Status page, for a browser: {settings.spool_path / 'state' / 'status.html'}")
    if settings.orthanc_url != url:
        sentences.append(f"ORTHANC_URL is {settings.orthanc_url}; `up` works with the Orthanc that it starts itself")
    if not settings.authentication_enabled:
        sentences.append("without authentication, Orthanc's pages open on this machine only")
    if settings.dicom_strict:
        sentences.append("only the nodes of ORTHANC_DICOM_MODALITIES may send (AUTORTHANC_DICOM_STRICT)")
    return sentences


class Journal(Protocol):
    """Where the lines of the two children and our own sentences go."""

    def show(self, name: str, line: str) -> None:
        """Take a line of a child's log."""

    def say(self, sentence: str) -> None:
        """Take a sentence of our own."""


class Log:
    """Two logs in one stream: whole lines, each with the name of who wrote it."""

    def __init__(self, stream: TextIO) -> None:
        # A line that the terminal's encoding can't show is shown in part, rather than ending the log.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
        self._stream = stream
        self._lock = threading.Lock()

    def show(self, name: str, line: str) -> None:
        """Write one line. Raises OSError when nobody reads it."""
        with self._lock:
            self._stream.write(f"{name:<9} | {line}\n")
            self._stream.flush()

    def say(self, sentence: str) -> None:
        """Write a line of our own, if anybody reads it."""
        try:
            self.show("up", sentence)
        except OSError:
            return


class Pair:
    """Orthanc and its processor. As a context it ends both, whatever happens."""

    def __init__(self, settings: Settings, environ: Mapping[str, str], events: Events, log: Journal) -> None:
        self.children: list[Child] = []
        self._settings = settings
        self._events = events
        self._log = log
        self._environ = {name: value for name, value in environ.items() if name not in NAMES}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def start(self, program: Path) -> Event | None:
        """Start Orthanc, wait until it answers, start the processor; give the event that came between, if any."""
        self.start_orthanc(program)
        event = self.wait_for_orthanc()
        if event is None:
            self._log.say("Orthanc answers; the processor starts")
            self.start_processor()
        return event

    def start_orthanc(self, program: Path) -> None:
        """Lay out the spool, write the configuration, and start Orthanc."""
        access.make_spool(self._settings)
        path = write_configuration(self._settings)
        # Orthanc takes the age of a study in local time, where an hour is missing or doubled twice a year.
        environ = {"TZ": "UTC", "LC_ALL": "C.UTF-8", "AUTORTHANC_SPOOL_PATH": str(self._settings.spool_path)}
        self._start("orthanc", [str(program), str(path)], environ)

    def start_processor(self) -> None:
        """Start the processor. The password goes by the environment, which other users can't read."""
        environ = environment_of(self._settings) | {"PYTHONUNBUFFERED": "1"}
        self._start("processor", [sys.executable, "-P", "-m", "autorthanc_spool", "run"], environ)

    def wait_for_orthanc(self) -> Event | None:
        """Wait until Orthanc answers; give the event that came first, if any."""
        orthanc = access.orthanc(self._settings)
        remind_at = time.monotonic() + PATIENCE_S
        while True:
            try:
                return self._events.get(timeout=ASK_INTERVAL_S)
            except Empty:
                pass
            try:
                orthanc.system()
            except PasswordRefused:
                raise
            except OrthancUnavailable:
                if time.monotonic() > remind_at:
                    self._log.say("still waiting for Orthanc to answer; its log says what it does")
                    remind_at += PATIENCE_S
            else:
                return None

    def end(self) -> bool:
        """End the processor, then Orthanc; return whether both ended when asked. Does nothing the second time."""
        in_time = True
        while self.children:
            in_time &= self.children[-1].end(self._log.say)
            self.children.pop()
        return in_time

    def _start(self, name: str, command: list[str], environ: dict[str, str]) -> None:
        self.children.append(Child(name, command, self._environ | environ, self._events, self._log.show))


def explorer(folders: Sequence[Path] = PLUGIN_FOLDERS) -> Path | None:
    """Find the plugin Orthanc Explorer 2 on this machine; None where it isn't installed."""
    return next((path for folder in folders if (path := folder / EXPLORER).is_file()), None)


def write_configuration(settings: Settings) -> Path:
    """Write Orthanc's configuration into the data folder, for its owner's eyes only: it holds the password."""
    path = settings.db_storage_path / CONFIGURATION_NAME
    found = orthanc_config.configuration(settings, shipped.lua_script(), explorer())
    text = orthanc_config.text(found)
    durable.write(path, text.encode(), settings.db_storage_path, mode=0o600)
    return path
