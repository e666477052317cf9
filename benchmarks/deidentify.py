"""How fast are files anonymised, what do two processes gain, and how much memory does it take?

Three figures, each against something in the same run:

- one process: the time that pydicom needs to read and write a file, divided by ours (bar: at least 0.5);
- two worker processes against one, on the same files (bar: at least 1.7);
- peak memory of the processor's side and the worker together, with the file that is held in memory, for a CT slice
  (bar: 120 MB for each process) and a multi-frame file of 400 MB (bar: 2.5 times the file).

Usage: python -m benchmarks.deidentify [PAIRS]
"""

from __future__ import annotations

import io
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pydicom

from autorthanc_spool.deidentify.file import Deidentified, Deidentifier
from autorthanc_spool.deidentify.key import Key
from autorthanc_spool.deidentify.pool import Pool
from autorthanc_spool.deidentify.profile import Profile
from autorthanc_spool.deidentify.pseudonym import Pseudonymiser
from autorthanc_spool.deidentify.worker import Recipe
from autorthanc_spool.rules import AnonymiseOptions, Keep
from benchmarks import measure
from tests.deidentify import real
from tests.helpers import datasets

KEY = Key(bytes(range(32)))
PROFILES = {
    "basic": AnonymiseOptions("bench", burned_in="allow"),
    "all options": AnonymiseOptions("bench", keep=frozenset(Keep) - {Keep.FULL_DATES}, burned_in="allow"),
}
REPEATS = 100
FILES = 1500
FRAMES = 800


def main(pairs: int) -> None:
    slice_of_ct = datasets.make_instance(size=512)
    files = {"CT slice of 512 KiB": slice_of_ct}
    files |= {name: real.path(name).read_bytes() for name in ("CT_small.dcm", "MR_small.dcm", "rtplan.dcm")}
    print(f"medians of {pairs} pairs (lowest to highest)")
    for profile, options in PROFILES.items():
        for name, data in files.items():
            ratios = [_against_pydicom(data, options) for _ in range(pairs)]
            print(f"pydicom's time / ours, {profile}, {name:20} {measure.spread(ratios)}")
    one, two = _pooled(real.path("CT_small.dcm").read_bytes(), pairs)
    print(f"two workers / one {one / two:.2f}, of the shortest of {pairs} runs each: {one:.2f} s, {two:.2f} s")
    with tempfile.TemporaryDirectory(prefix="autorthanc-bench-") as scratch:
        for name, data in (("CT slice", slice_of_ct), ("multi-frame", _multi_frame())):
            path = Path(scratch) / "file.dcm"
            path.write_bytes(data)
            command = [sys.executable, "-m", "benchmarks.deidentify", "--memory", str(path)]
            measure.run(command, cwd=Path.cwd())
            print(f"{name} of {len(data) / 1e6:.1f} MB: {Path('measured.log').read_text().strip()}")
    Path("measured.log").unlink()


def _against_pydicom(data: bytes, options: AnonymiseOptions) -> float:
    deidentifier = Deidentifier(Profile(options), Pseudonymiser(KEY, "bench"))

    def theirs() -> None:
        pydicom.dcmread(io.BytesIO(data)).save_as(io.BytesIO())

    def ours() -> None:
        found = deidentifier.file(memoryview(data))
        assert isinstance(found, Deidentified)
        found.bytes(memoryview(data))

    return _time(theirs) / _time(ours)


def _time(work: Callable[[], None]) -> float:
    begin_s = time.perf_counter()
    for _ in range(REPEATS):
        work()
    return time.perf_counter() - begin_s


def _pooled(data: bytes, pairs: int) -> tuple[float, float]:
    # What else runs on the machine only ever makes it slower.
    times = [(_pool_time(data, 1), _pool_time(data, 2)) for _ in range(pairs)]
    return min(one for one, _ in times), min(two for _, two in times)


def _pool_time(data: bytes, workers: int) -> float:
    pool, recipe, descriptor = Pool(workers), Recipe(Profile(PROFILES["basic"]), KEY), os.memfd_create("bench")
    os.write(descriptor, data)
    with ThreadPoolExecutor(workers + 2) as threads:

        def work(count: int) -> None:
            list(threads.map(lambda _: pool.deidentify(recipe, descriptor), range(count)))

        # All workers have started.
        work(20 * workers)
        begin_s = time.perf_counter()
        work(FILES)
        took_s = time.perf_counter() - begin_s
    pool.close()
    os.close(descriptor)
    return took_s


def _multi_frame() -> bytes:
    found = pydicom.dcmread(io.BytesIO(datasets.make_instance(size=512)))
    found.NumberOfFrames = FRAMES
    found.PixelData = found.PixelData * FRAMES
    out = io.BytesIO()
    found.save_as(out)
    return out.getvalue()


def memory(path: Path) -> None:
    """Do what the processor does with one file, and say how much memory that took."""
    pool, descriptor = Pool(1), os.memfd_create("bench")
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 18):
            os.write(descriptor, chunk)
    found = pool.deidentify(Recipe(Profile(PROFILES["basic"]), KEY), descriptor)
    assert isinstance(found, Deidentified)
    with path.with_suffix(".out").open("wb") as out:
        for piece in found.pieces:
            if isinstance(piece, slice):
                for at in range(piece.start, piece.stop, 1 << 20):
                    out.write(os.pread(descriptor, min(1 << 20, piece.stop - at), at))
            else:
                out.write(piece)
    pool.close()
    held = path.stat().st_size / 1e6
    # The maximum that getrusage gives for this process is that of whoever started it.
    status = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    ours = int(status["VmHWM"].split()[0]) * 1024 / 1e6
    theirs = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e6
    whole = held + ours + theirs
    print(f"processor {ours:.0f} MB + worker {theirs:.0f} MB + file {held:.1f} MB = {whole / held:.2f} times the file")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--memory"]:
        memory(Path(sys.argv[2]))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
