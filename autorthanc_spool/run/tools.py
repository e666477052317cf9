"""What a processor works with."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from autorthanc_spool.actions.anonymise import Anonymiser
from autorthanc_spool.core.marker import TIME_FORMAT
from autorthanc_spool.disk.mounts import Roots
from autorthanc_spool.orthanc.client import Orthanc
from autorthanc_spool.output.folders import Output
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
    rulebook: Rulebook
    roots: Roots
    output: Output
    anonymiser: Anonymiser
    audit: AuditLog
    clock: Callable[[], datetime]
    jitter: Callable[[], float]
    stop: threading.Event

    @property
    def owner(self) -> tuple[int, int] | None:
        """Whom new folders of the spool are given to."""
        return owners.of_spool(self.settings)

    def now(self) -> str:
        """The time as records have it."""
        return self.clock().strftime(TIME_FORMAT)
