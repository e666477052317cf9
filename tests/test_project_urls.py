"""The addresses in the metadata of a wheel."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def urls(folder: Path, home: str) -> dict[str, str]:
    environment = {**os.environ, "PROJECT_URL": home}
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, env=environment, capture_output=True, check=True)
    (wheel,) = folder.glob("*.whl")
    archive = zipfile.ZipFile(wheel)
    (name,) = (one for one in archive.namelist() if one.endswith("dist-info/METADATA"))
    lines = [line for line in archive.read(name).decode().splitlines() if line.startswith("Project-URL: ")]
    return dict(line.removeprefix("Project-URL: ").split(", ") for line in lines)


def test_a_wheel_has_the_addresses_of_the_place_that_builds_it(tmp_path: Path) -> None:
    found = urls(tmp_path, "https://forge.example/lab/spool/")
    assert found == {
        "Source": "https://forge.example/lab/spool",
        "Documentation": "https://forge.example/lab/spool/tree/main/docs",
        "Changelog": "https://forge.example/lab/spool/blob/main/CHANGELOG.md",
        "Issues": "https://forge.example/lab/spool/issues",
    }
    # What is named within the project is there.
    assert (ROOT / "docs").is_dir()
    assert (ROOT / "CHANGELOG.md").is_file()


def test_a_wheel_that_somebody_builds_anywhere_has_none(tmp_path: Path) -> None:
    assert urls(tmp_path, "") == {}
