"""Child processes: their logs, their ends, and that they don't outlive us. Real processes."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue

import pytest

from autorthanc_spool.site.children import Child, Ended, Event, Stop

DEADLINE_S = 20


class Recorder:
    """Keeps what was shown and said."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.seen: SimpleQueue[str] = SimpleQueue()

    def show(self, name: str, line: str) -> None:
        self.lines.append(line)
        self.seen.put(line)

    def say(self, sentence: str) -> None:
        self.lines.append(sentence)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def events() -> SimpleQueue[Event]:
    return SimpleQueue()


@pytest.fixture
def children() -> Iterator[list[Child]]:
    """Ends what a failed test left running."""
    started: list[Child] = []
    yield started
    for child in started:
        child.end(print)


def shell(script: str) -> list[str]:
    return ["/bin/sh", "-c", script]


def test_both_streams_are_shown_before_the_end_is_reported(recorder: Recorder, events: SimpleQueue[Event]) -> None:
    Child("one", shell("echo out; echo err >&2; exit 3"), os.environ, events, recorder.show)
    assert events.get(timeout=DEADLINE_S) == Ended("one", 3)
    assert recorder.lines == ["out", "err"]


def test_control_characters_of_a_log_do_not_reach_the_terminal(recorder: Recorder, events: SimpleQueue[Event]) -> None:
    Child("one", shell(r"printf 'a\033[2Jb\tc\377\n'"), os.environ, events, recorder.show)
    events.get(timeout=DEADLINE_S)
    assert recorder.lines == ["a�[2Jb  c�"]


def test_a_signal_is_named_when_it_ended_a_child(recorder: Recorder, events: SimpleQueue[Event]) -> None:
    Child("one", shell("kill -KILL $$"), os.environ, events, recorder.show)
    assert str(events.get(timeout=DEADLINE_S)) == "one ended by itself (signal SIGKILL)"


def test_a_child_that_ends_when_asked_is_not_killed(
    recorder: Recorder, events: SimpleQueue[Event], children: list[Child]
) -> None:
    script = "trap 'echo bye; exit 0' TERM; echo ready; while :; do read x < /dev/null || sleep 0.05; done"
    children.append(Child("one", shell(script), os.environ, events, recorder.show))
    assert recorder.seen.get(timeout=DEADLINE_S) == "ready"
    assert children[0].end(recorder.say)
    assert recorder.lines == ["ready", "bye"]


def test_a_child_that_does_not_end_is_killed_with_a_sentence(
    recorder: Recorder, events: SimpleQueue[Event], children: list[Child]
) -> None:
    script = "trap '' TERM; echo ready; exec sleep 1000"
    children.append(Child("one", shell(script), os.environ, events, recorder.show))
    recorder.seen.get(timeout=DEADLINE_S)
    assert not children[0].end(recorder.say, deadline_s=0.2)
    assert recorder.lines[-1] == "one didn't end within 0.2 s; killing it"
    assert events.get(timeout=DEADLINE_S) == Ended("one", -signal.SIGKILL)


def test_a_log_that_nobody_reads_asks_for_the_end_once(events: SimpleQueue[Event]) -> None:
    def show(name: str, line: str) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    Child("one", shell("echo a; echo b; echo c"), os.environ, events, show)
    assert events.get(timeout=DEADLINE_S) == Stop("the log can't be written (Broken pipe)")
    assert events.get(timeout=DEADLINE_S) == Ended("one", 0)


def test_a_child_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    program = (
        "import os, sys, threading\n"
        "from queue import SimpleQueue\n"
        "from autorthanc_spool.site.children import Child\n"
        "child = Child('one', ['/bin/sh', '-c', 'echo $$; exec sleep 1000'], os.environ, SimpleQueue(),\n"
        "              lambda name, line: print(line, flush=True))\n"
        "threading.Event().wait()\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        descriptor = os.pidfd_open(int(parent.stdout.readline()))
        try:
            parent.kill()
            ended, _, _ = select.select([descriptor], [], [], DEADLINE_S)
        finally:
            os.close(descriptor)
    assert ended, "the child lives on"
