"""What an error of the operating system means: the one table of it.

Local disks and file systems of several machines (NFS, GlusterFS, CephFS, Lustre, BeeGFS, CIFS) say the same with
other numbers. What isn't listed is a mistake of ours. ENXIO isn't: opening a socket that a person has put somewhere
says so, too.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType


class Meaning(Enum):
    """What is to be done about it."""

    GONE = "another machine removed or replaced what was open: look again"
    AWAY = "the disk or the share can't be reached: wait until it is back"
    REFUSED = "it is full, read-only, missing or forbidden: wait until somebody has changed that"


_TABLE: Mapping[int, tuple[Meaning, str]] = MappingProxyType(
    {
        errno.ENOSPC: (Meaning.REFUSED, "the disk is full; free some space"),
        errno.EDQUOT: (Meaning.REFUSED, "the quota is used up; free some space or raise it"),
        errno.EROFS: (Meaning.REFUSED, "it is mounted read-only; mount it writable"),
        errno.EACCES: (Meaning.REFUSED, "permission is denied; fix its owner or mode, or UID and GID"),
        errno.EPERM: (Meaning.REFUSED, "the operation isn't permitted; fix its owner or mode, or UID and GID"),
        errno.ENOENT: (Meaning.REFUSED, "it is missing; mount or create it"),
        errno.ENOTDIR: (Meaning.REFUSED, "it is not a directory; move away what is there"),
        errno.EMFILE: (Meaning.REFUSED, "too many files are open"),
        errno.ENFILE: (Meaning.REFUSED, "too many files are open on this machine"),
        errno.ESTALE: (Meaning.GONE, "what was open on the network share is gone there"),
        errno.EIO: (Meaning.AWAY, "the disk or the network share reports an error"),
        errno.ENODEV: (Meaning.AWAY, "the disk or the network share isn't there"),
        errno.ENOTCONN: (Meaning.AWAY, "the network share isn't connected"),
        errno.EBADFD: (Meaning.AWAY, "the network share was disconnected"),
        errno.EREMOTEIO: (Meaning.AWAY, "the network share reports an error"),
        errno.ECOMM: (Meaning.AWAY, "the network share's server can't be reached"),
        errno.ESHUTDOWN: (Meaning.AWAY, "the network share was disconnected"),
        errno.ECONNABORTED: (Meaning.AWAY, "the network share was disconnected"),
        errno.ECONNREFUSED: (Meaning.AWAY, "the network share's server refuses the connection"),
        errno.ECONNRESET: (Meaning.AWAY, "the network share was disconnected"),
        errno.ENETUNREACH: (Meaning.AWAY, "the network share's server can't be reached"),
        errno.EHOSTUNREACH: (Meaning.AWAY, "the network share's server can't be reached"),
        errno.EHOSTDOWN: (Meaning.AWAY, "the network share's server is down"),
        errno.ETIMEDOUT: (Meaning.AWAY, "the network share doesn't answer"),
        errno.ENOLCK: (Meaning.AWAY, "the network share gives no locks; is its lock service running?"),
    }
)


def meaning(number: int | None) -> Meaning | None:
    """Say what an errno means; None for one that is a mistake of ours."""
    return _TABLE[number][0] if number is not None and number in _TABLE else None


def sentence(number: int | None) -> str | None:
    """Say it for people: what is wrong, and how to fix it."""
    return _TABLE[number][1] if number is not None and number in _TABLE else None
