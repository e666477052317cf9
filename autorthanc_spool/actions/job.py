"""What an action is given, and what it gives back."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any, Protocol

from autorthanc_spool import rules
from autorthanc_spool.content import Content
from autorthanc_spool.dicom import Resource
from autorthanc_spool.errors import Interrupted
from autorthanc_spool.output import Delivered, WorkingFolder


@dataclass(frozen=True)
class Job:
    """One rule's work on one resource."""

    rule: rules.Rule
    resource: Resource
    name: str
    content: Content
    working: WorkingFolder
    stop: threading.Event
    threads: int = 4

    def check_stop(self) -> None:
        """Raise Interrupted when the processor was asked to stop."""
        if self.stop.is_set():
            raise Interrupted("the processor was stopped in the middle of it")


@dataclass(frozen=True)
class Product:
    """What an action made in the working directory.

    `published_name` is what it will be called in ``OUT/RULE``, `source` what is renamed to that, both below it;
    `inode` is the source's, `tree` the digest that tells later whether it is still what was published.
    """

    published_name: str
    source: str
    inode: int
    files: tuple[Delivered, ...]
    tree: str
    details: dict[str, Any] = field(default_factory=dict)


class Action(Protocol):
    """An action makes something in the job's working directory, and describes itself.

    `run` may be killed at any moment and is then run again from the beginning, in an empty directory. What it returns
    is durable. It raises errors of `errors` only, and OSError for what happens to the disk.
    """

    word: rules.Action

    def describe(self, job: Job) -> str:
        """Tell in a few words what `run` will do."""

    def run(self, job: Job) -> Product:
        """Do it."""
