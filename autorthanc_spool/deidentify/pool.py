"""Processes that de-identify, one for each processor core, so that Python's lock doesn't keep them on one.

Each worker is at the disposal of one thread at a time. A worker that dies takes nothing with it but the file it had,
which is given to another one once; its death is seen at once, because the kernel closes its end of the connection.
"""

from __future__ import annotations

import queue
import socket
import subprocess
import sys
import threading
from multiprocessing.connection import Connection
from multiprocessing.reduction import send_handle

from autorthanc_spool.deidentify.errors import AnonymiserDied
from autorthanc_spool.deidentify.file import Deidentified, Held
from autorthanc_spool.deidentify.worker import Recipe

# Of a file that killed a worker; the first death may have been somebody else's doing.
_TRIES = 2

# How long a worker is waited for that was told to end; it has nothing to finish.
_END_S = 10.0


class Pool:
    """Workers, started when they are first needed. Safe to be used by several threads at once."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._lock = threading.Lock()
        self._idle: queue.LifoQueue[_Worker | None] = queue.LifoQueue()
        for _ in range(size):
            self._idle.put(None)

    def deidentify(self, recipe: Recipe, descriptor: int) -> Deidentified | Held:
        """De-identify the file that is open as `descriptor`.

        Raises what `Deidentifier.file` raises, and AnonymiserDied.
        """
        for _ in range(_TRIES):
            worker = self._idle.get()
            try:
                worker = worker or _Worker()
                answer = worker.ask(recipe, descriptor)
            except (EOFError, OSError):
                if worker:
                    worker.end()
                worker = None
                continue
            finally:
                self._idle.put(worker)
            if isinstance(answer, Deidentified | Held):
                return answer
            raise answer
        raise AnonymiserDied(
            "the process that anonymises was ended while it had this file, twice; if the memory is full, give it more"
        )

    def close(self) -> None:
        """End all workers; none may be at work."""
        for _ in range(self.size):
            worker = self._idle.get()
            if worker:
                worker.end()
        for _ in range(self.size):
            self._idle.put(None)


class _Worker:
    """One process and the connection to it."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                # -P: what lies in the working directory, an old copy of this package perhaps, is not our code.
                [sys.executable, "-P", "-m", "autorthanc_spool.deidentify.worker", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        self._connection = Connection(ours.detach())
        self._recipe: Recipe | None = None

    def ask(self, recipe: Recipe, descriptor: int) -> Deidentified | Held | Exception:
        """Have a file de-identified. Raises EOFError or OSError when the process has died."""
        self._connection.send(recipe if recipe is not self._recipe else None)
        self._recipe = recipe
        send_handle(self._connection, descriptor, self._process.pid)
        answer: Deidentified | Held | Exception = self._connection.recv()
        return answer

    def end(self) -> None:
        """End the process."""
        self._connection.close()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
