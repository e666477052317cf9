"""The few file operations that must survive a power cut, each done once and rightly.

A file is durable when its content and the directory that names it were both synchronised; a rename when both
directories were. Nothing here overwrites by accident: `move` refuses an existing target, `replace` is for files that
are known to be ours.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from autorthanc_spool.core.errors import Unavailable

RENAME_NOREPLACE = 1  # linux/fs.h
AT_FDCWD = -100  # linux/fcntl.h: paths are relative to the working directory

_PASSING = {
    errno.ENOSPC: "the disk is full; free some space",
    errno.EDQUOT: "the quota is used up; free some space or raise it",
    errno.EROFS: "it is mounted read-only; mount it writable",
    errno.EACCES: "permission is denied; fix its owner or mode, or UID and GID",
    errno.EPERM: "the operation isn't permitted; fix its owner or mode, or UID and GID",
    errno.ENOENT: "it is missing; mount or create it",
    errno.ENOTDIR: "it is not a directory; move away what stands there",
    errno.EIO: "the disk or the network share reports an error",
    errno.ESTALE: "what was open on the network share is gone there",
    errno.ENOTCONN: "the network share isn't connected",
    errno.EBADFD: "the network share was disconnected",
    errno.EREMOTEIO: "the network share reports an error",
    errno.ESHUTDOWN: "the network share was disconnected",
    errno.EHOSTUNREACH: "the network share's server can't be reached",
    errno.EHOSTDOWN: "the network share's server is down",
    errno.ETIMEDOUT: "the network share doesn't answer",
    errno.EMFILE: "too many files are open",
    errno.ENFILE: "too many files are open on this machine",
}


_libc = ctypes.CDLL(None, use_errno=True)

# File systems that can't rename without replacing answer with one of these (NFS, some FUSE and CIFS servers).
_NOT_SUPPORTED = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}


def sync_directory(directory: Path | int) -> None:
    """Make the names in a directory durable; takes a path or an open descriptor."""
    if isinstance(directory, int):
        os.fsync(directory)
        return
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def create(path: Path, data: bytes, mode: int = 0o660) -> None:
    """Write a new file of this mode, whatever the umask, and make its content durable; the caller makes its name so."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            # A person of the group may `touch` a marker, and Orthanc's user isn't ours.
            os.fchmod(descriptor, mode)
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def write(path: Path, data: bytes, scratch: Path, mode: int = 0o660) -> None:
    """Put a file in place, new or instead of the old one: readers see either, never a part of one.

    `scratch` is a directory on the same file system.
    """
    temporary = scratch / f".{os.getpid()}-{path.name[:200]}"
    # The name carries our process number: what stands there is left over from a dead process that had it.
    temporary.unlink(missing_ok=True)
    create(temporary, data, mode)
    try:
        replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def replace(source: Path, target: Path) -> None:
    """Rename over a file of ours, and make the new name durable."""
    os.replace(source, target)  # noqa: PTH105 - crash tests count the calls of os
    sync_directory(target.parent)


def move(source: Path, target: Path) -> None:
    """Rename without ever overwriting, and make it durable.

    Raises FileExistsError when something stands at the target, FileNotFoundError when the source is gone.
    """
    rename_exclusively(str(source), str(target))
    sync_directory(target.parent)
    if source.parent != target.parent:
        # The source's folder may have gone since (a day of done/ that was pruned): then its names are gone as well.
        with _ignore_missing():
            sync_directory(source.parent)


def rename_exclusively(
    source: str, target: str, source_directory: int = AT_FDCWD, target_directory: int = AT_FDCWD
) -> None:
    """Rename unless something stands at the target; the names are relative to the two open directories."""
    try:
        _renameat2(source, target, source_directory, target_directory)
    except OSError as error:
        if error.errno not in _NOT_SUPPORTED:
            raise
        _rename_after_a_look(source, target, source_directory, target_directory)


def _renameat2(source: str, target: str, source_directory: int, target_directory: int) -> None:
    call = getattr(_libc, "renameat2", None)
    if call is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    result = call(source_directory, os.fsencode(source), target_directory, os.fsencode(target), RENAME_NOREPLACE)
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), source, None, target)


def _rename_after_a_look(source: str, target: str, source_directory: int, target_directory: int) -> None:
    source_at = None if source_directory == AT_FDCWD else source_directory
    target_at = None if target_directory == AT_FDCWD else target_directory
    try:
        os.lstat(target, dir_fd=target_at)
    except FileNotFoundError:
        os.rename(source, target, src_dir_fd=source_at, dst_dir_fd=target_at)
    else:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), source, None, target)


@contextmanager
def _ignore_missing() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        return


@contextmanager
def passing_trouble(error_class: type[Unavailable], what: str) -> Iterator[None]:
    """Turn what the operating system says of a full, read-only or missing disk into an error that waits."""
    try:
        yield
    except OSError as error:
        if error.errno not in _PASSING:
            raise
        raise error_class(f"{what} can't be used: {_PASSING[error.errno]}") from error


def is_gone(error: OSError) -> bool:
    """Whether another host removed or replaced what was open (ESTALE): whoever looks again sees what is there now."""
    return error.errno == errno.ESTALE


def passing_reason(error: OSError) -> str | None:
    """Say what an error of the operating system means that will be over some time; None for any other."""
    return _PASSING.get(error.errno or 0)
