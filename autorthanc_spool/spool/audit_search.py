"""Finding the lines of a study in the audit log, also in the files that were rotated away."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, cast

from autorthanc_spool.spool.audit import KEYED, PLAIN, keyed_hash


def files_of(log: Path) -> list[Path]:
    """Give the log and what logrotate made of it, the oldest first."""
    found = [path for path in log.parent.glob(f"{log.name}*") if path.is_file()]
    return sorted(found, key=lambda path: path.stat().st_mtime)


def lines(files: Sequence[Path], StudyInstanceUID: str, key: bytes | None) -> Iterator[str]:
    """Give the lines of a study as they are. Without a key, those with the plain hash of earlier versions."""
    plain = hashlib.sha256(StudyInstanceUID.encode()).hexdigest()
    wanted = {(PLAIN, plain)} | ({(KEYED, keyed_hash(plain, key))} if key else set())
    for path in files:
        with _opened(path) as stream:
            for data in stream:
                content = _parsed(data)
                if any(content.get(name) == digest for name, digest in wanted):
                    yield data.decode(errors="replace").rstrip("\n")


def _opened(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path)) if path.suffix == ".gz" else path.open("rb")


def _parsed(data: bytes) -> dict[str, object]:
    # A full disk may have cut a line short.
    try:
        content = json.loads(data)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}
