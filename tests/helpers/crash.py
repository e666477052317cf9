"""Die before the n-th durable step, as a process does that is killed: no clean-up, no finally.

A durable step is a call that changes what is on disk, or deletes from Orthanc. `run_dying` does it in a forked
child, so that thousands of steps can be tried without starting Python again.
"""

from __future__ import annotations

import gc
import os
import signal
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from autorthanc_spool.disk import durable
from autorthanc_spool.orthanc.client import Orthanc

STEPS = ("fsync", "replace", "rename", "mkdir", "unlink", "rmdir", "utime", "chmod", "fchmod", "chown", "fchown")


DELETION = "delete_instance"

# `make crashes` dies at every step. Each takes two whole runs, so that the ordinary tests die at every third.
EVERY = 1 if os.environ.get("AUTORTHANC_TEST_CRASHES") == "all" else 3


def steps(at_most: int, first: int = 1) -> range:
    """Give the steps to die at, one after the other, until a run doesn't come so far."""
    return range(first, at_most, EVERY)


def run_dying(step: int, work: Callable[[], object], *, among: tuple[str, ...] = (*STEPS, DELETION)) -> bool:
    """Run `work` in a child that dies before its step number `step`; return whether it came so far."""
    # Else the child's collector would touch, and the kernel copy, all that pytest has in memory.
    gc.freeze()
    child = os.fork()
    if child == 0:
        _child(step, work, among)
    gc.unfreeze()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0, "the child failed by itself; its traceback is above"
    return False


def _child(step: int, work: Callable[[], object], among: tuple[str, ...]) -> None:
    with ExitStack() as ending:
        # The child never returns into the test.
        ending.callback(os._exit, 1)
        ending.callback(traceback.print_exc)
        _arm(step, among)
        work()
        os._exit(0)


def _arm(step: int, among: tuple[str, ...]) -> None:
    left = step

    def count() -> None:
        nonlocal left
        left -= 1
        if left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)

    before_each(count, among)


def before_each(hook: Callable[[], None], among: tuple[str, ...] = (*STEPS, DELETION)) -> None:
    """Have this process call `hook` before each of its durable steps."""

    def hooked(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*arguments: Any, **keywords: Any) -> Any:
            # A lock touches its own open file, to ask the server for it: nothing of that is left by a crash.
            if call.__name__ != "utime" or not isinstance(arguments[0], int):
                hook()
            return call(*arguments, **keywords)

        return wrapper

    for name in {*STEPS}.intersection(among):
        setattr(os, name, hooked(getattr(os, name)))
    if DELETION in among:
        Orthanc.delete_instance = hooked(Orthanc.delete_instance)  # type: ignore[method-assign]
    if "rename" in among:
        durable._renameat2 = hooked(durable._renameat2)  # type: ignore[assignment]
