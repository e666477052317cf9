"""Decide: what is to be done for a resource, and what happens to a marker. Pure; the processor does it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from autorthanc_spool.core.dicom import Instance, Level, Resource
from autorthanc_spool.core.errors import Fate, MarkerError, SpoolError, StillArriving
from autorthanc_spool.core.marker import TIME_FORMAT, Marker
from autorthanc_spool.core.outcome import Outcome, Problem, Word
from autorthanc_spool.core.record import Entry, Record
from autorthanc_spool.core.states import Event
from autorthanc_spool.rules import Facts, Kind, Rule, Verdict, deciding_rival, leaving, matches

# Ten attempts with doubling pauses span several hours: what still fails then needs a person.
MAX_ATTEMPTS = 10
FIRST_WAIT_S = 30.0
LONGEST_WAIT_S = 3600.0
# Orthanc declares stability up to about 1.1 s later than StableAge says.
STABLE_MARGIN_S = 2.0
# An instance can't come later than now, except where a clock was set back; less than this is rounding.
CLOCK_STEP_S = 60.0
# Of an Orthanc ID: two of ten thousand instances have the same once in eighty such studies.
_HELD_DIGITS = 8


@dataclass(frozen=True)
class PlannedJob:
    """What a rule is to do with a resource: whether it publishes, and to which of its destinations it sends.

    `resource` has what leaves, a part of the series perhaps, `whole` is the resource as it was read, and `content` the
    digest of all its instances.
    """

    rule: Rule
    resource: Resource
    content: str
    publishes: bool
    destinations: tuple[str, ...] = ()
    whole: Resource | None = None

    @property
    def read(self) -> Resource:
        """The resource as it was read."""
        return self.whole or self.resource

    @property
    def words(self) -> tuple[str, ...]:
        """The words of the actions that will be run."""
        publishing = self.rule.words(Kind.PUBLISHES) if self.publishes else ()
        sending = self.rule.words(Kind.SENDS) if self.destinations else ()
        return (*publishing, *self.rule.words(Kind.CHANGES), *sending)


@dataclass(frozen=True)
class Plan:
    """What a run will do: printable, and the whole of it.

    `jobs` are the rules that have something to do, `unchanged` those whose work the ledger has, `waiting` those whose
    file is broken at the moment and whose last valid version matches. `deletes` is the rule for which everything is
    deleted from Orthanc when all else is done. `verdicts` are there when they were asked for.
    """

    resource: Resource
    verdicts: tuple[Verdict, ...]
    jobs: tuple[PlannedJob, ...]
    unchanged: tuple[Rule, ...]
    waiting: tuple[str, ...]
    deletes: Rule | None = None

    def job(self, rule: Rule) -> PlannedJob | None:
        """What a rule is to do; None when that is nothing."""
        return next((job for job in self.jobs if job.rule == rule), None)


@dataclass(frozen=True)
class Disposition:
    """What happens to a marker; `backs_off` makes the next wait longer."""

    event: Event
    counts_attempt: bool = False
    due_in_s: float = 0.0
    backs_off: bool = False


FINISHED = Disposition(Event.FINISH)


@dataclass(frozen=True)
class Work:
    """The result of a run, or of a part of it: the outcomes, by rule or by destination, and what happens to the marker.

    `error` is the reason for that, `stopped` says why nothing more can be done now, for any marker. `frees` says that
    others may wait for the end of it, because a rule deletes from Orthanc.
    """

    outcomes: Mapping[str, Outcome] = field(default_factory=dict)
    disposition: Disposition = FINISHED
    error: SpoolError | None = None
    stopped: SpoolError | None = None
    frees: bool = False

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All that went wrong."""
        own = (Problem.of(self.error),) if self.error else ()
        return own + tuple(outcome.problem for outcome in self.outcomes.values() if outcome.problem)


def concerns(rules: Iterable[Rule], level: Level) -> bool:
    """Whether any of these rules could match a resource of this level at all."""
    return any(rule.check_on is level and rule.is_active for rule in rules)


def asks_nothing(marker: Marker, record: Record) -> bool:
    """Whether a marker that Orthanc wrote for a series asks for nothing while no rule checks on series.

    What a person asked for, and what a run has begun, is never passed over.
    """
    is_fresh = marker.filed is None and marker.rules is None and not marker.asks_again
    return marker.level is Level.SERIES and is_fresh and not record.is_unfinished


def selected(rules: Iterable[Rule], asked: tuple[str, ...] | None) -> tuple[Rule, ...]:
    """The rules that a marker asks for."""
    return tuple(rule for rule in rules if asked is None or rule.name in asked)


def check_names(asked: tuple[str, ...] | None, known: Iterable[str]) -> None:
    """Refuse a marker that asks for rules that don't exist."""
    missing = sorted(set(asked or ()) - set(known))
    if missing:
        raise MarkerError(
            f"it asks for a rule that doesn't exist: {', '.join(missing)}; `autorthanc-spool check` lists"
        )


def stored_file(instance: Instance) -> str:
    """Say which stored file an instance is: its ID, its size in bytes, and Orthanc's name of the file."""
    return f"{instance.resource_id} {instance.file_size_bytes} {instance.file_uuid}"


def content_digest(resource: Resource, gone: Iterable[str] = ()) -> str:
    """Digest the set of stored files: it changes when an instance is added, removed or replaced.

    Those that were deleted on purpose (`gone`) count as there.
    """
    files = {stored_file(one) for one in resource.instances}.union(gone)
    return hashlib.sha256("".join(f"{file}\n" for file in sorted(files)).encode()).hexdigest()


def held(resource: Resource) -> str:
    """Write down which instances a publication holds: the first digits of their Orthanc IDs, which are digests."""
    return "".join(sorted(one.resource_id[:_HELD_DIGITS] for one in resource.instances))


def has_all(resource: Resource, entry: Entry, held_then: str) -> bool:
    """Whether Orthanc still has all that was published; from records without a list, its number is what is known."""
    if not held_then:
        return entry.instances <= len(resource.instances)
    there = {one.resource_id[:_HELD_DIGITS] for one in resource.instances}
    return all(held_then[at : at + _HELD_DIGITS] in there for at in range(0, len(held_then), _HELD_DIGITS))


def make_plan(
    facts: Facts,
    rules: Iterable[Rule],
    broken: Iterable[Rule],
    record: Record,
    *,
    rivals: Iterable[Rule] = (),
    verdicts: tuple[Verdict, ...] = (),
) -> Plan:
    """Plan the run of a resource. `broken` are the last valid versions of rules whose files are broken.

    `rivals` are all rules that may keep a fallback from being asked.
    """
    resource, broken = facts.resource, tuple(broken)
    content = content_digest(resource, record.gone)
    matching = [rule for rule in rules if matches(rule, facts)]
    waiting = [rule for rule in broken if matches(rule, facts)]
    others = [rule for rule in (*matching, *waiting, *rivals) if not rule.is_fallback]
    if any(rule.is_fallback for rule in (*matching, *waiting)) and deciding_rival(others, facts)[0]:
        matching = [rule for rule in matching if not rule.is_fallback]
        waiting = [rule for rule in waiting if not rule.is_fallback]
    planned = [_planned(rule, facts, content, record) for rule in matching]
    return Plan(
        resource=resource,
        verdicts=verdicts,
        jobs=tuple(job for job in planned if job.publishes or job.destinations),
        unchanged=tuple(job.rule for job in planned if not job.publishes and not job.destinations),
        waiting=tuple(rule.name for rule in waiting),
        deletes=next((rule for rule in matching if rule.delete_from_orthanc), None),
    )


def _planned(rule: Rule, facts: Facts, content: str, record: Record) -> PlannedJob:
    destinations = rule.destination_modalities if rule.forwards else ()
    return PlannedJob(
        rule,
        _part(facts.resource, leaving(rule, facts)),
        content,
        publishes=rule.publishes and not _is_published(rule, content, record),
        destinations=tuple(name for name in destinations if not _is_sent(rule, name, content, record)),
        whole=facts.resource,
    )


def _part(resource: Resource, series_ids: tuple[str, ...]) -> Resource:
    """The resource with these series alone."""
    if len(series_ids) == len(resource.series):
        return resource
    return replace(
        resource,
        series=tuple(one for one in resource.series if one.resource_id in series_ids),
        instances=tuple(one for one in resource.instances if one.series_id in series_ids),
    )


def _is_published(rule: Rule, content: str, record: Record) -> bool:
    entry = record.entries.get(rule.name)
    return entry is not None and not entry.again and (entry.content, entry.fields) == (content, rule.fields_digest())


def _is_sent(rule: Rule, destination: str, content: str, record: Record) -> bool:
    sent = record.sending(rule.name, destination)
    if sent is None or sent.again or not sent.outcome:
        return False
    return (sent.content, sent.fields) == (content, rule.sending_digest())


def check_stable(resource: Resource, last_update: datetime, now: datetime, stable_age_s: float, by: Marker) -> None:
    """Refuse a resource that is still arriving, by Orthanc's clock.

    A restarted Orthanc says IsStable of everything, also in mid-transfer; therefore the age counts too. Where the
    marker is Orthanc's own event, and nothing came since, Orthanc has measured the age itself.
    """
    age_s = (now - last_update).total_seconds()
    if age_s < -CLOCK_STEP_S:
        _check_unchanged(resource, stable_age_s, by)
        return
    vouched = by.source == "lua" and by.time > last_update.strftime(TIME_FORMAT)
    if resource.is_stable and (vouched or age_s >= stable_age_s):
        return
    # What isn't stable at its age is in an Orthanc that waits longer than our settings say: ask ever less often.
    wait_s = max(STABLE_MARGIN_S, min(max(stable_age_s - age_s + STABLE_MARGIN_S, age_s * 0.1), LONGEST_WAIT_S))
    raise StillArriving(
        f"the {resource.level} is still arriving: its last instance came {max(age_s, 0):.0f} s ago", wait_s
    )


def _check_unchanged(resource: Resource, stable_age_s: float, by: Marker) -> None:
    """Where Orthanc's clock was set back, measure by ours that nothing came since the marker was deferred for this."""
    if resource.is_stable and by.error is not None and by.error.last_update == resource.last_update:
        return
    raise StillArriving(
        f"Orthanc's clock was set back after the last instance of the {resource.level} came: it is looked at again",
        stable_age_s + STABLE_MARGIN_S,
        resource.last_update,
    )


def fate(error: SpoolError, marker: Marker, jitter: float) -> Disposition:
    """Say what happens to a marker with this error; `jitter`, of 0.8 to 1.2, keeps many from coming back at once."""
    wait_s = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** min(marker.deferrals, 20)) * jitter
    match error.fate:
        case Fate.RESUME:
            return Disposition(Event.DEFER)
        case Fate.WAIT_FOR_REST:
            return Disposition(Event.DEFER, due_in_s=getattr(error, "wait_s", STABLE_MARGIN_S))
        case Fate.WAIT:
            return Disposition(Event.DEFER, due_in_s=wait_s, backs_off=True)
        case Fate.RETRY if marker.attempts + 1 < MAX_ATTEMPTS:
            return Disposition(Event.DEFER, counts_attempt=True, due_in_s=wait_s, backs_off=True)
        case Fate.RETRY:
            return Disposition(Event.FAIL, counts_attempt=True)
        case _:
            return Disposition(Event.FAIL)


def refused(name: str, error: SpoolError, marker: Marker, jitter: float) -> Work:
    """What an error does to the work for one rule or destination."""
    disposition = fate(error, marker, jitter)
    word = Word.FAILED if disposition.event is Event.FAIL else Word.DEFERRED
    outcome = Outcome(word, Problem.of(error), needed_bytes=error.needed_bytes, details=error.details)
    return Work({name: outcome}, disposition, error, error if error.fate is Fate.RESUME else None)


def together(parts: Iterable[Work]) -> Work:
    """All parts of a run as one: what is to be tried again comes before what failed, and that before what is done.

    A part that was stopped decides alone: the others are judged when the run goes on.
    """
    found = list(parts)
    outcomes = {name: outcome for part in found for name, outcome in part.outcomes.items()}
    stopped = next((part for part in found if part.stopped), None)
    if stopped:
        return replace(stopped, outcomes=outcomes)
    disposition = worst(part.disposition for part in found)
    error = next((part.error for part in found if part.error and part.disposition.event is disposition.event), None)
    return Work(outcomes, disposition, error)


def worst(dispositions: Iterable[Disposition]) -> Disposition:
    """What happens to a marker of several rules: any to be tried again, else any failed, else done."""
    found = list(dispositions)
    deferred = [disposition for disposition in found if disposition.event is Event.DEFER]
    if deferred:
        return Disposition(
            Event.DEFER,
            counts_attempt=any(disposition.counts_attempt for disposition in deferred),
            due_in_s=min(disposition.due_in_s for disposition in deferred),
            backs_off=any(disposition.backs_off for disposition in deferred),
        )
    failed = [disposition for disposition in found if disposition.event is Event.FAIL]
    return failed[0] if failed else FINISHED
