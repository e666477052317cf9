"""The DICOM files that pydicom's own package holds; nothing is fetched."""

from pathlib import Path

import pydicom

FOLDER = Path(pydicom.__file__).parent / "data" / "test_files"


def path(name: str) -> Path:
    return FOLDER / name


def names() -> list[str]:
    return sorted(found.name for found in FOLDER.glob("*.dcm"))
