"""Run whole programs and measure them from outside: wall-clock time, processor time, peak memory of the largest one."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Run:
    """One finished run; `peak_bytes` is of the process itself, or of the largest of its finished children."""

    wall_s: float
    cpu_s: float
    peak_bytes: int


def run(command: Sequence[str | Path], *, cwd: Path, environment: dict[str, str] | None = None) -> Run:
    """Run a program to its end. Raises RuntimeError when it fails."""
    begin_s = time.monotonic()
    with (cwd / "measured.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=cwd, env=environment, stdout=log, stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{command[0]} ended with {process.returncode}: {(cwd / 'measured.log').read_text()}")
    return Run(time.monotonic() - begin_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def spread(figures: Sequence[float]) -> str:
    """Say the median of some figures, with the lowest and the highest."""
    return f"{statistics.median(figures):.2f} ({min(figures):.2f} to {max(figures):.2f})"
