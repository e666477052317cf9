"""One rule's sending of one resource to one destination, remembered in the ledger from its beginning to its end."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from autorthanc_spool.actions import Delivery, Job, sending_action
from autorthanc_spool.core.errors import DestinationUnavailable, ForwardExpired, SpoolError
from autorthanc_spool.core.marker import TIME_FORMAT
from autorthanc_spool.core.record import Sending
from autorthanc_spool.orthanc.modalities import Modalities
from autorthanc_spool.run.export import Exporter, Outcome, Task, Tools
from autorthanc_spool.spool import audit
from autorthanc_spool.spool.audit import Amount
from autorthanc_spool.spool.ledger import Ledger
from autorthanc_spool.spool.spool import Claim

FORWARDED = "forwarded"


class Forwarder:
    """Sends, one destination at a time, under the lock of the resource."""

    def __init__(self, tools: Tools, exporter: Exporter) -> None:
        self._tools = tools
        self._exporter = exporter
        self._modalities = Modalities(tools.orthanc)

    def forward(self, claim: Claim, task: Task, destination: str) -> Outcome:
        """Send what the rule asks for, and tell what was done. Raises ForwardExpired, and what the action raises."""
        self._tools.audit.check()
        entry = LedgerEntry(self._tools.spool.ledger, claim.marker.key, task, destination)
        job, delivery = self._job(task), Delivery(destination, self._modalities, entry)
        action = sending_action(task.rule)
        try:
            job = action.prove(job, delivery)
            self._exporter.look_once_more(claim, task)
            sent = action.run(job, delivery)
        except DestinationUnavailable as error:
            self._check_expiry(entry, destination, error)
            raise
        except SpoolError as error:
            if error.fate.ends_waiting:
                entry.write(replace(entry.sending, since=""))
            raise
        details = dict(job.content.told())
        done = replace(
            entry.sending,
            outcome=FORWARDED,
            instances=sent.instances,
            size_bytes=sent.size_bytes,
            committed=sent.is_committed,
            time=self._now().strftime(TIME_FORMAT),
            details=details,
        )
        entry.write(done, self._line(task, destination, done))
        return told(done)

    def _job(self, task: Task) -> Job:
        content, threads = self._exporter.content(task), self._exporter.threads(task)
        return Job(task.rule, task.resource, content, self._tools.stop, threads)

    def _check_expiry(self, entry: LedgerEntry, destination: str, error: DestinationUnavailable) -> None:
        """Give up what was in vain for too long; where it begins to be, note when."""
        now = self._now()
        since = entry.sending.since or now.strftime(TIME_FORMAT)
        waited_s = (now - datetime.strptime(since, TIME_FORMAT).replace(tzinfo=UTC)).total_seconds()
        if waited_s <= self._tools.settings.forward_expiry_s:
            entry.write(replace(entry.sending, since=since))
            return
        # Whoever requeues the marker gets the whole time once more.
        entry.write(replace(entry.sending, since=""))
        raise ForwardExpired(
            f"nothing could be sent since {since}, which is longer than AUTORTHANC_FORWARD_EXPIRY: {error}; "
            f"then requeue the marker, and {destination} is tried again"
        ) from error

    def _line(self, task: Task, destination: str, done: Sending) -> audit.Line:
        if not self._tools.audit.is_on:
            return {}
        amount = Amount(done.instances, done.size_bytes)
        more = {"time": done.time, "destination": destination}
        return audit.line(task.resource, task.rule.name, FORWARDED, amount, **more)

    def _now(self) -> datetime:
        return self._tools.clock()


class LedgerEntry:
    """What the ledger holds about one sending. The resource's lock is held, so that nobody else writes it."""

    def __init__(self, ledger: Ledger, key: str, task: Task, destination: str) -> None:
        self._ledger = ledger
        self._key = key
        self._rule = task.rule.name
        self._destination = destination
        fresh = Sending(task.content, task.rule.sending_digest())
        found = ledger.read(key).sending(self._rule, destination)
        goes_on = found is not None and not found.again and not found.outcome
        self.sending = found if found and goes_on and _same(found, fresh) else fresh

    @property
    def job(self) -> str:
        """The job that was begun last."""
        return self.sending.job

    @property
    def transaction(self) -> str:
        """The storage commitment that was asked for last."""
        return self.sending.transaction

    def note(self, job: str = "", transaction: str = "") -> None:
        """Keep these, for whoever goes on after a crash."""
        self.write(replace(self.sending, job=job, transaction=transaction))

    def write(self, sending: Sending, line: audit.Line | None = None) -> None:
        """Replace it, durably; `line` is then owed to the audit log."""
        record = self._ledger.read(self._key).owing(line or {})
        self._ledger.write(record.with_sending(self._rule, self._destination, sending))
        self.sending = sending


def told(sending: Sending) -> Outcome:
    """What the record says about a destination that has everything."""
    outcome: dict[str, Any] = {
        "outcome": sending.outcome,
        "instances": sending.instances,
        "bytes": sending.size_bytes,
        "time": sending.time,
        **sending.details,
    }
    return {**outcome, "committed": True} if sending.committed else outcome


def _same(found: Sending, fresh: Sending) -> bool:
    return (found.content, found.fields) == (fresh.content, fresh.fields)
