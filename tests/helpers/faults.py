"""A processor on a file system that fails: the n-th call below some folders, once or or some of those that follow it.

`faulty.c` is loaded before libc in a process that has imported everything and forks a processor for each experiment,
so that hundreds of them take a minute.
"""

from __future__ import annotations

import ctypes
import errno
import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from autorthanc_spool.run import wiring
from autorthanc_spool.run.doorbell import Doorbell
from autorthanc_spool.settings import load_settings
from tests.helpers.site import Site

SOURCE = Path(__file__).with_name("faulty.c")
SHIM = "AUTORTHANC_TEST_SHIM"

# What a file system says that was replaced, or that is away.
ERRNOS = ("ESTALE", "EIO", "ENOTCONN", "EBADFD", "ETIMEDOUT", "EREMOTEIO", "EHOSTDOWN", "ESHUTDOWN", "ENODEV")

# A processor that looked so often and still isn't done hangs.
MOST_LOOKS = 300


@dataclass(frozen=True)
class Fault:
    """Which call fails, counted from 1 (0: none), and how.

    `is_done_anyway` loses the answer alone. `times` is how many calls fail from there on, until all is well again.
    """

    call: int = 0
    name: str = "EIO"
    is_done_anyway: bool = False
    times: int = 1


def number_of(name: str) -> int:
    """The errno of this name."""
    return int(getattr(errno, name))


@dataclass(frozen=True)
class Call:
    """One call below the folders: its kind, as `faulty.c` calls it, and its path, without what differs each time."""

    number: int
    kind: str
    path: str


class FaultyProcessors:
    """Runs processors of a site whose spool and output fail."""

    def __init__(self, site: Site, server: subprocess.Popen[str]) -> None:
        self.site = site
        self._server = server

    def run(self, fault: Fault) -> int:
        """Run a processor until its markers are done; give back its exit code. Its log is the site's."""
        assert self._server.stdin
        assert self._server.stdout
        request = {"root": str(self.site.root), "environment": self.site.environment, "fault": asdict(fault)}
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        return int(self._server.stdout.readline())

    def calls(self) -> list[Call]:
        """What the last one called below the spool and the output."""
        found = []
        for line in self._log():
            number, kind, path = line.split(" ", 2)
            path = path.removeprefix(f"{self.site.root}/")
            found.append(Call(int(number.rstrip("!")), kind, re.sub(r"[0-9a-f]{8,}|\d+", "0", path)))
        return found

    def failed(self) -> list[str]:
        """Which calls of the last one failed."""
        return [line for line in self._log() if "!" in line.split(" ", 1)[0]]

    def _log(self) -> list[str]:
        return (self.site.root / "calls").read_text().splitlines()


@contextmanager
def faulty_processors(site: Site, folder: Path) -> Iterator[FaultyProcessors]:
    """Build the library, and start the process that forks processors."""
    shim = folder / "faulty.so"
    command = ["cc", "-shared", "-fPIC", "-O1", "-Wno-nonnull", "-o", str(shim), str(SOURCE), "-ldl"]
    subprocess.run(command, check=True)
    server = subprocess.Popen(
        [sys.executable, "-m", __name__],
        env={**os.environ, "LD_PRELOAD": str(shim), SHIM: str(shim)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield FaultyProcessors(site, server)
    finally:
        assert server.stdin
        assert server.stdout
        server.stdin.close()
        server.stdout.close()
        assert server.wait(timeout=30) == 0


class _Impatient(Doorbell):
    """Never waits for long: looks again, makes due what waits, and ends the processor when all is done."""

    root: Path
    shim: Any
    looks = 0
    done = 0

    def wait(self, timeout_s: float) -> None:
        self.shim.fault_pause(1)
        self.looks += 1
        spool = self.root / "spool"
        if self.looks > MOST_LOOKS:
            os._exit(99)
        for path in (spool / "deferred").glob("*.json"):
            # A back-off is waited for elsewhere.
            os.utime(path)
        if any((spool / "done").glob("*/*.json")):
            # What a fault at the end left is cleared away by the next looks.
            self.done += 1
        if self.done > 2:
            os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(min(timeout_s, 0.002))
        self.shim.fault_pause(0)


def _serve() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            _process(request)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _process(request: dict[str, Any]) -> None:
    root, fault = Path(request["root"]), Fault(**request["fault"])
    code = 98
    try:
        os.environ.clear()
        log = os.open(root / "processor.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 2)
        os.dup2(log, 1)
        calls = os.open(root / "calls", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        settings = load_settings({}, request["environment"], root)
        logging.raiseExceptions = False
        _Impatient.root, _Impatient.shim = root, _shim()
        wiring.Doorbell = _Impatient  # type: ignore[misc]
        folders = [str(root / name).encode() for name in ("spool", "output")]
        _Impatient.shim.fault_arm(
            (ctypes.c_char_p * len(folders))(*folders),
            len(folders),
            fault.call,
            fault.times,
            number_of(fault.name),
            fault.is_done_anyway,
            calls,
        )
        code = wiring.run(settings, once=False)
    except BaseException:  # noqa: BLE001 - the child never returns into the server
        traceback.print_exc()
    os._exit(code)


def _shim() -> Any:
    shim = ctypes.CDLL(_SHIM_PATH)
    shim.fault_arm.argtypes = [
        ctypes.POINTER(ctypes.c_char_p), ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int,
        ctypes.c_int,
    ]  # fmt: skip
    return shim


if __name__ == "__main__":
    _SHIM_PATH = os.environ[SHIM]
    # Processors of their own are no part of the experiment.
    os.environ.pop("LD_PRELOAD", None)
    _serve()
