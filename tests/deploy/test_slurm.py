"""The files for Slurm, as far as they can be read without Slurm; `make cluster-test` submits them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from deploy_tools import CHECKOUT

FOLDER = CHECKOUT / "deploy" / "slurm"
UNIT = CHECKOUT / "deploy" / "systemd" / "autorthanc-spool-processor.service"


@pytest.mark.parametrize("name", ["processors.sbatch", "keep-processors"])
def test_bash_reads_it(name: str) -> None:
    done = subprocess.run(["bash", "-n", FOLDER / name], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_what_scrontab_calls_is_there() -> None:
    lines = (FOLDER / "scrontab").read_text().splitlines()
    [entry] = [line for line in lines if line and not line.startswith("#")]
    program = Path(entry.split()[5])
    assert program.parts[-3:] == ("deploy", "slurm", "keep-processors")
    assert (FOLDER / program.name).stat().st_mode & 0o111


def test_systemd_takes_the_unit_of_the_head_node(tmp_path: Path) -> None:
    name = "autorthanc-spool-processor.service"
    (tmp_path / name).write_text(UNIT.read_text().replace("/opt/autorthanc-spool/bin/autorthanc-spool", "/bin/true"))
    shutil.copytree(FOLDER / f"{name}.d", tmp_path / f"{name}.d")
    command = ["systemd-analyze", "verify", "--man=no", str(tmp_path / name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
