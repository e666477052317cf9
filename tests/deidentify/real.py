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


# What is wrong with those that aren't taken.
REFUSED = {
    "JPEGLSNearLossless_08.dcm": "no StudyInstanceUID",
    "JPEGLSNearLossless_16.dcm": "no StudyInstanceUID",
    "MR_truncated.dcm": "only 8130 follow",
    "SC_rgb_jls_lossy_line.dcm": "no StudyInstanceUID",
    "SC_rgb_jls_lossy_sample.dcm": "no StudyInstanceUID",
    "SC_rgb_jpeg.dcm": "no known value representation",
    "UN_sequence.dcm": "no SOPClassUID",
    "badVR.dcm": "NumberOfFrames is not a number",
    "empty_charset_LEI.dcm": "no SOPClassUID",
    "meta_missing_tsyntax.dcm": "names no transfer syntax",
    "nested_priv_SQ.dcm": "no SOPClassUID",
    "no_meta.dcm": "no preamble",
    "no_meta_group_length.dcm": "no SOPClassUID",
    "priv_SQ.dcm": "no SOPClassUID",
    "rtplan_truncated.dcm": "only 711 follow",
}
TAKEN = [name for name in names() if name not in REFUSED]
