"""What lies in a publication, and whether it still is exactly what was published."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass

from autorthanc_spool.core.pulse import Pulse

CHUNK_BYTES = 1024 * 1024

OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
# Without waiting: somebody may have put a pipe there.
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK


@dataclass(frozen=True)
class Delivered:
    """One file of a publication: its path below the published folder, its size and MD5."""

    path: str
    size_bytes: int
    md5: str


def tree_digest(files: list[Delivered] | tuple[Delivered, ...]) -> str:
    """Digest paths, sizes and contents, to know later whether a folder is still what was published."""
    lines = sorted(f"{file.path}\t{file.size_bytes}\t{file.md5}\n" for file in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def archive_digest(size_bytes: int, md5: str) -> str:
    """Digest size and content of a published archive, which may be called otherwise when it is looked at again."""
    return tree_digest((Delivered("", size_bytes, md5),))


def holds_exactly(name: str, parent: int, tree: str, pulse: Pulse) -> bool:
    """Whether what is at a name in an open directory is, byte for byte, the tree or archive of this digest."""
    files: list[Delivered] = []
    if stat.S_ISREG(os.lstat(name, dir_fd=parent).st_mode):
        found = _measure(name, parent, "", pulse)
        return tree == archive_digest(found.size_bytes, found.md5)
    if not is_directory(name, parent):
        return False
    for folder, folders, names, descriptor in os.fwalk(name, dir_fd=parent, follow_symlinks=False):
        below = folder.removeprefix(name).lstrip("/")
        if any(stat.S_ISLNK(os.lstat(one, dir_fd=descriptor).st_mode) for one in (*folders, *names)):
            return False
        if below and not names and not folders:
            return False
        files += [_measure(one, descriptor, below, pulse) for one in names]
    return tree == tree_digest(files)


def is_directory(name: str, parent: int) -> bool:
    """Whether what is at a name is a directory itself, not a link to one."""
    return stat.S_ISDIR(os.lstat(name, dir_fd=parent).st_mode)


def is_empty_directory(name: str, parent: int) -> bool:
    """Whether it is a directory, and nothing is in it."""
    if not is_directory(name, parent):
        return False
    descriptor = os.open(name, OPEN_DIRECTORY, dir_fd=parent)
    try:
        return not os.listdir(descriptor)  # noqa: PTH208 - there is no path, only an open directory
    finally:
        os.close(descriptor)


def _measure(name: str, directory: int, below: str, pulse: Pulse) -> Delivered:
    digest, size = hashlib.md5(usedforsecurity=False), 0
    with os.fdopen(os.open(name, READ, dir_fd=directory), "rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
            pulse.beat()
    return Delivered(f"{below}/{name}" if below else name, size, digest.hexdigest())
