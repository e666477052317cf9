"""`demo`: what a newcomer sees first, with real Orthanc, a real processor, and a real C-STORE."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from autorthanc_spool.demo import study as demo_study

# It shall be over within a minute on a slow machine.
DEADLINE_S = 60
IMAGES = 9


def start(folder: Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "autorthanc_spool", "demo", *options],
        cwd=folder,
        env=os.environ | {"TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def started(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A demonstration in an empty folder, which is ended by all means."""
    with start(tmp_path) as process:
        yield process
        process.kill()


def result_of(process: subprocess.Popen[str]) -> tuple[str, str]:
    return process.communicate(timeout=DEADLINE_S)


def test_the_demonstration_publishes_says_so_and_cleans_up(started: subprocess.Popen[str], tmp_path: Path) -> None:
    output, errors = result_of(started)
    assert (started.returncode, errors) == (0, "")
    assert output.count(".dcm ") == IMAGES
    steps = ["C-STORE", "spool/incoming/", ".WORKING", "published, by one rename", "spool/done/"]
    assert [step for step in steps if step not in output] == []
    assert "\x1b" not in output
    last_part = output.rpartition("What was done")[2]
    record, _ = json.JSONDecoder().raw_decode(last_part[last_part.index("{") :])
    assert record["outcomes"]["brain"]["instances"] == IMAGES
    assert list(tmp_path.iterdir()) == []


def test_the_site_is_kept_when_asked(tmp_path: Path) -> None:
    with start(tmp_path, "--keep") as process:
        output, _ = result_of(process)
    (folder,) = tmp_path.iterdir()
    assert process.returncode == 0
    assert f"Everything is left in {folder}" in output
    assert len(list(folder.glob("output/*/DEMO-0001-Phantom-1/SE*/*.dcm"))) == IMAGES


def test_a_failure_shows_the_logs_and_cleans_up(started: subprocess.Popen[str], tmp_path: Path) -> None:
    assert started.stdout is not None
    assert any("Orthanc answers" in line for line in started.stdout)
    children = Path(f"/proc/{started.pid}/task/{started.pid}/children").read_text().split()
    orthanc = [number for number in children if b"Orthanc" in Path(f"/proc/{number}/cmdline").read_bytes()]
    os.kill(int(orthanc[0]), signal.SIGKILL)
    _, errors = result_of(started)
    assert started.returncode == 1
    assert "The demonstration failed: " in errors
    assert "orthanc   | " in errors
    assert "--keep" in errors
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_ends_it_and_cleans_up(started: subprocess.Popen[str], tmp_path: Path) -> None:
    assert started.stdout is not None
    assert any("Orthanc answers" in line for line in started.stdout)
    started.send_signal(signal.SIGINT)
    result_of(started)
    assert started.returncode != 0
    assert list(tmp_path.iterdir()) == []


def test_the_study_is_one_synthetic_patient_with_several_series() -> None:
    study = demo_study.make()
    assert len(study) == IMAGES
    assert {str(one.PatientName) for one in study} == {demo_study.PATIENT_NAME}
    assert len({one.StudyInstanceUID for one in study}) == 1
    assert len({one.SeriesInstanceUID for one in study}) == 3
    assert len({one.SOPInstanceUID for one in study}) == IMAGES
