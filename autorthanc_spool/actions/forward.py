"""FORWARD: the files to another DICOM node, through Orthanc."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from autorthanc_spool import rules
from autorthanc_spool.core.counted import counted
from autorthanc_spool.core.dicom import Instance
from autorthanc_spool.core.errors import DestinationUnavailable, ForwardRefused
from autorthanc_spool.orthanc.modalities import SendingJob
from autorthanc_spool.outgoing.fetching import in_order, proven
from autorthanc_spool.outgoing.job import Delivery, Job, Sent
from autorthanc_spool.outgoing.sources import Originals, Proven, Stream

log = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.1
YOUNG_S, YOUNG_PAUSE_S = 60.0, 0.5
LONGEST_PAUSE_S = 2.0
# A job that shows no progress for so long is looked after later: other markers wait meanwhile.
LONGEST_STANDSTILL_S = 600.0
# Most confirm at once; some do it at night.
COMMITMENT_WAIT_S = 30.0

FORGOTTEN = "Orthanc forgot a sending job before it was looked at (JobsHistorySize)"
FIX_FORGOTTEN = "set JobsHistorySize in Orthanc's configuration to 100, or more where many jobs end at once"


class Forward:
    """Have Orthanc send what it holds, as one job; send anything else file by file."""

    word = rules.ActionWord("FORWARD", rules.Kind.SENDS, needs=("DestinationModality",), keys=("StorageCommitment",))

    def describe(self, rule: rules.Rule, instances: int) -> str:
        """Say in a few words what `run` will do."""
        return f"forward {counted(instances, 'instance')} to {', '.join(rule.destination_modalities)}"

    def prove(self, job: Job, delivery: Delivery) -> Job:
        """Read what is made on the way: of a study with one unfit file, the fit ones mustn't leave before it is met."""
        delivery.modalities.check(delivery.destination)
        if _is_stored(job):
            return job
        # Else all of it would be read for nothing each time that a destination is tried which is still down.
        delivery.modalities.check_reachable(delivery.destination)
        return proven(job)

    def run(self, job: Job, delivery: Delivery) -> Sent:
        """Send what the destination still lacks."""
        if isinstance(job.content, Originals) and _is_stored(job):
            return _send_stored(job, job.content, delivery)
        if not isinstance(job.content, Proven):
            raise TypeError("what is made on the way leaves only when it was proven")
        return _send_straight(job, job.content, delivery)


def _is_stored(job: Job) -> bool:
    # What Orthanc holds may leave only where nothing is done to it on the way: a subclass, for instance, isn't meant.
    return type(job.content) is Originals


def _send_straight(job: Job, proven: Proven, delivery: Delivery) -> Sent:
    """Send file by file; what is refused keeps nothing else from being sent."""
    missing, reason = _send_each(job, proven.open, delivery, _left(job, delivery))
    if missing:
        raise _refused(delivery, missing, proven.instances, reason)
    return Sent(proven.instances, proven.size_bytes)


def _send_each(
    job: Job, opened: Callable[[Instance], Stream | None], delivery: Delivery, instances: list[Instance]
) -> tuple[list[str], str]:
    """Send files one by one; return which of them were refused, and why the last of these was."""
    missing: list[str] = []
    reason = ""
    for instance in instances:
        job.check_stop()
        stream = opened(instance)
        if stream is None:
            continue
        delivery.progress.check()
        try:
            delivery.modalities.store_straight(delivery.destination, b"".join(stream))
        except ForwardRefused as error:
            missing.append(instance.resource_id)
            reason = error.reason
    return missing, reason


def _left(job: Job, delivery: Delivery) -> list[Instance]:
    """What is to be sent: what was refused before, or everything."""
    instances = in_order(job.resource.instances)
    missing = set(delivery.progress.missing)
    return [one for one in instances if one.resource_id in missing] or instances


def _refused(delivery: Delivery, missing: list[str], wanted: int, reason: str = "") -> ForwardRefused:
    """Note what is left, and name it: the next attempt sends only that."""
    delivery.progress.note_missing(tuple(missing))
    some = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
    return ForwardRefused(
        f"{delivery.destination} refused {len(missing)} of {wanted} instances, and has the others: {some}"
        f"{f' ({reason})' if reason else ''}; its log and Orthanc's say why: does it take their storage class and "
        "transfer syntax?",
        tuple(missing),
    )


def _send_stored(job: Job, originals: Originals, delivery: Delivery) -> Sent:
    instances, commitment = job.resource.instances, job.rule.storage_commitment
    if delivery.progress.missing:
        _send_part(job, originals, delivery, commitment=False)
        if commitment:
            # What is to be confirmed is everything.
            delivery.progress.note_missing(())
            _send_part(job, originals, delivery, commitment=True)
    else:
        _send_part(job, originals, delivery, commitment=commitment)
    if commitment:
        _await_commitment(job, delivery)
    return Sent(len(instances), sum(one.file_size_bytes for one in instances), is_committed=commitment)


def _send_part(job: Job, originals: Originals, delivery: Delivery, *, commitment: bool) -> None:
    """Send what is left as one job; where it stops at something that is refused, send the rest, and name it."""
    progress, modalities, left = delivery.progress, delivery.modalities, _left(job, delivery)
    if not progress.job or modalities.job(progress.job) is None:
        originals.verify_stored(left)
        progress.check()
        progress.note(modalities.store(delivery.destination, _ids(left), commitment=commitment))
    done = _finished(job, delivery, progress.job)
    if _is_whole(done, left):
        progress.note(progress.job, done.transaction if done else "")
        return
    progress.note()
    if done is None and commitment:
        raise ForwardRefused(
            f"{FORGOTTEN}, so nobody knows what {delivery.destination} was to confirm; {FIX_FORGOTTEN}"
        )
    failure = modalities.failure(delivery.destination, done.reason) if done else None
    if isinstance(failure, DestinationUnavailable):
        raise failure
    missing, reason = _send_rest(job, originals, delivery, left, done)
    if missing:
        raise _refused(delivery, missing, len(job.resource.instances), reason)
    if commitment and failure:
        raise failure


def _send_rest(
    job: Job, originals: Originals, delivery: Delivery, part: list[Instance], done: SendingJob | None
) -> tuple[list[str], str]:
    """Send what a job didn't: both halves of what wasn't taken whole, and those of each half again.

    Where Orthanc has forgotten the job, nobody knows what arrived: these files are sent one by one, where each answer
    counts by itself. Return what is refused alone, and why.
    """
    if done is None:
        log.warning("%s; what it sent to %s is sent again, file by file", FORGOTTEN, delivery.destination)
        return _send_each(job, originals.open, delivery, part)
    if len(part) == 1:
        return _ids(part), done.reason
    missing: list[str] = []
    reason = done.reason
    for half in (part[: len(part) // 2], part[len(part) // 2 :]):
        delivery.progress.check()
        sent = _finished(job, delivery, delivery.modalities.store(delivery.destination, _ids(half)))
        if not _is_whole(sent, half):
            refused, reason = _send_rest(job, originals, delivery, half, sent)
            missing += refused
    # A destination that went away has refused nothing.
    if missing:
        delivery.modalities.check_reachable(delivery.destination)
    return missing, reason


def _ids(instances: list[Instance]) -> list[str]:
    return [one.resource_id for one in instances]


def _is_whole(done: SendingJob | None, part: list[Instance]) -> bool:
    return done is not None and (done.state, done.instances, done.failed_instances) == ("Success", len(part), 0)


def _finished(job: Job, delivery: Delivery, job_id: str) -> SendingJob | None:
    """Wait for the end of a job; None when Orthanc no longer knows it."""
    begin_s = moved_s = time.monotonic()
    pause_s, seen = FIRST_PAUSE_S, -1.0
    while True:
        found = delivery.modalities.job(job_id)
        if found is None or found.is_over:
            return found
        if found.progress != seen:
            seen, moved_s = found.progress, time.monotonic()
        if found.state == "Paused" or time.monotonic() - moved_s > LONGEST_STANDSTILL_S:
            state = "was paused" if found.state == "Paused" else "makes no progress"
            raise DestinationUnavailable(
                f"the job that sends to {delivery.destination} {state}; look at it in Orthanc Explorer (Jobs); "
                "it is looked at again"
            )
        job.pause(pause_s)
        # Of jobs that have ended, Orthanc keeps the last ten: most end soon, and others may end right after this one.
        is_young = time.monotonic() - begin_s < YOUNG_S
        pause_s = min(pause_s * 1.5, YOUNG_PAUSE_S if is_young else LONGEST_PAUSE_S)


def _await_commitment(job: Job, delivery: Delivery) -> None:
    """Wait until the destination has confirmed every instance."""
    destination, progress = delivery.destination, delivery.progress
    wanted = {instance.SOPInstanceUID.strip(" \0") for instance in job.resource.instances}
    pause_s, begin_s = FIRST_PAUSE_S, time.monotonic()
    while True:
        found = delivery.modalities.commitment(progress.transaction) if progress.transaction else None
        if found is None:
            progress.note()
            raise DestinationUnavailable(f"Orthanc has forgotten what {destination} should confirm; it is sent again")
        if found.status == "Success" and wanted <= found.confirmed:
            return
        if found.status != "Pending":
            progress.note()
            raise ForwardRefused(
                f"{destination} confirms that it keeps {len(wanted & found.confirmed)} of {len(wanted)} instances; "
                "its log says why not all; they are sent again"
            )
        if time.monotonic() - begin_s > COMMITMENT_WAIT_S:
            raise DestinationUnavailable(
                f"{destination} has everything and hasn't confirmed yet that it keeps it; does it know the address "
                "of Orthanc's AET, and does it support storage commitment?"
            )
        job.pause(pause_s)
        pause_s = min(pause_s * 1.5, LONGEST_PAUSE_S)
