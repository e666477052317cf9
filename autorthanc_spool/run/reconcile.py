"""What Orthanc has and the ledger hasn't → markers.

Orthanc forgets what was not yet stable when it stops, and its events can get lost. What it holds can't: so all its
studies are listed, without paging (paging is by offset, and skips when something is deleted meanwhile), and whatever
the ledger hasn't seen in its present state gets an ordinary marker. What lay in Orthanc at first contact is the
baseline, and is left alone; where another database answers at the same address, that is what was there before we last
looked: what came since may be ours to do.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from autorthanc_spool.core import marker
from autorthanc_spool.core.dicom import Level, Resource, resource_key
from autorthanc_spool.core.record import Record
from autorthanc_spool.core.states import State
from autorthanc_spool.disk import locks
from autorthanc_spool.orthanc.answers import StudySummary, parse_last_update
from autorthanc_spool.orthanc.client import Orthanc
from autorthanc_spool.run import first_contact
from autorthanc_spool.run.first_contact import Baseline, Contact, known_of
from autorthanc_spool.run.plan import CLOCK_STEP_S
from autorthanc_spool.spool.ledger import Ledger, LedgerError
from autorthanc_spool.spool.spool import Spool

# Orthanc's own event comes up to about a second after StableAge; it shall have the first word.
MARGIN_S = 10.0
LOCK = "reconcile"
_WAITING = (State.INCOMING, State.PROCESSING, State.DEFERRED, State.HOLD)


@dataclass(frozen=True)
class Sweep:
    """What one reconciliation found: how many studies there are, and the names of the markers it wrote.

    `left_alone` counts those that were there before first contact; None when this wasn't one. `marked` counts those of
    them that aren't, because somebody wrote a marker for them. `problems` names ledger records that can't be
    understood.
    """

    studies: int
    markers: tuple[str, ...]
    left_alone: int | None = None
    problems: tuple[str, ...] = ()
    marked: int = 0


def reconcile(spool: Spool, orthanc: Orthanc, stable_age_s: float, now: datetime) -> Sweep | None:
    """Write a marker for each study that was missed; None when another process does so."""
    lock = locks.take(spool.root / "locks", LOCK)
    if lock is None:
        return None
    try:
        return _sweep(spool, orthanc, stable_age_s, now)
    finally:
        lock.release()


def _sweep(spool: Spool, orthanc: Orthanc, stable_age_s: float, now: datetime) -> Sweep:
    contact = first_contact.look(orthanc)
    stable = list(_stable(orthanc, stable_age_s))
    kept = Baseline(spool.root / "state")
    before = kept.studies()
    last = _last_contact(kept, orthanc)
    is_other = last is not None and not last.is_same(orthanc)
    known, left_alone = _known(before, last if is_other else None, stable, stable_age_s)
    if last and is_other and kept.former() is None:
        kept.write_former(last)
    if known != before:
        kept.write_studies(known)
    kept.write_contact(contact)
    problems: list[str] = []
    missed = [one for one in stable if known.get(one.resource_id) != one.last_update]
    markers = tuple(_wake(spool, missed, now, problems))
    if left_alone is None:
        return Sweep(len(stable), markers, None, tuple(problems))
    waiting = spool.directories.waiting_keys(*_WAITING)
    unmarked = {one for one in left_alone if resource_key(Level.STUDY, one) not in waiting}
    return Sweep(len(stable), markers, len(unmarked), tuple(problems), len(left_alone) - len(unmarked))


def _last_contact(kept: Baseline, orthanc: Orthanc) -> Contact | None:
    """The last contact with the database that Orthanc has: with the former one, if that is back."""
    former = kept.former()
    if former is None or not former.is_certainly_same(orthanc):
        return kept.contact()
    kept.forget_former()
    return former


def _known(
    before: Mapping[str, str] | None, former: Contact | None, stable: list[StudySummary], stable_age_s: float
) -> tuple[Mapping[str, str], Collection[str] | None]:
    """Find what is to be left alone, and, at first contact with a database, which studies that are.

    `former` is the last contact with the database before, if Orthanc has another one now.
    """
    if before is None:
        return known_of(stable), [one.resource_id for one in stable]
    if former is None:
        return before, None
    # What was still arriving when we last looked isn't older than this.
    oldest_s = stable_age_s + MARGIN_S
    since = datetime.fromisoformat(former.time)
    older = [one for one in stable if (since - one.last_update_time).total_seconds() > oldest_s]
    return {**before, **known_of(older)}, [one.resource_id for one in older]


def look_after_series(spool: Spool, study: Resource, now: datetime) -> list[str]:
    """Write a marker for each series of a study that no run has seen in its present state."""
    waiting = spool.directories.waiting_keys(*_WAITING)
    written = []
    for series in study.series:
        key = resource_key(Level.SERIES, series.resource_id)
        if series.is_stable and key not in waiting and _is_new(spool.ledger, key, series.last_update):
            written.append(spool.directories.put(marker.new(Level.SERIES, series.resource_id, "reconcile", now)).name)
    return written


def _is_new(ledger: Ledger, key: str, last_update: str) -> bool:
    try:
        record = ledger.read(key)
    except LedgerError:
        # The marker's own run says what is wrong with it.
        return True
    if _is_refused(record, parse_last_update(last_update)):
        return False
    return record.seen is None or record.seen.last_update != last_update


def _stable(orthanc: Orthanc, stable_age_s: float) -> Iterator[StudySummary]:
    now, studies = orthanc.now(), orthanc.studies()
    for one in studies:
        age_s = (now - one.last_update_time).total_seconds()
        # The age of what came before Orthanc's clock was set back isn't known: the run of its marker decides.
        if one.is_stable and (age_s > stable_age_s + MARGIN_S or age_s < -CLOCK_STEP_S):
            yield one


def _wake(spool: Spool, studies: list[StudySummary], now: datetime, problems: list[str]) -> Iterable[str]:
    waiting: set[str] | None = None
    for one in studies:
        key = resource_key(Level.STUDY, one.resource_id)
        try:
            if not _is_missed(one, spool.ledger, key):
                continue
            if waiting is None:
                # Not before something is missed, as a hundred thousand may wait.
                waiting = spool.directories.waiting_keys(*_WAITING)
            # A marker that was filed before they were listed shows in the ledger.
            if key in waiting or not _is_missed(one, spool.ledger, key):
                continue
        except LedgerError as error:
            problems.append(str(error))
            continue
        yield spool.directories.put(marker.new(Level.STUDY, one.resource_id, "reconcile", now)).name


def _is_missed(study: StudySummary, ledger: Ledger, key: str) -> bool:
    record = ledger.read(key)
    if _is_refused(record, study.last_update_time):
        return False
    seen = record.seen
    return seen is None or (seen.last_update, seen.series) != (study.last_update, study.series)


def _is_refused(record: Record, last_update: datetime) -> bool:
    return bool(record.refused) and last_update.strftime(marker.TIME_FORMAT) <= record.refused
