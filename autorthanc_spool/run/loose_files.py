"""DICOM files that lie in no Orthanc, as the studies that they would be there: for trying rules on them."""

from __future__ import annotations

import os
import stat
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from autorthanc_spool.core.dicom import Level, Resource, Series, orthanc_id
from autorthanc_spool.core.errors import UsageError
from autorthanc_spool.orthanc.answers import instance_order
from autorthanc_spool.orthanc.hidden import text_of
from autorthanc_spool.rules.terms import STUDY_KEYWORDS

_IDENTIFYING = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")


def studies(paths: Iterable[Path], leave_out: Callable[[Path], None]) -> Iterator[Resource]:
    """Give the studies of files and folders, each with its series; `resource_id` is the UID of each.

    The first image of a series speaks for it, as in Orthanc, and the first file, by name, for patient and study.
    What isn't DICOM is left out, and said. Raises UsageError when none of the files is.
    """
    found: dict[str, dict[str, list[Any]]] = {}
    for path in files(paths):
        dataset = _read(path)
        if dataset is None:
            leave_out(path)
        else:
            series = found.setdefault(_uid(dataset, "StudyInstanceUID"), {})
            series.setdefault(_uid(dataset, "SeriesInstanceUID"), []).append(dataset)
    if not found:
        raise UsageError("none of these is a DICOM file; name files, or a folder that holds some")
    for uid, by_series in found.items():
        yield _study(uid, by_series)


def files(paths: Iterable[Path]) -> Iterator[Path]:
    """Give files, and all in folders; what can't be read is among them. Raises UsageError for what isn't there."""
    for path in paths:
        if path.is_dir():
            yield from sorted(_within(path))
        elif path.is_file():
            yield path
        else:
            raise UsageError(f"{path}: there is no such file or folder")


def _within(folder: Path) -> Iterator[Path]:
    unreadable: list[Path] = []
    for where, _, names in os.walk(folder, onerror=lambda error: unreadable.append(Path(error.filename))):
        yield from (path for path in map(Path(where).joinpath, names) if not _is_special(path))
    yield from unreadable


def _is_special(path: Path) -> bool:
    """Whether it is a pipe, a socket or a device, which reading may wait for without end."""
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False


def _read(path: Path) -> Any:
    # Most commands never need it, and it takes long to import.
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    with warnings.catch_warnings():
        # They would show the value.
        warnings.simplefilter("ignore")
        try:
            dataset = dcmread(path, stop_before_pixels=True)
            dataset.decode()
        except (InvalidDicomError, OSError, EOFError, ValueError, AttributeError, LookupError):
            return None
    return dataset


def _uid(dataset: Any, keyword: str) -> str:
    return str(dataset.get(keyword, "")) or "without UID"


def _study(uid: str, by_series: dict[str, list[Any]]) -> Resource:
    first = next(iter(by_series.values()))[0]
    study_tags = {keyword: text_of(first[keyword]) for keyword in sorted(STUDY_KEYWORDS) if keyword in first}
    series = tuple(_series(one, files) for one, files in by_series.items())
    return Resource(Level.STUDY, uid, {}, study_tags, series, (), "", is_stable=True, is_copy=False)


def _series(uid: str, files: list[Any]) -> Series:
    first = min(files, key=_order)
    tags = {f"{element.tag.group:04x},{element.tag.element:04x}": _text(element) for element in first}
    modality = {"Modality": tags["0008,0060"]} if "0008,0060" in tags else {}
    return Series(uid, modality, tags, instances=len(files))


def _order(dataset: Any) -> tuple[int, int, str]:
    parts = (str(dataset.get(name, "")).strip(" \0") for name in _IDENTIFYING)
    return (*instance_order(str(dataset.get("InstanceNumber", ""))), orthanc_id(*parts))


def _text(element: Any) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return text_of(element)
