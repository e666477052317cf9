"""The export of one big study, beside other ways to get the same files out of the same Orthanc.

Each way runs as a whole process, in turn with ours, pair by pair; what one run left to be written is written before the
next one begins. curl neither verifies nor makes anything durable; neither do `/archive` with unzip, nor the stand-in
for a plugin that asks for one file after the other and writes it.
"""

from __future__ import annotations

import compileall
import json
import os
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import autorthanc_spool
from benchmarks import measure
from benchmarks.table import Row, alone, compared
from tests.helpers import datasets
from tests.helpers.orthanc_server import OrthancServer
from tests.helpers.site import Site

SERIES, INSTANCES = 5, 200
# 512 × 512 pixels of 16 bits are 512 KiB.
PIXELS = 512
CONNECTIONS = 4
PAIRS = 5
# What takes a minute is asked for less often.
SLOW_PAIRS = 2
# A difference of two per cent shows in the median of many.
WATCHED_PAIRS, PARKED = 9, 2000
SMALL_STUDIES, SMALL_INSTANCES, SMALL_PIXELS = 200, 20, 256
EXPORT = f"export of {SERIES * INSTANCES} × {PIXELS * PIXELS * 2 // 1024} KiB"
CURL = f"curl -Z --parallel-max {CONNECTIONS}"

Way = Callable[[], float]


def measure_all() -> Iterator[Row]:
    """Measure each way against ours."""
    with tempfile.TemporaryDirectory(prefix="autorthanc-bench-") as scratch:
        folder = Path(scratch)
        server = OrthancServer(folder / "orthanc", lua=()).start()
        try:
            compileall.compile_dir(Path(autorthanc_spool.__file__).parent, quiet=1)
            yield from _rows(Site(folder / "site", server), server, folder)
        finally:
            server.stop()


def _rows(site: Site, server: OrthancServer, folder: Path) -> Iterator[Row]:
    study = _upload(server)
    ways = _Ways(site, server, study, folder)
    plain, stored = ways.ours({}), ways.ours({"AUTORTHANC_ORTHANC_STORAGE_PATH": str(server.storage)})
    big = _pairs(f"{EXPORT}, MD5 compared, durable", plain, CURL, ways.curl, "≤ 1.8 ×")
    yield big
    only_size = ways.ours({"AUTORTHANC_VERIFY": "size"})
    yield _pairs(f"{EXPORT}, AUTORTHANC_VERIFY=size", only_size, CURL, ways.curl, "≤ 1.4 ×")
    yield _pairs(f"{EXPORT}, from Orthanc's storage", stored, CURL, ways.curl, "≤ 0.9 ×")
    yield _pairs(EXPORT, plain, "one file after the other", ways.one_by_one, "≤ 1.3 ×")
    yield _pairs(EXPORT, plain, "/archive and unzip", ways.archive, "≤ 0.067 ×", SLOW_PAIRS)
    yield _watched(site, ways)
    for library, program in LIBRARIES.items():
        yield _pairs(EXPORT, plain, library, ways.library(program), "≤ 0.067 ×", SLOW_PAIRS)
    anonymised = ways.ours({}, "ANONYMISE")
    yield _pairs(f"{EXPORT}, ANONYMISE", anonymised, "the plain export", plain, "≤ 1.5 ×")
    big_mb_s = SERIES * INSTANCES * PIXELS * PIXELS * 2 / 1e6 / big.ours
    site.rule("all")
    studies, size_bytes = _upload_small(server)
    for processors in (1, 2):
        yield _small(site, studies, size_bytes, big_mb_s, processors)
    yield _large(site, server, folder)


def _upload(server: OrthancServer) -> str:
    study = ""
    for number in range(1, SERIES + 1):
        for instance in range(1, INSTANCES + 1):
            study = server.upload(datasets.make_instance(series=number, instance=instance, size=PIXELS))
    server.wait_stable(f"/studies/{study}", timeout_s=60)
    return study


def _pairs(work: str, ours: Way, peer: str, theirs: Way, target: str, pairs: int = PAIRS) -> Row:
    taken = [(theirs(), ours()) for _ in range(pairs)]
    return compared(work, [one for _, one in taken], "s", peer, [other for other, _ in taken], target)


def _watched(site: Site, ways: _Ways, pairs: int = WATCHED_PAIRS) -> Row:
    """With heartbeat, page, metrics and notices while many markers wait, beside the same that nobody watches."""
    parked = [
        site.spool / "hold" / f"study-00000000-00000000-00000000-00000000-{one:08x}.json" for one in range(PARKED)
    ]
    for path in parked:
        path.write_text("{}")
    watching = {
        "AUTORTHANC_METRICS_FILE": str(site.root / "autorthanc.prom"),
        "AUTORTHANC_NOTIFY_COMMAND": "/bin/true",
        "AUTORTHANC_UNCOLLECTED_AFTER_S": "3600",
    }
    work = f"{EXPORT}, with page, metrics and notices, {PARKED} markers waiting"
    row = _pairs(work, ways.ours(watching), "nobody watching", ways.ours({}, command=_UNWATCHED), "≤ 1.02 ×", pairs)
    for path in parked:
        path.unlink()
    return row


def _upload_small(server: OrthancServer) -> tuple[list[str], int]:
    """Many small studies: their IDs, and how many bytes all of them are."""
    studies, size_bytes = {}, 0
    for number in range(SMALL_STUDIES):
        for instance in range(1, SMALL_INSTANCES + 1):
            data = datasets.make_instance(f"SMALL{number}", instance=instance, size=SMALL_PIXELS)
            studies[server.upload(data)] = None
            size_bytes += len(data)
    for study in studies:
        server.wait_stable(f"/studies/{study}", timeout_s=60)
    return list(studies), size_bytes


def _small(site: Site, studies: list[str], size_bytes: int, big_mb_s: float, processors: int) -> Row:
    """Many small studies that wait at once: how many bytes a second, beside the big study."""
    for study in studies:
        site.touch(study)
    os.sync()
    command = " & ".join([shlex.join(_OURS)] * processors) + " & wait"
    took = measure.run(["sh", "-c", command], cwd=site.root, environment=site.environment)
    assert len(site.published("all")) >= len(studies)
    for name in site.published("all"):
        published = site.output / "all" / name
        _empty(published)
        published.rename(site.root / f"{processors}-{name}")
    who = "one processor" if processors == 1 else f"{processors} processors"
    work = f"{SMALL_STUDIES} studies of {SMALL_INSTANCES} × {SMALL_PIXELS**2 * 2 // 1024} KiB, {who}"
    return compared(work, [size_bytes / 1e6 / took.wall_s], "MB/s", "the big study", [big_mb_s], "≥ 0.6 ×")


def _large(site: Site, server: OrthancServer, folder: Path) -> Row:
    """One instance of 1 GiB: how much memory the processor takes. Other programs make it and send it."""
    file = folder / "large.dcm"
    modules = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    measure.run([sys.executable, "-c", _LARGE, file], cwd=folder, environment=modules)
    address = f"{server.url}/instances"
    measure.run(["curl", "-sS", "--fail", "-X", "POST", "-T", file, "-o", "large.json", address], cwd=folder)
    study = json.loads((folder / "large.json").read_text())["ParentStudy"]
    file.unlink()
    server.wait_stable(f"/studies/{study}", timeout_s=60)
    site.touch(study)
    peak_bytes = measure.run(_OURS, cwd=site.root, environment=site.environment).peak_bytes
    return alone("memory for one instance of 1 GiB", [peak_bytes / 1e6], "MB", "≤ 100 MB")


def _empty(folder: Path) -> None:
    """Give back the room that files take, and leave the files.

    ext4 passes over inode numbers that were freed a short while ago, one by one: with thousands of them, that
    takes a program that makes files more time than all the rest that it does.
    """
    for path in folder.rglob("*.dcm"):
        os.truncate(path, 0)


_OURS = [sys.executable, "-m", "autorthanc_spool", "run", "--once"]
_LARGE = """
import pathlib, sys
from tests.helpers import datasets
made = datasets.make_instance("LARGE", size=512, NumberOfFrames="2048", PixelData=bytes(range(256)) * 2**22)
pathlib.Path(sys.argv[1]).write_bytes(made)
"""
_UNWATCHED = [
    sys.executable, "-c", "from autorthanc_spool.commands.main import main\n"
    "from autorthanc_spool.monitor.observer import Observer\nfrom autorthanc_spool.run import wiring\n"
    "wiring.Observers = lambda *_: Observer()\nmain(['run', '--once'])",
]  # fmt: skip
_ONE_BY_ONE = """
import http.client, pathlib, sys
host, *names = sys.argv[1], *pathlib.Path("ids").read_text().split()
connection = http.client.HTTPConnection(host)
for name in names:
    connection.request("GET", f"/instances/{name}/file")
    pathlib.Path(f"{name}.dcm").write_bytes(connection.getresponse().read())
"""


class _Ways:
    """Each way to get the files, as a function that gives its seconds."""

    def __init__(self, site: Site, server: OrthancServer, study: str, folder: Path) -> None:
        self._site, self._server, self._study, self._folder = site, server, study, folder
        self._ids = [one["ID"] for one in server.get(f"/studies/{study}/instances")]
        self._number = 0

    def ours(self, variables: dict[str, str], action: str = "DOWNLOAD", command: Sequence[str] = _OURS) -> Way:
        """Export it by a rule."""

        def run() -> float:
            self._site.rule("all", Action=action)
            self._site.touch(self._study)
            os.sync()
            environment = {**self._site.environment, **variables}
            found = measure.run(command, cwd=self._site.root, environment=environment)
            (name,) = self._site.published("all")
            published = (self._site.output / "all" / name).rename(self._new())
            assert len(list(published.glob("*/*.dcm"))) == len(self._ids)
            _empty(published)
            return found.wall_s

        return run

    def curl(self) -> float:
        """Ask for four at a time."""
        lines = [f'url = "{self._server.url}/instances/{one}/file"\noutput = "{one}.dcm"' for one in self._ids]
        command = ["curl", "-sS", "--fail", "-Z", "--parallel-max", str(CONNECTIONS), "-K", "ids"]
        return self._other(command, "\n".join(lines))

    def one_by_one(self) -> float:
        """Ask for one after the other."""
        command = [sys.executable, "-c", _ONE_BY_ONE, self._server.url.removeprefix("http://")]
        return self._other(command, "\n".join(self._ids))

    def archive(self) -> float:
        """Let Orthanc make an archive, and unpack it."""
        address = f"{self._server.url}/studies/{self._study}/archive"
        command = [sys.executable, "-c", _ARCHIVE, address]
        return self._other(command, "")

    def library(self, program: str) -> Way:
        """Fetch every file with a library, as its documentation shows."""
        return lambda: self._other([PEERS_PYTHON, "-c", program, self._server.url, self._study], "")

    def _other(self, command: Sequence[str | Path], text: str) -> float:
        folder = self._new()
        folder.mkdir()
        (folder / "ids").write_text(text)
        os.sync()
        found = measure.run(command, cwd=folder)
        assert len(list(folder.rglob("*.dcm"))) == len(self._ids)
        _empty(folder)
        return found.wall_s

    def _new(self) -> Path:
        self._number += 1
        return self._folder / f"run-{self._number}"


# Made by `make bench`, for what only the benchmarks compare with.
PEERS_PYTHON = Path(".venv-bench/bin/python").absolute()
LIBRARIES = {
    "pyorthanc": """
import pathlib, sys, pyorthanc
study = pyorthanc.Study(sys.argv[2], pyorthanc.Orthanc(sys.argv[1]))
for series in study.series:
    for instance in series.instances:
        pathlib.Path(f"{instance.id_}.dcm").write_bytes(instance.get_dicom_file_content())
""",
    "orthanc-api-client": """
import sys, orthanc_api_client
orthanc_api_client.OrthancApiClient(sys.argv[1]).studies.download_instances(sys.argv[2], ".")
""",
}
_ARCHIVE = """
import subprocess, sys
subprocess.run(["curl", "-sS", "--fail", "-o", "all.zip", sys.argv[1]], check=True)
subprocess.run([sys.executable, "-m", "zipfile", "-e", "all.zip", "."], check=True)
"""
