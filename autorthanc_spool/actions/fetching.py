"""Fetching the files of a job, several at a time."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import replace

from autorthanc_spool.actions.job import Job
from autorthanc_spool.actions.sources import Digest, Proven
from autorthanc_spool.core.dicom import Instance
from autorthanc_spool.output.folders import Delivered


def fetch_all(job: Job, fetch: Callable[[Instance], Delivered | None]) -> tuple[Delivered, ...]:
    """Call `fetch` for every instance, from several threads; tell what it delivered, sorted by path."""

    def fetch_one(instance: Instance) -> Delivered | None:
        job.check_stop()
        return fetch(instance)

    with ThreadPoolExecutor(job.threads, thread_name_prefix="fetch") as pool:
        futures = [pool.submit(fetch_one, instance) for instance in in_order(job.resource.instances)]
        try:
            # After the first failure the rest is in vain.
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        results = [future.result() for future in futures if not future.cancelled()]
        return tuple(sorted((file for file in results if file), key=lambda file: file.path))


def proven(job: Job) -> Job:
    """Read every file to its end, to find out whether all of them may leave; only their digests are kept.

    Raises what reading raises, and EverythingWithheld. The content of the job that is given back must be what was read.
    """
    digests: dict[str, Digest] = {}

    def read(instance: Instance) -> None:
        stream = job.content.open(instance)
        if stream is not None:
            for _ in stream:
                pass
            digests[instance.resource_id] = Digest(stream.size_bytes, stream.md5)

    fetch_all(job, read)
    job.content.told()
    return replace(job, content=Proven(job.content, digests))


def in_order(instances: tuple[Instance, ...]) -> list[Instance]:
    """Sort instances as they are read: series by series."""
    return sorted(instances, key=lambda one: (one.series_id, one.resource_id))
