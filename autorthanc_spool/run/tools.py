"""What a processor works with."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime

from autorthanc_spool.core.marker import TIME_FORMAT
from autorthanc_spool.core.pulse import Pulse
from autorthanc_spool.disk.mounts import KnownFolders
from autorthanc_spool.orthanc.client import Orthanc
from autorthanc_spool.orthanc.storage import Storage
from autorthanc_spool.outgoing.anonymiser import Anonymiser
from autorthanc_spool.output.places import Places
from autorthanc_spool.run.rulebook import Rulebook
from autorthanc_spool.settings import Settings, owners
from autorthanc_spool.spool.audit import AuditLog
from autorthanc_spool.spool.spool import Spool


@dataclass(frozen=True)
class Tools:
    """The parts, put together by `wiring`."""

    settings: Settings
    spool: Spool
    orthanc: Orthanc
    storage: Storage | None
    rulebook: Rulebook
    known_folders: KnownFolders
    places: Places
    anonymiser: Anonymiser
    audit: AuditLog
    clock: Callable[[], datetime]
    jitter: Callable[[], float]
    stop: threading.Event
    pulse: Pulse

    @property
    def owner(self) -> tuple[int, int] | None:
        """Whom new folders of the spool are given to."""
        return owners.of_spool(self.settings)

    def today(self) -> date:
        """The day in the time zone of the site (TZ), from which rules count."""
        return self.clock().astimezone().date()

    def now(self) -> str:
        """The time as records have it."""
        return self.clock().strftime(TIME_FORMAT)
