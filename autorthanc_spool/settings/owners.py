"""Whom new files are given to: the output to one group, the spool and what else is private to another."""

from __future__ import annotations

import os

from autorthanc_spool.settings.reader import Settings

# User and group, as chown takes them: -1 leaves the user as it is. None leaves both.
Owner = tuple[int, int] | None


def of_output(settings: Settings) -> Owner:
    """Whom what is published is given to."""
    return _owner(settings, settings.gid)


def of_spool(settings: Settings) -> Owner:
    """Whom the spool and the audit log are given to."""
    return _owner(settings, settings.spool_gid)


def _owner(settings: Settings, gid: int) -> Owner:
    if os.geteuid() == 0:
        return settings.uid, gid
    # Only root gives a file to another user, but anybody to another group of his own. With one group for all it stays
    # as it comes: `GID` may be the default, and a group that nobody meant.
    return (-1, gid) if settings.gid != settings.spool_gid else None
