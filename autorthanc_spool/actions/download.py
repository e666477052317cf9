"""DOWNLOAD: the files as they leave, in one folder per series."""

from __future__ import annotations

import threading

from autorthanc_spool import rules
from autorthanc_spool.actions.fetching import fetch_all
from autorthanc_spool.actions.job import Job, Product
from autorthanc_spool.core.dicom import Instance
from autorthanc_spool.output.folders import WORKING, Delivered, WorkingFolder, output_trouble, tree_digest


class Download:
    """Fetch every instance into NAME.WORKING, several at a time, checking each."""

    word = rules.ActionWord("DOWNLOAD", rules.Kind.PUBLISHES)

    def describe(self, rule: rules.Rule, instances: int) -> str:  # noqa: ARG002 - others tell more
        """Tell in a few words what `run` will do."""
        return f"download {instances} instances"

    def run(self, job: Job, name: str, working: WorkingFolder) -> Product:
        """Do it."""
        folders = Folders(working)

        def fetch(instance: Instance) -> Delivered | None:
            folder, file_name = job.content.paths[instance.resource_id]
            stream = job.content.open(instance)
            if stream is None:
                return None
            folders.need(folder)
            with working.add(folder, file_name) as file:
                for chunk in stream:
                    file.write(chunk)
            return Delivered(f"{folder}/{file_name}", stream.size_bytes, stream.md5)

        with output_trouble():
            files = fetch_all(job, fetch)
            working.sync(sorted(folders.made))
        return Product(name, name + WORKING, working.inode, files, tree_digest(files))


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
