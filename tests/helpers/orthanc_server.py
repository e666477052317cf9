"""A real Orthanc from Debian's package, on free ports of 127.0.0.1, ended by its process."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import urllib3

from tests.helpers.waiting import wait_until

LUA_SCRIPT = Path(__file__).parents[2] / "lua" / "autorthanc_spool.lua"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def orthanc_program() -> str:
    found = shutil.which("Orthanc", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    assert found, "Orthanc isn't installed: `make test` does it"
    return found


@dataclass
class OrthancServer:
    """Start, stop, kill and restart it; the storage stays."""

    folder: Path
    stable_age_s: int = 1
    users: dict[str, str] = field(default_factory=dict)
    spool: Path | None = None
    lua: tuple[Path, ...] = (LUA_SCRIPT,)
    config: dict[str, Any] = field(default_factory=dict)
    aet: str = "ORTHANC"
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.http_port, self.dicom_port = free_port(), free_port()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._pool = urllib3.PoolManager(retries=urllib3.Retry(total=2, connect=0, read=2))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def log(self) -> Path:
        return self.folder / "orthanc.log"

    @property
    def storage(self) -> Path:
        return self.folder / "db"

    def command(self, configuration: Path) -> Sequence[str | Path]:
        return [orthanc_program(), configuration]

    def start(self) -> OrthancServer:
        path = self.folder / "orthanc.json"
        path.write_text(json.dumps(self._configuration()))
        environment = {**os.environ, "TZ": "UTC", "LC_ALL": "C.UTF-8"}
        environment.pop("AUTORTHANC_SPOOL_PATH", None)
        if self.spool:
            environment["AUTORTHANC_SPOOL_PATH"] = str(self.spool)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command(path), env=environment, stdout=log, stderr=log)
        wait_until(self._answers, 30, "Orthanc answers")
        return self

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def restart(self, *, kill: bool = False) -> None:
        self.kill() if kill else self.stop()
        self.start()

    def get(self, path: str) -> Any:
        response = self._request("GET", path)
        assert response.status == 200, (path, response.status)
        return json.loads(response.data)

    def post(self, path: str, content: Any) -> Any:
        response = self._request("POST", path, body=json.dumps(content).encode())
        assert response.status == 200, (path, response.status, response.data)
        return json.loads(response.data)

    def put(self, path: str, content: Any) -> None:
        assert self._request("PUT", path, body=json.dumps(content).encode()).status == 200, path

    def upload(self, data: bytes) -> str:
        """Upload one DICOM file by REST, and return the ID of its study."""
        response = self._request("POST", "/instances", body=data)
        assert response.status == 200, response.data
        return str(json.loads(response.data)["ParentStudy"])

    def upload_all(self, files: list[bytes]) -> str:
        return [self.upload(data) for data in files][-1]

    def delete(self, path: str) -> None:
        assert self._request("DELETE", path).status == 200

    def bytes_of(self, instance_id: str) -> bytes:
        """The stored file as Orthanc has it."""
        return bytes(self._request("GET", f"/instances/{instance_id}/file").data)

    def clear(self) -> None:
        for study in self.get("/studies"):
            self.delete(f"/studies/{study}")

    def wait_stable(self, path: str, timeout_s: float = 20, margin_s: float = 0.0) -> None:
        """Wait until the study or series is stable and older than StableAge, and a margin, by Orthanc's clock."""

        def is_stable() -> bool:
            found = self.get(path)
            age = _seconds(self.now()) - _seconds(found["LastUpdate"])
            return found["IsStable"] is True and age > self.stable_age_s + margin_s

        wait_until(is_stable, timeout_s, f"{path} is stable")

    def now(self) -> str:
        return self._request("GET", "/tools/now").data.decode().strip().strip('"')

    def stored_file(self, instance_id: str) -> Path:
        """Where the attachment lies in the storage."""
        uuid = self.get(f"/instances/{instance_id}")["FileUuid"]
        return self.storage / uuid[:2] / uuid[2:4] / uuid

    def _request(self, method: str, path: str, body: bytes | None = None) -> urllib3.BaseHTTPResponse:
        headers = urllib3.make_headers(basic_auth=":".join(*self.users.items())) if self.users else {}
        return self._pool.request(method, self.url + path, body=body, headers=headers, timeout=30.0)

    def _answers(self) -> bool:
        assert self.process
        assert self.process.poll() is None, self.log.read_text(errors="replace")[-3000:]
        try:
            return self._request("GET", "/system").status == 200
        except urllib3.exceptions.HTTPError:
            return False

    def _configuration(self) -> dict[str, Any]:
        return {
            "Name": "test",
            "StorageDirectory": str(self.storage),
            "IndexDirectory": str(self.storage),
            "HttpPort": self.http_port,
            "DicomPort": self.dicom_port,
            "DicomAet": self.aet,
            "StableAge": self.stable_age_s,
            "LuaScripts": [str(script) for script in self.lua],
            "AuthenticationEnabled": bool(self.users),
            "RegisteredUsers": self.users,
            "RemoteAccessAllowed": False,
            "DicomAlwaysAllowStore": True,
            "UnknownSopClassAccepted": True,
            **self.config,
        }

    def _end(self, number: signal.Signals) -> None:
        if self.process and self.process.poll() is None:
            self.process.send_signal(number)
            try:
                self.process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = None


def _seconds(orthanc_time: str) -> float:
    return time.mktime(time.strptime(orthanc_time, "%Y%m%dT%H%M%S"))
