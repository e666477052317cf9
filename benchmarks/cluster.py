"""`make bench-cluster`: 1, 2, 4 and 8 processors on the two hosts of the lab, as ratios to one processor.

DOWNLOAD is bytes, ANONYMISE is work for the processors. Each is measured with Orthanc, and with a stand-in that hands
files out of memory: where more processors help with that one and not with Orthanc, Orthanc is the limit.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.lab import Lab, LabOrthanc
from tests.cluster.lab_site import LabSite, make_contact
from tests.helpers import datasets
from tests.helpers.waiting import wait_until

PROCESSORS = (1, 2, 4, 8)
STUDIES, FILES, SIZE = 64, 40, 256
ACTIONS = {"DOWNLOAD": ["DOWNLOAD"], "ANONYMISE": ["DOWNLOAD", "ANONYMISE"]}
STAND_IN_PORT = 8100


@dataclass
class Bench:
    """One Orthanc with the same studies for all measurements; each of these has a spool of its own."""

    lab: Lab

    def __post_init__(self) -> None:
        self.orthanc = LabOrthanc(self.lab.folder / "orthanc", lua=()).on(self.lab.a)
        self.orthanc.start()
        series = 2
        self.studies = [
            self.orthanc.upload_all(
                datasets.make_study(f"P{number}", series=series, instances=FILES // series, size=SIZE)
            )
            for number in range(STUDIES)
        ]
        self.orthanc.wait_stable(f"/studies/{self.studies[-1]}", margin_s=11.0)
        self.url = f"http://{self.lab.a.address}:{STAND_IN_PORT}"
        program = [
            sys.executable,
            "-m",
            "benchmarks.stand_in",
            self.lab.a.address,
            str(STAND_IN_PORT),
            self.orthanc.url,
        ]
        self.lab.spawn(self.lab.a.words(*program, cwd=self.lab.checkout), "stand-in")

    def seconds(self, action: str, url: str, processors: int) -> float:
        """Measure how long so many processors take for all studies."""
        root = self.lab.shared / f"{action}-{url.rpartition(':')[2]}-{processors}"
        root.mkdir()
        site = LabSite(root, self.orthanc, {"ORTHANC_URL": url})
        site.lab = self.lab
        site.rule("all", Action=ACTIONS[action])
        make_contact(site)
        for study in self.studies:
            site.touch(study)
        begin_s = time.monotonic()
        running = [site.start_on(self.lab.hosts[number % 2], "run", "--once") for number in range(processors)]
        wait_until(lambda: all(one.poll() is not None for one in running), 600, "all have ended")
        took_s = time.monotonic() - begin_s
        assert len(site.published("all")) == STUDIES, site.logs()
        return took_s


def main() -> None:
    lab = Lab(Path(os.environ["LAB_FOLDER"]))
    try:
        bench = Bench(lab.start())
        # The stand-in has all files when it is measured.
        bench.seconds("DOWNLOAD", bench.url, 3)
        print(f"{STUDIES} studies of {FILES} files of {2 * SIZE * SIZE // 1024} KiB\n")
        print(
            "| processors | "
            + " | ".join(f"{action}, {place}" for action in ACTIONS for place in ("Orthanc", "stand-in"))
            + " |"
        )
        print("|---|---|---|---|---|")
        first: dict[tuple[str, str], float] = {}
        for number in PROCESSORS:
            cells = []
            for action in ACTIONS:
                for url in (bench.orthanc.url, bench.url):
                    took_s = bench.seconds(action, url, number)
                    ratio = first.setdefault((action, url), took_s) / took_s
                    cells.append(f"{took_s:.1f} s, {ratio:.2f} ×")
            print(f"| {number} | " + " | ".join(cells) + " |", flush=True)
        bench.orthanc.stop()
    finally:
        lab.stop()


if __name__ == "__main__":
    main()
