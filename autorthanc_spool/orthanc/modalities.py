"""Other DICOM nodes, as Orthanc knows and reaches them: sending jobs, storage commitment, C-ECHO.

Source: https://orthanc.uclouvain.be/book/users/rest.html#sending-resources-to-remote-modalities,
https://orthanc.uclouvain.be/book/users/storage-commitment.html
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from autorthanc_spool.core.errors import DestinationUnavailable, ForwardRefused, OrthancFault, UnknownModality
from autorthanc_spool.orthanc.answers import Answer
from autorthanc_spool.orthanc.client import Orthanc

# A large file takes its time on a slow line; Orthanc itself gives up where nothing moves (DicomScuTimeout).
SEND_TIMEOUT_S = 1800.0

# Orthanc's number for an association that was accepted, but not for what was asked.
_NO_PRESENTATION_CONTEXT = 2015


@dataclass(frozen=True)
class SendingJob:
    """A sending job of Orthanc. `state` is Pending, Running, Success, Failure, Paused or Retry."""

    state: str
    progress: float
    instances: int
    failed_instances: int
    reason: str
    transaction: str

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come of it."""
        return self.state in ("Success", "Failure")


@dataclass(frozen=True)
class Commitment:
    """What a destination answered to the request for storage commitment; `confirmed` are SOPInstanceUIDs."""

    status: str
    confirmed: frozenset[str]
    failures: int


class Modalities:
    """The DICOM nodes of one Orthanc."""

    def __init__(self, orthanc: Orthanc) -> None:
        self._orthanc = orthanc

    def check(self, name: str) -> None:
        """Raise UnknownModality unless Orthanc knows this name."""
        known = sorted(self._orthanc.modalities())
        if name not in known:
            raise UnknownModality(
                f"Orthanc knows no modality {name}; it knows {', '.join(known) or 'none'}. Add it to .env, as "
                f'ORTHANC_DICOM_MODALITIES=\'{{"{name}": ["AET", "host", 104]}}\', restart Orthanc, and requeue the '
                "marker; or fix DestinationModality in the rule"
            )

    def leading_back(self, names: Iterable[str], published_port: int) -> frozenset[str]:
        """Return those of the names that are Orthanc itself; outside of a container, its port is `published_port`."""
        system = self._orthanc.system()
        found = (
            (name, self._orthanc.look(f"/modalities/{_quoted(name)}/configuration")) for name in sorted(set(names))
        )
        return frozenset(name for name, node in found if node and self._is_itself(node, system, published_port))

    def _is_itself(self, node: Mapping[str, object], system: Mapping[str, object], published_port: int) -> bool:
        host = str(node.get("Host", "")).lower()
        if host not in ("localhost", "::1", urlsplit(self._orthanc.url).hostname) and not host.startswith("127."):
            return False
        # Orthanc takes what comes to its port under whatever AET; behind another port it is known by its own.
        is_named = node.get("AET") == system.get("DicomAet")
        return node.get("Port") == system.get("DicomPort") or (is_named and node.get("Port") == published_port)

    def check_reachable(self, name: str) -> None:
        """Raise DestinationUnavailable when nobody answers there; a node that doesn't know C-ECHO has answered."""
        reason = self._unreachable(name)
        if reason:
            raise _down(name, reason)

    def store(self, name: str, instance_ids: Iterable[str], *, commitment: bool = False) -> str:
        """Begin to send what lies in Orthanc; return the ID of the job, which ends at the first refusal.

        A permissive job would go on; but Orthanc 1.10 then reports success, and no failed instance, when the
        destination accepts no presentation context for some.
        """
        content = {"Resources": list(instance_ids), "Asynchronous": True, "StorageCommitment": commitment}
        answer = self._orthanc.post(f"/modalities/{_quoted(name)}/store", json.dumps(content).encode())
        job = answer.object().get("ID")
        if answer.status != 200 or not isinstance(job, str):
            raise ForwardRefused(f"Orthanc doesn't begin to send to {name} ({_reason(answer)}); its log says more")
        return job

    def store_straight(self, name: str, data: bytes) -> None:
        """Send one file that doesn't lie in Orthanc."""
        path = f"/modalities/{_quoted(name)}/store-straight"
        answer = self._orthanc.post(path, data, read_timeout_s=SEND_TIMEOUT_S)
        if answer.status != 200:
            raise self.failure(name, _reason(answer))

    def job(self, job_id: str) -> SendingJob | None:
        """Look after a job; None when Orthanc no longer knows it."""
        found = self._orthanc.look(f"/jobs/{_quoted(job_id)}")
        if found is None:
            return None
        content = found.get("Content")
        if not isinstance(content, dict):
            raise OrthancFault("Orthanc says nothing about what a sending job has sent")
        return SendingJob(
            state=str(found.get("State", "")),
            progress=_number(found.get("Progress")),
            instances=int(_number(content.get("InstancesCount"))),
            failed_instances=int(_number(content.get("FailedInstancesCount"))),
            reason=str(found.get("ErrorDetails") or found.get("ErrorDescription") or "no reason given"),
            transaction=str(content.get("StorageCommitmentTransactionUID", "")),
        )

    def commitment(self, transaction: str) -> Commitment | None:
        """Look after a storage commitment; None when Orthanc no longer knows it (it forgets them when it restarts)."""
        found = self._orthanc.look(f"/storage-commitment/{_quoted(transaction)}")
        if found is None:
            return None
        confirmed, failures = found.get("Success"), found.get("Failures")
        return Commitment(
            status=str(found.get("Status", "")),
            confirmed=frozenset(
                str(one.get("SOPInstanceUID", "")).strip(" \0")
                for one in (confirmed if isinstance(confirmed, list) else [])
                if isinstance(one, dict)
            ),
            failures=len(failures) if isinstance(failures, list) else 0,
        )

    def failure(self, name: str, reason: str) -> DestinationUnavailable | ForwardRefused:
        """Find after a failure whether a destination is down, or answers and refuses."""
        if self._unreachable(name):
            return _down(name, reason)
        return ForwardRefused(
            f"{name} answers, but not everything could be sent to it ({reason}); "
            "its log and Orthanc's say more: is Orthanc's AET known there, and is there room?",
            reason=reason,
        )

    def _unreachable(self, name: str) -> str:
        """Say why a destination doesn't answer C-ECHO; nothing when it does, or doesn't offer it."""
        answer = self._orthanc.post(f"/modalities/{_quoted(name)}/echo", b"{}")
        if answer.status == 200 or answer.object().get("OrthancStatus") == _NO_PRESENTATION_CONTEXT:
            return ""
        return _reason(answer)


def _down(name: str, reason: str) -> DestinationUnavailable:
    return DestinationUnavailable(
        f"{name} can't be reached ({reason}); start it, or fix its address in ORTHANC_DICOM_MODALITIES"
    )


def _reason(answer: Answer) -> str:
    content = answer.object()
    return str(content.get("Details") or content.get("Message") or f"status {answer.status}")


def _number(value: object) -> float:
    return value if isinstance(value, int | float) else 0


def _quoted(name: str) -> str:
    return quote(name, safe="")
