"""The few file operations that must survive a power cut, each written once, and correctly.

A file is durable when its content and the directory that names it were both synchronised; a rename when both
directories were. Nothing here overwrites by accident: `move` refuses an existing target, `replace` is for files that
are known to be ours.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from autorthanc_spool.core import disk_errors
from autorthanc_spool.core.disk_errors import Meaning
from autorthanc_spool.core.errors import Unavailable

RENAME_NOREPLACE = 1  # linux/fs.h
AT_FDCWD = -100  # linux/fcntl.h: paths are relative to the working directory

_libc = ctypes.CDLL(None, use_errno=True)

# File systems that can't rename without replacing answer with one of these (NFS, some FUSE and CIFS servers).
_NOT_SUPPORTED = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}


def own_name(name: str) -> str:
    """Give the name of a scratch file that no other process has, on this machine or another one.

    In containers, each processor has the number 1. The machine's name may be long, so its hash is in it.
    """
    host = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]
    return f".{host}-{os.getpid()}-{name[:200]}"


def signature(status: os.stat_result) -> tuple[int, ...]:
    """What changes when a file does."""
    return (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino, status.st_dev)


def read_beginning(path: Path, size_bytes: int) -> tuple[os.stat_result, bytes]:
    """Read the beginning of a file; nothing of what isn't one: a pipe would be waited for."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        status = os.fstat(descriptor)
        return status, os.read(descriptor, size_bytes) if stat.S_ISREG(status.st_mode) else b""
    finally:
        os.close(descriptor)


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
    with ExitStack() as undo:
        undo.callback(path.unlink, missing_ok=True)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                # A person of the group may `touch` a marker, and Orthanc's user isn't ours.
                os.fchmod(descriptor, mode)
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            # A disk that is full only shows in writing, where the system names no file.
            error.filename = error.filename or str(path)
            raise
        undo.pop_all()


def write(path: Path, data: bytes, scratch: Path, mode: int = 0o660) -> None:
    """Put a file in place, new or instead of the old one: readers see either, never a part of one.

    `scratch` is a directory on the same file system.
    """
    temporary = scratch / own_name(path.name)
    # The name is of this process: what is there is left over from a dead one that had its number.
    temporary.unlink(missing_ok=True)
    create(temporary, data, mode)
    with ExitStack() as undo:
        undo.callback(temporary.unlink, missing_ok=True)
        replace(temporary, path)
        undo.pop_all()


def show(path: Path, data: bytes, mode: int = 0o640) -> None:
    """Put a file in place for whoever looks: they see the old one or the new one, never a part. It isn't durable.

    Nothing but a look depends on such a file, and it is written so often that nobody should wait for a disk.
    """
    temporary = path.with_name(own_name(path.name))
    with ExitStack() as undo:
        undo.callback(temporary.unlink, missing_ok=True)
        with temporary.open("wb") as stream:
            os.fchmod(stream.fileno(), mode)
            stream.write(data)
        temporary.replace(path)
        undo.pop_all()


def show_on_full_disk(path: Path, data: bytes) -> None:
    """Write over a file that is there, where no room is left for another one beside it: its block is its own.

    Whoever looks may see half of each for a moment. Raises OSError where even that takes room.
    """
    with path.open("r+b", buffering=0) as stream:
        stream.write(data)
        stream.truncate()


def replace(source: Path, target: Path, *, keeps_name: bool = True) -> None:
    """Rename over a file of ours, and make the new name durable.

    With `keeps_name` false it isn't: a power cut may bring the old file back.
    """
    os.replace(source, target)  # noqa: PTH105 - crash tests count the calls of os
    if keeps_name:
        sync_directory(target.parent)


def move(source: Path, target: Path) -> None:
    """Rename without ever overwriting, and make it durable.

    Raises FileExistsError when something is at the target, FileNotFoundError when the source is gone.
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
    """Rename unless something is at the target; the names are relative to the two open directories."""
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
        reason = passing_reason(error)
        if reason is None:
            raise
        raise error_class(f"{what} can't be used: {reason}") from error


def is_gone(error: OSError) -> bool:
    """Whether another host removed or replaced what was open (ESTALE): whoever looks again sees what is there now."""
    return disk_errors.meaning(error.errno) is Meaning.GONE


def is_away(error: OSError) -> bool:
    """Whether a disk or a share can't be reached at the moment, which no command can help."""
    return disk_errors.meaning(error.errno) in (Meaning.AWAY, Meaning.GONE)


def passing_reason(error: OSError) -> str | None:
    """Say what an error of the operating system means that will be over some time; None for any other."""
    return disk_errors.sentence(error.errno)
