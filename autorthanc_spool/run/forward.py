"""One rule's sending of one resource to one destination, remembered in the ledger from its beginning to its end."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from autorthanc_spool.actions import Delivery, Job, sending_action
from autorthanc_spool.core.errors import DestinationUnavailable, ForwardExpired, SpoolError
from autorthanc_spool.core.marker import TIME_FORMAT
from autorthanc_spool.core.outcome import Outcome, Word
from autorthanc_spool.core.record import Record, Sending
from autorthanc_spool.orthanc.modalities import Modalities
from autorthanc_spool.rules import Rule
from autorthanc_spool.run.export import Exporter
from autorthanc_spool.run.plan import PlannedJob
from autorthanc_spool.run.tools import Tools
from autorthanc_spool.spool.audit import Line
from autorthanc_spool.spool.spool import Claim


class Forwarder:
    """Sends, one destination at a time, under the lock of the resource."""

    def __init__(self, tools: Tools, exporter: Exporter) -> None:
        self._tools = tools
        self._exporter = exporter
        self._modalities = Modalities(tools.orthanc)

    def forward(self, claim: Claim, planned: PlannedJob, destination: str) -> Outcome:
        """Send what the rule asks for, and return what was done. Raises ForwardExpired, and what the action raises."""
        claim.check()
        self._tools.audit.check()
        entry = LedgerEntry(claim, planned, destination)
        job, delivery = self._job(planned), Delivery(destination, self._modalities, entry)
        action = sending_action(planned.rule)
        try:
            job = action.prove(job, delivery)
            self._exporter.look_once_more(claim, planned)
            sent = action.run(job, delivery)
        except DestinationUnavailable as error:
            self._check_expiry(entry, destination, error)
            raise
        except SpoolError as error:
            if error.fate.ends_waiting:
                entry.write(replace(entry.sending, since=""))
            raise
        details = dict(job.content.details())
        done = replace(
            entry.sending,
            outcome=Word.FORWARDED,
            missing=(),
            instances=sent.instances,
            size_bytes=sent.size_bytes,
            committed=sent.is_committed,
            time=self._tools.now(),
            details=details,
        )
        entry.write(done, self._tools.audit.forwarded(planned.resource, planned.rule.name, destination, done))
        return outcome_of(done)

    def _job(self, planned: PlannedJob) -> Job:
        content, threads = self._exporter.content(planned), self._exporter.threads(planned)
        return Job(planned.rule, planned.resource, content, self._tools.stop, threads, self._tools.pulse)

    def _check_expiry(self, entry: LedgerEntry, destination: str, error: DestinationUnavailable) -> None:
        """Give up what has failed for too long; note when it began to fail."""
        now = self._tools.clock()
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


class LedgerEntry:
    """What the ledger holds about one sending. The resource's lock is held, so that nobody else writes it."""

    def __init__(self, claim: Claim, planned: PlannedJob, destination: str) -> None:
        self._record = record = claim.record
        self._check = claim.check
        self._rule = planned.rule.name
        self._destination = destination
        fresh = Sending(planned.content, planned.rule.sending_digest())
        found = record.now.sending(self._rule, destination)
        goes_on = found is not None and not found.again and not found.outcome
        self.sending = found if found and goes_on and _same(found, fresh) else fresh

    def check(self) -> None:
        """Make sure that the work is still ours. Raises ClaimLost, MarkerTaken."""
        self._check()

    @property
    def job(self) -> str:
        """The job that was begun last."""
        return self.sending.job

    @property
    def transaction(self) -> str:
        """The storage commitment that was asked for last."""
        return self.sending.transaction

    @property
    def missing(self) -> tuple[str, ...]:
        """The instances that the destination refused so far."""
        return self.sending.missing

    def note_missing(self, missing: tuple[str, ...]) -> None:
        """Keep what is left to be sent; nothing is under way."""
        self.write(replace(self.sending, job="", transaction="", missing=missing))

    def note(self, job: str = "", transaction: str = "") -> None:
        """Keep these, for whoever goes on after a crash."""
        self.write(replace(self.sending, job=job, transaction=transaction))

    def write(self, sending: Sending, line: Line | None = None) -> None:
        """Replace it, durably; `line` is then owed to the audit log."""
        record = self._record.now.owing(line or {})
        self._record.write(record.with_sending(self._rule, self._destination, sending))
        self.sending = sending


def outcome_of(sending: Sending) -> Outcome:
    """What the record says about a destination that has everything."""
    return Outcome(
        sending.outcome,
        instances=sending.instances,
        size_bytes=sending.size_bytes,
        time=sending.time,
        committed=sending.committed,
        details=sending.details,
    )


def sent_already(rule: Rule, record: Record) -> dict[str, Outcome]:
    """What the record says about each destination of a rule that has everything."""
    if not rule.forwards:
        return {}
    found = {name: record.sending(rule.name, name) for name in rule.destination_modalities}
    return {name: outcome_of(one) for name, one in found.items() if one and one.outcome == Word.FORWARDED}


def _same(found: Sending, fresh: Sending) -> bool:
    return (found.content, found.fields) == (fresh.content, fresh.fields)
