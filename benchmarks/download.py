"""How long does the export of 1000 instances of 512 KiB take, against `curl -Z --parallel-max 4` on the same files?

curl neither verifies nor makes anything durable. Both fetch from the same Orthanc in turn, pair by pair, as whole
processes; the figure is the ratio of their times. The package is compiled before, as it is wherever it is installed,
and what one run left to be written is written before the next one begins. Usage: python -m benchmarks.download [PAIRS]
"""

from __future__ import annotations

import compileall
import os
import sys
import tempfile
from pathlib import Path

import autorthanc_spool
from benchmarks import measure
from tests.helpers import datasets
from tests.helpers.orthanc_server import OrthancServer
from tests.helpers.site import Site

SERIES, INSTANCES = 5, 200
# 512 × 512 pixels of 16 bits are 512 KiB.
PIXELS = 512
CONNECTIONS = 4


def main(pairs: int) -> None:
    with tempfile.TemporaryDirectory(prefix="autorthanc-bench-") as scratch:
        folder = Path(scratch)
        server = OrthancServer(folder / "orthanc", lua=()).start()
        try:
            _compare(Site(folder / "site", server), folder, pairs)
        finally:
            server.stop()


def _compare(site: Site, folder: Path, pairs: int) -> None:
    study = _upload(site.orthanc)
    site.rule("all")
    compileall.compile_dir(Path(autorthanc_spool.__file__).parent, quiet=1)
    ours, curls = [], []
    for number in range(pairs):
        curls.append(_curl(site.orthanc, study, folder / f"curl-{number}"))
        ours.append(_export(site, study, folder / f"ours-{number}"))
    ratios = [one.wall_s / other.wall_s for one, other in zip(ours, curls, strict=True)]
    size_kib = PIXELS * PIXELS * 2 // 1024
    print(f"{SERIES * INSTANCES} instances of {size_kib} KiB, {pairs} pairs; median (lowest to highest)")
    print(f"curl -Z --parallel-max {CONNECTIONS}   {measure.spread([one.wall_s for one in curls])} s")
    print(f"autorthanc-spool run --once  {measure.spread([one.wall_s for one in ours])} s")
    print(f"processor time of the two    {measure.spread([one.cpu_s for one in curls])} s")
    print(f"                             {measure.spread([one.cpu_s for one in ours])} s")
    print(f"ratio                        {measure.spread(ratios)}")
    print(f"peak memory                  {max(one.peak_bytes for one in ours) / 1e6:.0f} MB")


def _upload(server: OrthancServer) -> str:
    study = ""
    for number in range(1, SERIES + 1):
        for instance in range(1, INSTANCES + 1):
            study = server.upload(datasets.make_instance(series=number, instance=instance, size=PIXELS))
    server.wait_stable(f"/studies/{study}", timeout_s=60)
    return study


def _curl(server: OrthancServer, study: str, folder: Path) -> measure.Run:
    folder.mkdir()
    lines = []
    for instance in server.get(f"/studies/{study}/instances"):
        lines += [f'url = "{server.url}/instances/{instance["ID"]}/file"', f'output = "{instance["ID"]}.dcm"']
    (folder / "curl.conf").write_text("\n".join(lines))
    command = ["curl", "-sS", "--fail", "-Z", "--parallel-max", str(CONNECTIONS), "-K", "curl.conf"]
    os.sync()
    found = measure.run(command, cwd=folder)
    assert len(list(folder.glob("*.dcm"))) == SERIES * INSTANCES
    _empty(folder)
    return found


def _export(site: Site, study: str, done_with: Path) -> measure.Run:
    site.touch(study)
    os.sync()
    command = [sys.executable, "-m", "autorthanc_spool", "run", "--once"]
    found = measure.run(command, cwd=site.root, environment=site.environment)
    (name,) = site.published("all")
    published = (site.output / "all" / name).rename(done_with)
    assert len(list(published.glob("*/*.dcm"))) == SERIES * INSTANCES
    _empty(published)
    return found


def _empty(folder: Path) -> None:
    """Give back the room that files take, and leave the files.

    ext4 passes over inode numbers that were freed a short while ago, one by one: with thousands of them, that
    takes a program that makes files more time than all the rest that it does.
    """
    for path in folder.rglob("*.dcm"):
        os.truncate(path, 0)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 9)
