"""Fetching the files of a job, several at a time."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import replace
from typing import TypeVar

from autorthanc_spool.core.dicom import Instance
from autorthanc_spool.outgoing.job import Job
from autorthanc_spool.outgoing.placing import placing
from autorthanc_spool.outgoing.sources import Digest, Proven, Stream
from autorthanc_spool.output.contents import Delivered

T = TypeVar("T")


def fetch_all(job: Job, write: Callable[[str, Stream], None]) -> tuple[Delivered, ...]:
    """Have every file that leaves written to its path, from several threads; return those written, sorted by path."""
    files = placing(job, in_order(job.resource.instances))

    def fetch(instance: Instance) -> Delivered | None:
        with files.opened(instance) as opened:
            if opened is None:
                return None
            path, stream = opened
            write(path, stream)
            return Delivered(path, stream.size_bytes, stream.md5)

    return tuple(sorted((file for file in _each(job, fetch) if file), key=lambda file: file.path))


def proven(job: Job) -> Job:
    """Read every file to its end, to find out whether all of them may leave; only their digests are kept.

    Raises what reading raises, and EverythingWithheld. The content of the job that is given back must be what was read.
    """

    def read(instance: Instance) -> tuple[str, Digest] | None:
        job.check_stop()
        stream = job.content.open(instance)
        if stream is None:
            return None
        for _ in stream:
            pass
        return instance.resource_id, Digest(stream.size_bytes, stream.md5)

    digests = dict(filter(None, _each(job, read)))
    job.content.details()
    return replace(job, content=Proven(job.content, digests))


def _each(job: Job, work: Callable[[Instance], T]) -> list[T]:
    """Call `work` for every instance, begun in their order, from several threads."""
    with ThreadPoolExecutor(job.threads, thread_name_prefix="fetch") as pool:
        futures = [pool.submit(work, instance) for instance in in_order(job.resource.instances)]
        try:
            # After the first failure the rest is wasted.
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        return [future.result() for future in futures if not future.cancelled()]


def in_order(instances: tuple[Instance, ...]) -> list[Instance]:
    """Sort instances as they are read: series by series."""
    return sorted(instances, key=lambda one: (one.series_id, one.resource_id))
