"""ZIP of a study of 500 MB, beside DOWNLOAD and beside Orthanc's own `/archive`, on the same files of one Orthanc."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy

from benchmarks import measure
from benchmarks.table import Row, compared
from tests.helpers import datasets
from tests.helpers.orthanc_server import OrthancServer
from tests.helpers.site import Site

INSTANCES = 1000
# 512 × 512 pixels of 16 bits are 512 KiB.
PIXELS = 512
PAIRS = 3
WORK = f"ZIP of {INSTANCES} × {PIXELS * PIXELS * 2 // 1024} KiB"


def measure_all() -> Iterator[Row]:
    """Measure ZIP against both."""
    with tempfile.TemporaryDirectory(prefix="autorthanc-bench-") as scratch:
        folder = Path(scratch)
        server = OrthancServer(folder / "orthanc", lua=()).start()
        try:
            study = _upload(server)
            site = Site(folder / "site", server)
            taken = [
                (_export(site, study, "ZIP"), _export(site, study, "DOWNLOAD"), _archive(server, study, folder))
                for _ in range(PAIRS)
            ]
        finally:
            server.stop()
    ours, downloads, archives = ([one[column] for one in taken] for column in range(3))
    yield compared(WORK, ours, "s", "DOWNLOAD", downloads, "≤ 1.5 ×")
    yield compared(WORK, ours, "s", "/archive", archives, "≤ 0.1 ×")


def _upload(server: OrthancServer) -> str:
    study = ""
    for number in range(1, INSTANCES + 1):
        study = server.upload(_instance(number))
    server.wait_stable(f"/studies/{study}", timeout_s=60)
    return study


def _instance(number: int) -> bytes:
    """Make an image that is smooth but for its noise, as a CT is."""
    y, x = numpy.mgrid[0:PIXELS, 0:PIXELS]
    noise = numpy.random.default_rng(number).normal(0, 12, (PIXELS, PIXELS))
    pixels = 1000 + 300 * numpy.sin((x + number) / 40) * numpy.cos(y / 50) + noise
    return datasets.make_instance(instance=number, size=PIXELS, PixelData=pixels.astype("uint16").tobytes())


def _export(site: Site, study: str, action: str) -> float:
    site.rule("all", Action=action)
    site.touch(study)
    command = [sys.executable, "-m", "autorthanc_spool", "run", "--once"]
    found = measure.run(command, cwd=site.root, environment=site.environment)
    (name,) = site.published("all")
    path = site.output / "all" / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    return found.wall_s


def _archive(server: OrthancServer, study: str, folder: Path) -> float:
    path = folder / "archive.zip"
    command = ["curl", "-sS", "--fail", "-o", path, f"{server.url}/studies/{study}/archive"]
    found = measure.run(command, cwd=folder)
    path.unlink()
    return found.wall_s
