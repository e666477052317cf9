"""FORWARD: the files to another DICOM node, through Orthanc."""

from __future__ import annotations

import time

from autorthanc_spool import rules
from autorthanc_spool.actions.fetching import in_order, proven
from autorthanc_spool.actions.job import Delivery, Job, Sent
from autorthanc_spool.actions.sources import Originals, Proven
from autorthanc_spool.core.errors import DestinationUnavailable, ForwardRefused
from autorthanc_spool.orthanc.modalities import SendingJob

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
        """Tell in a few words what `run` will do."""
        return f"forward {instances} instances to {', '.join(rule.destination_modalities)}"

    def prove(self, job: Job, delivery: Delivery) -> Job:
        """Read what is made on the way: of a study with one unfit file, the fit ones mustn't leave before it is met."""
        delivery.modalities.check(delivery.destination)
        if _is_stored(job):
            return job
        # Reading it all would be in vain, each time that a destination is tried which is still down.
        delivery.modalities.check_reachable(delivery.destination)
        return proven(job)

    def run(self, job: Job, delivery: Delivery) -> Sent:
        """Do it."""
        if isinstance(job.content, Originals) and _is_stored(job):
            return _send_stored(job, job.content, delivery)
        if not isinstance(job.content, Proven):
            raise TypeError("what is made on the way leaves only when it was proven")
        return _send_straight(job, delivery)


def _is_stored(job: Job) -> bool:
    # What Orthanc holds may leave only where nothing is done to it on the way: a subclass, for instance, isn't meant.
    return type(job.content) is Originals


def _send_straight(job: Job, delivery: Delivery) -> Sent:
    instances, size_bytes = 0, 0
    for instance in in_order(job.resource.instances):
        job.check_stop()
        stream = job.content.open(instance)
        if stream is not None:
            delivery.modalities.store_straight(delivery.destination, b"".join(stream))
            instances, size_bytes = instances + 1, size_bytes + stream.size_bytes
    return Sent(instances, size_bytes)


def _send_stored(job: Job, originals: Originals, delivery: Delivery) -> Sent:
    progress, wanted = delivery.progress, len(job.resource.instances)
    if not progress.job or delivery.modalities.job(progress.job) is None:
        originals.verify_stored(job.resource.instances)
        ids = [instance.resource_id for instance in in_order(job.resource.instances)]
        commitment = job.rule.storage_commitment
        progress.note(delivery.modalities.store(delivery.destination, ids, commitment=commitment))
    done = _finished(job, delivery)
    if done is None or done.state != "Success":
        progress.note()
        reason = done.reason if done else "Orthanc lost its job"
        raise delivery.modalities.failure(delivery.destination, reason)
    if (done.instances, done.failed_instances) != (wanted, 0):
        progress.note()
        raise ForwardRefused(
            f"{delivery.destination} got {done.instances - done.failed_instances} of {wanted} instances; "
            "Orthanc's log says which failed"
        )
    if job.rule.storage_commitment:
        progress.note(progress.job, done.transaction)
        _await_commitment(job, delivery)
    size_bytes = sum(instance.file_size_bytes for instance in job.resource.instances)
    return Sent(wanted, size_bytes, is_committed=job.rule.storage_commitment)


def _finished(job: Job, delivery: Delivery) -> SendingJob | None:
    """Wait for the end of the job; None when Orthanc knows it no more."""
    pause_s, seen, moved_s = FIRST_PAUSE_S, -1.0, time.monotonic()
    while True:
        found = delivery.modalities.job(delivery.progress.job)
        if found is None or found.is_over:
            return found
        if found.progress != seen:
            seen, moved_s = found.progress, time.monotonic()
        if found.state == "Paused" or time.monotonic() - moved_s > LONGEST_STANDSTILL_S:
            state = "was paused" if found.state == "Paused" else "makes no progress"
            raise DestinationUnavailable(
                f"the job that sends to {delivery.destination} {state}; see to it in Orthanc Explorer (Jobs), "
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
