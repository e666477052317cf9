"""The pseudonym key: 32 random bytes that every pseudonym, new UID and shift of dates comes from.

The key file holds 64 hexadecimal digits and a line feed, and only its owner may read it. Records carry the key's id.
A new key would give every patient a new pseudonym, so one is made only where no record names a key yet.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import stat
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from autorthanc_spool.core.errors import KeyUnavailable
from autorthanc_spool.disk import durable

KEY_BYTES = 32

# Enough to tell keys apart; says nothing about the key.
KEY_ID_DIGITS = 16

_FILE = re.compile(rb"\s*([0-9a-f]{64})\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Key:
    """The key; it doesn't show in logs, tracebacks and representations. Its id may be recorded."""

    secret: bytes = field(repr=False)
    id: str = field(init=False)

    def __post_init__(self) -> None:
        if len(self.secret) != KEY_BYTES:
            raise ValueError(f"a pseudonym key has {KEY_BYTES} bytes")
        digest = hmac.new(self.secret, b"key id", hashlib.sha256).hexdigest()
        object.__setattr__(self, "id", digest[:KEY_ID_DIGITS])


def open_key(path: Path, recorded: Collection[str]) -> Key:
    """Read the key, or make it when `recorded`, the key ids that records name, is empty.

    Raises KeyUnavailable when the key is missing, isn't the recorded one, or others may read it.
    """
    return find_key(path, recorded) or _make(path)


def find_key(path: Path, recorded: Collection[str]) -> Key | None:
    """Read the key; None where it is missing and `recorded` is empty, so that the first one is still to be made.

    Raises KeyUnavailable as `open_key` does.
    """
    try:
        key = _read(path)
    except FileNotFoundError:
        if recorded:
            raise KeyUnavailable(
                f"the pseudonym key {path} is missing, and earlier outputs were made with it; "
                f"restore it from your backup (key id {_listed(recorded)})"
            ) from None
        return None
    if recorded and key.id not in recorded:
        raise KeyUnavailable(
            f"{path} holds another pseudonym key (key id {key.id}) than earlier outputs were made with "
            f"(key id {_listed(recorded)}); restore it from your backup"
        )
    return key


def _listed(ids: Collection[str]) -> str:
    return ", ".join(sorted(ids))


def _read(path: Path) -> Key:
    try:
        status, data = durable.read_beginning(path, 1024)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise KeyUnavailable(
            f"the pseudonym key {path} can't be read: {error.strerror}; fix its owner, mode, folder or disk"
        ) from None
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise KeyUnavailable(f"other users may read or change the pseudonym key {path}; run: chmod 600 {path}")
    found = _FILE.fullmatch(data)
    if found is None:
        raise KeyUnavailable(f"{path} holds no pseudonym key (64 hexadecimal digits); restore it from your backup")
    return Key(bytes.fromhex(found[1].decode()))


def _make(path: Path) -> Key:
    key = Key(os.urandom(KEY_BYTES))
    temporary = path.with_name(durable.own_name(path.name))
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)
        durable.create(temporary, key.secret.hex().encode() + b"\n", mode=0o600)
        durable.move(temporary, path)
    except FileExistsError:
        # Another process made it in the meantime; its key is the key.
        temporary.unlink()
        return _read(path)
    except OSError as error:
        raise KeyUnavailable(f"the pseudonym key {path} can't be made: {error.strerror}") from None
    return key
