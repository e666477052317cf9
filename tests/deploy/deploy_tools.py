"""Programs as they would run on a site: Compose, nginx, PostgreSQL, Orthanc; each ends with its test."""

from __future__ import annotations

import base64
import importlib.util
import io
import json
import os
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

CHECKOUT = Path(__file__).parents[2]
PLUGINS = Path("/usr/share/orthanc/plugins")

# Each of these starts within a second or two; a machine under load takes longer.
PATIENCE_S = 60.0


def free_port() -> int:
    """Give a port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def compose(*arguments: str, environ: Mapping[str, str] | None = None, folder: Path = CHECKOUT) -> str:
    """Run Docker Compose itself; what asks no engine works without one. Raises CalledProcessError."""
    package = importlib.util.find_spec("compose")
    assert package is not None
    assert package.origin is not None
    command = [str(Path(package.origin).parent / "docker-compose"), *arguments]
    variables = {"PATH": os.environ["PATH"], **(environ or {})}
    return subprocess.run(command, env=variables, cwd=folder, capture_output=True, text=True, check=True).stdout


@dataclass(frozen=True)
class Answer:
    """An HTTP response."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Read the body as JSON."""
        return json.loads(self.body)


def ask(url: str, *, method: str = "GET", data: bytes | None = None, user: str = "", **headers: str) -> Answer:
    """Send one request; `user` is `name:password`. Raises OSError when nobody answers."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if user:
        sent["Authorization"] = f"Basic {base64.b64encode(user.encode()).decode()}"
    request = urllib.request.Request(url, data=data, headers=sent, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return Answer(response.status, dict(response.headers), response.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, dict(error.headers), error.read())


def dicom_file(size_bytes: int) -> bytes:
    """Make a CT image of a study of its own, with noise of this size as its pixels."""
    data_set = Dataset()
    data_set.SOPClassUID, data_set.SOPInstanceUID = CTImageStorage, generate_uid()
    data_set.StudyInstanceUID, data_set.SeriesInstanceUID = generate_uid(), generate_uid()
    data_set.PatientID, data_set.Modality = "7", "CT"
    data_set.add_new(0x7FE00010, "OW", os.urandom(size_bytes))
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, data_set, enforce_file_format=True)
    return buffer.getvalue()


@contextmanager
def running(command: list[str], port: int, log: Path, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server until the block ends; wait until it listens. `options` go to Popen."""
    with log.open("wb") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream, **options)
    try:
        _wait_until_it_listens(process, port, log)
        yield process
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def _wait_until_it_listens(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    end, tick = time.monotonic() + PATIENCE_S, threading.Event()
    while time.monotonic() < end and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            tick.wait(0.05)
        else:
            return
    raise AssertionError(f"{process.args!r} doesn't listen on port {port}:\n{log.read_text(errors='replace')[-4000:]}")


@contextmanager
def orthanc(folder: Path, user: str, port: int | None = None, **configuration: Any) -> Iterator[str]:
    """Run Orthanc with a web server and no DICOM server; give its address. `user` is `name:password`."""
    port = port or free_port()
    name, _, password = user.partition(":")
    settings = {
        "StorageDirectory": str(folder), "IndexDirectory": str(folder), "HttpPort": port, "DicomServerEnabled": False,
        "RemoteAccessAllowed": True, "AuthenticationEnabled": True, "RegisteredUsers": {name: password}, "Plugins": [],
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "orthanc.json"
    file.write_text(json.dumps(settings | configuration))
    environ = os.environ | {"PATH": f"{os.environ['PATH']}:/usr/sbin"}
    with running(["Orthanc", str(file)], port, folder / "orthanc.log", env=environ):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def dicom_server(folder: Path) -> Iterator[int]:
    """Run Orthanc as a DICOM server; give its port."""
    port = free_port()
    with orthanc(folder, "orthanc:secret", DicomServerEnabled=True, DicomPort=port):
        yield port
