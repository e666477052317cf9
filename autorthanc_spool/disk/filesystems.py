"""On which kind of file system a folder lies, and how that was mounted: what /proc/self/mountinfo says."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_MOUNTS = Path("/proc/self/mountinfo")
# Blanks and backslashes in a path are written as octal numbers: proc_pid_mountinfo(5).
_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True)
class FileSystem:
    """One mount: the name of its kind (`nfs4`), and the options of the mount and of the file system together."""

    name: str
    options: frozenset[str]


def of(folder: Path) -> FileSystem:
    """Find the mount that a folder lies on. Raises OSError where /proc isn't there."""
    return find(folder.resolve(), _MOUNTS.read_text(errors="replace").splitlines())


def find(folder: Path, lines: Iterable[str]) -> FileSystem:
    """Find the mount of a folder among the lines of mountinfo; the last one of the longest path is on top."""
    best, found = -1, FileSystem("unknown", frozenset())
    for line in lines:
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if len(fields) < 6 or len(kind) < 3:
            continue
        point = _OCTAL.sub(lambda match: chr(int(match[1], 8)), fields[4])
        if folder.is_relative_to(point) and len(os.fsencode(point)) >= best:
            best = len(os.fsencode(point))
            found = FileSystem(kind[0], frozenset(fields[5].split(",")) | frozenset(kind[2].split(",")))
    return found
