"""`make chaos`: studies of mixed sizes, while the processor and Orthanc are killed at random.

At the end each study must be published whole and once, each marker be done, and nothing be left over.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import urllib3

from tests.helpers import datasets, trees
from tests.helpers.orthanc_server import OrthancServer
from tests.helpers.site import Site, stored_files
from tests.helpers.waiting import wait_until

SHORTEST_LIFE_S = 1.0
LONGEST_LIFE_S = 5.0
DRAIN_S = 240.0

# Somebody is killed at least once in so many studies: the sender waits for it in the middle of one.
STUDIES_PER_KILL = 2


@dataclass
class Figures:
    seed: int
    studies: int = 0
    files: int = 0
    size_bytes: int = 0
    processor_kills: int = 0
    orthanc_kills: int = 0
    sent_again: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        return (
            f"seed {self.seed}: {self.studies} studies, {self.files} files, {self.size_bytes / 1e6:.1f} MB; "
            f"processor killed {self.processor_kills} times, Orthanc {self.orthanc_kills} times; "
            f"{self.sent_again} files were sent again; {self.seconds:.0f} s"
        )


@dataclass
class Chaos:
    root: Path
    figures: Figures
    over: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.random = random.Random(self.figures.seed)
        for name in ("tmp", "incoming"):
            (self.root / "site" / "spool" / name).mkdir(parents=True)
        orthanc = OrthancServer(self.root / "orthanc", spool=self.root / "site" / "spool")
        self.site = Site(self.root / "site", orthanc, {"AUTORTHANC_RECONCILE_INTERVAL_S": "2"})
        self.site.rule("all")
        self.processor: subprocess.Popen[bytes] | None = None
        self.failure: BaseException | None = None
        self.struck = threading.Semaphore(0)

    def run(self, studies: int) -> Figures:
        begin = time.monotonic()
        self.site.orthanc.start()
        killer = threading.Thread(target=self._kill_until_over)
        try:
            self.processor = self.site.start_processor()
            wait_until(lambda: (self.site.spool / "state" / "contact.json").exists(), 60, "there was first contact")
            killer.start()
            for number in range(studies):
                self._send(number)
                assert self.failure is None, self.failure
            self.over.set()
            killer.join()
            assert self.failure is None, self.failure
            self._wait_drained(studies)
        finally:
            self.over.set()
            if killer.is_alive():
                killer.join()
            self._end_processor(signal.SIGTERM)
            self.figures.seconds = time.monotonic() - begin
        self._check(studies)
        self.site.orthanc.stop()
        return self.figures

    def _send(self, number: int) -> None:
        series, instances = self.random.randint(1, 3), self.random.randint(1, 12)
        size = self.random.choice([16, 16, 64, 128, 256])
        files = datasets.make_study(f"P{number}", series=series, instances=instances, size=size)
        # The rest of the study is sent while somebody is being killed.
        pause = self.random.randrange(len(files)) if number % STUDIES_PER_KILL == 0 else None
        for position, data in enumerate(files):
            if position == pause:
                assert self.struck.acquire(timeout=120), "nobody was killed"
            self.figures.files += 1
            self.figures.size_bytes += len(data)
            wait_until(lambda data=data: self._accepted(data), 120, "Orthanc takes a file")  # type: ignore[misc]
        self.figures.studies += 1

    def _accepted(self, data: bytes) -> bool:
        """Send as a scanner does: again, until it is taken."""
        try:
            self.site.orthanc.upload(data)
        except (urllib3.exceptions.HTTPError, AssertionError):
            self.figures.sent_again += 1
            return False
        return True

    def _kill_until_over(self) -> None:
        dice = random.Random(self.figures.seed + 1)
        try:
            while not self.over.wait(dice.uniform(SHORTEST_LIFE_S, LONGEST_LIFE_S)):
                what = dice.choice(["processor", "processor", "Orthanc", "both"])
                self.struck.release()
                if what != "Orthanc":
                    self._end_processor(signal.SIGKILL)
                    self.figures.processor_kills += 1
                if what != "processor":
                    self.site.orthanc.restart(kill=True)
                    self.figures.orthanc_kills += 1
                if what != "Orthanc":
                    self.processor = self.site.start_processor()
        except BaseException as error:  # noqa: BLE001 - reported by the main thread
            self.failure = error
            self.struck.release()

    def _end_processor(self, number: signal.Signals) -> None:
        if self.processor and self.processor.poll() is None:
            self.processor.send_signal(number)
            self.processor.wait(timeout=60)

    def _wait_drained(self, studies: int) -> None:
        """Wait until nothing is to do and each study lies there as Orthanc has it.

        A killed Orthanc never reports that what it received is stable, so there are moments without any marker
        in which an older state of a study lies published: reconciliation brings the rest, ten seconds after the stable
        age.
        """

        def is_drained() -> bool:
            names = [name for name in self.site.published("all") if ".WORKING" not in name]
            if len(names) < studies or self._under_way():
                return False
            try:
                return self._differing() == []
            except FileNotFoundError:  # replaced while it was read
                return False

        wait_until(is_drained, DRAIN_S, f"all is published: {self.site.states()} {self.site.log_end()}")

    def _under_way(self) -> set[str]:
        return {"incoming", "processing", "deferred"} & self.site.states().keys()

    def _differing(self) -> list[str]:
        """Give the studies that aren't published exactly once as Orthanc has them."""
        published = [trees.read(path) for path in (self.site.output / "all").iterdir()]
        stored = {study: stored_files(self.site.orthanc, study) for study in self.site.orthanc.get("/studies")}
        return [study for study, files in stored.items() if published.count(files) != 1]

    def _check(self, studies: int) -> None:
        site = self.site
        assert site.leftovers() == [], site.leftovers()
        assert set(site.states()) == {"done"}, site.states()
        assert len(site.orthanc.get("/studies")) == studies
        names = site.published("all")
        assert len(names) == studies, names
        assert self._differing() == []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    arguments = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="chaos-"))
    print(f"seed {arguments.seed}, in {root}", flush=True)
    chaos = Chaos(root, Figures(arguments.seed))
    with ExitStack() as on_failure:
        on_failure.callback(lambda: print(f"{chaos.figures}\nwhat is left of it: {root}", file=sys.stderr))
        on_failure.callback(chaos.site.orthanc.kill)
        print(chaos.run(arguments.studies))
        on_failure.pop_all()
    shutil.rmtree(root)


if __name__ == "__main__":
    main()
