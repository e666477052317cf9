"""The key of the audit log: 32 random bytes, made at first use, which the hashes of StudyInstanceUIDs are made with.

The file holds 64 hexadecimal digits and a line feed, and only its owner may read it. Where it is lost, another is made:
what leaves is accounted for all the same, only the lines of before can no longer be found by a UID.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from autorthanc_spool.core.errors import AuditUnavailable
from autorthanc_spool.disk import durable

KEY_BYTES = 32

_FILE = re.compile(rb"\s*([0-9a-f]{64})\s*", re.IGNORECASE)


def read_or_make(path: Path, owner: tuple[int, int] | None) -> bytes:
    """Give the key. Raises AuditUnavailable when it can't be read or made, or others may read it."""
    key = read(path)
    return _make(path, owner) if key is None else key


def read(path: Path) -> bytes | None:
    """Give the key, None where there is none. Raises AuditUnavailable."""
    try:
        status, data = durable.read_beginning(path, 1024)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unavailable(path, f"can't be read ({error.strerror})", "give it to the processor's user") from None
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise _unavailable(path, "may be read or changed by other users", f"chmod 600 {path}")
    found = _FILE.fullmatch(data)
    if found is None:
        raise _unavailable(path, "holds no key (64 hexadecimal digits)", "restore it from a backup, or move it away")
    return bytes.fromhex(found[1].decode())


def _make(path: Path, owner: tuple[int, int] | None) -> bytes:
    key = os.urandom(KEY_BYTES)
    temporary = path.with_name(durable.own_name(path.name))
    try:
        _make_folder(path.parent, owner)
        temporary.unlink(missing_ok=True)
        durable.create(temporary, key.hex().encode() + b"\n", mode=0o600)
        if owner:
            os.chown(temporary, *owner)
        durable.move(temporary, path)
    except FileExistsError:
        # Another process made it in the meantime; its key is the key.
        temporary.unlink()
        return read_or_make(path, owner)
    except OSError as error:
        raise _unavailable(path, f"can't be made ({error.strerror})", "let the processor's user write there") from None
    return key


def _make_folder(folder: Path, owner: tuple[int, int] | None) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        return
    if owner:
        os.chown(folder, *owner)


def _unavailable(path: Path, what: str, fix: str) -> AuditUnavailable:
    return AuditUnavailable(
        f"the audit log's key {path} {what}, so nothing is exported; {fix} (AUTORTHANC_AUDIT_KEY_FILE)"
    )
