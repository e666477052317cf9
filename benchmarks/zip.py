"""What does ZIP cost beside DOWNLOAD, and what would zlib cost? All in one run, on the same study of 250 MB.

Both exports are whole processes, in turn; zlib deflates the same files in one thread, without fetching or writing
anything. The figures are ratios. Usage: python -m benchmarks.zip [ROUNDS]
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
import zlib
from pathlib import Path

import numpy

from benchmarks import measure
from tests.helpers import datasets
from tests.helpers.orthanc_server import OrthancServer
from tests.helpers.site import Site

INSTANCES = 500
SAMPLE = 40
# 512 × 512 pixels of 16 bits are 512 KiB.
PIXELS = 512


def main(rounds: int) -> None:
    with tempfile.TemporaryDirectory(prefix="autorthanc-bench-") as scratch:
        folder = Path(scratch)
        server = OrthancServer(folder / "orthanc", lua=()).start()
        try:
            _compare(Site(folder / "site", server), rounds)
        finally:
            server.stop()


def _compare(site: Site, rounds: int) -> None:
    study, total = "", 0
    for number in range(1, INSTANCES + 1):
        data = _instance(number)
        study, total = site.orthanc.upload(data), total + len(data)
    # A few are enough for zlib. What this process holds would count as the memory of the processes that it starts.
    files = [_instance(number) for number in range(1, SAMPLE + 1)]
    site.orthanc.wait_stable(f"/studies/{study}", timeout_s=60)
    downloads, zips, levels, size_bytes = [], [], {1: [], 6: []}, 0
    for _ in range(rounds):
        downloads.append(_export(site, study, "DOWNLOAD")[0])
        found, size_bytes = _export(site, study, "ZIP")
        zips.append(found)
        for level, times in levels.items():
            times.append(_deflate(files, level)[0] * INSTANCES / SAMPLE)
    print(f"{INSTANCES} instances, {total / 1e6:.0f} MB, {rounds} rounds; median (lowest to highest)")
    print(f"DOWNLOAD          {measure.spread([one.wall_s for one in downloads])} s")
    print(f"ZIP               {measure.spread([one.wall_s for one in zips])} s, {size_bytes / total:.2f} of the size")
    ratios = [one.wall_s / other.wall_s for one, other in zip(zips, downloads, strict=True)]
    print(f"ZIP / DOWNLOAD    {measure.spread(ratios)}")
    for level, times in levels.items():
        ratios = [took / one.wall_s for took, one in zip(times, zips, strict=True)]
        size = _deflate(files, level)[1] / sum(map(len, files))
        print(f"zlib -{level} alone / ZIP  {measure.spread(ratios)}, {size:.2f} of the size")
    print(f"peak memory of ZIP  {max(one.peak_bytes for one in zips) / 1e6:.0f} MB")


def _instance(number: int) -> bytes:
    """Make an image that is smooth but for its noise, as a CT is."""
    y, x = numpy.mgrid[0:PIXELS, 0:PIXELS]
    noise = numpy.random.default_rng(number).normal(0, 12, (PIXELS, PIXELS))
    pixels = 1000 + 300 * numpy.sin((x + number) / 40) * numpy.cos(y / 50) + noise
    return datasets.make_instance(instance=number, size=PIXELS, PixelData=pixels.astype("uint16").tobytes())


def _export(site: Site, study: str, action: str) -> tuple[measure.Run, int]:
    site.rule("all", Action=action)
    site.touch(study)
    command = [sys.executable, "-m", "autorthanc_spool", "run", "--once"]
    found = measure.run(command, cwd=site.root, environment=site.environment)
    (name,) = site.published("all")
    path = site.output / "all" / name
    size_bytes = path.stat().st_size
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    return found, size_bytes


def _deflate(files: list[bytes], level: int) -> tuple[float, int]:
    begin_s, size_bytes = time.monotonic(), 0
    for data in files:
        packer = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)
        size_bytes += len(packer.compress(data)) + len(packer.flush())
    return time.monotonic() - begin_s, size_bytes


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
