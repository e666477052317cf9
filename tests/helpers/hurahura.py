"""The real hurahura, in a virtual environment of its own, watching the folder of a rule as a pipeline does."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.helpers.waiting import wait_until

PROGRAM = Path(__file__).parents[2] / ".venv-hurahura" / "bin" / "hurahura"

# hurahura looks every 5 s whether a folder has been at rest for so long; it takes no less than 6 s.
STABLE_AGE_S = 1


@dataclass(frozen=True)
class Watcher:
    """A running hurahura: where it looks, and where it puts what it loads."""

    watched: Path
    data: Path

    @property
    def log(self) -> str:
        path = self.watched / "MIResearch-PROCESSING" / "mi_watcher.log"
        return path.read_text() if path.exists() else ""

    def wait_loaded(self, count: int = 1) -> None:
        wait_until(lambda: self.log.count("FINISHED PROCESSING") >= count, 90, f"hurahura loads {count}: {self.log}")

    def errors(self) -> list[str]:
        """What it could not load, and what it complained about."""
        kept = [path.name for path in (self.watched / "MIResearch-ERROR").iterdir()]
        return kept + [line for line in self.log.splitlines() if " ERROR " in line]

    def loaded(self) -> list[bytes]:
        """All DICOM files that it has put into its own structure."""
        return sorted(path.read_bytes() for path in self.data.rglob("*.dcm"))


@contextmanager
def watching(folder: Path, root: Path) -> Iterator[Watcher]:
    """Run `hurahura -WatchDirectory` on a folder; its data, configuration and home lie below `root`."""
    assert PROGRAM.exists(), "hurahura isn't installed: `make test` does it"
    watcher = Watcher(folder, root / "data")
    home, configuration = root / "home", root / "miresearch.conf"
    for path in (watcher.data, home):
        path.mkdir(parents=True)
    configuration.write_text(f"[app]\nstable_directory_age_sec={STABLE_AGE_S}\nsubject_prefix=TRIAL\n")
    command = [PROGRAM, "-config", configuration, "-y", watcher.data, "-WatchDirectory", folder]
    with (root / "hurahura.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=root, env={**os.environ, "HOME": str(home), "MIRESEARCH_CONF": ""}, stdout=log, stderr=log
        )
    try:
        wait_until(lambda: "OBSERVER STARTED" in watcher.log or process.poll() is not None, 60, "hurahura watches")
        assert process.poll() is None, (root / "hurahura.log").read_text()
        yield watcher
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
