"""A lock that was lost without its owner knowing, and what its owner may no longer do."""

import errno
import fcntl
import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from autorthanc_spool.core.errors import ClaimLost, SpoolUnavailable
from autorthanc_spool.core.record import Record
from autorthanc_spool.core.states import Event
from autorthanc_spool.disk import locks
from autorthanc_spool.disk.locks import ResourceLock
from autorthanc_spool.output.folders import Output
from autorthanc_spool.output.rights import Rights
from autorthanc_spool.spool.ledger import HeldRecord, Ledger
from autorthanc_spool.spool.spool import Spool
from tests.helpers.many import fill
from tests.helpers.stepping import lose

KEY = "study-0a4b249f-7fce45ca-4f722f72-de2a24df-92abc740"


def taken(folder: Path) -> ResourceLock:
    lock = locks.take(folder, KEY)
    assert lock
    return lock


def close_behind_its_back(lock: ResourceLock) -> None:
    os.close(lock._descriptor)


def another_has_it(lock: ResourceLock) -> None:
    lose(lock)
    fcntl.flock(os.open(lock._path, os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB)


def another_had_it(lock: ResourceLock) -> None:
    lose(lock)
    taken(lock._path.parent).release()


def another_has_a_new_one(lock: ResourceLock) -> None:
    lock._path.unlink()
    lock._path.touch()


def emptied(lock: ResourceLock) -> None:
    lock._path.unlink()


@pytest.mark.parametrize(
    "happen", [close_behind_its_back, another_has_it, another_had_it, another_has_a_new_one, emptied]
)
def test_a_lock_that_is_lost_is_known_as_such_and_nothing_of_others_is_removed(
    tmp_path: Path, happen: Callable[[ResourceLock], None]
) -> None:
    lock = taken(tmp_path)
    assert lock.is_held()
    happen(lock)
    before = os.listdir(tmp_path)
    with pytest.raises(ClaimLost):
        lock.check()
    lock.release()
    assert os.listdir(tmp_path) == before


def test_a_lock_that_is_held_stays_so_however_often_it_is_asked(tmp_path: Path) -> None:
    lock = taken(tmp_path)
    for _ in range(3):
        lock.check()
        assert locks.take(tmp_path, KEY) is None
    lock.release()
    lock.release()
    assert os.listdir(tmp_path) == []


def test_a_lock_that_was_lost_once_does_not_come_back(tmp_path: Path) -> None:
    lock = taken(tmp_path)
    emptied(lock)
    assert not lock.is_held()
    lock._path.touch()
    assert not lock.is_held()
    lock.release()


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    (tmp_path / "ledger").mkdir()
    return Ledger(tmp_path / "ledger")


def free() -> None:
    """The lock is held."""


def test_a_late_writer_of_the_ledger_is_refused_and_leaves_nothing(ledger: Ledger, tmp_path: Path) -> None:
    late, other = HeldRecord(ledger, KEY, free), HeldRecord(ledger, KEY, free)
    late.write(replace(late.now, refused="late"))
    other.write(replace(other.now, refused="other"))
    with pytest.raises(ClaimLost):
        late.write(replace(late.now, refused="late again"))
    assert ledger.read(KEY).refused == "other"
    assert os.listdir(tmp_path / "ledger" / "writing") == []


def test_a_rename_of_the_ledger_that_comes_late_finds_nothing(ledger: Ledger) -> None:
    """The other one begins between the last check and the rename."""
    late = HeldRecord(ledger, KEY, lambda: None)
    late.write(Record(KEY, refused="before"))
    others: list[HeldRecord] = []

    def check() -> None:
        if not others:
            others.append(HeldRecord(ledger, KEY, free))
            others[0].write(replace(others[0].now, refused="other"))

    late.check = check
    with pytest.raises((ClaimLost, SpoolUnavailable)):
        late.write(replace(late.now, refused="late"))
    assert ledger.read(KEY).refused == "other"


def test_who_wrote_a_record_is_in_it(ledger: Ledger) -> None:
    for run in (1, 2, 3):
        held = HeldRecord(ledger, KEY, free)
        held.write(held.now)
        held.write(held.now)
        writer = ledger.read(KEY).writer
        assert writer
        assert (writer.process, writer.run) == (os.getpid(), run)


def test_a_claim_whose_lock_was_lost_is_not_filed(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", time.time)
    spool.directories.lay_out()
    fill(spool, 1)
    claim = next(spool.claims())
    another_has_it(claim.lock)
    assert spool.file(claim, Event.FINISH, claim.marker) is None
    assert claim.lock.is_lost
    assert claim.item.path.exists()
    assert (spool.root / "locks" / f"{claim.marker.key}.lock").exists()


def test_a_folder_that_somebody_still_writes_into_can_be_taken_from_him(tmp_path: Path) -> None:
    with Output(tmp_path, Rights(None, 0o022, "output")).rule_folder("trial") as folder:
        working = folder.make_working("NAME")
        stop, errors = threading.Event(), []

        def write() -> None:
            for number in range(1_000_000):
                if stop.is_set():
                    return
                try:
                    with working.add(".", str(number)):
                        pass
                except FileNotFoundError as error:
                    errors.append(error)
                    return

        writer = threading.Thread(target=write)
        writer.start()
        try:
            assert folder.remove("NAME.WORKING", working.inode)
            writer.join(timeout=30)
        finally:
            stop.set()
            writer.join()
        working.close()
    assert errors, "whoever wrote has noticed"
    assert list((tmp_path / "trial").iterdir()) == []


def test_what_got_the_name_of_a_folder_in_between_is_not_removed(tmp_path: Path) -> None:
    with Output(tmp_path, Rights(None, 0o022, "output")).rule_folder("trial") as folder:
        first = folder.make_working("NAME")
        first.close()
        assert folder.remove("NAME.WORKING", first.inode)
        (tmp_path / "trial" / "NAME.WORKING").mkdir()
        (tmp_path / "trial" / "NAME.WORKING" / "theirs").touch()
        assert not folder.remove("NAME.WORKING", first.inode + 10**6)
    assert (tmp_path / "trial" / "NAME.WORKING" / "theirs").exists()


def test_a_full_disk_says_nothing_of_a_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "utime", refuse)
    lock = taken(tmp_path)
    assert lock.is_held()
    lock.release()
    assert list(tmp_path.iterdir()) == []
