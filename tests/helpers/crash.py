"""Die before the n-th durable step, as a process does that is killed: no clean-up, no finally.

A durable step is a call that changes what is on disk, or deletes from Orthanc. `run_dying` does it in a forked
child, so that thousands of steps can be tried without starting Python again.
"""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable
from typing import Any

from autorthanc_spool.disk import durable
from autorthanc_spool.orthanc.client import Orthanc

STEPS = ("fsync", "replace", "rename", "mkdir", "unlink", "rmdir", "utime", "chmod", "fchmod", "chown", "fchown")


DELETION = "delete_instance"


def run_dying(step: int, work: Callable[[], object], *, among: tuple[str, ...] = (*STEPS, DELETION)) -> bool:
    """Run `work` in a child that dies before its step number `step`; tell whether it came so far."""
    child = os.fork()
    if child == 0:
        _child(step, work, among)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0, "the child failed by itself; its traceback is above"
    return False


def _child(step: int, work: Callable[[], object], among: tuple[str, ...]) -> None:
    try:
        _arm(step, among)
        work()
    except BaseException:  # noqa: BLE001 - the child never returns into the test
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def _arm(step: int, among: tuple[str, ...]) -> None:
    left = step

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*arguments: Any, **keywords: Any) -> Any:
            nonlocal left
            left -= 1
            if left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **keywords)

        return wrapper

    for name in {*STEPS}.intersection(among):
        setattr(os, name, counted(getattr(os, name)))
    if DELETION in among:
        Orthanc.delete_instance = counted(Orthanc.delete_instance)  # type: ignore[method-assign]
    if "rename" in among:
        durable._renameat2 = counted(durable._renameat2)  # type: ignore[assignment]
