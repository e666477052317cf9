"""One rule's work on one resource, from plan to outcome: publish, then send, each with its own fate."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from autorthanc_spool.core.errors import Fate, ForwardExpired, SpoolError
from autorthanc_spool.core.marker import TIME_FORMAT, Marker
from autorthanc_spool.core.record import Record
from autorthanc_spool.core.states import Event
from autorthanc_spool.rules import Rule
from autorthanc_spool.run import forward, plan
from autorthanc_spool.run.export import Exporter, Outcome, Task, Tools
from autorthanc_spool.run.forward import FORWARDED, Forwarder
from autorthanc_spool.run.plan import Filing, PlannedJob
from autorthanc_spool.spool import audit
from autorthanc_spool.spool.audit import Amount
from autorthanc_spool.spool.spool import Claim


@dataclass(frozen=True)
class Done:
    """What came of it. `stopped` says why nothing more can be done now, for any rule."""

    outcome: Outcome
    filings: tuple[Filing, ...] = ()
    stopped: SpoolError | None = None


class RuleWorker:
    """Does what the plan says for one rule at a time."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._ledger = tools.spool.ledger
        self._exporter = Exporter(tools)
        self._forwarder = Forwarder(tools, self._exporter)

    def work(self, claim: Claim, task: Task, planned: PlannedJob) -> Done:
        """Do it. Raises MarkerTaken; all other errors become outcomes."""
        published = Done({})
        if planned.publishes:
            published = self._attempt(claim, task, lambda: self._exporter.export(claim, task))
            if published.filings:
                return published
        elif planned.rule.publishes:
            published = Done(unchanged(claim.marker, planned.rule, self._ledger.read(claim.marker.key)))
        return self._send(claim, task, planned, published) if planned.rule.forwards else published

    def refused(self, error: SpoolError, marker: Marker) -> Done:
        """Tell what an error does to the rule."""
        filing = plan.fate(error, marker, self._tools.jitter())
        word = "failed" if filing.event is Event.FAIL else "deferred"
        stopped = error if error.fate is Fate.RESUME else None
        return Done({"outcome": word, "error": plan.told(error), **error.details}, (filing,), stopped)

    def _send(self, claim: Claim, task: Task, planned: PlannedJob, published: Done) -> Done:
        done: dict[str, Done] = {}
        for destination in planned.destinations:
            done[destination] = self._send_to(claim, task, destination)
            if done[destination].stopped:
                break
        sent = _sent_already(planned.rule, self._ledger.read(claim.marker.key))
        outcomes = {**sent, **{name: one.outcome for name, one in done.items()}}
        # As the marker's own fate: what is to be tried again comes before what failed.
        words = [one.outcome["outcome"] for one in done.values()]
        word = next((word for word in ("deferred", "failed") if word in words), None)
        errors = [one.outcome["error"] for one in done.values() if one.outcome["outcome"] == word]
        outcome: Outcome = {"outcome": FORWARDED, **published.outcome, "forward": outcomes}
        if word:
            outcome |= {"outcome": word, "error": errors[0]}
        stopped = next((one.stopped for one in done.values() if one.stopped), None)
        return Done(outcome, tuple(filing for one in done.values() for filing in one.filings), stopped)

    def _send_to(self, claim: Claim, task: Task, destination: str) -> Done:
        earlier = _outcomes(_outcomes(claim.marker.outcomes, task.rule.name), "forward").get(destination)
        if isinstance(earlier, dict) and earlier.get("error", {}).get("kind") == ForwardExpired.__name__:
            # The marker came back for the sake of something else; only a person begins this anew.
            return Done(dict(earlier), (Filing(Event.FAIL, counts_attempt=False),))
        return self._attempt(
            claim, task, lambda: self._forwarder.forward(claim, task, destination), destination=destination
        )

    def _attempt(self, claim: Claim, task: Task, work: Callable[[], Outcome], **more: str) -> Done:
        try:
            return Done(work())
        except SpoolError as error:
            if error.fate is Fate.LEAVE:
                raise
            done = self.refused(error, claim.marker)
        except Exception as error:  # noqa: BLE001 - a bug in one rule's work doesn't stop the other rules
            done = Done({"outcome": "failed", "error": told_bug(error)}, (Filing(Event.FAIL, counts_attempt=False),))
        if done.outcome["outcome"] == "failed":
            self._owe_failure(claim.marker.key, task, done.outcome["error"]["kind"], more)
        return done

    def _owe_failure(self, key: str, task: Task, kind: str, more: Mapping[str, str]) -> None:
        if self._tools.audit.is_on:
            told = {"error": kind, "time": self._tools.clock().strftime(TIME_FORMAT), **more}
            failed = audit.line(task.resource, task.rule.name, "failed", Amount(), **told)
            self._ledger.write(self._ledger.read(key).owing(failed))


def unchanged(marker: Marker, rule: Rule, record: Record) -> Outcome:
    """What is told of a rule whose work was done before."""
    earlier, entry = _outcomes(marker.outcomes, rule.name), record.entries.get(rule.name)
    sent = _sent_already(rule, record)
    outcome: Outcome = {"outcome": "unchanged"}
    is_this = "md5sums" in earlier and entry is not None and earlier.get("time") == entry.time
    if earlier.get("outcome") == FORWARDED or is_this:
        # A marker that comes back for the sake of something else keeps what it did.
        kept = {key: value for key, value in earlier.items() if key not in ("error", "forward")}
        outcome = {**kept, "outcome": "published" if rule.publishes else FORWARDED}
    elif rule.publishes and entry:
        outcome |= {"path": f"{Task.folder_of(rule)}/{entry.name}", "since": entry.time}
    return {**outcome, "forward": sent} if sent else outcome


def told_bug(error: Exception) -> dict[str, Any]:
    """What is kept of an exception that nobody foresaw."""
    # The text of an unexpected exception may hold anything, a path with a patient's name for instance: only its type
    # is kept, with the places that it came through.
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{frame.filename.rpartition('/')[2]}:{frame.lineno} in {frame.name}" for frame in frames]
    reason = f" ({error.strerror})" if isinstance(error, OSError) else ""
    text = f"{type(error).__name__}{reason}: this is a mistake in the program; please report it with this traceback"
    return {"kind": "Bug", "text": text, "traceback": places}


def _sent_already(rule: Rule, record: Record) -> dict[str, Outcome]:
    if not rule.forwards:
        return {}
    found = {name: record.sending(rule.name, name) for name in rule.destination_modalities}
    return {name: forward.told(one) for name, one in found.items() if one and one.outcome == FORWARDED}


def _outcomes(content: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = content.get(key)
    return found if isinstance(found, dict) else {}
