"""A site on the lab's volume: commands on its hosts, and jobs of Slurm."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.cluster.lab import Host, Lab, end
from tests.helpers import datasets, trees
from tests.helpers.site import Site, stored_files
from tests.helpers.waiting import wait_until

PROGRAM = (sys.executable, "-m", "autorthanc_spool")


@dataclass
class LabSite(Site):
    """What the tests see through a mount of their own is what the hosts see through theirs."""

    lab: Lab = field(init=False)
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__post_init__()
        # A job begins in an environment of the site's alone, so the settings are where a site has them.
        self.variables |= {"AUTORTHANC_ALLOW_PLAIN_HTTP": "true", "AUTORTHANC_OBSERVER": "polling"}
        self.write_settings()

    def write_settings(self) -> None:
        names = ("ORTHANC", "AUTORTHANC")
        lines = [f"{name}={value}" for name, value in self.environment.items() if name.startswith(names)]
        (self.root / ".env").write_text("\n".join([*lines, ""]))
        (self.root / ".env").chmod(0o600)

    @property
    def log(self) -> Path:
        # On the disk of this machine: the volume may be away while a processor has something to say.
        return self.lab.folder / f"{self.root.name}-processors.log"

    def start_on(self, host: Host, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a command of the program on a host."""
        process = self.lab.spawn(
            host.words(*PROGRAM, *arguments, cwd=self.root), self.log.stem, environment=self._plain_environment()
        )
        self.started.append(process)
        return process

    def run_on(self, host: Host, *arguments: str, expect: int | None = 0) -> str:
        """Run a command of the program on a host to its end."""
        done = subprocess.run(
            host.words(*PROGRAM, *arguments, cwd=self.root),
            env=self._plain_environment(), capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert expect is None or done.returncode == expect, (done.returncode, done.stdout, done.stderr)
        return done.stdout

    @property
    def program(self) -> str:
        """How a script calls the program."""
        return " ".join(PROGRAM)

    def works_on(self, host: str) -> bool:
        """Whether a processor of a host has a study in work, by the heartbeats that it shows."""
        for path in (self.spool / "state" / "processors").glob(f"{host}-*.json"):
            with suppress(OSError, ValueError):
                if "study" in (json.loads(path.read_text())["marker"] or ""):
                    return True
        return False

    def processors(self) -> dict[str, dict[str, Any]]:
        """What `status` says of each processor that has looked, by its host and number."""
        found = json.loads(self.run_on(self.lab.a, "status", "--json"))["processors"]
        return {f"{one['host']}-{one['pid']}": one for one in found if one["looked"]}

    def slurm(self, *words: str | Path) -> str:
        """Run a command of Slurm on host a, in the site."""
        done = subprocess.run(
            self.lab.a.words(*words, cwd=self.root),
            env=self._plain_environment(), capture_output=True, text=True, timeout=180, check=False,
        )  # fmt: skip
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    def submit(self, script: str, *options: str) -> str:
        """Submit a batch script; give the job's number."""
        path = self.lab.folder / f"{self.root.name}.sbatch"
        path.write_text(script)
        output = f"--output={self.lab.folder}/{self.root.name}-job-%A-%a.log"
        return self.slurm("sbatch", "--parsable", output, *options, path).strip()

    def job_states(self, job: str) -> list[str]:
        """The states of a job's tasks, as Slurm calls them."""
        rows = self.slurm("scontrol", "show", "job", "--oneliner", job).splitlines()
        return [row.partition("JobState=")[2].partition(" ")[0] for row in rows]

    def exit_codes(self, job: str) -> list[str]:
        rows = self.slurm("scontrol", "show", "job", "--oneliner", job).splitlines()
        return [row.partition(" ExitCode=")[2].partition(" ")[0] for row in rows]

    def wait_job(self, job: str, *states: str, timeout_s: float = 180) -> None:
        wait_until(lambda: set(self.job_states(job)) <= set(states), timeout_s, f"job {job} is {states}: {self.logs()}")

    def logs(self) -> str:
        """The end of what processors and jobs said."""
        logs = [self.log, *sorted(self.lab.folder.glob(f"{self.root.name}-job-*.log"))]
        return "\n".join(f"{path.name}: {path.read_text()[-1500:]}" for path in logs if path.exists())

    def end_all(self) -> None:
        """End what was started here."""
        self.slurm("scancel", "--user=root")
        for process in self.started:
            end(process, 40)

    def _plain_environment(self) -> dict[str, str]:
        return {name: value for name, value in os.environ.items() if "ORTHANC" not in name}


def upload(site: LabSite, studies: int, **keywords: int) -> list[str]:
    """Put studies into Orthanc; Lua drops their markers when they are stable."""
    return [site.orthanc.upload_all(datasets.make_study(f"P{number}", **keywords)) for number in range(studies)]


def make_contact(site: LabSite) -> None:
    """Work once: on an empty Orthanc this makes what comes later new; afterwards, it does what is left."""
    site.run_on(site.lab.a, "run", "--once")


def compare(site: LabSite, studies: list[str], rule: str = "all") -> None:
    """Every study is published whole, once."""
    names = [name for name in site.published(rule) if ".WORKING" not in name]
    assert len(names) == len(studies), names
    published = [trees.read(site.output / rule / name) for name in names]
    for study in studies:
        assert published.count(stored_files(site.orthanc, study)) == 1, study
