"""From NAME.WORKING to NAME: the only writer below OUT.

Everything is done relative to an open directory and without following symbolic links, so that nothing that is planted
in ``OUT/RULE`` leads out of it. Everything is written below ``NAME.WORKING``; what is published appears by one
rename, and never replaces anything: what stands in its way is parked under a name that holds ``.WORKING`` first, and
deleted afterwards only when it still is exactly what was published.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from autorthanc_spool.core.errors import OutputConflict, OutputUnavailable
from autorthanc_spool.disk import durable
from autorthanc_spool.disk.writeback import WriteBehind

WORKING = ".WORKING"
CHUNK_BYTES = 1024 * 1024

# 1980-01-01 UTC, the first day that an archive can tell: the time of what is published anonymised.
NO_TIME_S = 315532800

_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_CREATE_FILE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
# Without waiting: somebody may have put a pipe there.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK


@dataclass(frozen=True)
class Delivered:
    """One file of a publication: its path below the published folder, its size and MD5."""

    path: str
    size_bytes: int
    md5: str


def tree_digest(files: list[Delivered] | tuple[Delivered, ...]) -> str:
    """Digest paths, sizes and contents, to tell later whether a folder is still what was published."""
    lines = sorted(f"{file.path}\t{file.size_bytes}\t{file.md5}\n" for file in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def archive_digest(size_bytes: int, md5: str) -> str:
    """Digest size and content of a published archive, which may be called otherwise when it is looked at again."""
    return tree_digest((Delivered("", size_bytes, md5),))


def output_trouble() -> AbstractContextManager[None]:
    """Turn what the operating system says of a full, read-only or missing output into OutputUnavailable."""
    return durable.passing_trouble(OutputUnavailable, "the output")


class Output:
    """The folder that holds one folder per rule."""

    def __init__(self, root: Path, owner: tuple[int, int] | None, umask: int) -> None:
        self.root = root
        self._owner = owner
        self._umask = umask

    def prepare(self, folder: str) -> None:
        """Make the folder of a rule, so that a watcher can start before the first match."""
        with output_trouble(), suppress(FileExistsError):
            path = self.root / folder
            path.mkdir(mode=0o777 & ~self._umask)
            path.chmod(0o777 & ~self._umask)
            if self._owner:
                os.chown(path, *self._owner, follow_symlinks=False)
            durable.sync_directory(self.root)

    def check_room(self, folder: str, needed_bytes: int) -> None:
        """Raise OutputUnavailable when a rule's folder can't be written, or hasn't so much free space."""
        path = self.root / folder
        with output_trouble():
            if not os.access(path, os.W_OK | os.X_OK):
                is_read_only = os.statvfs(path).f_flag & os.ST_RDONLY
                raise OSError(errno.EROFS if is_read_only else errno.EACCES, "", str(path))
            status = os.statvfs(path)
        # Some file systems don't know their size.
        free_bytes = status.f_bavail * status.f_frsize
        if status.f_blocks and free_bytes < needed_bytes:
            text = f"the output has {free_bytes} bytes free, {needed_bytes} are needed; free some space"
            raise OutputUnavailable(text, needed_bytes)

    @contextmanager
    def rule_folder(self, folder: str) -> Iterator[RuleFolder]:
        """Open the folder of a rule. Raises OutputUnavailable, or OutputConflict when it is a symbolic link."""
        self.prepare(folder)
        try:
            descriptor = os.open(self.root / folder, _OPEN_DIRECTORY)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                raise OutputConflict(
                    f"the output's folder of the rule ({folder}) is a symbolic link or a file, which is not followed; "
                    "move it away, or mount the other place there"
                ) from None
            raise OutputUnavailable(f"the output's folder {folder} can't be opened: {error.strerror}") from None
        try:
            yield RuleFolder(descriptor, self._owner, self._umask)
        finally:
            os.close(descriptor)


class RuleFolder:
    """``OUT/RULE``, open."""

    def __init__(self, descriptor: int, owner: tuple[int, int] | None, umask: int) -> None:
        self._descriptor = descriptor
        self._owner = owner
        self._umask = umask

    def inode(self, name: str) -> int | None:
        """The inode of what stands at the name, a symbolic link's own; None when nothing does."""
        try:
            return os.lstat(name, dir_fd=self._descriptor).st_ino
        except FileNotFoundError:
            return None

    def is_free(self, name: str) -> bool:
        """Whether nothing stands where a publication of this name would be made or put."""
        return all(self.inode(name + ending) is None for ending in ("", ".zip", WORKING))

    def make_working(self, name: str, *, hides_time: bool = False) -> WorkingFolder:
        """Make ``NAME.WORKING``; an empty one may stand there, from a crash before the ledger knew of it.

        With `hides_time`, all that is made in it gets `NO_TIME_S`, and doesn't tell when it was made.
        """
        working = name + WORKING
        try:
            os.mkdir(working, 0o777 & ~self._umask, dir_fd=self._descriptor)
        except FileExistsError:
            if not self._is_empty_directory(working):
                raise OutputConflict(
                    "in the rule's output a .WORKING folder stands in the way that isn't ours; "
                    "move it away and requeue the marker"
                ) from None
        descriptor = os.open(working, _OPEN_DIRECTORY, dir_fd=self._descriptor)
        return WorkingFolder(descriptor, self._owner, self._umask, hides_time=hides_time)

    def rename(self, source: str, target: str) -> None:
        """Rename inside the folder, durably. Raises FileExistsError rather than replace anything."""
        durable.rename_exclusively(source, target, self._descriptor, self._descriptor)
        os.fsync(self._descriptor)

    def remove(self, name: str, inode: int) -> bool:
        """Remove a file or folder with all that it holds, if it is still the one of this inode."""
        if self.inode(name) != inode:
            return False
        if self._is_directory(name):
            shutil.rmtree(name, dir_fd=self._descriptor)
        else:
            os.unlink(name, dir_fd=self._descriptor)
        os.fsync(self._descriptor)
        return True

    def holds_exactly(self, name: str, tree: str) -> bool:
        """Whether what stands at the name is, byte for byte, the published tree or archive of this digest."""
        files: list[Delivered] = []
        if stat.S_ISREG(os.lstat(name, dir_fd=self._descriptor).st_mode):
            found = _measure(name, self._descriptor, "")
            return tree == archive_digest(found.size_bytes, found.md5)
        if not self._is_directory(name):
            return False
        for folder, folders, names, descriptor in os.fwalk(name, dir_fd=self._descriptor, follow_symlinks=False):
            below = folder.removeprefix(name).lstrip("/")
            if any(stat.S_ISLNK(os.lstat(one, dir_fd=descriptor).st_mode) for one in (*folders, *names)):
                return False
            if below and not names and not folders:
                return False
            files += [_measure(one, descriptor, below) for one in names]
        return tree == tree_digest(files)

    def free_parking(self, name: str) -> str:
        """Find a free name, holding ``.WORKING``, to park a folder under."""
        number = 1
        while self.inode(f"{name}{WORKING}.{number}") is not None:
            number += 1
        return f"{name}{WORKING}.{number}"

    def _is_directory(self, name: str) -> bool:
        return stat.S_ISDIR(os.lstat(name, dir_fd=self._descriptor).st_mode)

    def _is_empty_directory(self, name: str) -> bool:
        if not self._is_directory(name):
            return False
        descriptor = os.open(name, _OPEN_DIRECTORY, dir_fd=self._descriptor)
        try:
            return not os.listdir(descriptor)  # noqa: PTH208 - there is no path, only an open directory
        finally:
            os.close(descriptor)


class WorkingFolder:
    """``OUT/RULE/NAME.WORKING``, open. Files may be added by several threads at once."""

    def __init__(self, descriptor: int, owner: tuple[int, int] | None, umask: int, *, hides_time: bool = False) -> None:
        self._descriptor = descriptor
        self._owner = owner
        self._umask = umask
        self._hides_time = hides_time
        self._written = WriteBehind()
        self.inode = os.fstat(descriptor).st_ino
        self._give(descriptor, 0o777)

    def close(self) -> None:
        """Close the directory; it stays where it is."""
        self._written.close()
        os.close(self._descriptor)

    def make_folder(self, folder: str) -> None:
        """Make one folder inside."""
        os.mkdir(folder, 0o777 & ~self._umask, dir_fd=self._descriptor)
        with self._open_folder(folder) as descriptor:
            self._give(descriptor, 0o777)

    @contextmanager
    def add(self, folder: str, name: str) -> Iterator[IO[bytes]]:
        """Write a new file, of the owner and mode that it should have; `sync` makes it durable."""
        with self._open_folder(folder) as parent:
            descriptor = os.open(name, _CREATE_FILE, 0o666 & ~self._umask, dir_fd=parent)
        # Buffered: a bare write to a disk that is nearly full may write less than it was given, and not say so.
        with os.fdopen(descriptor, "wb") as stream:
            self._give(descriptor, 0o666)
            # Before, for an archive, which gives its entries the time of its file; and after all was written.
            self._hide_time(descriptor)
            yield stream
            stream.flush()
            self._hide_time(descriptor)
            self._written.add(descriptor)

    def read(self, name: str) -> IO[bytes]:
        """Open a file that lies in the folder itself, to read it back."""
        return os.fdopen(os.open(name, _READ, dir_fd=self._descriptor), "rb")

    def sync(self, folders: list[str]) -> None:
        """Make the content of all files durable, and their names in these folders."""
        self._written.finish()
        for folder in folders:
            with self._open_folder(folder) as descriptor:
                self._hide_time(descriptor)
                os.fsync(descriptor)
        self._hide_time(self._descriptor)
        os.fsync(self._descriptor)

    @contextmanager
    def _open_folder(self, folder: str) -> Iterator[int]:
        descriptor = os.open(folder, _OPEN_DIRECTORY, dir_fd=self._descriptor)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _hide_time(self, descriptor: int) -> None:
        if self._hides_time:
            os.utime(descriptor, (NO_TIME_S, NO_TIME_S))

    def _give(self, descriptor: int, mode: int) -> None:
        os.fchmod(descriptor, mode & ~self._umask)
        if self._owner:
            os.fchown(descriptor, *self._owner)


def _measure(name: str, directory: int, below: str) -> Delivered:
    digest, size = hashlib.md5(usedforsecurity=False), 0
    with os.fdopen(os.open(name, _READ, dir_fd=directory), "rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
    return Delivered(f"{below}/{name}" if below else name, size, digest.hexdigest())
