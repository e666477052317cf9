"""The chaos of tests/reliability on two hosts: processors, links, bricks and nodes of Slurm are killed at random.

As root: tests/cluster/enter .venv/bin/python -m tests.cluster.chaos --minutes 5. At the end each study must be
published whole and once, each marker be done, and nothing be left over.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster.lab import PING_TIMEOUT_S, Host, Lab, LabOrthanc
from tests.cluster.lab_site import LabSite, compare, make_contact
from tests.helpers import datasets
from tests.helpers.waiting import wait_until

SHORTEST_LIFE_S, LONGEST_LIFE_S = 2.0, 8.0
DRAIN_S = 400.0
# Beside what Slurm runs: it needs half a minute to know that a node is back.
JOBS = 2


@dataclass
class Chaos:
    """What is killed, and what has to be there at the end."""

    lab: Lab
    seed: int
    seconds: float
    strikes: Counter[str] = field(default_factory=Counter)
    studies: list[str] = field(default_factory=list)
    failure: BaseException | None = None

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        root = self.lab.shared / "chaos"
        for name in ("tmp", "incoming"):
            (root / "spool" / name).mkdir(parents=True)
        orthanc = LabOrthanc(self.lab.folder / "orthanc", spool=root / "spool").on(self.lab.a)
        self.site = LabSite(root, orthanc, {"AUTORTHANC_RECONCILE_INTERVAL_S": "5"})
        self.site.lab = self.lab
        self.site.rule("all")
        self.processors: dict[Host, subprocess.Popen[bytes]] = {}

    def run(self) -> None:
        self.site.orthanc.start()
        make_contact(self.site)
        for host in self.lab.hosts:
            self.processors[host] = self.site.start_on(host, "run")
        self._submit()
        over_s = time.monotonic() + self.seconds
        killer = threading.Thread(target=self._kill_until, args=(over_s,))
        killer.start()
        while time.monotonic() < over_s and self.failure is None:
            self._send(len(self.studies))
        killer.join()
        if self.failure:
            raise self.failure
        self._calm()
        self._wait_drained()
        self._check()

    def _submit(self) -> None:
        script = f"#!/bin/sh\nexec {self.site.program} run\n"
        for number in range(JOBS):
            self.site.submit(script, f"--job-name=autorthanc-{number}", "--requeue", "--open-mode=append")

    def _send(self, number: int) -> None:
        series, instances = self.random.randint(1, 3), self.random.randint(1, 25)
        size = self.random.choice([16, 16, 64, 128, 256])
        files = datasets.make_study(f"P{number}", series=series, instances=instances, size=size)
        self.studies.append(self.site.orthanc.upload_all(files))
        time.sleep(self.random.uniform(0, 1.5))

    def _kill_until(self, over_s: float) -> None:
        dice = random.Random(self.seed + 1)
        try:
            while time.monotonic() < over_s:
                time.sleep(dice.uniform(SHORTEST_LIFE_S, LONGEST_LIFE_S))
                what = dice.choice(["processor", "processor", "link", "brick", "node"])
                self.strikes[what] += 1
                getattr(self, f"_strike_{what}")(dice)
        except BaseException as error:  # noqa: BLE001 - reported by the main thread
            self.failure = error

    def _strike_processor(self, dice: random.Random) -> None:
        host = dice.choice(self.lab.hosts)
        with suppress(ProcessLookupError):
            os.kill(self.processors[host].pid, signal.SIGKILL)
        self.processors[host].wait(timeout=60)
        self.processors[host] = self.site.start_on(host, "run")

    def _strike_link(self, dice: random.Random) -> None:
        with self.lab.b.without_link():
            # Half of them are longer than a lock lives there.
            time.sleep(dice.uniform(1, 4 * PING_TIMEOUT_S))

    def _strike_brick(self, dice: random.Random) -> None:
        self.lab.kill_brick()
        time.sleep(dice.uniform(0, 5))
        self.lab.start_brick()

    def _strike_node(self, dice: random.Random) -> None:
        host = dice.choice(self.lab.hosts)
        self.lab.kill_node(host)
        time.sleep(dice.uniform(0, 5))
        self.lab.start_slurmd(host)

    def _calm(self) -> None:
        self.lab.repair(idle=False)
        for host, process in self.processors.items():
            # None has to have ended by what was done to the file system.
            assert process.poll() is None, (host.name, self.site.logs())

    def _wait_drained(self) -> None:
        def is_drained() -> bool:
            with suppress(OSError):
                names = [name for name in self.site.published("all") if ".WORKING" not in name]
                return len(names) >= len(self.studies) and set(self.site.states()) == {"done"}
            return False

        wait_until(is_drained, DRAIN_S, f"all is published: {self.site.states()} {self.site.logs()}")

    def _check(self) -> None:
        compare(self.site, self.studies)
        assert self.site.leftovers() == [], self.site.leftovers()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    arguments = parser.parse_args()
    lab = Lab(Path(os.environ["LAB_FOLDER"]))
    print(f"seed {arguments.seed}", flush=True)
    try:
        chaos = Chaos(lab.start(), arguments.seed, arguments.minutes * 60)
        try:
            chaos.run()
        finally:
            print(f"{len(chaos.studies)} studies; {dict(chaos.strikes)}", flush=True)
            chaos.site.end_all()
            chaos.site.orthanc.stop()
    finally:
        lab.stop()


if __name__ == "__main__":
    main()
