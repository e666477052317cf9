"""How much the spool holds, and how much room is left."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Heap:
    """The files below one folder."""

    files: int
    size_bytes: int


@dataclass(frozen=True)
class Usage:
    """What `status` tells about room. Free bytes are None where the folder isn't there."""

    done: Heap
    ledger: Heap
    tmp: Heap
    spool_free_bytes: int | None
    output_free_bytes: int | None


def usage(spool: Path, output: Path) -> Usage:
    """Look through the spool."""
    return Usage(
        done=_heap(spool / "done"),
        ledger=_heap(spool / "ledger"),
        tmp=_heap(spool / "tmp"),
        spool_free_bytes=free_bytes(spool),
        output_free_bytes=free_bytes(output),
    )


def free_bytes(folder: Path) -> int | None:
    """Tell how much may still be written there; None when the folder isn't there."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


def _heap(folder: Path) -> Heap:
    sizes = list(_sizes(folder))
    return Heap(len(sizes), sum(sizes))


def _sizes(folder: Path) -> Iterator[int]:
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _sizes(Path(entry.path))
            else:
                with suppress(FileNotFoundError):
                    yield entry.stat(follow_symlinks=False).st_size
