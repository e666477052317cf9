"""`doctor`: looks at everything that has to be right around this program, and says how to fix what isn't.

Nothing is changed but for files that are made and removed again in ``tmp/``, ``incoming/`` (with a leading dot, which
is not a marker) and the output. Only the probe writes to Orthanc, and only when it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from autorthanc_spool.core.errors import OrthancUnavailable, SpoolError, SpoolUnavailable
from autorthanc_spool.disk import durable
from autorthanc_spool.doctor import folders, probe, server, shared, storage, traffic
from autorthanc_spool.doctor.finding import Finding, Severity, broken, warning
from autorthanc_spool.run.tools import Tools

__all__ = ["Finding", "Severity", "examine", "examine_shared", "exit_code"]


def examine(tools: Tools, *, with_probe: bool, say: Callable[[str], None]) -> Iterator[Finding]:
    """Look at one thing after the other. `say` gets what takes long."""
    spool = list(_guarded("spool", lambda: folders.spool(tools)))
    yield from spool
    is_usable = all(finding.severity is not Severity.BROKEN for finding in spool)
    parts = (
        ("audit log", folders.audit_log), ("output", folders.output), ("output", folders.delivered),
        ("rules", folders.rules), ("pseudonym key", folders.pseudonym_key),
    )  # fmt: skip
    for what, look in parts:
        yield from _guarded(what, lambda look=look: look(tools), is_spool_usable=is_usable)  # type: ignore[misc]
    reached = True
    for finding in _guarded("Orthanc", lambda: server.reachable(tools.orthanc)):
        reached = reached and finding.severity is not Severity.BROKEN
        yield finding
    yield from _guarded("transport", lambda: server.transport(tools.settings))
    if not reached:
        for what in ("credentials", "DICOM", "clocks", "Lua script"):
            yield warning(
                what, "not known, as Orthanc can't be asked", "fix what is said about Orthanc, then try again"
            )
        return
    yield from _guarded("credentials", lambda: server.credentials(tools.settings))
    yield from _guarded("Orthanc", lambda: server.configuration(tools))
    yield from _guarded("storage", lambda: server.storage(tools))
    yield from _guarded("DICOM", lambda: storage.accepted(tools))
    yield from _guarded("clocks", lambda: server.clocks(tools))
    yield from _guarded("destinations", lambda: server.destinations(tools), is_spool_usable=is_usable)
    evidence = (lambda: probe.probe(tools, say)) if with_probe else (lambda: traffic.evidence(tools))
    yield from _guarded("Lua script", evidence)


def examine_shared(tools: Tools, say: Callable[[str], None], hosts: int, meeting_s: float) -> Iterator[Finding]:
    """Check whether the hosts on which this runs at the same time share the spool correctly."""
    yield from _guarded("shared", lambda: shared.examine(tools, say, hosts, meeting_s))


def exit_code(findings: list[Finding]) -> int:
    """0 when nothing is broken, 75 when Orthanc can't be reached, whatever else there is, 1 otherwise."""
    if any(finding.is_unreachable for finding in findings):
        return OrthancUnavailable.exit_code
    return 1 if any(finding.severity is Severity.BROKEN for finding in findings) else 0


def _guarded(what: str, look: Callable[[], Iterator[Finding]], *, is_spool_usable: bool = True) -> Iterator[Finding]:
    try:
        yield from look()
    except SpoolUnavailable as error:
        if is_spool_usable:
            yield broken(what, str(error))
        else:
            yield warning(what, "not checked, as that requires a spool that can be written", "fix the spool first")
    except SpoolError as error:
        yield broken(what, str(error))
    except OSError as error:
        reason = durable.passing_reason(error)
        text, _, fix = (reason or f"it can't be looked at: {error.strerror}").partition("; ")
        yield broken(what, text, fix or "fix its owner or mode, or the disk")
