"""The DICOM files that pydicom's own package holds, and what dciodvfy says of a file; nothing is fetched."""

import subprocess
from pathlib import Path

import pydicom

FOLDER = Path(pydicom.__file__).parent / "data" / "test_files"


def path(name: str) -> Path:
    return FOLDER / name


def names() -> list[str]:
    return sorted(found.name for found in FOLDER.glob("*.dcm"))


def errors_of(data: bytes, folder: Path) -> set[str]:
    """The lines of errors that dciodvfy prints about a file."""
    path = folder / "file.dcm"
    path.write_bytes(data)
    done = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, errors="replace", check=False)
    lines = (done.stdout + done.stderr).splitlines()
    assert lines, "dciodvfy says nothing at all"
    return {line for line in lines if line.startswith("Error")}
