"""What an action is given, and what it gives back."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any, Protocol

from autorthanc_spool import rules
from autorthanc_spool.core.dicom import Resource
from autorthanc_spool.core.errors import Interrupted
from autorthanc_spool.core.pulse import Pulse, no_pulse
from autorthanc_spool.orthanc.modalities import Modalities
from autorthanc_spool.outgoing.anonymiser import Anonymiser
from autorthanc_spool.outgoing.sources import Content, Originals
from autorthanc_spool.output.contents import Delivered
from autorthanc_spool.output.working import WorkingFolder


@dataclass(frozen=True)
class Job:
    """One rule's work on one resource."""

    rule: rules.Rule
    resource: Resource
    content: Content
    stop: threading.Event
    threads: int = 4
    pulse: Pulse = field(default_factory=no_pulse)

    def check_stop(self) -> None:
        """Say that something moves; raise Interrupted when the processor was asked to stop."""
        self.pulse.beat()
        if self.stop.is_set():
            raise Interrupted("the processor was stopped in the middle of it")

    def pause(self, seconds: float) -> None:
        """Wait. Raises Interrupted as soon as the processor is asked to stop."""
        self.stop.wait(seconds)
        self.check_stop()


@dataclass(frozen=True)
class Product:
    """What an action made in the working directory.

    `published_name` is what it will be called in ``OUT/RULE``, `source` what is renamed to that, both below it;
    `inode` is the source's, `tree` the digest that shows later whether it is still what was published.
    """

    published_name: str
    source: str
    inode: int
    files: tuple[Delivered, ...]
    tree: str
    details: dict[str, Any] = field(default_factory=dict)


class Progress(Protocol):
    """How far a sending has come, kept durably: IDs of Orthanc's job and storage commitment, "" for none.

    `missing` are the Orthanc IDs of the instances that the destination refused so far; none when all are to be sent.
    """

    @property
    def job(self) -> str:
        """The job that was begun last."""

    @property
    def transaction(self) -> str:
        """The storage commitment that was asked for last."""

    @property
    def missing(self) -> tuple[str, ...]:
        """What is left to be sent."""

    def check(self) -> None:
        """Make sure, before something is sent, that the work is still ours. Raises ClaimLost, MarkerTaken."""

    def note(self, job: str = "", transaction: str = "") -> None:
        """Keep these, for whoever goes on after a crash."""

    def note_missing(self, missing: tuple[str, ...]) -> None:
        """Keep what is left to be sent."""


@dataclass(frozen=True)
class Delivery:
    """Where to send, by whom, and how far it has come."""

    destination: str
    modalities: Modalities
    progress: Progress


@dataclass(frozen=True)
class Sent:
    """What a destination has."""

    instances: int
    size_bytes: int
    is_committed: bool = False


class Action(Protocol):
    """What a rule can ask for: a `PublishingAction`, a `SendingAction` or a `ChangingAction`. It describes itself.

    `run` may be killed at any moment, and is then run again from the beginning: twice is the same as once. It ends
    soon, with Interrupted, when the job is asked to stop. It raises errors of `errors` only, and OSError for what
    happens to the disk. Its only source of bytes is the job's content.
    """

    word: rules.ActionWord

    def describe(self, rule: rules.Rule, instances: int) -> str:
        """Say in a few words what `run` will do."""


class ChangingAction(Action, Protocol):
    """Makes what leaves out of the originals, whatever is then done with it."""

    def source(self, originals: Originals, resource: Resource, rule: rules.Rule, anonymiser: Anonymiser) -> Content:
        """What leaves. Nothing of the originals may leave beside it."""


class PublishingAction(Action, Protocol):
    """Makes something in an empty working directory, ``OUT/RULE/NAME.WORKING``.

    What it returns is durable, and not visible to anybody yet.
    """

    def run(self, job: Job, name: str, working: WorkingFolder) -> Product:
        """Make the product in the working folder."""


class SendingAction(Action, Protocol):
    """Brings the files to one destination.

    What it returns was confirmed by the destination. Raises UnknownModality, DestinationUnavailable (down, or not
    confirmed yet; the progress says where to go on), ForwardRefused.
    """

    def prove(self, job: Job, delivery: Delivery) -> Job:
        """Make sure that every file may leave, before any does; give the job that may be run."""

    def run(self, job: Job, delivery: Delivery) -> Sent:
        """Send to one destination."""
