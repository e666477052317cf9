"""How much the spool holds, and how much room is left.

A million files can't be looked at while somebody waits. What isn't looked at within a moment is estimated: the number
of files by the size of the folder that names them, their size by that of some of them.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from autorthanc_spool.disk.mounts import answers

# For so long each heap is looked through.
LOOKING_S = 0.1
# So many files of a folder are asked for their size.
SAMPLE = 500


@dataclass(frozen=True)
class Heap:
    """The files below one folder."""

    files: int
    size_bytes: int


@dataclass(frozen=True)
class Usage:
    """What `status` says about room. Free bytes are None where the folder isn't there."""

    done: Heap
    ledger: Heap
    tmp: Heap
    spool_free_bytes: int | None
    output_free_bytes: int | None
    delivered_free_bytes: Mapping[str, int | None]


def usage(spool: Path, output: Path, delivered: Iterable[str] = ()) -> Usage:
    """Look through the spool, and at the room in the output and in what rules deliver to."""
    return Usage(
        done=_heap(spool / "done"),
        ledger=_heap(spool / "ledger"),
        tmp=_heap(spool / "tmp"),
        spool_free_bytes=free_bytes(spool),
        output_free_bytes=free_bytes(output),
        delivered_free_bytes={root: free_bytes(Path(root)) for root in delivered},
    )


def free_bytes(folder: Path) -> int | None:
    """Return how much may still be written there; None when the folder isn't there, or its share doesn't answer."""
    try:
        return shutil.disk_usage(folder).free if answers(folder) else None
    except OSError:
        return None


def _heap(folder: Path) -> Heap:
    enough_s = time.monotonic() + LOOKING_S
    # Of the folders that were looked into, and of the others, how large they are themselves.
    known_bytes = unknown_bytes = files = size_bytes = 0
    for place in (folder, *_folders(folder)):
        with suppress(FileNotFoundError):
            own_bytes = place.stat().st_size
            if known_bytes and time.monotonic() > enough_s:
                unknown_bytes += own_bytes
                continue
            found = _files(place)
            # The folder itself holds folders, and says nothing of how large one with files is.
            known_bytes += own_bytes if place != folder or found.files else 0
            files, size_bytes = files + found.files, size_bytes + found.size_bytes
    scale = 1 + unknown_bytes / known_bytes if known_bytes else 1
    return Heap(round(files * scale), round(size_bytes * scale))


def _folders(folder: Path) -> Iterator[Path]:
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield Path(entry.path)


def _files(folder: Path) -> Heap:
    with os.scandir(folder) as entries:
        first = islice((entry for entry in entries if not entry.is_dir(follow_symlinks=False)), SAMPLE)
        sizes = [size for entry in first if (size := _size(entry)) is not None]
        files = len(sizes) + sum(not entry.is_dir(follow_symlinks=False) for entry in entries)
    return Heap(files, round(sum(sizes) / len(sizes) * files) if sizes else 0)


def _size(entry: os.DirEntry[str]) -> int | None:
    with suppress(FileNotFoundError):
        return entry.stat(follow_symlinks=False).st_size
    return None
