"""`doctor`: looks at everything that has to be right around this program, and says how to mend what isn't.

Nothing is changed but for files that are made and removed again in ``tmp/``, ``incoming/`` (with a leading dot, which
is no marker) and the output. Only the probe writes to Orthanc, and only when it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from autorthanc_spool.core.errors import OrthancUnavailable, SpoolError
from autorthanc_spool.doctor import folders, probe, server, storage, traffic
from autorthanc_spool.doctor.finding import Finding, Severity, broken
from autorthanc_spool.run.tools import Tools

__all__ = ["Finding", "Severity", "examine", "exit_code"]


def examine(tools: Tools, *, with_probe: bool, say: Callable[[str], None]) -> Iterator[Finding]:
    """Look at one thing after the other. `say` is told what takes long."""
    yield from _guarded("spool", lambda: folders.spool(tools))
    yield from _guarded("audit log", lambda: folders.audit_log(tools))
    yield from _guarded("output", lambda: folders.output(tools))
    yield from _guarded("rules", lambda: folders.rules(tools))
    reached = True
    for finding in _guarded("Orthanc", lambda: server.reachable(tools.orthanc)):
        reached = reached and finding.severity is not Severity.BROKEN
        yield finding
    yield from _guarded("credentials", lambda: server.credentials(tools.settings))
    if not reached:
        return
    yield from _guarded("Orthanc", lambda: server.configuration(tools))
    yield from _guarded("DICOM", lambda: storage.accepted(tools))
    yield from _guarded("clocks", lambda: server.clocks(tools))
    yield from _guarded("destinations", lambda: server.destinations(tools))
    evidence = (lambda: probe.probe(tools, say)) if with_probe else (lambda: traffic.evidence(tools))
    yield from _guarded("Lua script", evidence)


def exit_code(findings: list[Finding]) -> int:
    """0 when nothing is broken, 75 when Orthanc can't be reached, whatever else there is, 1 otherwise."""
    if any(finding.is_unreachable for finding in findings):
        return OrthancUnavailable.exit_code
    return 1 if any(finding.severity is Severity.BROKEN for finding in findings) else 0


def _guarded(what: str, look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from look()
    except SpoolError as error:
        yield broken(what, str(error))
    except OSError as error:
        yield broken(what, f"it can't be looked at: {error.strerror}", "mend its owner or mode, or the disk")
