"""A site that up starts whole."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from autorthanc_spool.settings.variables import NAMES

DEADLINE_S = 60


@dataclass
class Running:
    """A running `up`, and what it has printed."""

    process: subprocess.Popen[str]
    lines: list[str]

    def wait_for(self, text: str) -> str:
        """Read on until a line holds the text."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            if text in line:
                return line
        raise AssertionError(f"it ended without {text!r}:\n" + "\n".join(self.lines))

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, read what is said until the end, and give the exit code."""
        self.process.send_signal(number)
        return self.exit_code()

    def exit_code(self) -> int:
        """Read what is said until the end, and give the exit code."""
        assert self.process.stdout is not None
        self.lines += [line.rstrip("\n") for line in self.process.stdout]
        return self.process.wait(DEADLINE_S)

    def children(self) -> dict[str, int]:
        """The process numbers of the children by program; the script that ties them to us has become the program."""
        numbers = (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())
        ours = [number for number in numbers if parent_of(number) == self.process.pid]
        return {"orthanc" if b"Orthanc" in command_line(number) else "processor": number for number in ours}


def parent_of(number: int) -> int | None:
    try:
        return int(Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return None


def command_line(number: int) -> bytes:
    return Path(f"/proc/{number}/cmdline").read_bytes()


def free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


class Site:
    """A folder with a `.env`, and one rule that takes everything."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.web_port, self.dicom_port = free_ports()
        self.variables = {
            "UID": str(os.getuid()),
            "GID": str(os.getgid()),
            "ORTHANC_WEB_PORT": str(self.web_port),
            "ORTHANC_AET_PORT": str(self.dicom_port),
            "ORTHANC_STABLE_AGE": "1",
        }
        (folder / "automation_scripts").mkdir()
        rule = {"CheckOn": "Study", "IsActive": True, "Tags": []}
        (folder / "automation_scripts" / "all.json").write_text(json.dumps(rule))

    def set(self, **variables: str) -> None:
        self.variables |= variables

    def start(self) -> subprocess.Popen[str]:
        (self.folder / ".env").write_text("".join(f"{name}='{value}'\n" for name, value in self.variables.items()))
        return subprocess.Popen(
            [sys.executable, "-m", "autorthanc_spool", "up"],
            cwd=self.folder,
            env={name: value for name, value in os.environ.items() if name not in NAMES},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    @contextmanager
    def up(self) -> Iterator[Running]:
        process = self.start()
        try:
            yield Running(process, [])
        finally:
            process.kill()
            process.wait(DEADLINE_S)
            assert process.stdout is not None
            process.stdout.close()

    def refusal(self) -> str:
        """Start it, and give what it says before it exits with code 2."""
        with self.start() as process:
            text, _ = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 2, text
        return text
