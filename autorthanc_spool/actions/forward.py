"""FORWARD: the files to another DICOM node, through Orthanc."""

from __future__ import annotations

import time

from autorthanc_spool import rules
from autorthanc_spool.core.dicom import Instance
from autorthanc_spool.core.errors import DestinationUnavailable, ForwardRefused
from autorthanc_spool.orthanc.modalities import SendingJob
from autorthanc_spool.outgoing.fetching import in_order, proven
from autorthanc_spool.outgoing.job import Delivery, Job, Sent
from autorthanc_spool.outgoing.sources import Originals, Proven

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 2.0
# A job that shows no progress for so long is looked after later: other markers wait meanwhile.
LONGEST_STANDSTILL_S = 600.0
# Most confirm at once; some do it at night.
COMMITMENT_WAIT_S = 30.0


class Forward:
    """Have Orthanc send what it holds, as one job; send anything else file by file."""

    word = rules.ActionWord("FORWARD", rules.Kind.SENDS, needs=("DestinationModality",), keys=("StorageCommitment",))

    def describe(self, rule: rules.Rule, instances: int) -> str:
        """Say in a few words what `run` will do."""
        return f"forward {instances} instances to {', '.join(rule.destination_modalities)}"

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
    missing: list[str] = []
    reason: ForwardRefused | None = None
    for instance in _left(job, delivery):
        job.check_stop()
        stream = proven.open(instance)
        if stream is None:
            continue
        delivery.progress.check()
        try:
            delivery.modalities.store_straight(delivery.destination, b"".join(stream))
        except ForwardRefused as error:
            missing.append(instance.resource_id)
            reason = error
    if reason:
        raise _refused(delivery, missing, proven.instances, str(reason))
    return Sent(proven.instances, proven.size_bytes)


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
    ids = [one.resource_id for one in left]
    if not progress.job or modalities.job(progress.job) is None:
        originals.verify_stored(left)
        progress.check()
        progress.note(modalities.store(delivery.destination, ids, commitment=commitment))
    done = _finished(job, delivery, progress.job)
    if _is_whole(done, ids):
        progress.note(progress.job, done.transaction if done else "")
        return
    progress.note()
    failure = modalities.failure(delivery.destination, done.reason if done else "Orthanc lost its job")
    if done is None or isinstance(failure, DestinationUnavailable):
        raise failure
    missing = _send_halves(job, delivery, ids) if len(ids) > 1 else ids
    if missing:
        raise _refused(delivery, missing, len(job.resource.instances), done.reason)
    if commitment:
        raise failure


def _send_halves(job: Job, delivery: Delivery, ids: list[str]) -> list[str]:
    """Send both halves of what wasn't taken whole, and those of each half again; return what is refused alone."""
    missing: list[str] = []
    for part in (ids[: len(ids) // 2], ids[len(ids) // 2 :]):
        delivery.progress.check()
        if not _is_whole(_finished(job, delivery, delivery.modalities.store(delivery.destination, part)), part):
            missing += _send_halves(job, delivery, part) if len(part) > 1 else part
    # A destination that went away has refused nothing.
    if missing:
        delivery.modalities.check_reachable(delivery.destination)
    return missing


def _is_whole(done: SendingJob | None, ids: list[str]) -> bool:
    return done is not None and (done.state, done.instances, done.failed_instances) == ("Success", len(ids), 0)


def _finished(job: Job, delivery: Delivery, job_id: str) -> SendingJob | None:
    """Wait for the end of a job; None when Orthanc no longer knows it."""
    pause_s, seen, moved_s = FIRST_PAUSE_S, -1.0, time.monotonic()
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
        pause_s = min(pause_s * 1.5, LONGEST_PAUSE_S)


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
