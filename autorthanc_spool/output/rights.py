"""Whom what is published belongs to, and what others may do with it; shares may keep neither.

FAT and CIFS take owner and permissions from how they are mounted, and NFS with root_squash refuses to give anything
away. What is published there is published all the same; that the share ignores something is said once.
"""

from __future__ import annotations

import errno
import logging
import os
import stat

log = logging.getLogger(__name__)

OWNERS, PERMISSIONS = "owners", "permissions"

Owner = tuple[int, int] | None

# What file systems answer that keep no owners or permissions, or don't let us set them.
_REFUSED = {errno.EPERM, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}


class Rights:
    """Owner and umask of what is made below one root; `place` is the root."""

    def __init__(self, owner: Owner, umask: int, place: str) -> None:
        self._owner = owner
        self._umask = umask
        self._place = place
        self._said: set[str] = set()
        self._has_looked = False

    def mode(self, mode: int) -> int:
        """What is left of a mode."""
        return mode & ~self._umask

    def give(self, descriptor: int, mode: int) -> None:
        """Set mode and owner of something new. Raises OSError where it is our own user that may not do so."""
        refused = self._try(descriptor, mode)
        if not self._has_looked:
            self._has_looked = True
            # Some take them without a word, and keep their own.
            refused |= self._differing(descriptor, mode)
        for what in sorted(refused - self._said):
            self._said.add(what)
            log.warning("%s", sentence(self._place, what, os.fstat(descriptor)))

    def tried(self, descriptor: int, mode: int) -> list[str]:
        """Set them, and return what the file system ignores: ``owners``, ``permissions``."""
        return sorted(self._try(descriptor, mode) | self._differing(descriptor, mode))

    def _try(self, descriptor: int, mode: int) -> set[str]:
        refused = set()
        try:
            os.fchmod(descriptor, self.mode(mode))
        except OSError as error:
            if error.errno not in _REFUSED:
                raise
            refused.add(PERMISSIONS)
        try:
            if self._owner:
                os.fchown(descriptor, *self._owner)
        except OSError as error:
            if error.errno not in _REFUSED or not self._may_give():
                raise
            refused.add(OWNERS)
        return refused

    def _differing(self, descriptor: int, mode: int) -> set[str]:
        status = os.fstat(descriptor)
        found = {PERMISSIONS} if stat.S_IMODE(status.st_mode) & 0o777 != self.mode(mode) else set()
        user, group = self._owner or (-1, -1)
        is_ours = user in (-1, status.st_uid) and group in (-1, status.st_gid)
        return found if is_ours else {*found, OWNERS}

    def _may_give(self) -> bool:
        """Whether this user may give a file to the owner on a file system that keeps owners."""
        return os.geteuid() == 0 or (self._owner or (-1, -1))[1] in (os.getegid(), *os.getgroups())


def sentence(place: str, what: str, status: os.stat_result) -> str:
    """Say what a share ignores, and what holds there instead."""
    if what == OWNERS:
        instead = f"belongs to user {status.st_uid} and group {status.st_gid}"
    else:
        instead = f"has permissions {stat.S_IMODE(status.st_mode):03o}"
    return f"{place} ignores our {what}: what is published there {instead}, as the share dictates"
