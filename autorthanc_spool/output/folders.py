"""From NAME.WORKING to NAME: the only writer below OUT, and below what rules deliver to.

Everything is done relative to an open directory and without following symbolic links, so that nothing that is planted
in ``OUT/RULE``, or below a folder that rules may deliver to, leads out of it. Everything is written below
``NAME.WORKING``; what is published appears by one rename, and never replaces anything: what is in its way is parked
under a name that holds ``.WORKING`` first, and deleted afterwards only when it still is exactly what was published.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from autorthanc_spool.core.errors import OutputConflict, OutputUnavailable
from autorthanc_spool.core.pulse import Pulse, no_pulse
from autorthanc_spool.disk import durable
from autorthanc_spool.output.contents import OPEN_DIRECTORY, holds_exactly, is_directory, is_empty_directory
from autorthanc_spool.output.rights import Rights
from autorthanc_spool.output.working import WORKING, WorkingFolder, gone_name, working_name

# Another process may still write into a folder that was taken from it, until it finds that it is gone.
_MOST_REMOVALS = 100

# On the way there: only to be passed through.
_PASS = os.O_PATH | os.O_DIRECTORY


def output_trouble(root: str = "") -> AbstractContextManager[None]:
    """Turn what the operating system says of a full, read-only or missing output into OutputUnavailable."""
    return durable.passing_trouble(OutputUnavailable, output_name(root))


def output_name(root: str) -> str:
    """Call the output by its name, or what rules deliver to by its path."""
    return f"the output {root}" if root else "the output"


def obstacle(folder: Path) -> str:
    """Say what is in the place of a folder, and how to fix it; nothing where it is one, or isn't there."""
    try:
        mode = folder.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return ""
    if stat.S_ISDIR(mode):
        return ""
    if stat.S_ISLNK(mode):
        return f"{folder} is a symbolic link, which is not followed; move it away, or mount the other place there"
    return f"{folder} is {'a file' if stat.S_ISREG(mode) else 'something else'} and not a folder; move it away"


class Output:
    """The folder that holds one folder per rule: the output, or what rules deliver to.

    Of what rules deliver to, `base` is the folder at or above it that the settings name; what lies between isn't
    followed where it is a link. `check` raises FolderMissing when the path leads to another folder than before.
    """

    def __init__(
        self,
        root: Path,
        rights: Rights,
        pulse: Pulse | None = None,
        *,
        base: Path | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self.root = root
        self.check = check
        self._pulse = pulse or no_pulse()
        self._rights = rights
        self._base = base or root
        self._name = str(root) if base else ""

    def prepare(self, folder: str) -> None:
        """Make the folder of a rule, so that a watcher can start before the first match."""
        with output_trouble(self._name), self._opened() as root, suppress(FileExistsError):
            os.mkdir(folder, self._rights.mode(0o777), dir_fd=root)
            made = os.open(folder, OPEN_DIRECTORY, dir_fd=root)
            try:
                self._rights.give(made, 0o777)
            finally:
                os.close(made)
            os.fsync(root)

    def check_room(self, folder: str, needed_bytes: int) -> None:
        """Raise OutputUnavailable when a rule's folder can't be written, or hasn't so much free space.

        Raises OutputConflict when something else is in its place.
        """
        path = self.root / folder
        with output_trouble(self._name):
            if text := obstacle(path):
                raise OutputConflict(text)
            if not os.access(path, os.W_OK | os.X_OK):
                is_read_only = os.statvfs(path).f_flag & os.ST_RDONLY
                raise OSError(errno.EROFS if is_read_only else errno.EACCES, "", str(path))
            status = os.statvfs(path)
        # Some file systems don't know their size.
        free_bytes = status.f_bavail * status.f_frsize
        if status.f_blocks and free_bytes < needed_bytes:
            text = f"{output_name(self._name)} has {free_bytes} bytes free, {needed_bytes} are needed; free some space"
            raise OutputUnavailable(text, needed_bytes)

    @contextmanager
    def rule_folder(self, folder: str) -> Iterator[RuleFolder]:
        """Open the folder of a rule. Raises OutputUnavailable, or OutputConflict when it is a symbolic link."""
        self.prepare(folder)
        try:
            with self._opened() as root:
                descriptor = os.open(folder, OPEN_DIRECTORY, dir_fd=root)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                raise OutputConflict(
                    f"the output's folder of the rule ({folder}) is a symbolic link or a file, which is not followed; "
                    "move it away, or mount the other place there"
                ) from None
            raise OutputUnavailable(f"the output's folder {folder} can't be opened: {error.strerror}") from None
        try:
            yield RuleFolder(descriptor, self.root / folder, self._rights, self._pulse, self.check)
        finally:
            os.close(descriptor)

    @contextmanager
    def _opened(self) -> Iterator[int]:
        """Open the root itself. Raises OutputUnavailable when a link is in its place, or on the way to it."""
        descriptor = os.open(self._base, _PASS)
        try:
            for name in self.root.relative_to(self._base).parts:
                # A share may say at closing that it is away; what was closed may be another thread's by then.
                above, descriptor = descriptor, _passed(descriptor, name)
                os.close(above)
            root = os.open(".", OPEN_DIRECTORY, dir_fd=descriptor)
        finally:
            os.close(descriptor)
        try:
            yield root
        finally:
            os.close(root)


class RuleFolder:
    """``OUT/RULE``, open.

    A name may be a path below it. None of its folders is followed when it is a symbolic link; they are made when a
    working folder is made there, and stay.
    """

    def __init__(
        self, descriptor: int, path: Path, rights: Rights, pulse: Pulse, check: Callable[[], None] = lambda: None
    ) -> None:
        self._descriptor = descriptor
        self._check = check
        self._path = path
        self._rights = rights
        self._pulse = pulse

    def check_there(self) -> None:
        """Raise FolderMissing or OutputUnavailable unless everybody else sees this very folder at its path.

        A share may have been unmounted, or another one mounted over it, since it was opened: nobody would see what is
        published in here. Or it was unmounted before, and this is a folder in the mount point.
        """
        self._check()
        ours = os.fstat(self._descriptor)
        with suppress(OSError):
            seen = self._path.lstat()
            if (seen.st_dev, seen.st_ino) == (ours.st_dev, ours.st_ino):
                return
        raise OutputUnavailable(
            f"the output's folder {self._path} was unmounted or moved while it was written to; mount it, or move it "
            "back"
        )

    def inode(self, name: str) -> int | None:
        """The inode of what is at the name, a symbolic link's own; None when nothing is."""
        try:
            with self._parent(name) as (parent, last):
                return os.lstat(last, dir_fd=parent).st_ino
        except FileNotFoundError:
            return None

    def is_free(self, name: str) -> bool:
        """Whether nothing is where a publication of this name would be made or put."""
        return all(self.inode(name + ending) is None for ending in ("", ".zip", WORKING))

    def make_working(self, name: str, takeovers: int = 0, *, hides_time: bool = False) -> WorkingFolder:
        """Make ``NAME.WORKING``; an empty one may be there, from a crash before the ledger knew of it.

        After `takeovers` it is ``NAME~1.WORKING``, ``NAME~2.WORKING`` and so on: a rename of the former one, by a
        process that was cut off and is late, never finds this one.

        With `hides_time`, all that is made in it gets `NO_TIME_S`, and doesn't show when it was made.
        """
        with self._parent(working_name(name, takeovers), makes=True) as (parent, working):
            is_new = True
            try:
                os.mkdir(working, self._rights.mode(0o777), dir_fd=parent)
            except FileExistsError:
                is_new = False
                if not is_empty_directory(working, parent):
                    raise OutputConflict(
                        "in the rule's output a .WORKING folder is in the way that isn't ours; "
                        "move it away and requeue the marker"
                    ) from None
            descriptor = os.open(working, OPEN_DIRECTORY, dir_fd=parent)
        made = WorkingFolder(working, descriptor, self._rights, self._pulse, hides_time=hides_time)
        made.is_new = is_new
        return made

    def rename(self, source: str, target: str) -> None:
        """Rename inside the folder, durably. Raises FileExistsError rather than replace anything."""
        with self._parent(source) as (old_parent, old_name), self._parent(target) as (parent, last):
            durable.rename_exclusively(old_name, last, old_parent, parent)
            os.fsync(parent)

    def remove(self, name: str, inode: int) -> bool:
        """Remove a file or folder with all that it holds, if it is still the one of this inode.

        It is renamed first: from then on nobody who knows its name can publish it, or take another one for it.
        Raises OutputUnavailable while another process still writes into it.
        """
        gone, is_renamed = gone_name(name), False
        if self.inode(name) == inode:
            # Another process may have done this a moment ago.
            with suppress(FileNotFoundError, FileExistsError):
                self.rename(name, gone)
                is_renamed = True
        if self.inode(gone) != inode:
            if is_renamed:
                # Something else got its name in between.
                with suppress(FileNotFoundError, FileExistsError):
                    self.rename(gone, name)
            return False
        with self._parent(gone) as (parent, last):
            _remove(last, parent)
            os.fsync(parent)
        return True

    def holds_exactly(self, name: str, tree: str) -> bool:
        """Whether what is at the name is, byte for byte, the published tree or archive of this digest."""
        with self._parent(name) as (parent, last):
            return holds_exactly(last, parent, tree, self._pulse)

    def free_parking(self, name: str) -> str:
        """Find a free name, holding ``.WORKING``, to park a folder under."""
        number = 1
        while self.inode(f"{name}{WORKING}.{number}") is not None:
            number += 1
        return f"{name}{WORKING}.{number}"

    def make_aside(self, place: str) -> None:
        """Make a folder that something is moved into for a moment."""
        with self._parent(place) as (parent, last):
            os.mkdir(last, self._rights.mode(0o777), dir_fd=parent)

    def put_aside(self, name: str, place: str) -> None:
        """Move something into such a folder. Raises FileNotFoundError when it is gone."""
        with self._parent(name) as (parent, last), self._opened(place) as inside:
            durable.rename_exclusively(last, last, parent, inside)
            os.fsync(inside)
            os.fsync(parent)

    def put_back(self, name: str, place: str) -> None:
        """Move it out again, if it is there. Raises FileExistsError when something else has its name."""
        if self.inode(place) is None or not self._is_folder(place):
            return
        with suppress(FileNotFoundError), self._opened(place) as inside, self._parent(name) as (parent, last):
            durable.rename_exclusively(last, last, inside, parent)
            os.fsync(parent)

    def remove_aside(self, place: str) -> None:
        """Remove an empty folder; one that something is in stays."""
        with suppress(OSError), self._parent(place) as (parent, last):
            os.rmdir(last, dir_fd=parent)
            os.fsync(parent)

    def _is_folder(self, name: str) -> bool:
        with self._parent(name) as (parent, last):
            return is_directory(last, parent)

    @contextmanager
    def _opened(self, place: str) -> Iterator[int]:
        with self._parent(place) as (parent, last):
            descriptor = os.open(last, OPEN_DIRECTORY, dir_fd=parent)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    @contextmanager
    def _parent(self, name: str, *, makes: bool = False) -> Iterator[tuple[int, str]]:
        """Open the folder that something of this name lies in, and return what it is called there.

        Raises FileNotFoundError when it isn't there, and OutputConflict when something else is.
        """
        *folders, last = name.split("/")
        descriptor = os.dup(self._descriptor)
        try:
            for folder in folders:
                above, descriptor = descriptor, self._open_below(descriptor, folder, makes=makes)
                os.close(above)
            yield descriptor, last
        finally:
            os.close(descriptor)

    def _open_below(self, parent: int, folder: str, *, makes: bool) -> int:
        is_new = False
        if makes:
            with suppress(FileExistsError):
                os.mkdir(folder, self._rights.mode(0o777), dir_fd=parent)
                is_new = True
        try:
            descriptor = os.open(folder, OPEN_DIRECTORY, dir_fd=parent)
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.ENOTDIR):
                raise
            raise OutputConflict(
                "in the rule's output a symbolic link or a file is where the rule's \"Name\" has a folder; "
                "move it away and requeue the marker"
            ) from None
        if is_new:
            self._rights.give(descriptor, 0o777)
            os.fsync(parent)
        return descriptor


def _passed(parent: int, folder: str) -> int:
    """Open a folder on the way to the root, to pass through it."""
    try:
        return os.open(folder, _PASS | os.O_NOFOLLOW, dir_fd=parent)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENOTDIR):
            raise
        raise OutputUnavailable(
            f"on the way to what the rule delivers to, {folder} is a symbolic link or a file, which is not followed; "
            "move it away, or mount the other place there"
        ) from None


def _remove(name: str, parent: int) -> None:
    for _ in range(_MOST_REMOVALS):
        try:
            if is_directory(name, parent):
                shutil.rmtree(name, dir_fd=parent)
            else:
                os.unlink(name, dir_fd=parent)
        except FileNotFoundError:
            # Another process removes it, too.
            pass
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        else:
            return
        with suppress(FileNotFoundError):
            os.lstat(name, dir_fd=parent)
            continue
        return
    raise OutputUnavailable("a process that lost its work still writes into the output; it is waited for")
