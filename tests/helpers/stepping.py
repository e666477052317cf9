"""A processor that is stopped before its n-th step, loses its locks there without knowing, and goes on later.

That is what happens to the processors of a machine that is cut off from a shared file system and comes back: they live,
and the server has given their locks to others.
"""

from __future__ import annotations

import fcntl
import os
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from autorthanc_spool.disk.locks import ResourceLock
from autorthanc_spool.orthanc.modalities import Modalities
from autorthanc_spool.run.forward import LedgerEntry
from tests.helpers import crash

# What this process has taken, and may lose.
_locks: list[ResourceLock] = []


class Stopped:
    """A processor in a child, which stops before its step number `step`; `sends` gets a line for each sending."""

    def __init__(self, step: int, work: Callable[[], object], sends: Path, *, loses_locks: bool) -> None:
        there, self._tell = os.pipe()
        self._told, here = os.pipe()
        self._child = os.fork()
        if self._child == 0:
            _child(step, work, sends, loses_locks, there, here)
        os.close(there)
        os.close(here)
        # It ends without a word where it has fewer steps.
        self.was_stopped = os.read(self._told, 1) == b"!"

    def go_on(self) -> None:
        """Let it go on, to its end."""
        if self.was_stopped:
            os.write(self._tell, b"!")
        self._end()
        _, status = os.waitpid(self._child, 0)
        assert os.waitstatus_to_exitcode(status) == 0, "the processor failed; its traceback is above"

    def kill(self) -> None:
        """Let it die there."""
        self._end()
        os.kill(self._child, 9)
        os.waitpid(self._child, 0)

    def _end(self) -> None:
        os.close(self._told)
        os.close(self._tell)


def _child(step: int, work: Callable[[], object], sends: Path, loses_locks: bool, there: int, here: int) -> None:
    code = 1
    try:
        left, is_late = step, False

        def count() -> None:
            nonlocal left, is_late
            if threading.current_thread() is not threading.main_thread():
                return
            left -= 1
            if left == 0:
                for lock in _locks if loses_locks else ():
                    lose(lock)
                is_late = True
                os.write(here, b"!")
                os.read(there, 1)

        _remember_locks()
        _hook_sends(count, lambda: _note(sends, is_late))
        crash.before_each(count)
        result = work()
        code = result if isinstance(result, int) else 0
        os.close(here)
    except BaseException:  # noqa: BLE001 - the child never returns into the test
        traceback.print_exc()
    os._exit(code)


def lose(lock: ResourceLock) -> None:
    """Let a lock be lost, without its owner knowing."""
    if lock._descriptor >= 0:
        fcntl.flock(lock._descriptor, fcntl.LOCK_UN)


def _remember_locks() -> None:
    begin = ResourceLock.__init__

    def remembering(lock: ResourceLock, *arguments: Any) -> None:
        begin(lock, *arguments)
        _locks.append(lock)

    ResourceLock.__init__ = remembering  # type: ignore[method-assign]


def _hook_sends(count: Callable[[], None], note: Callable[[], None]) -> None:
    check, stores = LedgerEntry.check, (Modalities.store, Modalities.store_straight)

    def counted(entry: LedgerEntry) -> None:
        count()
        check(entry)

    def noted(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*arguments: Any, **keywords: Any) -> Any:
            note()
            return call(*arguments, **keywords)

        return wrapper

    LedgerEntry.check = counted  # type: ignore[method-assign]
    Modalities.store, Modalities.store_straight = map(noted, stores)  # type: ignore[method-assign]


def _note(sends: Path, is_late: bool) -> None:
    with sends.open("a") as stream:
        stream.write("late\n" if is_late else "in time\n")
