"""Locks between hosts, whose files come and go."""

from __future__ import annotations

import itertools
import subprocess
import sys

from tests.cluster.lab import Lab

LOCKER = [sys.executable, "-m", "tests.cluster.locker"]
SECONDS = 20


def test_no_two_processes_of_two_hosts_ever_hold_one_lock(lab: Lab) -> None:
    folder = lab.shared / "locks"
    folder.mkdir()
    processes = [
        subprocess.Popen(host.words(*LOCKER, folder, str(SECONDS), cwd=lab.checkout), stdout=subprocess.PIPE, text=True)
        for host in lab.hosts * 2
    ]
    outputs = [process.communicate(timeout=SECONDS + 60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes)
    spans = sorted(tuple(map(float, line.split())) for output in outputs for line in output.splitlines())
    taken = [len(output.splitlines()) for output in outputs]
    assert min(taken) > 0, taken
    overlaps = [(one, other) for one, other in itertools.pairwise(spans) if other[0] < one[1]]
    assert overlaps == [], (len(overlaps), taken)
