"""The script that docs/consumers.md shows, run on what is really published."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.helpers import datasets
from tests.helpers.site import Site, stored_files
from tests.helpers.trees import read

DOCS = Path(__file__).parents[2] / "docs" / "consumers.md"


@pytest.fixture
def take_studies(tmp_path: Path) -> Path:
    """The script as it is printed."""
    scripts = re.findall(r"^```sh\n(#!/bin/sh\n.*?)^```$", DOCS.read_text(), re.MULTILINE | re.DOTALL)
    assert len(scripts) == 1
    program = tmp_path / "take-studies"
    program.write_text(scripts[0])
    program.chmod(0o755)
    return program


def publish(site: Site, patient: str, *, first_series: int = 1) -> str:
    files = [datasets.make_instance(patient, "1", first_series, instance) for instance in (1, 2)]
    study = site.orthanc.upload_all(files)
    site.orthanc.wait_stable(f"/studies/{study}")
    site.touch(study)
    site.once()
    return study


def take(program: Path, site: Site, *command: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
    arguments = [program, site.output / "trial", site.root / "inbox", *command]
    done = subprocess.run(arguments, cwd=site.root, capture_output=True, text=True, check=False)
    assert done.returncode == expect, done.stderr
    return done


def test_the_script_takes_each_study_whole_and_leaves_what_is_not_its_own(site: Site, take_studies: Path) -> None:
    site.rule("trial")
    first, second = publish(site, "A"), publish(site, "B")
    for name in ("C-FamilyC-1.WORKING", "MIResearch-PROCESSING", "D.WORKING-8f"):
        (site.output / "trial" / name).mkdir()
    done = take(take_studies, site, "echo")
    inbox = site.root / "inbox"
    assert done.stdout.split() == [str(inbox / "A-FamilyA-1"), str(inbox / "B-FamilyB-1")]
    assert read(inbox / "A-FamilyA-1") == stored_files(site.orthanc, first)
    assert read(inbox / "B-FamilyB-1") == stored_files(site.orthanc, second)
    assert site.published("trial") == ["C-FamilyC-1.WORKING", "D.WORKING-8f", "MIResearch-PROCESSING"]
    assert take(take_studies, site, "echo").stdout == ""


def test_a_study_that_grew_does_not_replace_what_was_taken_before(site: Site, take_studies: Path) -> None:
    site.rule("trial")
    publish(site, "A")
    take(take_studies, site, "true")
    study = publish(site, "A", first_series=2)
    take(take_studies, site, "true")
    names = sorted(path.name for path in (site.root / "inbox").iterdir())
    assert [name.partition(".")[0] for name in names] == ["A-FamilyA-1", "A-FamilyA-1"]
    assert len(read(site.root / "inbox" / names[0])) == 2
    assert read(site.root / "inbox" / names[1]) == stored_files(site.orthanc, study)


def test_a_command_that_fails_on_one_study_does_not_keep_the_others(site: Site, take_studies: Path) -> None:
    site.rule("trial")
    publish(site, "A")
    publish(site, "B")
    done = take(take_studies, site, "sh", "-c", 'case $1 in *A-Family*) exit 3;; esac; echo "$1"', "sh", expect=1)
    assert done.stdout.split() == [str(site.root / "inbox" / "B-FamilyB-1")]
    assert "failed on" in done.stderr


def test_dcm2niix_converts_what_the_script_takes(site: Site, take_studies: Path) -> None:
    site.rule("trial")
    publish(site, "A")
    (site.root / "nifti").mkdir()
    assert shutil.which("dcm2niix"), "dcm2niix isn't installed: `make test` does it"
    take(take_studies, site, "dcm2niix", "-z", "y", "-o", str(site.root / "nifti"))
    assert [*(site.root / "nifti").glob("*.nii.gz")]
