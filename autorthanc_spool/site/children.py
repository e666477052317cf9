"""Child processes whose logs are shown line by line, and which don't outlive their parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import IO

# A child that was asked to end may have to finish what it writes; Orthanc waits for its jobs and its database.
END_DEADLINE_S = 60.0

LAST_LINES_DEADLINE_S = 5.0

_DIES_WITH_PARENT = Path(__file__).with_name("dies_with_parent.py")

# Takes the name of a child and one line of its log.
Show = Callable[[str, str], None]


@dataclass(frozen=True)
class Ended:
    """A child ended; negative codes are signals."""

    name: str
    code: int

    def __str__(self) -> str:
        how = f"exit code {self.code}" if self.code >= 0 else f"signal {signal.Signals(-self.code).name}"
        return f"{self.name} ended by itself ({how})"


@dataclass(frozen=True)
class Stop:
    """Somebody wants everything to end."""

    reason: str

    def __str__(self) -> str:
        return self.reason


Event = Ended | Stop
Events = SimpleQueue[Event]


class Child:
    """One running command. Start it in the main thread: the kernel ties its life to the thread that forks."""

    def __init__(
        self, name: str, command: Sequence[str], environ: Mapping[str, str], events: Events, show: Show
    ) -> None:
        self.name = name
        self._events = events
        self._show = show
        self._process = subprocess.Popen(
            # A file named like a module of Python's is beside this script: -I keeps its folder off the path.
            [sys.executable, "-I", "-S", str(_DIES_WITH_PARENT), str(os.getpid()), *command],
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            # Ctrl-C reaches a whole process group; the order of ending is for the parent to keep.
            process_group=0,
        )
        self._relaying = threading.Thread(target=self._relay, name=f"{name} log", daemon=True)
        self._waiting = threading.Thread(target=self._wait, name=f"{name} end", daemon=True)
        self._relaying.start()
        self._waiting.start()

    def end(self, say: Callable[[str], None], deadline_s: float = END_DEADLINE_S) -> bool:
        """Ask the child to end and wait; kill it after the deadline. Return whether it ended when asked."""
        in_time = True
        self._process.terminate()
        try:
            self._process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            say(f"{self.name} didn't end within {deadline_s:g} s; killing it")
            self._process.kill()
            in_time = False
        self._waiting.join()
        return in_time

    def _wait(self) -> None:
        code = self._process.wait()
        # The last lines say why, so they come first; only a grandchild that lives on would keep the log open.
        self._relaying.join(LAST_LINES_DEADLINE_S)
        self._events.put(Ended(self.name, code))

    def _relay(self) -> None:
        stream: IO[bytes] | None = self._process.stdout
        if stream is None:
            return
        with stream:
            for data in stream:
                line = _printable(data)
                try:
                    self._show(self.name, line)
                except OSError as error:
                    # Whoever read our output has gone; the child must not notice that its log is no longer read.
                    self._events.put(Stop(f"the log can't be written ({error.strerror})"))
                    self._show = _ignore


def _printable(data: bytes) -> str:
    # A log can hold what a remote machine sent, and a terminal obeys control characters.
    text = data.decode(errors="replace").rstrip().expandtabs()
    return "".join(character if character.isprintable() else "�" for character in text)


def _ignore(_name: str, _line: str) -> None:
    return None


@contextmanager
def stop_signals(events: Events) -> Iterator[None]:
    """Turn Ctrl-C, SIGTERM and a closed terminal into an event. Main thread only."""

    def stop(number: int, _frame: object) -> None:
        events.put(Stop(signal.Signals(number).name))

    # nohup asks us to live on without a terminal.
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    former = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in former.items():
            with suppress(TypeError):
                signal.signal(number, handler)
