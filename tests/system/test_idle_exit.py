"""`run --idle-exit`: for a batch job, which ends by itself when nothing comes."""

import json
import subprocess
import sys
from pathlib import Path

from tests.helpers import datasets
from tests.helpers.site import Site, send
from tests.helpers.waiting import wait_until


def start(site: Site, seconds: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "autorthanc_spool", "run", "--idle-exit", seconds]
    with site.log.open("ab") as log:
        return subprocess.Popen(command, cwd=site.root, env=site.environment, stdout=log, stderr=log)


def test_it_works_on_what_comes_and_then_ends_well(site: Site) -> None:
    site.rule("all")
    study = send(site, *datasets.make_study())
    site.make_spool()
    site.touch(study)
    assert start(site, "1").wait(timeout=60) == 0, site.log_end()
    assert site.states() == {"done": 1}
    assert "nothing came for 1 s" in site.log_end()
    assert site.leftovers() == []


def test_what_came_and_cant_be_worked_on_keeps_it_there(site: Site) -> None:
    site.rule("all")
    site.make_spool()
    study = send(site, *datasets.make_study())
    marker: Path = site.touch(study)
    site.variables["ORTHANC_URL"] = "http://127.0.0.1:9"
    process = start(site, "0.5")
    wait_until(lambda: "Orthanc doesn't answer" in site.log_end(), 30, "it has looked")
    # It looks each second; what waits in incoming/ outlasts several of the idle times.
    wait_until(lambda: process.poll() is not None or site.log.stat().st_mtime < _now(site) - 3, 20, "time has passed")
    assert process.poll() is None, site.log_end()
    marker.unlink()
    assert process.wait(timeout=30) == 0


def _now(site: Site) -> float:
    probe = site.root / "now"
    probe.write_text(json.dumps({}))
    return probe.stat().st_mtime


def test_it_is_not_part_of_a_single_run(site: Site) -> None:
    assert "give one" in site.run("run", "--once", "--idle-exit", "5", expect=2).stderr
    assert "Invalid value" in site.run("run", "--idle-exit", "0", expect=2).stderr
