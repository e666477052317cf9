"""Real processes: one key for all who make it at the same time, and workers that are killed."""

import errno
import multiprocessing
import os
import stat
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from autorthanc_spool.core.errors import KeyUnavailable
from autorthanc_spool.core.pulse import Pulse
from autorthanc_spool.deidentify import redaction
from autorthanc_spool.deidentify.errors import AnonymiserDied, Malformed
from autorthanc_spool.deidentify.file import Deidentified, Held
from autorthanc_spool.deidentify.pool import Pool
from autorthanc_spool.deidentify.profile import Profile
from autorthanc_spool.deidentify.worker import Recipe
from autorthanc_spool.outgoing.keyring import Keyring
from autorthanc_spool.rules import AnonymiseOptions
from autorthanc_spool.spool.spool import Spool
from tests.deidentify.make import KEY, anonymised
from tests.deidentify.pictures import Picture, area, regions_file, written
from tests.helpers import datasets

RECIPE = Recipe(Profile(AnonymiseOptions("P")), KEY)


def keyring(folder: Path) -> Keyring:
    spool = Spool(folder / "spool", time.time)
    spool.directories.lay_out()
    return Keyring(folder / "secrets" / "pseudonym.key", spool)


def key_id(folder: Path, barrier: object, found: "multiprocessing.Queue[str]") -> None:
    ring = keyring(folder)
    barrier.wait()  # type: ignore[attr-defined]
    found.put(ring.open().id)


def test_processes_that_make_the_key_at_the_same_time_end_with_one(tmp_path: Path) -> None:
    keyring(tmp_path)
    context = multiprocessing.get_context("spawn")
    barrier, found = context.Barrier(4), context.Queue()
    processes = [context.Process(target=key_id, args=(tmp_path, barrier, found)) for _ in range(4)]
    for process in processes:
        process.start()
    ids = {found.get(timeout=60) for _ in processes}
    for process in processes:
        process.join()
    found.close()
    found.join_thread()
    assert ids == {keyring(tmp_path).open().id}
    assert [path.name for path in (tmp_path / "secrets").iterdir()] == ["pseudonym.key"]
    assert list((tmp_path / "spool" / "locks").iterdir()) == []


@pytest.mark.parametrize("content", [KEY.secret.hex(), f"{KEY.secret.hex().upper()}\r\n"], ids=["bare", "capitals"])
def test_a_key_that_lay_there_before_is_used(tmp_path: Path, content: str) -> None:
    path = tmp_path / "secrets" / "pseudonym.key"
    path.parent.mkdir()
    path.write_text(content)
    path.chmod(0o600)
    assert keyring(tmp_path).open() == KEY


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    ring = keyring(tmp_path)
    ring.open()
    path = tmp_path / "secrets" / "pseudonym.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o640)
    with pytest.raises(KeyUnavailable, match="chmod 600"):
        ring.open()


@pytest.mark.parametrize("content", ["", "abc", "g" * 64, "ab" * 31])
def test_a_damaged_key_is_not_replaced(tmp_path: Path, content: str) -> None:
    ring = keyring(tmp_path)
    ring.open()
    path = tmp_path / "secrets" / "pseudonym.key"
    path.write_text(content)
    with pytest.raises(KeyUnavailable, match="restore it"):
        ring.open()
    assert path.read_text() == content


def test_nothing_shows_the_key() -> None:
    assert KEY.secret.hex() not in repr(RECIPE)
    assert repr(KEY.secret) not in repr(RECIPE)


def in_memory(data: bytes) -> int:
    descriptor = os.memfd_create("test")
    os.write(descriptor, data)
    return descriptor


def test_a_worker_that_computes_for_long_shows_that_something_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autorthanc_spool.deidentify.pool._LOOK_S", 0.001)
    beats: list[float] = []
    pool, descriptor = Pool(1, Pulse(lambda: beats.append(0.0) or 0.0)), in_memory(datasets.make_instance())
    beats.clear()
    try:
        pool.deidentify(RECIPE, descriptor)
    finally:
        pool.close()
        os.close(descriptor)
    assert beats


def test_a_pool_makes_what_the_core_makes() -> None:
    data = datasets.make_instance()
    pool, descriptor = Pool(2), in_memory(data)
    try:
        for _ in range(3):
            found = pool.deidentify(RECIPE, descriptor)
            assert isinstance(found, Deidentified)
            assert found.bytes(memoryview(data)) == anonymised(data)
        cut, nothing = in_memory(data[:-1]), in_memory(b"")
        for bad in (cut, nothing):
            with pytest.raises(Malformed):
                pool.deidentify(RECIPE, bad)
            os.close(bad)
    finally:
        pool.close()
        os.close(descriptor)


def workers() -> list[int]:
    found = []
    for task in Path("/proc/self/task").glob("*/children"):
        found += [int(one) for one in task.read_text().split()]
    return [one for one in found if b"deidentify.process" in Path(f"/proc/{one}/cmdline").read_bytes()]


def test_a_worker_that_was_killed_is_replaced() -> None:
    data = datasets.make_instance()
    pool, descriptor = Pool(1), in_memory(data)
    try:
        pool.deidentify(RECIPE, descriptor)
        (worker,) = workers()
        os.kill(worker, 9)
        found = pool.deidentify(RECIPE, descriptor)
        assert isinstance(found, Deidentified)
        assert found.bytes(memoryview(data)) == anonymised(data)
        assert workers() != [worker]
    finally:
        pool.close()
        os.close(descriptor)


def test_a_file_on_which_every_worker_dies_is_given_up() -> None:
    pool, descriptor, done = Pool(1), in_memory(datasets.make_instance()), threading.Event()

    def kill() -> None:
        while not done.wait(0.01):
            for worker in workers():
                os.kill(worker, 9)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        with pytest.raises(AnonymiserDied, match="twice"):
            pool.deidentify(RECIPE, descriptor)
    finally:
        done.set()
        killer.join()
    # The pool goes on.
    assert isinstance(pool.deidentify(RECIPE, descriptor), Deidentified)
    pool.close()
    os.close(descriptor)


def test_a_worker_that_cant_be_started_is_said_and_started_later(monkeypatch: pytest.MonkeyPatch) -> None:
    pool, descriptor = Pool(1), in_memory(datasets.make_instance())

    def refused(*_: object, **__: object) -> None:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    with monkeypatch.context() as full:
        full.setattr(subprocess, "Popen", refused)
        with pytest.raises(AnonymiserDied):
            pool.deidentify(RECIPE, descriptor)
    assert isinstance(pool.deidentify(RECIPE, descriptor), Deidentified)
    pool.close()
    os.close(descriptor)


def test_workers_end_with_the_pool() -> None:
    pool, descriptor = Pool(2), in_memory(datasets.make_instance())
    pool.deidentify(RECIPE, descriptor)
    assert workers()
    pool.close()
    assert workers() == []
    os.close(descriptor)


REGIONS = (regions_file(BlackOut=[area(0, 0, 9, 3)]),)
REDACTING = Recipe(Profile(AnonymiseOptions("P", burned_in="redact"), None, REGIONS), KEY)
CAPTURE = Picture("RGB", rows=37, columns=41, frames=3)


def test_frames_that_are_made_when_they_are_wanted_are_made_by_a_process_that_decodes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(redaction, "_MADE_AT_ONCE_BYTES", 0)
    data = written(CAPTURE.data_set(), "RLE")
    found = REDACTING.deidentifier().file(memoryview(data))
    assert isinstance(found, Deidentified)
    made = [one for one in found.pieces if not isinstance(one, bytes | slice)]
    assert [one.needs_codec for one in made] == [True] * 3
    pool, descriptor = Pool(1), in_memory(data)
    # A process that doesn't decode is there already, and has to go.
    assert isinstance(pool.deidentify(RECIPE, descriptor), Held)
    assert [pool.made(one, descriptor) for one in made] == [one.made(memoryview(data)) for one in made]
    assert isinstance(pool.deidentify(RECIPE, descriptor), Held)
    pool.close()
    os.close(descriptor)


def test_a_file_on_which_a_codec_breaks_down_is_withheld() -> None:
    data = written(replace(CAPTURE, frames=1).data_set(), "JPEG lossless")
    # GDCM aborts its process where samples have seven bits.
    start = data.index(b"\xff\xc3")
    broken = data[: start + 4] + b"\7" + data[start + 5 :]
    pool, descriptor = Pool(1), in_memory(broken)
    found = pool.deidentify(REDACTING, descriptor)
    assert isinstance(found, Held)
    assert found.reason == "compressed pixel data on which the codec breaks down"
    assert found.identity.pseudonym
    # The pool goes on.
    assert isinstance(pool.deidentify(RECIPE, descriptor), Held)
    pool.close()
    os.close(descriptor)
