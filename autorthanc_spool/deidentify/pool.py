"""Processes that de-identify, one for each processor core, so that Python's lock doesn't keep them on one.

Each worker is at the disposal of one thread at a time. A worker that dies takes nothing with it but the file it had,
which is given to another one once; its death is seen at once, because the kernel closes its end of the connection.
"""

from __future__ import annotations

import queue
import signal
import socket
import subprocess
import sys
from multiprocessing.connection import Connection
from multiprocessing.reduction import send_handle
from pathlib import Path

from autorthanc_spool.core.pulse import Pulse, no_pulse
from autorthanc_spool.deidentify import codecs
from autorthanc_spool.deidentify.errors import AnonymiserDied, CodecBrokeDown
from autorthanc_spool.deidentify.file import Deidentified, Held
from autorthanc_spool.deidentify.output import Made
from autorthanc_spool.deidentify.worker import Recipe

_PROCESS = "autorthanc_spool.deidentify.process"

# Of a file that killed a worker; the first death may have been somebody else's doing.
_TRIES = 2

# A large file may take minutes; while its worker computes, something moves.
_LOOK_S = 5.0
# How a program in C ends that has made a mistake. One that lacks memory, or is ended by somebody, ends otherwise.
_FAULTS = frozenset({signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL})

# How long to wait for a worker that was asked to end; it has nothing to finish.
_END_S = 10.0


class Pool:
    """Workers, started when they are first needed. Safe to be used by several threads at once."""

    def __init__(self, size: int, pulse: Pulse | None = None) -> None:
        self.size = size
        self._pulse = pulse or no_pulse()
        self._idle: queue.LifoQueue[_Worker | None] = queue.LifoQueue()
        for _ in range(size):
            self._idle.put(None)

    def deidentify(self, recipe: Recipe, descriptor: int) -> Deidentified | Held:
        """De-identify the file that is open as `descriptor`.

        Raises what `Deidentifier.file` raises, and AnonymiserDied.
        """
        try:
            answer = self._ask(recipe, descriptor, decodes=recipe.profile.needs_codecs)
        except CodecBrokeDown:
            answer = self._ask(recipe.without_pixels(), descriptor, decodes=False)
            assert isinstance(answer, Deidentified | Held)
            return Held(answer.identity, codecs.BREAKS_DOWN)
        assert not isinstance(answer, bytes | bytearray)
        return answer

    def made(self, piece: Made, descriptor: int) -> bytes | bytearray:
        """Make a piece of what was made of the file that is open as `descriptor`. Raises AnonymiserDied."""
        answer = self._ask(piece, descriptor, decodes=True)
        assert isinstance(answer, bytes | bytearray)
        return answer

    def _ask(self, asked: Recipe | Made, descriptor: int, *, decodes: bool) -> Deidentified | Held | bytes | bytearray:
        ended = 0
        for _ in range(_TRIES):
            worker = self._idle.get()
            try:
                if worker and decodes and not worker.decodes:
                    worker.end()
                    worker = None
                worker = worker or _Worker(decodes=decodes)
                answer = worker.ask(asked, descriptor, self._pulse)
            except (EOFError, OSError):
                ended = worker.end() if worker else 0
                worker = None
                continue
            finally:
                self._idle.put(worker)
            if isinstance(answer, Exception):
                raise answer
            return answer
        kind = CodecBrokeDown if decodes and -ended in _FAULTS else AnonymiserDied
        raise kind(
            "the process that anonymises was ended while it had this file, twice; if the memory is full, give it more"
        )

    def close(self) -> None:
        """End all workers; none may be at work."""
        workers = [worker for _ in range(self.size) if (worker := self._idle.get())]
        for worker in workers:
            worker.dismiss()
        for worker in workers:
            worker.end()
        for _ in range(self.size):
            self._idle.put(None)


class _Worker:
    """One process and the connection to it."""

    def __init__(self, *, decodes: bool) -> None:
        self.decodes = decodes
        ours, theirs = socket.socketpair()
        with ours, theirs:
            self._process = subprocess.Popen(
                # -P: what lies in the working directory, an old copy of this package perhaps, is not our code.
                [sys.executable, "-P", "-m", _PROCESS, str(theirs.fileno()), *(["pixels"] if decodes else [])],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
            self._connection = Connection(ours.detach())
        self._recipe: Recipe | None = None

    def ask(
        self, asked: Recipe | Made, descriptor: int, pulse: Pulse
    ) -> Deidentified | Held | bytes | bytearray | Exception:
        """Have a file de-identified, or a piece made of it. Raises EOFError or OSError when the process has died."""
        self._connection.send(asked if asked is not self._recipe else None)
        if isinstance(asked, Recipe):
            self._recipe = asked
        send_handle(self._connection, descriptor, self._process.pid)
        used: list[str] = []
        while not self._connection.poll(_LOOK_S):
            before, used = used, self._cpu_ticks()
            if used != before:
                pulse.beat()
        answer: Deidentified | Held | bytes | bytearray | Exception = self._connection.recv()
        return answer

    def _cpu_ticks(self) -> list[str]:
        """How long it has computed so far: utime and stime of proc_pid_stat(5). Raises OSError when it has died."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text()
        return fields.rpartition(")")[2].split()[11:13]

    def dismiss(self) -> None:
        """Ask the process to end."""
        self._connection.close()

    def end(self) -> int:
        """End the process, and give its exit code, or the signal that ended it as a negative number."""
        self.dismiss()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        return self._process.returncode
