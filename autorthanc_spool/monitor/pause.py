"""The file ``PAUSED`` in the spool: while it is there, empty or with a reason, nothing is claimed; work is finished."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from autorthanc_spool.disk import durable

NAME = "PAUSED"
# A reason is for one line.
LONGEST_REASON = 200


@dataclass(frozen=True)
class Pause:
    """Its reason, which may be empty, and how long it has been there."""

    reason: str
    age_s: float


def read(spool: Path) -> Pause | None:
    """Read it; whatever is at its place counts. None when nothing is."""
    path = spool / NAME
    try:
        since_s = path.lstat().st_mtime
    except FileNotFoundError:
        return None
    reason = ""
    # Opening a pipe would wait for somebody to write into it.
    with suppress(OSError), os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as stream:
        reason = " ".join(stream.read(4 * LONGEST_REASON).decode(errors="replace").split())
    printable = "".join(one if one.isprintable() else "�" for one in reason)
    return Pause(printable[:LONGEST_REASON], max(0.0, time.time() - since_s))


def begin(spool: Path, reason: str) -> None:
    """Make the file, or give it another reason."""
    durable.write(spool / NAME, f"{reason}\n".encode() if reason else b"", spool / "tmp")


def end(spool: Path) -> bool:
    """Remove the file; return whether it was there."""
    path = spool / NAME
    try:
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    except FileNotFoundError:
        return False
    return True
