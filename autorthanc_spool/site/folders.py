"""Whether the folders that the settings name can be worked in. Whatever is in the way is a sentence."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from autorthanc_spool.disk import mounts
from autorthanc_spool.settings import Settings


@dataclass(frozen=True)
class Need:
    """What is done in a folder; one that is written to may be missing, because it is made then."""

    variable: str
    path: Path
    is_written: bool


def problems(settings: Settings) -> Iterator[str]:
    """Give a sentence for each folder that this user can't work in. Nothing is made or changed."""
    for need in (
        Need("ORTHANC_AUTOMATION_JSON_SCRIPTS_PATH", settings.rules_path, is_written=False),
        Need("ORTHANC_AUTOMATION_STORAGE_PATH", settings.output_path, is_written=True),
        Need("AUTORTHANC_SPOOL_PATH", settings.spool_path, is_written=True),
    ):
        yield from problems_of(need)
    yield from _groups(settings)


def problems_of(need: Need) -> Iterator[str]:
    """Look at one folder as this user."""
    named = f"{need.variable} is {need.path}"
    if not mounts.answers(need.path):
        yield f"{need.variable}: {mounts.unanswered(need.path)}"
        return
    try:
        status = need.path.stat()
    except (FileNotFoundError, NotADirectoryError):
        yield from _missing(need, named)
        return
    except OSError as error:
        yield f"{named}, which can't be looked at ({error.strerror}); open the folders above it to this user."
        return
    if not need.path.is_dir():
        yield no_folder(named)
    elif need.is_written and _is_read_only(need.path):
        yield f"{named}, which is mounted read-only; mount it writable."
    elif not os.access(need.path, os.R_OK | os.X_OK | (os.W_OK if need.is_written else 0)):
        yield denied(named, str(need.path), status, need.is_written, (os.geteuid(), os.getegid()))


def _groups(settings: Settings) -> Iterator[str]:
    """Check whether the output can be given to one group, and the spool is kept from it by another."""
    if settings.gid == settings.spool_gid:
        return
    for variable, gid in (("GID", settings.gid), ("AUTORTHANC_SPOOL_GID", settings.spool_gid)):
        if os.geteuid() != 0 and gid not in (os.getegid(), *os.getgroups()):
            yield (
                f"{variable} is {gid}, a group that this user isn't in, so nothing can be given to it; add the user "
                f"to it (sudo usermod --append --groups {gid} USER, then log in again), or name another group."
            )
    spool = settings.spool_path
    if spool.is_dir() and (found := spool.stat().st_gid) != settings.spool_gid:
        yield (
            f"AUTORTHANC_SPOOL_GID is {settings.spool_gid}, and the spool {spool} belongs to group {found}, which sees "
            f"what lies there; give it to the other one: sudo chgrp -R {settings.spool_gid} {spool}"
        )


def no_folder(named: str) -> str:
    """Say that something else is in a folder's place; `named` is `VARIABLE is PATH`."""
    return f"{named}, which is not a folder; name a folder, or move the file away."


def denied(named: str, path: str, status: os.stat_result, is_written: bool, who: tuple[int, int]) -> str:
    """Say whose folder it is, and how it is opened to `who` (user and group); `path` is as a shell takes it."""
    user, group = who
    return (
        f"{named}; that folder belongs to user {status.st_uid} and group {status.st_gid} with permissions "
        f"{status.st_mode & 0o7777:o}, so user {user} and group {group} can't {'write' if is_written else 'read'} "
        f"there. Name another folder, set UID and GID in .env to numbers that can (or run as such a user), or give it "
        f"away: sudo chown {user}:{group} {path}"
    )


def _is_read_only(folder: Path) -> bool:
    return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)


def _missing(need: Need, named: str) -> Iterator[str]:
    if not need.is_written:
        yield f"{named}, which doesn't exist; make it (mkdir -p {need.path}) and put a rule into it, or mount it."
        return
    above = next(path for path in need.path.parents if path.exists())
    if not above.is_dir():
        yield f"{named}, and {above} on the way there is not a folder; name another folder, or move the file away."
    elif _is_read_only(above):
        yield f"{named}, which doesn't exist, and {above} is mounted read-only; mount it writable."
    elif not os.access(above, os.W_OK | os.X_OK):
        yield (
            f"{named}, which doesn't exist, and this user may not make it in {above}; make it: "
            f"sudo install -d -o {os.geteuid()} -g {os.getegid()} {need.path}"
        )
