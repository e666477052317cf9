"""Where FORWARD sends to: a second real Orthanc, dcmtk's storescp, and ports that nobody listens on."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.helpers.orthanc_server import OrthancServer, free_port
from tests.helpers.waiting import wait_until


def add_modality(orthanc: OrthancServer, name: str, aet: str, port: int) -> None:
    """Have a running Orthanc know a DICOM node."""
    orthanc.put(f"/modalities/{name}", [aet, "127.0.0.1", port])


def received(destination: OrthancServer) -> set[str]:
    """The SOPInstanceUIDs that an Orthanc holds."""
    return {one["MainDicomTags"]["SOPInstanceUID"] for one in destination.get("/instances?expand")}


@contextmanager
def storescp(folder: Path, port: int, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """dcmtk's receiver: it writes one file per instance into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    started = subprocess.Popen(
        ["storescp", "--output-directory", folder, *options, str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: _is_open(port), 20, "storescp listens")
        yield started
    finally:
        started.kill()
        started.wait()


def dead_port() -> int:
    """A port that nobody listens on."""
    return free_port()


def _is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
