"""The installed package as a wheel again, so that a site's image is made of the version that laid the site out.

Python doesn't find code in a wheel that lies beside a `.env`: it has to be installed. The same version gives the same
bytes.
Format: https://packaging.python.org/en/latest/specifications/binary-distribution-format/
"""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from autorthanc_spool import __version__
from autorthanc_spool.core.errors import SpoolError

PROJECT = "autorthanc-spool"
NAME = f"autorthanc_spool-{__version__}-py3-none-any.whl"

_DIST_INFO = f"autorthanc_spool-{__version__}.dist-info"
_DATA = f"autorthanc_spool-{__version__}.data/data"
_OF_DIST_INFO = ("METADATA", "WHEEL", "entry_points.txt")


def wheel(package: Path, shipped: Mapping[Path, bytes]) -> bytes:
    """Pack the package's folder and what it ships for a site. Raises SpoolError for a damaged installation."""
    files = {f"{package.name}/share/site/{path}": data for path, data in shipped.items()}
    files |= {f"{package.name}/{path.relative_to(package)}": path.read_bytes() for path in _modules(package)}
    # pip lays it where `man` finds it.
    files |= {f"{_DATA}/share/man/man1/{page.name}": page.read_bytes() for page in (package / "man").glob("*.1")}
    files |= {f"{_DIST_INFO}/{name}": text.encode() for name, text in _descriptions().items()}
    files[f"{_DIST_INFO}/licenses/LICENSE"] = shipped[Path("LICENSE")]
    record = f"{_DIST_INFO}/RECORD"
    files[record] = "".join([*map(_recorded, files, files.values()), f"{record},,\n"]).encode()
    return _packed(files)


def _modules(package: Path) -> list[Path]:
    found = (path for path in package.rglob("*") if path.is_file())
    return [path for path in found if not {"__pycache__", "share"} & set(path.relative_to(package).parts)]


def _descriptions() -> dict[str, str]:
    try:
        installed = metadata.distribution(PROJECT)
    except metadata.PackageNotFoundError:
        raise _damaged("it isn't installed") from None
    if installed.version != __version__:
        raise _damaged(f"it is described as version {installed.version}, and its code is {__version__}")
    texts = {name: installed.read_text(name) for name in _OF_DIST_INFO}
    if missing := [name for name, text in texts.items() if text is None]:
        raise _damaged(f"its description lacks {', '.join(missing)}")
    return {name: text for name, text in texts.items() if text is not None}


def _damaged(why: str) -> SpoolError:
    return SpoolError(f"{PROJECT} can't be packed for the site's image: {why}; install it again with pip")


def _recorded(name: str, data: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return f"{name},sha256={digest},{len(data)}\n"


def _packed(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    # Without compression, whose result differs between builds of Python.
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name)
            entry.create_system = 3  # Unix, whose permissions follow
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, files[name])
    return buffer.getvalue()
