"""Orthanc's storage, where it lies on this machine: stored files without the way through HTTP.

Orthanc itself says what there is: UUID, size, MD5, and whether a file is stored as it came or compressed. Only a file
that is exactly that is taken from here; for any other one the answer is None, and it comes by HTTP as if there were no
such folder, where Orthanc says what is wrong with it. The path is made of the UUID alone, and links are not followed.

The MD5 is that of the bytes that lie here, computed before they are delivered. A stored file is never written again, so
what is delivered is the same as long as its time and size are; that is looked at afterwards.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import re
import stat
import weakref
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from autorthanc_spool.core.dicom import Instance
from autorthanc_spool.core.errors import InstanceError, OrthancFault
from autorthanc_spool.core.pulse import Pulse
from autorthanc_spool.orthanc.answers import Attachment
from autorthanc_spool.orthanc.client import Orthanc

log = logging.getLogger(__name__)

CHUNK_BYTES = 1024 * 1024
# A call of the kernel copies no more: between two, it shows that the work moves.
COPIED_BYTES = 64 * CHUNK_BYTES
# So many files are looked for, to see whether a folder is this Orthanc's.
SAMPLE = 20

_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
_FOLDER = os.O_PATH | os.O_DIRECTORY
# Without waiting: what has the name may be a pipe.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
# What the kernel says when it can't copy from one of these file systems to the other by itself.
_NOT_COPIED = {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EBADF}


class Storage:
    """The folder that Orthanc stores its files in. Safe to be used by several threads at once."""

    def __init__(self, orthanc: Orthanc, folder: Path, *, verify_md5: bool) -> None:
        self._orthanc = orthanc
        self._folder = folder
        self._verify_md5 = verify_md5
        self._reported: set[str] = set()

    def open(self, instance: Instance) -> StoredFile | None:
        """Open a stored file, if it lies here exactly as Orthanc received it. Raises OrthancUnavailable."""
        try:
            attachment = self._orthanc.attachment(instance)
        except OrthancFault:
            return None
        if attachment is None or not _is_the_file(attachment, instance):
            return None
        try:
            file = StoredFile(instance, attachment, open_stored(self._folder, attachment.uuid), self._orthanc.pulse)
            return file if file.is_whole(with_md5=self._verify_md5) else None
        except OSError as error:
            self._tell(os.strerror(error.errno or errno.EIO))
            return None

    def complaint(self) -> str:
        """Say in a sentence why files can't be taken from here; nothing when they can, or there are none yet."""
        compressed, here, wrong = 0, 0, ""
        for instance_id in self._orthanc.some_instances(SAMPLE):
            instance = self._orthanc.instance(instance_id)
            attachment = instance and self._orthanc.attachment(instance)
            if not instance or not attachment:
                continue
            try:
                os.close(open_stored(self._folder, attachment.uuid))
            except OSError as error:
                wrong = os.strerror(error.errno or errno.EIO)
                continue
            here += 1
            compressed += not _is_the_file(attachment, instance)
        if wrong and not here:
            return f"{self._folder} doesn't hold the files of this Orthanc, or they can't be read ({wrong})"
        if here and compressed == here:
            return "Orthanc stores its files compressed (StorageCompression), or keeps no MD5 (StoreMD5ForAttachments)"
        return ""

    def _tell(self, reason: str) -> None:
        """Say once why something comes by HTTP."""
        if reason not in self._reported:
            self._reported.add(reason)
            text = "a stored file can't be read in AUTORTHANC_ORTHANC_STORAGE_PATH (%s): such files come by HTTP"
            log.warning(f"{text}; `autorthanc-spool doctor` looks at the folder", reason)


class StoredFile:
    """One file of the storage, open; what it gives has the size and MD5 that Orthanc says."""

    def __init__(self, instance: Instance, attachment: Attachment, descriptor: int, pulse: Pulse) -> None:
        self._instance = instance
        self._descriptor = descriptor
        self._pulse = pulse
        weakref.finalize(self, os.close, descriptor)
        self._stamp = _stamp(descriptor)
        self.expected_bytes = attachment.size_bytes
        self.md5 = attachment.md5
        self.size_bytes = 0

    def is_whole(self, *, with_md5: bool) -> bool:
        """Whether it is a file of the right size and, if asked, MD5."""
        status = os.fstat(self._descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size != self.expected_bytes:
            return False
        return not with_md5 or self._digest() == self.md5

    def __iter__(self) -> Iterator[bytes]:
        """Give its bytes. Raises InstanceError, at the end, when it was changed meanwhile."""
        while chunk := os.pread(self._descriptor, CHUNK_BYTES, self.size_bytes):
            self.size_bytes += len(chunk)
            self._pulse.beat()
            yield chunk
        self._check()

    def peek(self) -> Iterator[bytes]:
        """Give its bytes, and don't count them as read."""
        at = 0
        while chunk := os.pread(self._descriptor, CHUNK_BYTES, at):
            at += len(chunk)
            yield chunk

    def copy_to(self, target: int) -> None:
        """Copy it into an open, empty file; the kernel does it, and shares the blocks where the file system can."""
        while self.size_bytes < self.expected_bytes and (copied := self._copy(target)):
            self.size_bytes += copied
            self._pulse.beat()
        self._check()

    def _copy(self, target: int) -> int:
        count = min(self.expected_bytes - self.size_bytes, COPIED_BYTES)
        try:
            return os.copy_file_range(self._descriptor, target, count, self.size_bytes)
        except OSError as error:
            if error.errno not in _NOT_COPIED:
                raise
        return os.sendfile(target, self._descriptor, self.size_bytes, count)

    def _check(self) -> None:
        if self.size_bytes != self.expected_bytes or _stamp(self._descriptor) != self._stamp:
            raise InstanceError(self._instance.resource_id, "its stored file was changed while it was read")

    def _digest(self) -> str:
        digest, at = hashlib.md5(usedforsecurity=False), 0
        while chunk := os.pread(self._descriptor, CHUNK_BYTES, at):
            digest.update(chunk)
            at += len(chunk)
            self._pulse.beat()
        return digest.hexdigest()


def open_stored(folder: Path, uuid: str) -> int:
    """Open a file of the storage for reading: ``AA/BB/UUID``. Raises OSError; follows no link below the folder."""
    if not _UUID.fullmatch(uuid):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    with ExitStack() as opened:
        parent = os.open(folder, _FOLDER)
        opened.callback(os.close, parent)
        for name in (uuid[:2], uuid[2:4]):
            parent = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=parent)
            opened.callback(os.close, parent)
        return os.open(uuid, _FILE, dir_fd=parent)


def _is_the_file(attachment: Attachment, instance: Instance) -> bool:
    """Whether what is stored is the DICOM file itself, and the one of Orthanc's list."""
    listed = (attachment.uuid, attachment.size_bytes) == (instance.file_uuid, instance.file_size_bytes)
    return listed and attachment.is_plain and attachment.md5 != ""


def _stamp(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_size, status.st_mtime_ns
