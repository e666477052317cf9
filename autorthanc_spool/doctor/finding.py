"""One line of `doctor`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How bad it is: a warning works, but not always or not safely."""

    OK = "ok"
    WARNING = "warning"
    BROKEN = "broken"


@dataclass(frozen=True)
class Finding:
    """What was looked at, what was found, and how to fix it."""

    severity: Severity
    what: str
    text: str
    fix: str = ""
    is_unreachable: bool = False


def ok(what: str, text: str) -> Finding:
    """All right."""
    return Finding(Severity.OK, what, text)


def warning(what: str, text: str, fix: str) -> Finding:
    """It works, but not always or not safely."""
    return Finding(Severity.WARNING, what, text, fix)


def broken(what: str, text: str, fix: str = "") -> Finding:
    """It doesn't work, or lets strangers in."""
    return Finding(Severity.BROKEN, what, text, fix)
