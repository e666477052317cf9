"""One rule's work on one resource, from plan to outcome: publish, then send, each with its own fate."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from autorthanc_spool.core.errors import Bug, ClaimLost, Fate, ForwardExpired, SpoolError, SpoolUnavailable
from autorthanc_spool.core.marker import Marker
from autorthanc_spool.core.outcome import Outcome, Word
from autorthanc_spool.core.record import Record, place
from autorthanc_spool.core.states import Event
from autorthanc_spool.disk import durable
from autorthanc_spool.rules import Rule
from autorthanc_spool.run import forward, plan
from autorthanc_spool.run.export import Exporter
from autorthanc_spool.run.forward import Forwarder
from autorthanc_spool.run.plan import Disposition, PlannedJob, Work
from autorthanc_spool.run.tools import Tools
from autorthanc_spool.spool.spool import Claim


class RuleWorker:
    """Does what the plan says for one rule at a time."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._exporter = Exporter(tools)
        self._forwarder = Forwarder(tools, self._exporter)

    def work(self, claim: Claim, job: PlannedJob) -> Work:
        """Do it. Raises ClaimLost, MarkerTaken; all other errors become outcomes."""
        name = job.rule.name
        published = Work()
        if job.publishes:
            published = self._attempt(claim, job, name, lambda: self._exporter.export(claim, job))
            if published.error:
                return published
        elif job.rule.publishes:
            published = Work({name: unchanged(claim.marker, job.rule, claim.record.now)})
        if not job.rule.forwards:
            return published
        return self._send(claim, job, published.outcomes.get(name, Outcome(Word.FORWARDED)))

    def _send(self, claim: Claim, job: PlannedJob, published: Outcome) -> Work:
        done: list[Work] = []
        for destination in job.destinations:
            done.append(self._send_to(claim, job, destination))
            if done[-1].stopped:
                break
        work = plan.together(done)
        sent = {**forward.sent_already(job.rule, claim.record.now), **work.outcomes}
        outcome = replace(published, forward=sent)
        if work.error:
            word = Word.FAILED if work.disposition.event is Event.FAIL else Word.DEFERRED
            worst = next(one for one in work.outcomes.values() if one.word == word)
            outcome = replace(outcome, word=word, problem=worst.problem)
        return replace(work, outcomes={job.rule.name: outcome})

    def _send_to(self, claim: Claim, job: PlannedJob, destination: str) -> Work:
        earlier = claim.marker.outcomes.get(job.rule.name, Outcome("")).forward.get(destination)
        if earlier and earlier.problem and earlier.problem.is_a(ForwardExpired):
            # The marker came back because of something else; only a person begins this again.
            return Work({destination: earlier}, Disposition(Event.FAIL), ForwardExpired(earlier.problem.text))
        return self._attempt(
            claim, job, destination, lambda: self._forwarder.forward(claim, job, destination), destination=destination
        )

    def _attempt(self, claim: Claim, job: PlannedJob, name: str, work: Callable[[], Outcome], **more: str) -> Work:
        error: SpoolError
        try:
            # What says of itself that it is the output's is; whatever else the disk says is the spool's.
            with durable.passing_trouble(SpoolUnavailable, "the spool"):
                return Work({name: work()})
        except SpoolError as expected:
            error = expected
        except Exception as unexpected:  # noqa: BLE001 - a bug in one rule's work doesn't stop the other rules
            error = Bug(unexpected)
        if error.fate is not Fate.LEAVE and _is_lost(claim):
            # Whoever has it now has cleared away what this error is about.
            error = ClaimLost(str(error))
        if error.fate is Fate.LEAVE:
            raise error
        done = plan.refused(name, error, claim.marker, self._tools.jitter())
        if done.disposition.event is Event.FAIL:
            line = self._tools.audit.failed(job.resource, job.rule.name, error, self._tools.now(), **more)
            if line:
                claim.record.write(claim.record.now.owing(line))
        return done


def _is_lost(claim: Claim) -> bool:
    with suppress(OSError):
        return not claim.lock.is_held()
    return False


def unchanged(marker: Marker, rule: Rule, record: Record) -> Outcome:
    """What is recorded of a rule whose work was done before."""
    earlier, entry = marker.outcomes.get(rule.name), record.entries.get(rule.name)
    sent = forward.sent_already(rule, record)
    is_this = earlier and earlier.md5sums and entry and earlier.time == entry.time
    if earlier and (earlier.word == Word.FORWARDED or is_this):
        # A marker that comes back because of something else keeps what it did.
        word = Word.PUBLISHED if rule.publishes else Word.FORWARDED
        return replace(earlier, word=word, problem=None, forward=sent)
    if rule.publishes and entry:
        return Outcome(Word.UNCHANGED, path=place(entry.root, rule.folder, entry.name), since=entry.time, forward=sent)
    return Outcome(Word.UNCHANGED, forward=sent)
