"""What Orthanc has and the ledger hasn't → markers.

Orthanc forgets what was not yet stable when it stops, and its events can get lost. What it holds can't: so all its
studies are listed, without paging (paging is by offset, and skips when something is deleted meanwhile), and whatever
the ledger hasn't seen in its present state gets an ordinary marker. What lay in Orthanc at first contact is the
baseline, and is left alone.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from autorthanc_spool import durable, locks, marker
from autorthanc_spool.dicom import Level, Resource
from autorthanc_spool.ledger import Ledger, LedgerError
from autorthanc_spool.lifecycle import State
from autorthanc_spool.orthanc import Orthanc, StudySummary
from autorthanc_spool.spool import Spool

log = logging.getLogger(__name__)

# Orthanc's own event comes up to about a second after StableAge; it shall have the first word.
MARGIN_S = 10.0
LOCK = "reconcile"


@dataclass(frozen=True)
class Sweep:
    """What one reconciliation found: how many studies there are, and the names of the markers it wrote."""

    studies: int
    markers: tuple[str, ...]
    is_first: bool = False


def reconcile(spool: Spool, orthanc: Orthanc, stable_age_s: float, now: datetime) -> Sweep | None:
    """Write a marker for each study that was missed; None when another process is at it."""
    lock = locks.take(spool.root / "locks", LOCK)
    if lock is None:
        return None
    try:
        settled = _settled(orthanc, stable_age_s)
        baseline = _Baseline(spool.root / "state" / "baseline.json")
        if not baseline.exists():
            baseline.write(settled)
            return Sweep(len(settled), (), is_first=True)
        known = baseline.read()
        missed = [one for one in settled if known.get(one.resource_id) != one.last_update]
        return Sweep(len(settled), tuple(_wake(spool, missed, now)))
    finally:
        lock.release()


def look_after_series(spool: Spool, study: Resource, now: datetime) -> list[str]:
    """Write a marker for each series of a study that no run has seen in its present state."""
    written = []
    for series in study.series:
        key = f"{Level.SERIES}-{series.resource_id}"
        seen = spool.ledger.read(key).seen
        if series.is_stable and (seen is None or seen.last_update != series.last_update) and not spool.is_waiting(key):
            written.append(spool.put(marker.new(Level.SERIES, series.resource_id, "reconcile", now)).name)
    return written


def _settled(orthanc: Orthanc, stable_age_s: float) -> list[StudySummary]:
    now, studies = orthanc.now(), orthanc.studies()
    oldest_s = stable_age_s + MARGIN_S
    return [one for one in studies if one.is_stable and (now - one.last_update_time).total_seconds() > oldest_s]


def _wake(spool: Spool, studies: list[StudySummary], now: datetime) -> Iterable[str]:
    waiting = spool.waiting_keys(State.INCOMING, State.PROCESSING, State.DEFERRED, State.HOLD)
    for one in studies:
        key = f"{Level.STUDY}-{one.resource_id}"
        if key not in waiting and _is_missed(one, spool.ledger, key):
            yield spool.put(marker.new(Level.STUDY, one.resource_id, "reconcile", now)).name


def _is_missed(study: StudySummary, ledger: Ledger, key: str) -> bool:
    try:
        record = ledger.read(key)
    except LedgerError as error:
        log.warning("%s", error)
        return False
    if record.refused and study.last_update_time.strftime(marker.TIME_FORMAT) <= record.refused:
        return False
    seen = record.seen
    return seen is None or (seen.last_update, seen.series) != (study.last_update, study.series)


class _Baseline:
    """ID and LastUpdate of what lay in Orthanc at first contact."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def exists(self) -> bool:
        return self._path.exists()

    def read(self) -> dict[str, str]:
        content = json.loads(self._path.read_bytes())
        return {str(key): str(value) for key, value in content["studies"].items()}

    def write(self, studies: list[StudySummary]) -> None:
        content = {"format": 1, "studies": {one.resource_id: one.last_update for one in studies}}
        durable.write(self._path, (json.dumps(content, indent=0) + "\n").encode(), self._path.parent, mode=0o640)
