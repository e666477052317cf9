"""What waits and what was done, in great numbers: many markers, many records, many processors.

Markers of series are those that no rule asks for, as Orthanc writes them for each series; studies are such that no rule
matches. Records are made by this script, most of them hard links: names are what counts. Where a hundred thousand
studies are reconciled, a stand-in answers for Orthanc, and lists them as Orthanc does.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from benchmarks import measure
from benchmarks.table import Row, alone, compared
from tests.helpers import datasets
from tests.helpers.orthanc_server import OrthancServer
from tests.helpers.site import Site

FEW, SOME, MANY = 1_000, 10_000, 100_000
# Of many that wait, so many are worked through to know what one costs.
PART = 5_000
STUDIES = 500
RECORDS = 1_000_000
DAYS = 85
LATENCIES = 200
IDLE_S = 30.0
# More names than this one file can't have on ext4.
LINKS = 60_000
PROCESSORS = (2, 4, 8)
PATIENCE_S = 900.0

# The peak that rusage gives is at least that of whoever started the process: so a small one does.
_MEASURED = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
_COMMAND = [sys.executable, "-m", "autorthanc_spool"]


def measure_all() -> Iterator[Row]:
    """Measure all of it on one Orthanc."""
    with tempfile.TemporaryDirectory(prefix="autorthanc-bench-") as scratch:
        folder = Path(scratch)
        server = OrthancServer(folder / "orthanc", lua=()).start()
        try:
            yield from _of_markers(_site(folder / "markers", server))
            yield from _of_studies(_site(folder / "studies", server), server)
            yield from _of_processors(_site(folder / "processors", server))
            yield from _of_idling(_site(folder / "idle", server))
            yield from _of_records(_site(folder / "records", server))
        finally:
            server.stop()


def _site(folder: Path, server: OrthancServer) -> Site:
    site = Site(folder, server)
    site.make_spool()
    site.variables |= {"AUTORTHANC_LOG_LEVEL": "warning", "AUTORTHANC_POLL_INTERVAL_S": "10"}
    site.rule("never", Tags=[{"TagName": "Modality", "Value": "nothing has this"}])
    # First contact is over.
    site.once()
    return site


# Markers that wait


def _of_markers(site: Site) -> list[Row]:
    few, many = [], []
    for _ in range(3):
        few.append(_first_of(site, FEW, FEW)[1])
    claim_s, each_s, peak_bytes, status_s = _first_of(site, MANY, PART)
    many = [each_s] * len(few)
    took = _through(site, SOME)
    return [
        alone(f"{SOME} series markers, no rule asks for them", [SOME / took.wall_s], "/s", "≥ 400 /s"),
        compared(f"one marker while {MANY} wait", many, "ms", f"while {FEW} wait", few, "≤ 1.2 ×"),
        alone(f"first claim after start, {MANY} waiting", [claim_s], "s", "< 3 s"),
        alone(f"memory, {MANY} waiting", [peak_bytes / 1e6], "MB", "≤ 150 MB"),
        alone(f"status, {MANY} waiting", [status_s], "s", "< 1 s"),
    ]


def _first_of(site: Site, waiting: int, part: int) -> tuple[float, float, float, float]:
    """Let a processor do some of those that wait: seconds to the first, milliseconds for one, peak, status."""
    names = fill(site, waiting)
    status_s = _seconds(site, "status")
    begin_s = time.monotonic()
    with _processor(site) as process:
        _until_gone(site, names[0])
        first_s = time.monotonic()
        _until_gone(site, names[part - 1])
        each_s = (time.monotonic() - first_s) / (part - 1)
        peak_bytes = _peak_bytes(process.pid)
    _empty(site)
    return first_s - begin_s, each_s * 1000, peak_bytes, status_s


def _through(site: Site, waiting: int) -> measure.Run:
    fill(site, waiting)
    os.sync()
    return measure.run([*_COMMAND, "run", "--once"], cwd=site.root, environment=site.environment)


def _of_studies(site: Site, server: OrthancServer) -> list[Row]:
    studies = [server.upload(datasets.make_instance(f"P{number}", size=8)) for number in range(STUDIES)]
    server.wait_stable(f"/studies/{studies[-1]}", timeout_s=60)
    for number, study in enumerate(studies):
        _write(site, number, "study", study)
    os.sync()
    took = measure.run([*_COMMAND, "run", "--once"], cwd=site.root, environment=site.environment)
    return [alone(f"{STUDIES} study markers that no rule matches", [STUDIES / took.wall_s], "/s", "≥ 150 /s")]


# Processors


def _of_processors(site: Site) -> list[Row]:
    one = _rate(site, 1)
    work = f"{SOME} series markers, %d processors"
    return [compared(work % number, [_rate(site, number)], "/s", "one", [one], "≥ 1 ×") for number in PROCESSORS]


def _rate(site: Site, processors: int) -> float:
    """Markers a second, once all processors are at work."""
    (site.spool / "PAUSED").touch()
    fill(site, SOME)
    running = [site.start_processor() for _ in range(processors)]
    try:
        _until(lambda: len(list((site.spool / "state" / "processors").glob("*.json"))) == processors)
        time.sleep(2.0)
        (site.spool / "PAUSED").unlink()
        begin_s = time.monotonic()
        _until(lambda: not any(os.scandir(site.spool / "incoming")))
        return SOME / (time.monotonic() - begin_s)
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait()


# A processor that has nothing to do


def _of_idling(site: Site) -> list[Row]:
    site.variables["AUTORTHANC_POLL_INTERVAL_S"] = "10"
    with _processor(site) as process:
        time.sleep(3.0)
        latencies = sorted(_latency(site, number) for number in range(LATENCIES))
        time.sleep(2.0)
        before_s = _cpu_s(process.pid)
        time.sleep(IDLE_S)
        idle = (_cpu_s(process.pid) - before_s) / IDLE_S
    commands = [[_seconds(site, command) for _ in range(5)] for command in ("--help", "status")]
    return [
        alone("from event to claim, idle processor, median", [statistics.median(latencies)], "ms", "≤ 20 ms"),
        alone(
            "from event to claim, idle processor, 99 of 100", [latencies[len(latencies) * 99 // 100]], "ms", "≤ 100 ms"
        ),
        alone("processor time while idle", [idle * 100], "%", "< 0.2 %"),
        alone("--help", commands[0], "s", "< 0.20 s"),
        alone("status", commands[1], "s", "< 0.35 s"),
    ]


def _latency(site: Site, number: int) -> float:
    """Milliseconds from the rename into ``incoming/`` to its being gone from there."""
    scratch = _write(site, number, "series", identifier(number), folder="tmp")
    target = site.spool / "incoming" / scratch.name
    begin_s = time.monotonic()
    scratch.rename(target)
    while target.exists():
        time.sleep(0.0005)
    took_s = time.monotonic() - begin_s
    time.sleep(0.05)
    return took_s * 1000


# Records


def _of_records(site: Site) -> list[Row]:
    make_records(site)
    (name, *_) = fill(site, 1)
    begin_s = time.monotonic()
    with _processor(site):
        _until_gone(site, name)
        start_s = time.monotonic() - begin_s
    rows = [
        alone(f"start, {RECORDS} records", [start_s], "s", "< 2 s"),
        alone(f"status, {RECORDS} records", [_seconds(site, "status")], "s", "< 1 s"),
    ]
    with _stand_in() as url:
        # Another database answers: what came before it was last looked through is left alone, the others are compared.
        site.variables["ORTHANC_URL"] = url
        (site.spool / "state" / "baseline.json").write_text('{"format": 1, "studies": {}}')
        took_s, peak_bytes = _took(site, "reconcile")
    assert site.markers("incoming") == []
    rows += [
        alone(f"reconcile of {MANY} studies, {RECORDS} records", [took_s], "s", "< 60 s"),
        alone(f"memory of that, {RECORDS} records", [peak_bytes / 1e6], "MB", "≤ 300 MB"),
    ]
    site.variables |= {"ORTHANC_URL": site.orthanc.url, "AUTORTHANC_DONE_RETENTION_DAYS": "1"}
    # Of the second one, nothing is left to remove.
    peaks = [[_took(site, "prune")[1] / 1e6] for _ in range(2)]
    return [*rows, compared(f"memory of prune, {RECORDS} records", peaks[0], "MB", "with none", peaks[1], "≤ 1.2 ×")]


def make_records(site: Site) -> None:
    """Make a million records in ``done/``, in folders of many days, and in the ledger those that are looked at."""
    today = datetime.now(UTC)
    links = _Links(site.spool / "tmp")
    for day in range(DAYS):
        folder = site.spool / "done" / (today - timedelta(days=day + 3)).strftime("%Y-%m-%d")
        folder.mkdir()
        for number in range(RECORDS // DAYS):
            links.make(folder / f"20261123T212459Z-study-{identifier(day * RECORDS + number)}.json")
    ledger = site.spool / "ledger"
    for number in range(RECORDS):
        resource = identifier(number)
        path = ledger / resource[:2] / f"study-{resource}.json"
        path.parent.mkdir(exist_ok=True)
        if number < MANY:
            seen = {"last_update": "20260101T000000", "series": [identifier(-number - 1)]}
            path.write_text(json.dumps({"format": 1, "key": f"study-{resource}", "seen": seen}))
        else:
            links.make(path)
    os.sync()


class _Links:
    """Many names of few files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made = 0
        self._source = folder / "none"

    def make(self, path: Path) -> None:
        if self._made % LINKS == 0:
            self._source.unlink(missing_ok=True)
            self._source = self._folder / f"source-{self._made}"
            self._source.write_text(json.dumps({"format": 1, "level": "Study", "id": identifier(0), "outcomes": {}}))
        os.link(self._source, path)
        self._made += 1


@contextmanager
def _stand_in() -> Iterator[str]:
    """Answer as an Orthanc with a hundred thousand studies would, to what a reconciliation asks."""
    answers = {
        "/system": b'{"Version": "1.12.1", "ApiVersion": 21}',
        "/tools/now": b"20270101T000000",
        "/changes": b'{"Changes": [], "Done": true, "Last": 1}',
        "/studies": json.dumps([_study(number) for number in range(MANY)], indent=3).encode(),
    }

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = answers[self.path.partition("?")[0]]
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _study(number: int) -> dict[str, object]:
    tags = {
        "AccessionNumber": f"A{number:08d}", "InstitutionName": "Institution", "ReferringPhysicianName": "Physician",
        "StudyDate": "20260101", "StudyDescription": "Description of the study", "StudyID": "1",
        "StudyInstanceUID": f"1.2.826.0.1.3680043.8.498.{number:039d}", "StudyTime": "120000",
    }  # fmt: skip
    patient = {"PatientBirthDate": "", "PatientID": f"P{number}", "PatientName": "N", "PatientSex": "O"}
    return {
        "ID": identifier(number), "IsStable": True, "Labels": [], "LastUpdate": "20260101T000000",
        "MainDicomTags": tags, "ParentPatient": identifier(number), "PatientMainDicomTags": patient,
        "Series": [identifier(-number - 1)], "Type": "Study",
    }  # fmt: skip


# Beneath


def identifier(number: int) -> str:
    """Make an ID like Orthanc's."""
    digest = hashlib.sha1(str(number).encode()).hexdigest()
    return "-".join(digest[begin : begin + 8] for begin in range(0, 40, 8))


def fill(site: Site, markers: int) -> list[str]:
    """Write markers of series, as Orthanc does, and give their names in order."""
    return [_write(site, number, "series", identifier(number)).name for number in range(markers)]


def _write(site: Site, number: int, level: str, resource: str, folder: str = "incoming") -> Path:
    path = site.spool / folder / f"20261123T{number:06d}Z-{level}-{resource}.json"
    content = {"format": 1, "event": f"Stable{level.capitalize()}", "level": level.capitalize(), "id": resource}
    path.write_text(json.dumps({**content, "source": "lua", "time": "2030-01-01T00:00:00Z"}) + "\n")
    return path


def _empty(site: Site) -> None:
    shutil.rmtree(site.spool / "incoming")
    site.make_spool()


@contextmanager
def _processor(site: Site) -> Iterator[subprocess.Popen[bytes]]:
    process = site.start_processor()
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def _took(site: Site, *arguments: str) -> tuple[float, int]:
    """Run a command: its seconds, and its peak of memory in bytes."""
    begin_s = time.monotonic()
    command = [sys.executable, "-c", _MEASURED, *_COMMAND, *arguments]
    found = subprocess.run(command, cwd=site.root, env=site.environment, capture_output=True, check=True, text=True)
    return time.monotonic() - begin_s, int(found.stdout.split()[-1]) * 1024


def _seconds(site: Site, *arguments: str) -> float:
    return measure.run([*_COMMAND, *arguments], cwd=site.root, environment=site.environment).wall_s


def _until_gone(site: Site, name: str) -> None:
    path = site.spool / "incoming" / name
    _until(lambda: not path.exists())


def _until(is_so: Callable[[], bool]) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < end_s
        time.sleep(0.005)


def _peak_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    return 0


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
