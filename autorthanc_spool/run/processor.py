"""The straight line: a claimed marker in, a filed one out.

Errors come up as exceptions. Those of one rule become that rule's outcome (`rule_run`), those of the whole resource
the marker's; `plan.fate` says what that means for the marker.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import datetime, timedelta

from autorthanc_spool.core.dicom import Level, Resource
from autorthanc_spool.core.errors import (
    AnotherDatabase,
    Bug,
    Fate,
    OutsideHours,
    ResourceMissing,
    RuleUnavailable,
    SpoolError,
    SpoolUnavailable,
)
from autorthanc_spool.core.marker import TIME_FORMAT, Marker
from autorthanc_spool.core.outcome import Deleted, Outcome, Problem, Word
from autorthanc_spool.core.record import Record, Seen
from autorthanc_spool.core.states import Event, State
from autorthanc_spool.disk import durable
from autorthanc_spool.orthanc.answers import parse_last_update
from autorthanc_spool.run import export, plan
from autorthanc_spool.run.delete import Deleter
from autorthanc_spool.run.first_contact import Baseline
from autorthanc_spool.run.plan import Plan, Work
from autorthanc_spool.run.planner import Planner, deciding
from autorthanc_spool.run.reconcile import look_after_series
from autorthanc_spool.run.rule_run import RuleWorker, unchanged
from autorthanc_spool.run.rulebook import RuleSet
from autorthanc_spool.run.tools import Tools
from autorthanc_spool.spool.directories import Item, shell_word, shown
from autorthanc_spool.spool.ledger import HeldRecord, LedgerError
from autorthanc_spool.spool.spool import Claim, IsIdle, never_idle

log = logging.getLogger(__name__)


class Processor:
    """Works on claimed markers, one at a time."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._spool = tools.spool
        self._worker = RuleWorker(tools)
        self._deleter = Deleter(tools)
        self._frees = False

    def idle(self) -> IsIdle:
        """Find which markers ask for nothing, by the rules of this moment."""
        try:
            self._tools.known_folders.check("rules", self._tools.settings.rules_path)
            rules = self._tools.rulebook.read()
        except SpoolError:
            # The run of each marker says what is wrong.
            return never_idle()
        self._frees = any(rule.delete_from_orthanc for rule in rules.rules)
        return never_idle() if plan.concerns(deciding(rules), Level.SERIES) else _asks_nothing

    def pass_over(self, claim: Claim) -> bool:
        """Remove a marker that asks for nothing; False when a person took it away."""
        is_over = self._spool.pass_over(claim)
        if is_over and self._frees:
            self._spool.make_due_behind(claim.marker.key)
        return is_over

    def process(self, claim: Claim) -> tuple[Item | None, Work]:
        """Work on a claim and file it; return where its marker is, None when a person took it away.

        Raises SpoolUnavailable when it was filed without its record.
        """
        begin_s = time.monotonic()
        with ExitStack() as undo:
            # Whatever the spool says in between: without a lock, the marker is taken up again.
            undo.callback(claim.lock.release)
            work = self._accounted(claim, self._guarded(claim))
            self._give_up(claim, work)
            undo.pop_all()
        # What no rule matched leaves nothing behind that a power cut could take away.
        keeps = bool(work.outcomes or work.error)
        result = _result(claim.marker, work)
        filed = self._spool.file(claim, work.disposition.event, result, work.disposition.due_in_s, keeps=keeps)
        _report(claim, work, filed, time.monotonic() - begin_s)
        if filed and filed.state is State.DONE and work.frees:
            self._spool.make_due_behind(claim.marker.key)
        return filed, work

    def _guarded(self, claim: Claim) -> Work:
        try:
            # What says of itself that it is the output's is; whatever else the disk says is the spool's.
            with durable.passing_trouble(SpoolUnavailable, "the spool"):
                return self._work(claim)
        except SpoolError as error:
            return self._refused(claim.marker, error)
        except Exception as error:  # noqa: BLE001 - whatever it is, the marker must not be lost, nor the others stopped
            return Work({}, plan.Disposition(Event.FAIL), Bug(error))

    def _refused(self, marker: Marker, error: SpoolError) -> Work:
        # The checksums of what it published may be all that shows what was deleted from Orthanc.
        return Work(marker.published, plan.fate(error, marker, self._tools.jitter()), error, error)

    def _work(self, claim: Claim) -> Work:
        tools, marker = self._tools, claim.marker
        tools.known_folders.check("rules", tools.settings.rules_path)
        rules = tools.rulebook.read()
        export.recover(claim.record, tools.places)
        names = [rule.name for rule in rules.rules] + [broken.name for broken in rules.broken]
        plan.check_names(marker.rules, names)
        deleted = self._deleter.recover(claim.record)
        try:
            work = self._export(claim, rules)
        except SpoolError as error:
            work = self._refused(marker, error)
        work = _with_deletion(work, deleted)
        return replace(work, frees=any(rule.delete_from_orthanc for rule in rules.rules))

    def _export(self, claim: Claim, rules: RuleSet) -> Work:
        marker, record = claim.marker, claim.record
        checks_on_series = plan.concerns(deciding(rules), Level.SERIES)
        if marker.level is Level.SERIES and not checks_on_series:
            return Work()
        try:
            resource = self._stable(marker)
        except ResourceMissing:
            if not self._tells_of_deleted(marker, record.now):
                self._check_deleted(marker, record.now)
                self._check_database(marker)
                raise
            return Work(_outcomes_of_deleted(marker, rules, record.now))
        # Whatever happens to it, this state of the resource was seen: the marker, not reconciliation, brings it back.
        seen = Seen(resource.last_update, tuple(sorted(series.resource_id for series in resource.series)))
        self._note_seen(record, seen)
        drawn = Planner(self._tools.orthanc, rules, self._tools.today(), marker.rules).plan(resource, record.now)
        work = self._carry_out(claim, drawn)
        if resource.level is Level.STUDY and checks_on_series and not work.stopped:
            look_after_series(self._spool, resource, self._tools.clock())
        if drawn.deletes and work.disposition.event is Event.FINISH:
            return self._delete(claim, drawn, work)
        return work

    def _note_seen(self, record: HeldRecord, seen: Seen) -> None:
        noted = replace(record.now, seen=seen, refused="", deleted="")
        if noted != record.now:
            # Whoever forgets this looks at the resource once more. What is done with it is written durably.
            record.write(noted, keeps=False)

    def _stable(self, marker: Marker) -> Resource:
        """Read the resource. Raises ResourceMissing, StillArriving."""
        orthanc = self._tools.orthanc
        resource = orthanc.resource(marker.level, marker.resource_id)
        last_update = parse_last_update(resource.last_update)
        plan.check_stable(resource, last_update, orthanc.about_now(), self._tools.settings.stable_age_s, marker)
        return resource

    def _check_deleted(self, marker: Marker, record: Record) -> None:
        """Raise ResourceMissing with the reason, where a rule deleted what is to be done again."""
        if record.deleted:
            raise ResourceMissing(
                f"Orthanc has no such {marker.level}: a rule deleted it there after it was exported, {record.deleted}; "
                "send it to Orthanc again to have it done again"
            )

    def _check_database(self, marker: Marker) -> None:
        """Raise AnotherDatabase where the former database of Orthanc may have the resource. Raises BaselineError."""
        kept = Baseline(self._spool.root / "state")
        if kept.is_other(self._tools.orthanc):
            raise AnotherDatabase(
                f"Orthanc has no such {marker.level}, and another database than before; see that it has the former "
                f"one, or, where the new one is meant, remove {kept.confirmed_by_removing}"
            )

    def _tells_of_deleted(self, marker: Marker, record: Record) -> bool:
        """Whether the marker is about what was exported, and then deleted on purpose."""
        if not record.deleted or record.is_asked_again or marker.asks_again:
            return False
        # What becomes stable so long afterwards has come since, and was then deleted by somebody else.
        deleted = datetime.strptime(record.deleted, TIME_FORMAT)
        since = deleted + timedelta(seconds=self._tools.settings.stable_age_s)
        return marker.time < since.strftime(TIME_FORMAT)

    def _carry_out(self, claim: Claim, drawn: Plan) -> Work:
        tools = self._tools
        done = [Work({rule.name: unchanged(claim.marker, rule, claim.record.now)}) for rule in drawn.unchanged]
        for name in drawn.waiting:
            broken = RuleUnavailable(
                f"the rule file {name}.json is broken; fix it (`autorthanc-spool check` says where)"
            )
            done.append(plan.refused(name, broken, claim.marker, tools.jitter()))
        for job in drawn.jobs:
            # Asked when it begins: what has begun is finished.
            hours, now = job.rule.between, tools.clock()
            if hours and (wait_s := hours.wait_s(now)):
                error = OutsideHours(f"the rule {job.rule.name} runs only at {hours}, local time", wait_s)
                done.append(plan.refused(job.rule.name, error, claim.marker, tools.jitter()))
                continue
            done.append(self._worker.work(claim, job))
            if done[-1].stopped:
                break
        return plan.together(done)

    def _delete(self, claim: Claim, drawn: Plan, work: Work) -> Work:
        """Delete what was exported; whatever comes of that, the record keeps what was done before."""
        assert drawn.deletes
        try:
            return _with_deletion(work, self._deleter.delete(claim, drawn.deletes, drawn.resource))
        except SpoolError as error:
            if error.fate is Fate.LEAVE:
                raise
            disposition = plan.fate(error, claim.marker, self._tools.jitter())
            return Work(work.outcomes, disposition, error, error if error.fate is Fate.RESUME else None)

    def _give_up(self, claim: Claim, work: Work) -> None:
        """Note that a resource couldn't even be read, so that reconciliation doesn't bring it back each time."""
        if work.disposition.event is not Event.FAIL or not work.error or not work.error.says_unreadable:
            return
        with suppress(SpoolError):
            if claim.record.now.seen is None:
                claim.record.write(replace(claim.record.now, refused=self._tools.now()))

    def _accounted(self, claim: Claim, work: Work) -> Work:
        """Bring the audit log up to what the ledger owes it; where it can't be written, the marker waits for that."""
        try:
            with durable.passing_trouble(SpoolUnavailable, "the spool"):
                if not claim.lock.is_held():
                    return work
                self._tools.audit.settle(claim.record)
        except SpoolError as error:
            waits = plan.fate(error, claim.marker, self._tools.jitter())
            return replace(work, disposition=plan.worst([work.disposition, waits]), error=work.error or error)
        return work

    def explain(
        self, level: Level, resource_id: str, rules: RuleSet, record: Record, asked: tuple[str, ...] | None = None
    ) -> Plan:
        """Plan the run of a resource whether it is stable or not, and don't do it."""
        planner = Planner(self._tools.orthanc, rules, self._tools.today(), asked)
        return planner.explain(self._tools.orthanc.resource(level, resource_id), record)


def _asks_nothing(marker: Marker, record: HeldRecord) -> bool:
    # A record that can't be understood is judged by the run.
    with suppress(LedgerError):
        return plan.asks_nothing(marker, record.now)
    return False


def _outcomes_of_deleted(marker: Marker, rules: RuleSet, record: Record) -> Mapping[str, Outcome]:
    """What is recorded of a resource that is gone, because everything was exported and then deleted on purpose."""
    done = [rule for rule in rules.rules if rule.name in record.entries or rule.name in record.sendings]
    return {rule.name: unchanged(marker, rule, record) for rule in done}


def _with_deletion(work: Work, deleted: Deleted | None) -> Work:
    """Add a deletion; where one was interrupted, there are several, which are counted together."""
    if deleted is None:
        return work
    outcome = work.outcomes.get(deleted.rule, Outcome(Word.UNCHANGED))
    outcome = replace(outcome, deleted=deleted.with_earlier(outcome.deleted))
    return replace(work, outcomes={**work.outcomes, deleted.rule: outcome})


def _result(marker: Marker, work: Work) -> Marker:
    waits = work.disposition.event is Event.DEFER
    return replace(
        marker,
        attempts=marker.attempts + work.disposition.counts_attempt,
        deferrals=marker.deferrals + work.disposition.backs_off if waits else 0,
        error=Problem.of(work.error) if work.error else None,
        outcomes=work.outcomes,
    )


def _amount(outcome: Outcome) -> str:
    """How much left: nothing where that isn't known."""
    if outcome.instances is None or outcome.size_bytes is None or outcome.word == Word.UNCHANGED:
        return ""
    return f" ({outcome.instances} files, {outcome.size_bytes / 1e6:.1f} MB)"


def _report(claim: Claim, work: Work, filed: Item | None, took_s: float) -> None:
    name = shown(claim.item.name)
    if filed is None and claim.lock.is_lost:
        log.warning("%s was lost to whoever took it over while the spool was away: nothing more is done with it", name)
        return
    if filed is None:
        log.warning("%s was taken out of processing/ by somebody: nothing more is done with it", name)
        return
    done = ", ".join(f"{rule} {outcome.sentence}{_amount(outcome)}" for rule, outcome in sorted(work.outcomes.items()))
    text = f"{name} -> {filed.state}/: {done or 'nothing to do'} in {took_s:.1f} s"
    if work.error is None:
        # Nobody wants to read of each series that no rule asks for.
        is_asked = claim.marker.level is Level.STUDY or done
        log.log(logging.INFO if is_asked else logging.DEBUG, "%s", text)
        return
    problem = Problem.of(work.error)
    what = f"{problem.kind} of instance {problem.instance}" if problem.instance else problem.kind
    if work.disposition.event is Event.DEFER and not work.disposition.counts_attempt:
        # Nobody has to do anything about this marker: what is wrong outside is said once for all.
        log.info("%s (%s)", text, what)
    else:
        level = logging.ERROR if filed.state is State.FAILED else logging.WARNING
        log.log(
            level,
            "%s (%s; `autorthanc-spool show %s` says more)",
            text,
            what,
            shell_word(claim.item.name.removesuffix(".json")),
        )
