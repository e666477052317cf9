"""DOWNLOAD: the files as they leave, in folders."""

from __future__ import annotations

import threading

from autorthanc_spool import rules
from autorthanc_spool.core.counted import counted
from autorthanc_spool.orthanc.storage import StoredFile
from autorthanc_spool.outgoing.fetching import fetch_all
from autorthanc_spool.outgoing.job import Job, Product
from autorthanc_spool.outgoing.sources import Stream
from autorthanc_spool.output.contents import tree_digest
from autorthanc_spool.output.folders import output_trouble
from autorthanc_spool.output.working import WorkingFolder


class Download:
    """Fetch every instance into NAME.WORKING, several at a time, checking each."""

    word = rules.ActionWord("DOWNLOAD", rules.Kind.PUBLISHES)

    def describe(self, rule: rules.Rule, instances: int) -> str:  # noqa: ARG002 - others say more
        """Say in a few words what `run` will do."""
        return f"download {counted(instances, 'instance')}"

    def run(self, job: Job, name: str, working: WorkingFolder) -> Product:
        """Write all files into one folder."""
        folders = Folders(working)

        def write(path: str, stream: Stream) -> None:
            folder, _, file_name = path.rpartition("/")
            folders.need(folder)
            with working.add(folder or ".", file_name) as file:
                if isinstance(stream, StoredFile):
                    stream.copy_to(file.fileno())
                else:
                    file.writelines(stream)

        with output_trouble(job.rule.deliver):
            files = fetch_all(job, write)
            working.sync(sorted(folders.made))
        return Product(name, working.name, working.inode, files, tree_digest(files))


class Folders:
    """The folders of files, each made when its first file comes: what is withheld leaves no empty one."""

    def __init__(self, working: WorkingFolder) -> None:
        self._working = working
        self._lock = threading.Lock()
        self.made: set[str] = set()

    def need(self, folder: str) -> None:
        """Make a folder, and those that it lies in, unless they were made."""
        with self._lock:
            for end in range(1, len(parts := folder.split("/")) + 1):
                one = "/".join(parts[:end])
                if one and one not in self.made:
                    self._working.make_folder(one)
                    self.made.add(one)
