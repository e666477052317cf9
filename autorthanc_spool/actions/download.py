"""DOWNLOAD: the files as Orthanc received them, in one folder per series."""

from __future__ import annotations

import threading
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

from autorthanc_spool import rules
from autorthanc_spool.actions.job import Job, Product, in_order
from autorthanc_spool.dicom import Instance
from autorthanc_spool.output import WORKING, Delivered, WorkingFolder, output_trouble


class Download:
    """Fetch every instance into NAME.WORKING, several at a time, checking each."""

    word = rules.Action.DOWNLOAD

    def describe(self, job: Job) -> str:
        """Tell in a few words what `run` will do."""
        return f"download {len(job.resource.instances)} instances"

    def run(self, job: Job) -> Product:
        """Do it."""
        with output_trouble():
            folders = Folders(job.working)
            files = self._fetch_all(job, folders)
            job.working.sync(sorted(folders.made))
        return Product(job.name, job.name + WORKING, job.working.inode, files)

    def _fetch_all(self, job: Job, folders: Folders) -> tuple[Delivered, ...]:
        def fetch(instance: Instance) -> Delivered | None:
            job.check_stop()
            folder, name = job.content.paths[instance.resource_id]
            stream = job.content.open(instance)
            if stream is None:
                return None
            folders.need(folder)
            with job.working.add(folder, name) as file:
                for chunk in stream:
                    file.write(chunk)
            return Delivered(f"{folder}/{name}", stream.size_bytes, stream.md5)

        with ThreadPoolExecutor(job.threads, thread_name_prefix="download") as pool:
            futures = [pool.submit(fetch, instance) for instance in in_order(job.resource.instances)]
            try:
                # After the first failure the rest is in vain.
                wait(futures, return_when=FIRST_EXCEPTION)
            finally:
                pool.shutdown(wait=True, cancel_futures=True)
            results = [future.result() for future in futures if not future.cancelled()]
            return tuple(sorted((file for file in results if file), key=lambda file: file.path))


class Folders:
    """The folders of series, each made when its first file comes: what is withheld leaves no empty one."""

    def __init__(self, working: WorkingFolder) -> None:
        self._working = working
        self._lock = threading.Lock()
        self.made: set[str] = set()

    def need(self, folder: str) -> None:
        """Make a folder unless it was made."""
        with self._lock:
            if folder not in self.made:
                self._working.make_folder(folder)
                self.made.add(folder)
