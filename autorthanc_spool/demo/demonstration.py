"""The main job, shown in a temporary folder: a rule, a study sent by C-STORE, and what happens to it."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from queue import SimpleQueue

from rich.console import Console

from autorthanc_spool.core.errors import SpoolError
from autorthanc_spool.core.states import State
from autorthanc_spool.demo import study as demo_study
from autorthanc_spool.demo.story import Story
from autorthanc_spool.run import access
from autorthanc_spool.settings import Settings, load_settings
from autorthanc_spool.site import preflight, shipped
from autorthanc_spool.site.children import Event, Events, Stop, stop_signals
from autorthanc_spool.site.up import Pair

# The whole takes about five seconds; what takes longer than this won't end well.
DEADLINE_S = 60.0

# Orthanc counts whole seconds; 0 would mean 60.
STABLE_AGE_S = 1

# Of both logs together; enough for a traceback and what led to it.
LOG_LINES = 60

_PUBLISHED = Stop("the study was published, and its record filed")


def demo(keep: bool) -> int:
    """Show the main job and clean up; with `keep`, leave the folder in place. Gives the exit code.

    Raises SettingsError when Orthanc isn't installed.
    """
    console = Console(soft_wrap=True, highlight=False)
    folder = Path(tempfile.mkdtemp(prefix="autorthanc-demo-"))
    try:
        return _show(folder, console)
    finally:
        if keep:
            console.print(f"\nEverything is left in {folder}: look around, then remove it.")
        else:
            shutil.rmtree(folder)


def make_site(folder: Path) -> Settings:
    """Lay out a site with one rule, on free ports, with a password that nobody needs to know."""
    web_port, dicom_port, unused_port = _free_ports(3)
    variables = {
        "UID": str(os.getuid()),
        "GID": str(os.getgid()),
        "ORTHANC_WEB_PORT": str(web_port),
        "ORTHANC_AET_PORT": str(dicom_port),
        "POSGRES_DOCKER_EXPOSE_PORT": str(unused_port),
        "ORTHANC_PASSWORD": secrets.token_urlsafe(24),
        "ORTHANC_STABLE_AGE": str(STABLE_AGE_S),
    }
    settings = load_settings({}, variables, folder)
    settings.rules_path.mkdir()
    settings.output_path.mkdir()
    rule = json.loads(shipped.example_rule().read_text()) | {"IsActive": True}
    (settings.rules_path / shipped.example_rule().name).write_text(json.dumps(rule, indent=2))
    access.make_spool(settings)
    return settings


def _show(folder: Path, console: Console) -> int:
    settings = make_site(folder)
    program = preflight.check(settings, os.environ)
    events: Events = SimpleQueue()
    logs = Logs()
    story = Story(
        settings, console, time.monotonic, lambda problem: events.put(Stop(problem) if problem else _PUBLISHED)
    )
    _introduce(settings, console)
    with (
        stop_signals(events),
        _deadline(events),
        Pair(settings, os.environ, events, logs) as pair,
        story.listening(),
    ):
        try:
            ending = _run(pair, program, events, story, settings)
        except SpoolError as error:
            ending = Stop(str(error))
        if ending is _PUBLISHED:
            _show_result(settings, story, console)
    if ending is _PUBLISHED:
        console.print()
        story.tell("Orthanc and the processor have ended")
        return 0
    _show_failure(ending, settings, logs)
    return 1


def _run(pair: Pair, program: Path, events: Events, story: Story, settings: Settings) -> Event:
    event = pair.start(program)
    if event:
        return event
    story.tell(f"Orthanc answers at {settings.orthanc_url}; the processor starts")
    study = demo_study.make()
    story.tell(f"{len(study)} images of {len({one.SeriesInstanceUID for one in study})} series are sent by C-STORE")
    demo_study.send(study, settings.aet_port, settings.aet_name)
    story.tell(f"Orthanc has them all; it waits {settings.stable_age_s} s for more")
    return events.get()


class Logs:
    """Keeps the last lines of both logs, for the case that something goes wrong."""

    def __init__(self) -> None:
        self.lines: deque[str] = deque(maxlen=LOG_LINES)

    def show(self, name: str, line: str) -> None:
        """Keep a line."""
        self.lines.append(f"{name:<9} | {line}")

    def say(self, sentence: str) -> None:
        """Keep a sentence."""
        self.show("demo", sentence)


@contextmanager
def _deadline(events: Events) -> Iterator[None]:
    timer = threading.Timer(DEADLINE_S, lambda: events.put(Stop(f"it didn't end within {DEADLINE_S:g} s")))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _introduce(settings: Settings, console: Console) -> None:
    console.print(f"[bold]A rule[/], automation_scripts/{shipped.example_rule().name}:")
    console.print_json((settings.rules_path / shipped.example_rule().name).read_text())
    console.print(f"\n[bold]What happens[/], in {settings.spool_path.parent}:")


def _show_result(settings: Settings, story: Story, console: Console) -> None:
    if story.published is None or story.record is None:
        return
    console.print("\n[bold]What lies there for the pipeline to take:[/]")
    console.print(f"output/{story.published.relative_to(settings.output_path)}/")
    for line in _tree(story.published):
        console.print(line, markup=False)
    console.print(f"\n[bold]What was done[/], spool/{story.record.relative_to(settings.spool_path)}:")
    console.print_json(story.record.read_text())


def _tree(folder: Path, indent: str = "") -> Iterator[str]:
    entries = sorted(folder.iterdir())
    for entry in entries:
        branch, below = ("└── ", "    ") if entry is entries[-1] else ("├── ", "│   ")
        if entry.is_dir():
            yield f"{indent}{branch}{entry.name}/"
            yield from _tree(entry, indent + below)
        else:
            yield f"{indent}{branch}{entry.name}  {entry.stat().st_size} bytes"


def _show_failure(ending: Event, settings: Settings, logs: Logs) -> None:
    console = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
    console.print(f"\nThe demonstration failed: {ending}. The last lines of both logs:")
    for line in logs.lines:
        console.print(f"  {line}")
    spool = access.make_spool(settings)
    for item in (item for state in State if state is not State.DONE for item in spool.directories.items(state)):
        console.print(f"{item.state}/{item.name}:\n{item.path.read_text(errors='replace')}")
    console.print("`autorthanc-spool demo --keep` leaves everything in place to be looked at.")


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
