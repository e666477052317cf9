"""Processors as jobs of Slurm on two hosts that share a spool."""

from __future__ import annotations

import re
import shutil
import sys
import time
from pathlib import Path

from tests.cluster.lab_site import LabSite, compare, make_contact, upload
from tests.helpers.waiting import wait_until

DEPLOY = Path(__file__).parents[2] / "deploy" / "slurm"
PROGRAMS = Path(sys.executable).parent
STUDIES = 30


def deployed(site: LabSite) -> Path:
    """Lay the shipped files beside the site, as `init` does, with this installation's program."""
    folder = site.root / "deploy" / "slurm"
    shutil.copytree(DEPLOY, folder)
    for path in (folder / "processors.sbatch", folder / "scrontab", folder / "keep-processors"):
        text = path.read_text().replace("/opt/autorthanc-spool/bin", str(PROGRAMS))
        path.write_text(text.replace("/srv/autorthanc", str(site.root)))
    return folder


def names_of_jobs(site: LabSite, *states: str) -> list[str]:
    shown = site.slurm("squeue", "--noheader", "--format=%j", f"--states={','.join(states)}")
    return sorted(shown.split())


def test_four_processors_of_one_job_share_thirty_studies(site: LabSite) -> None:
    site.rule("all")
    make_contact(site)
    studies = upload(site, STUDIES, series=2, instances=40)
    wait_until(lambda: len(site.markers("incoming")) >= STUDIES, 60, "Lua dropped the markers")
    job = site.submit(f"#!/bin/sh\nsrun --label {site.program} run --once\n", "--nodes=2", "--ntasks=4")
    site.wait_job(job, "COMPLETED")
    # The markers of series that came meanwhile.
    make_contact(site)
    compare(site, studies)
    assert set(site.states()) == {"done"}
    assert site.leftovers() == []
    records = [record for record in site.records("done") if record["level"] == "Study"]
    assert len(records) == STUDIES


def test_a_job_that_nothing_comes_to_ends_well_by_itself(site: LabSite) -> None:
    site.rule("all")
    make_contact(site)
    [study] = upload(site, 1)
    job = site.submit(f"#!/bin/sh\nexec {site.program} run --idle-exit 5\n", "--nodelist=nodeb")
    site.wait_job(job, "COMPLETED")
    assert site.exit_codes(job) == ["0:0"]
    compare(site, [study])


def test_a_job_whose_time_is_up_puts_its_study_back_and_ends_well(site: LabSite) -> None:
    site.variables["AUTORTHANC_DOWNLOAD_THREADS"] = "1"
    site.write_settings()
    folder = deployed(site)
    site.rule("all")
    make_contact(site)
    studies = upload(site, 1, series=4, instances=250)
    job = site.submit((folder / "processors.sbatch").read_text(), "--array=1", "--nodelist=nodeb", "--no-requeue")
    wait_until(lambda: list(site.output.glob("all/*.WORKING/*/*.dcm")), 120, f"it exports: {site.logs()}")
    # What Slurm sends two minutes before the time is up, to the batch script alone.
    site.slurm("scancel", "--batch", "--signal=TERM", job)
    site.wait_job(job, "COMPLETED", timeout_s=30)
    assert site.exit_codes(job) == ["0:0"]
    assert site.markers("processing") == []
    [left] = [path for path in site.markers("deferred") if "study" in path.name]
    # Due now, by the same clock as that of everybody here.
    assert left.stat().st_mtime <= time.time()
    make_contact(site)
    compare(site, studies)


def test_the_shipped_files_keep_processors_alive_while_anything_waits(site: LabSite) -> None:
    folder = deployed(site)
    site.rule("all")
    make_contact(site)
    site.slurm("sbatch", "--test-only", folder / "processors.sbatch")
    keep = [folder / "keep-processors", "3", f"--chdir={site.root}", "--time=10"]
    site.slurm(*keep)
    wait_until(lambda: names_of_jobs(site, "RUNNING") == ["autorthanc-1"], 30, f"one stays: {site.logs()}")
    site.run_on(site.lab.a, "pause")
    studies = upload(site, 6)
    wait_until(lambda: len(site.markers("incoming")) >= len(studies), 60, "the markers are there")
    site.slurm(*keep)
    site.slurm(*keep)
    three = ["autorthanc-1", "autorthanc-2", "autorthanc-3"]
    wait_until(lambda: names_of_jobs(site, "RUNNING") == three, 30, f"three work: {site.logs()}")
    assert names_of_jobs(site, "PENDING") == []
    site.run_on(site.lab.a, "resume")
    wait_until(lambda: set(site.states()) == {"done"}, 120, f"all is done: {site.states()}")
    compare(site, studies)


def test_a_second_job_of_one_name_waits_for_the_first(site: LabSite) -> None:
    folder = deployed(site)
    site.rule("all")
    make_contact(site)
    for _ in range(2):
        site.slurm("sbatch", f"--chdir={site.root}", "--time=10", "--array=1-2", folder / "processors.sbatch")
    wait_until(lambda: names_of_jobs(site, "RUNNING"), 30, "the first array runs")
    assert len(names_of_jobs(site, "RUNNING", "PENDING")) >= 3
    assert len(set(re.findall(r"\S+", site.slurm("squeue", "--noheader", "--format=%F", "--states=RUNNING")))) == 1


def test_slurm_takes_the_options_of_the_scrontab(site: LabSite) -> None:
    folder = deployed(site)
    lines = (folder / "scrontab").read_text().splitlines()
    options = [line.removeprefix("#SCRON ") for line in lines if line.startswith("#SCRON ")]
    site.slurm("sbatch", "--test-only", *options, "--wrap=true")
    if site.lab.a.has("scrontab"):
        site.slurm("scrontab", folder / "scrontab")
        site.slurm("scrontab", "-r")
