"""The straight line: a claimed marker in, a filed one out.

Errors come up as exceptions and meet their fate here and nowhere else: those of one rule become that rule's outcome,
those of the whole resource become the marker's.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from autorthanc_spool.core.dicom import Level, Resource
from autorthanc_spool.core.errors import (
    Fate,
    OrthancUnavailable,
    ResourceMissing,
    RuleUnavailable,
    SpoolError,
    SpoolUnavailable,
)
from autorthanc_spool.core.marker import TIME_FORMAT, Marker
from autorthanc_spool.core.record import Record, Seen
from autorthanc_spool.core.states import Event, State
from autorthanc_spool.disk import durable
from autorthanc_spool.orthanc.answers import parse_last_update
from autorthanc_spool.output import publish
from autorthanc_spool.output.folders import output_trouble
from autorthanc_spool.rules import Rule
from autorthanc_spool.run import plan
from autorthanc_spool.run.delete import DELETED, Deleter
from autorthanc_spool.run.export import Outcome, Task, Tools, report_kept
from autorthanc_spool.run.plan import Filing, Plan
from autorthanc_spool.run.planner import Planner, deciding
from autorthanc_spool.run.reconcile import look_after_series
from autorthanc_spool.run.rule_run import RuleWorker, told_bug, unchanged
from autorthanc_spool.run.rulebook import RuleSet
from autorthanc_spool.spool.directories import Item
from autorthanc_spool.spool.spool import Claim

log = logging.getLogger(__name__)

_FINISHED = Filing(Event.FINISH, counts_attempt=False)
# Errors of reading the resource itself.
_UNREADABLE = {"OrthancFault", "InstanceError", "Bug"}


@dataclass(frozen=True)
class Work:
    """What came of a run: the outcome of each rule, and what becomes of the marker.

    `stopped` says why nothing more can be done now, for any marker.
    """

    outcomes: Mapping[str, Outcome]
    filing: Filing
    error: Mapping[str, Any] | None = None
    stopped: SpoolError | None = None

    @property
    def error_kinds(self) -> frozenset[str]:
        """The kinds of all its errors."""
        errors = [self.error, *(outcome.get("error") for outcome in self.outcomes.values())]
        return frozenset(str(error["kind"]) for error in errors if error)


@dataclass(frozen=True)
class Filed:
    """A run, and where its marker is; None when a person took it away."""

    item: Item | None
    work: Work


class Processor:
    """Works on claimed markers, one at a time."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._spool = tools.spool
        self._ledger = tools.spool.ledger
        self._worker = RuleWorker(tools)
        self._deleter = Deleter(tools)
        self._checks_on_series = False
        self._deletes = False

    def process(self, claim: Claim) -> Filed:
        """Work on a claim and file it.

        Raises OrthancUnavailable after filing, and SpoolUnavailable when it was filed without its record.
        """
        try:
            # What says of itself that it is the output's is; whatever else the disk says is the spool's.
            with durable.passing_trouble(SpoolUnavailable, "the spool"):
                work = self._work(claim)
        except SpoolError as error:
            work = self._refused(claim.marker, error)
        except Exception as error:  # noqa: BLE001 - whatever it is, the marker must not be lost, nor the others stopped
            work = Work({}, Filing(Event.FAIL, counts_attempt=False), told_bug(error))
        work = self._accounted(claim, work)
        self._give_up(claim.marker, work)
        filed = self._spool.file(claim, work.filing.event, _result(claim.marker, work), work.filing.due_in_s)
        _report(claim, work, filed)
        if filed and filed.state is State.DONE and self._deletes:
            self._spool.make_due_behind(claim.marker.key)
        if isinstance(work.stopped, OrthancUnavailable):
            raise work.stopped
        return Filed(filed, work)

    def _work(self, claim: Claim) -> Work:
        tools, marker = self._tools, claim.marker
        tools.roots.check("rules", tools.settings.rules_path)
        rules = tools.rulebook.read()
        record = self._recovered(self._ledger.read(marker.key))
        self._checks_on_series = plan.concerns(deciding(rules), Level.SERIES)
        self._deletes = any(rule.delete_from_orthanc for rule in rules.rules)
        names = [rule.name for rule in rules.rules] + [broken.name for broken in rules.broken]
        plan.check_names(marker.rules, names)
        record, deleted = self._deleter.settle(record)
        try:
            work = self._export(claim, rules, record)
        except SpoolError as error:
            work = self._refused(marker, error)
        return _with_deletion(work, deleted)

    def _refused(self, marker: Marker, error: SpoolError) -> Work:
        # The checksums of what it published may be all that tells what was deleted from Orthanc.
        return Work(marker.published, plan.fate(error, marker, self._tools.jitter()), plan.told(error), error)

    def _export(self, claim: Claim, rules: RuleSet, record: Record) -> Work:
        tools, marker = self._tools, claim.marker
        if marker.level is Level.SERIES and not self._checks_on_series:
            return Work({}, _FINISHED)
        try:
            resource = self._settled(marker)
        except ResourceMissing:
            if not self._tells_of_deleted(marker, record):
                raise
            return Work(_told_deleted(marker, rules, record), _FINISHED)
        # Whatever becomes of it, this state of the resource was seen: the marker, not reconciliation, brings it back.
        seen = Seen(resource.last_update, tuple(sorted(series.resource_id for series in resource.series)))
        record = self._ledger.write(replace(record, seen=seen, refused="", deleted=""))
        resource, drawn = Planner(tools.orthanc, rules, marker.rules).plan(resource, record)
        work = self._carry_out(claim, resource, drawn, record)
        deleting = [rule for rule in drawn.matching if rule.delete_from_orthanc]
        if deleting and work.filing.event is Event.FINISH:
            return self._delete(claim, deleting[0], resource, work)
        return work

    def _delete(self, claim: Claim, rule: Rule, resource: Resource, work: Work) -> Work:
        """Delete what was exported; whatever comes of that, the record keeps what was done before."""
        try:
            told = self._deleter.delete(claim, rule, resource)
        except SpoolError as error:
            if error.fate is Fate.LEAVE:
                raise
            filing = plan.fate(error, claim.marker, self._tools.jitter())
            return Work(work.outcomes, filing, plan.told(error), error if error.fate is Fate.RESUME else None)
        return _with_deletion(work, told)

    def _tells_of_deleted(self, marker: Marker, record: Record) -> bool:
        """Whether the marker is about what was exported, and then deleted on purpose."""
        if not record.deleted or record.is_asked_again or marker.asks_again:
            return False
        # What becomes stable so long afterwards has come since, and was then deleted by somebody else.
        deleted = datetime.strptime(record.deleted, TIME_FORMAT)
        since = deleted + timedelta(seconds=self._tools.settings.stable_age_s)
        return marker.time < since.strftime(TIME_FORMAT)

    def _settled(self, marker: Marker) -> Resource:
        """Read the resource. Raises ResourceMissing, StillArriving."""
        orthanc = self._tools.orthanc
        resource = orthanc.resource(marker.level, marker.resource_id)
        last_update = parse_last_update(resource.last_update)
        plan.check_settled(resource, last_update, orthanc.now(), self._tools.settings.stable_age_s, marker)
        return resource

    def _give_up(self, marker: Marker, work: Work) -> None:
        """Note that a resource couldn't even be read, lest reconciliation bring it back for ever."""
        if work.filing.event is not Event.FAIL or not work.error_kinds & _UNREADABLE:
            return
        with suppress(SpoolError):
            record = self._ledger.read(marker.key)
            if record.seen is None:
                self._ledger.write(replace(record, refused=self._tools.clock().strftime(TIME_FORMAT)))

    def _accounted(self, claim: Claim, work: Work) -> Work:
        """Bring the audit log up to what the ledger owes it; where it can't be written, the marker waits for that."""
        if not self._tools.audit.is_on:
            return work
        try:
            self._tools.audit.settle(self._ledger, self._ledger.read(claim.marker.key))
        except SpoolError as error:
            waits = plan.fate(error, claim.marker, self._tools.jitter())
            return replace(work, filing=plan.worst([work.filing, waits]), error=work.error or plan.told(error))
        return work

    def explain(self, level: Level, resource_id: str, rules: RuleSet, record: Record) -> Plan:
        """Plan the run of a resource whether it is settled or not, and don't do it."""
        resource = self._tools.orthanc.resource(level, resource_id)
        return Planner(self._tools.orthanc, rules).plan(resource, record)[1]

    def _carry_out(self, claim: Claim, resource: Resource, drawn: Plan, record: Record) -> Work:
        outcomes: dict[str, Outcome] = {}
        filings: list[Filing] = []
        for rule in drawn.unchanged:
            outcomes[rule.name] = unchanged(claim.marker, rule, record)
        for name in drawn.waiting:
            error = RuleUnavailable(
                f"the rule file {name}.json is broken; mend it (`autorthanc-spool check` says where)"
            )
            done = self._worker.refused(error, claim.marker)
            outcomes[name] = done.outcome
            filings += done.filings
        for planned in drawn.jobs:
            done = self._worker.work(claim, Task(planned.rule, resource, drawn.content), planned)
            outcomes[planned.rule.name] = done.outcome
            filings += done.filings
            if done.stopped:
                return Work(outcomes, done.filings[-1], plan.told(done.stopped), done.stopped)
        if resource.level is Level.STUDY and self._checks_on_series:
            look_after_series(self._spool, resource, self._tools.clock())
        errors = [outcome["error"] for outcome in outcomes.values() if "error" in outcome]
        return Work(outcomes, plan.worst(filings), errors[0] if errors else None)

    def _recovered(self, record: Record) -> Record:
        if not record.intent and not record.working:
            return record
        self._tools.roots.check("output", self._tools.settings.output_path)
        with output_trouble():
            settled = publish.settle(self._ledger, record, self._tools.output)
        report_kept(record.key, settled.kept)
        return settled.record


def _told_deleted(marker: Marker, rules: RuleSet, record: Record) -> Mapping[str, Outcome]:
    """What is told of a resource that is gone, because everything was exported and then deleted on purpose."""
    done = [rule for rule in rules.rules if rule.name in record.entries or rule.name in record.sendings]
    return {rule.name: unchanged(marker, rule, record) for rule in done}


def _with_deletion(work: Work, deletion: Outcome) -> Work:
    """Tell of a deletion; where one was interrupted, there are several, which are counted together."""
    if not deletion:
        return work
    told = {key: value for key, value in deletion.items() if key != "rule"}
    outcome = work.outcomes.get(deletion["rule"], {"outcome": "unchanged"})
    before = outcome.get(DELETED, {})
    told |= {key: told[key] + before.get(key, 0) for key in ("instances", "bytes")}
    return replace(work, outcomes={**work.outcomes, deletion["rule"]: {**outcome, DELETED: told}})


def _result(marker: Marker, work: Work) -> Marker:
    waits = work.filing.event is Event.DEFER
    return replace(
        marker,
        attempts=marker.attempts + work.filing.counts_attempt,
        deferrals=marker.deferrals + work.filing.backs_off if waits else 0,
        error=work.error,
        outcomes=work.outcomes,
    )


def _report(claim: Claim, work: Work, filed: Item | None) -> None:
    name = claim.item.name
    if filed is None:
        log.warning("%s was taken out of processing/ by somebody: nothing more is done with it", name)
        return
    told = ", ".join(f"{rule} {outcome['outcome']}" for rule, outcome in sorted(work.outcomes.items()))
    text = f"{name} -> {filed.state}/: {told or 'nothing to do'}"
    if work.error and work.filing.event is Event.DEFER and not work.filing.counts_attempt:
        # Nobody has to do anything about this marker: what is wrong outside is said once for all.
        log.info("%s (%s)", text, work.error["kind"])
    elif work.error:
        what = (
            f"{work.error['kind']} of instance {work.error['instance']}"
            if "instance" in work.error
            else work.error["kind"]
        )
        log.warning("%s (%s; `autorthanc-spool show %s` tells more)", text, what, name.removesuffix(".json"))
    else:
        log.info("%s", text)
