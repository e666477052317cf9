"""Many processes on one spool: real ones, because a race between threads would prove nothing about flock."""

import collections
import os
import subprocess
import sys
import time
from pathlib import Path

from autorthanc_spool.core.states import State
from autorthanc_spool.spool.spool import Spool
from tests.helpers.many import fill

CLAIMER = Path(__file__).with_name("claimer.py")


def run_claimers(root: Path, count: int) -> list[list[str]]:
    barrier = root.parent / "go"
    notes = [root.parent / f"notes{number}" for number in range(count)]
    claimers = [subprocess.Popen([sys.executable, CLAIMER, root, note, barrier]) for note in notes]
    barrier.touch()
    assert [claimer.wait(timeout=120) for claimer in claimers] == [0] * count
    return [note.read_text().splitlines() if note.exists() else [] for note in notes]


def test_eight_processes_claim_600_markers_each_once_and_leave_no_lock(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", time.time)
    spool.directories.lay_out()
    fill(spool, 600)
    notes = run_claimers(spool.root, 8)
    claimed = collections.Counter(line.split()[1] for lines in notes for line in lines)
    assert len(claimed) == 600
    assert set(claimed.values()) == {1}
    assert len(spool.directories.items(State.DONE)) == 600
    assert [str(state) for state in State if state is not State.DONE and spool.directories.items(state)] == []
    assert os.listdir(spool.root / "locks") == []


def test_no_two_processes_hold_one_resource_and_its_waiting_markers_are_superseded(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", time.time)
    spool.directories.lay_out()
    fill(spool, 20, markers_each=30)
    notes = run_claimers(spool.root, 8)
    claimed = [line.split() for lines in notes for line in lines]
    superseded = sum(int(companions) for _, _, companions in claimed)
    assert len(claimed) + superseded == 600
    assert len(spool.directories.items(State.DONE)) == 600
    assert os.listdir(spool.root / "locks") == []
    assert os.listdir(spool.root / "state" / "filing") == []
