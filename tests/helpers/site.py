"""One site: rules, spool, output and the processor, on a real Orthanc."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autorthanc_spool.spool.directories import Directories
from tests.helpers import trees
from tests.helpers.orthanc_server import OrthancServer
from tests.helpers.waiting import wait_until

AUTHENTICATION = "ORTHANC_AUTHENTICATION_ENABLED"
EVERYTHING: dict[str, Any] = {"CheckOn": "Study", "IsActive": True, "Tags": []}


@dataclass
class Site:
    root: Path
    orthanc: OrthancServer
    variables: dict[str, str] = field(default_factory=dict)
    # Most tests of commands are about a site that has worked before.
    has_spool: bool = True

    def __post_init__(self) -> None:
        self.rules.mkdir(parents=True, exist_ok=True)

    @property
    def rules(self) -> Path:
        return self.root / "automation_scripts"

    @property
    def spool(self) -> Path:
        return self.root / "spool"

    @property
    def output(self) -> Path:
        return self.root / "output"

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a command; nothing of ours comes in from outside."""
        inherited = {key: value for key, value in os.environ.items() if "ORTHANC" not in key}
        user, password = next(iter(self.orthanc.users.items()), ("", ""))
        return {
            **inherited,
            "ORTHANC_URL": self.orthanc.url,
            "ORTHANC_STABLE_AGE": str(self.orthanc.stable_age_s),
            "AUTORTHANC_POLL_INTERVAL_S": "1",
            **({"ORTHANC_USERNAME": user, "ORTHANC_PASSWORD": password} if user else {AUTHENTICATION: "false"}),
            **self.variables,
        }

    def rule(self, name: str, **keys: Any) -> Path:
        """Write a rule, as an editor does: at once."""
        path = self.rules / f"{name}.json"
        scratch = path.with_suffix(".new")
        scratch.write_text(json.dumps({**EVERYTHING, **keys}))
        scratch.rename(path)
        return path

    def run(self, *arguments: str, expect: int | None = 0, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        if self.has_spool and arguments[0] not in ("run", "demo", "init", "up"):
            self.make_spool()
        done = subprocess.run(
            [sys.executable, "-m", "autorthanc_spool", *arguments],
            cwd=self.root,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        assert expect is None or done.returncode == expect, (done.returncode, done.stdout, done.stderr)
        return done

    def make_spool(self) -> None:
        """Lay the spool out, as whoever worked here before did."""
        if not (self.spool / "incoming").exists():
            Directories(self.spool, time.time).lay_out()

    def once(self, expect: int | None = 0) -> subprocess.CompletedProcess[str]:
        return self.run("run", "--once", expect=expect)

    @contextmanager
    def processor(self) -> Iterator[subprocess.Popen[bytes]]:
        """Keep a processor running; its log is in `log`."""
        started = self.start_processor()
        try:
            yield started
        finally:
            if started.poll() is None:
                started.send_signal(signal.SIGTERM)
                assert started.wait(timeout=30) == 0, self.log.read_text()

    def start_processor(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "autorthanc_spool", "run"],
                cwd=self.root,
                env=self.environment,
                stdout=log,
                stderr=log,
            )

    @property
    def log(self) -> Path:
        return self.root / "processor.log"

    def touch(self, resource_id: str, level: str = "study") -> Path:
        """Make a marker by hand: named by level and ID, and not empty, as an empty one has to rest first."""
        path = self.spool / "incoming" / f"{level}-{resource_id}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
        return path

    def markers(self, state: str) -> list[Path]:
        pattern = "*/*.json" if state == "done" else "*.json"
        return sorted((self.spool / state).glob(pattern))

    def records(self, state: str) -> list[dict[str, Any]]:
        found = []
        for path in self.markers(state):
            # A processor may move it on at this moment.
            with suppress(FileNotFoundError):
                found.append(json.loads(path.read_text()))
        return found

    def states(self) -> dict[str, int]:
        names = ("incoming", "processing", "deferred", "failed", "hold", "done")
        return {name: len(self.markers(name)) for name in names if self.markers(name)}

    def published(self, rule: str) -> list[str]:
        folder = self.output / rule
        return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []

    def tree(self, rule: str, name: str) -> dict[str, bytes]:
        return trees.read(self.output / rule / name)

    def wait_published(self, rule: str, count: int = 1, timeout_s: float = 60) -> list[str]:
        def there() -> bool:
            return len([name for name in self.published(rule) if ".WORKING" not in name]) >= count

        wait_until(there, timeout_s, f"{count} are published by {rule}: {self.log_end()}")
        return self.published(rule)

    def wait_states(self, timeout_s: float = 60, **states: int) -> None:
        wait_until(lambda: self.states() == states, timeout_s, f"the spool is {states}, not {self.states()}")

    def log_end(self) -> str:
        return self.log.read_text()[-2000:] if self.log.exists() else ""

    def leftovers(self) -> list[str]:
        """What must not be left when nothing is going on."""
        below = [self.spool / "tmp", self.spool / "locks", self.spool / "state" / "filing", self.spool / "processing"]
        found = [path for folder in below if folder.is_dir() for path in folder.iterdir()]
        # A processor holds its own lock to its end.
        found = [path for path in found if not path.name.startswith("processor-")]
        found += list(self.output.glob("*/*.WORKING*"))
        return [str(path.relative_to(self.root)) for path in found]


def stored_files(orthanc: OrthancServer, study_id: str) -> dict[str, bytes]:
    """What Orthanc received, by the path that it should be published under."""
    found = {}
    for series in orthanc.get(f"/studies/{study_id}/series"):
        tags = series["MainDicomTags"]
        folder = f"SE{tags['SeriesNumber']}-{tags['SeriesDate']}-{tags['SeriesInstanceUID']}"
        for instance in orthanc.get(f"/series/{series['ID']}/instances"):
            name = f"{folder}/{instance['MainDicomTags']['SOPInstanceUID']}.dcm"
            found[name] = orthanc.bytes_of(instance["ID"])
    return found


def send(site: Site, *files: bytes) -> str:
    """Put files into the shared Orthanc, and wait until their study is stable."""
    study = site.orthanc.upload_all(list(files))
    site.orthanc.wait_stable(f"/studies/{study}")
    return study


def send_and_touch(site: Site, *files: bytes) -> str:
    study = send(site, *files)
    site.touch(study)
    return study


# Reconciliation may find a study before its marker is worked on; what only watches may meet a share that is just going.
_OTHER_WARNINGS = ("missed, and done now: ", "the work goes on without it")


def warnings_of_troubles(log: str) -> list[str]:
    """The warnings of a log, but for those that may or may not come beside a trouble."""
    warnings = [line for line in log.splitlines() if " WARNING " in line]
    return [line for line in warnings if not any(other in line for other in _OTHER_WARNINGS)]
