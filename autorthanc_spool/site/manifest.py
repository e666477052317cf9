"""Which files of a site this program laid out, and what they held: so an upgrade knows what the site changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from autorthanc_spool import __version__
from autorthanc_spool.core.errors import UsageError
from autorthanc_spool.disk import durable

NAME = ".autorthanc-spool.json"
FORMAT = 1

Checksums = Mapping[Path, str]


def checksum(data: bytes) -> str:
    """Return digits that tell contents apart."""
    return hashlib.sha256(data).hexdigest()


def read(directory: Path) -> dict[Path, str]:
    """Give the checksums by path; none for a site that was laid out before there was this file."""
    path = directory / NAME
    try:
        files = json.loads(path.read_bytes())["files"]
        return {_inside(name): str(digest) for name, digest in files.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UsageError(
            f"{path} can't be understood; it lists what this program laid out. Restore it, or move it away: then "
            "whatever differs counts as changed by you, and stays"
        ) from None


def write(directory: Path, files: Checksums) -> None:
    """Note what lies in the site as this program laid it out."""
    names = {str(path): files[path] for path in sorted(files)}
    content = {"format": FORMAT, "note": "what `init` laid out here", "version": __version__, "files": names}
    durable.write(directory / NAME, json.dumps(content, indent=1).encode() + b"\n", directory, mode=0o644)


def _inside(name: str) -> Path:
    # What is named here may be removed.
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise ValueError
    return Path(path)
