"""ZIP: one archive instead of a folder, written while the files are fetched, and tested before it is published."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import IO

from autorthanc_spool import rules
from autorthanc_spool.core.counted import counted
from autorthanc_spool.core.errors import ArchiveDamaged
from autorthanc_spool.core.outcome import ARCHIVE_BYTES, ARCHIVE_MD5
from autorthanc_spool.disk import archive, writeback
from autorthanc_spool.disk.archive import ArchiveWriter, Packer
from autorthanc_spool.outgoing.fetching import fetch_all
from autorthanc_spool.outgoing.job import Job, Product
from autorthanc_spool.outgoing.placing import let_go
from autorthanc_spool.outgoing.sources import Stream
from autorthanc_spool.output.contents import CHUNK_BYTES, Delivered, archive_digest
from autorthanc_spool.output.folders import output_trouble
from autorthanc_spool.output.working import WorkingFolder

# All threads together keep no more than this in memory. What is larger than a thread's share isn't kept, but written
# while it is fetched.
BUFFERED_BYTES = 64 * 1024 * 1024


class Zip:
    """Fetch and pack several instances at a time into NAME.WORKING/NAME.zip, which is written by one at a time."""

    word = rules.ActionWord("ZIP", rules.Kind.PUBLISHES, instead_of=frozenset({"DOWNLOAD"}), keys=("Zip",))

    def describe(self, rule: rules.Rule, instances: int) -> str:  # noqa: ARG002 - others say more
        """Say in a few words what `run` will do."""
        return f"zip {counted(instances, 'instance')}"

    def run(self, job: Job, name: str, working: WorkingFolder) -> Product:
        """Write all files into one archive, and test it."""
        source, name = f"{working.name}/{name}.zip", f"{name}.zip"
        with output_trouble(job.rule.deliver):
            with working.add(".", name) as file:
                writer = ArchiveWriter(file)
                files = fetch_all(job, _Packing(job, file, writer).write)
                writer.finish()
            working.sync([])
            with working.read(name) as file, ThreadPoolExecutor(1, thread_name_prefix="digest") as beside:
                digest = beside.submit(_md5, job, file)
                _test(job, file, files)
                md5 = digest.result()
                status = os.fstat(file.fileno())
        return Product(
            published_name=name,
            source=source,
            inode=status.st_ino,
            files=files,
            tree=archive_digest(status.st_size, md5),
            details={ARCHIVE_BYTES: status.st_size, ARCHIVE_MD5: md5},
        )


class _Packing:
    """Puts instances into one archive, from several threads."""

    def __init__(self, job: Job, file: IO[bytes], writer: ArchiveWriter) -> None:
        self._job = job
        self._file = file
        self._writer = writer
        self._turn = threading.Lock()
        self._compress = job.rule.zip is None or job.rule.zip.compression == "fast"

    def write(self, path: str, stream: Stream) -> None:
        packer = Packer(compress=self._compress)
        packed, expected_bytes = packer.pack(stream), stream.expected_bytes
        if expected_bytes <= BUFFERED_BYTES // self._job.threads:
            # The transfer has ended before this waits for its turn: Orthanc breaks off one that stalls.
            ready = list(packed)
            self._add(path, packer, ready, expected_bytes)
        else:
            let_go(stream)
            self._add(path, packer, packed, expected_bytes)

    def _add(self, path: str, packer: Packer, packed: Iterable[bytes], expected_bytes: int) -> None:
        with self._turn:
            self._writer.add(path, packer, packed, expected_bytes)
        # While others are fetched, the disk has something to do.
        writeback.begin(self._file.fileno())


def _test(job: Job, file: IO[bytes], files: tuple[Delivered, ...]) -> None:
    """Read the archive back: all entries are in it, whole, and nothing else."""
    try:
        found = archive.members(file)
    except ValueError as error:
        raise ArchiveDamaged(f"the archive that was written can't be read back ({error})") from None
    wanted = sorted((one.path, one.size_bytes) for one in files)
    if sorted((one.name, one.size_bytes) for one in found) != wanted:
        raise ArchiveDamaged("the archive that was written doesn't hold what was put into it")

    def is_whole(member: archive.Member) -> bool:
        job.check_stop()
        return archive.is_whole(file.fileno(), member)

    with ThreadPoolExecutor(job.threads, thread_name_prefix="test") as pool:
        damaged = list(pool.map(is_whole, found)).count(False)
    if damaged:
        raise ArchiveDamaged(
            f"{damaged} of {len(found)} entries of the archive that was written read back differently; "
            "check the disk or the share that the output is on"
        )


def _md5(job: Job, file: IO[bytes]) -> str:
    digest, at = hashlib.md5(usedforsecurity=False), 0
    while chunk := os.pread(file.fileno(), CHUNK_BYTES, at):
        job.check_stop()
        digest.update(chunk)
        at += len(chunk)
    return digest.hexdigest()
