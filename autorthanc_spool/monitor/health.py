"""Whether all is well, and what isn't: a pure judgement of facts, for whoever shows or reports it.

Two things are alarms: that no processor is at work, and that something waits for too long. Everything else is worth
saying, and ends by itself or is for a person to decide.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from autorthanc_spool.core.counted import agreeing
from autorthanc_spool.core.errors import OrthancUnavailable
from autorthanc_spool.core.states import State
from autorthanc_spool.monitor.heartbeat import Processor
from autorthanc_spool.monitor.notice_plan import PROCESSOR
from autorthanc_spool.monitor.pause import Pause

# A request to Orthanc is given up after 60 s, and the heartbeat is written every 5 s: what is silent for longer hangs.
SILENT_S = 75.0
# The heartbeat is written by a thread that does little else: where even that stands still, the process was stopped.
STOPPED_S = 45.0
START = "start it: systemctl start autorthanc-spool, docker compose up --detach, or autorthanc-spool run"


class Kind(StrEnum):
    """What a finding is about."""

    NOT_RUNNING = "not running"
    SILENT = "silent"
    DIED = "died"
    ORTHANC = "Orthanc"
    WAITING = "waiting"
    PAUSED = "paused"
    FOLDER = "folder"
    TROUBLE = "trouble"
    RULE = "rule"
    FAILED = "failed"


@dataclass(frozen=True)
class Queue:
    """What lies in one state: how many markers, and the age of the oldest in seconds (None: unknown or none)."""

    count: int = 0
    oldest_age_s: float | None = None


@dataclass(frozen=True)
class OrthancFacts:
    """Whether Orthanc answers, its version, and what a person reads when it doesn't."""

    url: str
    reachable: bool
    version: str = ""
    problem: str = ""


@dataclass(frozen=True)
class Facts:
    """What was found at one moment. What wasn't looked at is left at its default, and makes no finding.

    `waiting_s` is the age of the oldest marker that waits for longer than it was asked to: in ``incoming/``, or in
    ``deferred/`` for something that should be there. `waiting` is its name.
    """

    processors: tuple[Processor, ...]
    queues: Mapping[State, Queue] = field(default_factory=dict)
    waiting_s: float | None = None
    waiting: str = ""
    orthanc: OrthancFacts | None = None
    pause: Pause | None = None
    folder_problems: tuple[str, ...] = ()
    broken_rules: tuple[str, ...] = ()
    alert_age_s: float = float("inf")


@dataclass(frozen=True)
class Finding:
    """What isn't as it should be, in a sentence, and how to fix it. An alarm needs a person now.

    `about` is the name of a processor, or of a trouble that one sees.
    """

    kind: Kind
    text: str
    fix: str = ""
    is_alarm: bool = False
    about: str = ""

    def __str__(self) -> str:
        return f"{self.text}; {self.fix}" if self.fix else self.text

    def content(self) -> dict[str, Any]:
        """Give it as programs read it."""
        return {"kind": self.kind, "alarm": self.is_alarm, "text": self.text, "fix": self.fix, "about": self.about}


def is_at_work(processor: Processor) -> bool:
    """Whether a processor lives, and something moved in it lately."""
    return can_tell(processor) and processor.silent_s <= max(SILENT_S, processor.patience_s)


def can_tell(processor: Processor) -> bool:
    """Whether a processor lives and wasn't stopped as a whole: it says itself what is wrong."""
    return processor.is_alive and processor.unwritten_s <= STOPPED_S


def judge(facts: Facts) -> tuple[Finding, ...]:
    """Say all that isn't as it should be, the gravest first; nothing when all is well."""
    return (
        *_processors(facts.processors),
        *_orthanc(facts.orthanc),
        *_waiting(facts),
        *_pause(facts.pause),
        *_others(facts),
    )


def exit_code(findings: tuple[Finding, ...]) -> int:
    """0 all right; 1 no processor at work, or something waits for too long; 75 Orthanc is away.

    While no processor is at work, it doesn't help to wait for Orthanc; while Orthanc is away, everything waits.
    """
    alarms = {finding.kind for finding in findings if finding.is_alarm}
    if alarms & {Kind.NOT_RUNNING, Kind.SILENT}:
        return 1
    if Kind.ORTHANC in alarms:
        return OrthancUnavailable.exit_code
    return 1 if alarms else 0


def _processors(processors: tuple[Processor, ...]) -> Iterator[Finding]:
    alive = [one for one in processors if one.is_alive]
    is_alarm = not any(map(is_at_work, processors))
    if not alive:
        yield Finding(
            Kind.NOT_RUNNING,
            "no processor is running",
            START,
            is_alarm=True,
        )
    for one in alive:
        if not is_at_work(one):
            text, fix = _silence(one, is_alarm=is_alarm), _SILENT_FIX.format(pid=one.pid)
            yield Finding(Kind.SILENT, text, fix, is_alarm, about=f"{PROCESSOR}{one.name}")
    for one in processors:
        if not one.is_alive:
            text = f"the processor {one.name} died{one.at_work}"
            yield Finding(Kind.DIED, text, _DIED_FIX, about=f"{PROCESSOR}{one.name}")


_SILENT_FIX = (
    "it was stopped (kill -CONT {pid} lets it go on), or it hangs: look at its log and its disks, and restart it"
)
_DIED_FIX = "its log and `dmesg` (memory) say why; it is named here until a processor starts on that machine"


def _silence(one: Processor, *, is_alarm: bool) -> str:
    begin = "no processor looked at the spool lately: " if is_alarm else ""
    return f"{begin}nothing has moved in the processor {one.name} for {span(one.silent_s)}{one.at_work}"


def _orthanc(orthanc: OrthancFacts | None) -> Iterator[Finding]:
    if orthanc and not orthanc.reachable:
        yield Finding(Kind.ORTHANC, orthanc.problem, is_alarm=True)


def _waiting(facts: Facts) -> Iterator[Finding]:
    if facts.waiting_s is not None and facts.waiting_s > facts.alert_age_s:
        text = f"{facts.waiting} has waited for {span(facts.waiting_s)}, longer than AUTORTHANC_ALERT_AGE_S"
        yield Finding(Kind.WAITING, text, "`autorthanc-spool list` says what for", is_alarm=True)


def _pause(pause: Pause | None) -> Iterator[Finding]:
    if pause:
        reason = f": {pause.reason}" if pause.reason else ""
        text = f"paused for {span(pause.age_s)}{reason}"
        yield Finding(Kind.PAUSED, text, "`autorthanc-spool resume` lets it go on")


def _others(facts: Facts) -> Iterator[Finding]:
    told = set(facts.folder_problems)
    # What was looked at just now is said of what was seen.
    seen = {f"the rule {name}" for name in facts.broken_rules} | ({"Orthanc"} if facts.orthanc else set())
    for text in facts.folder_problems:
        yield Finding(Kind.FOLDER, text)
    for one in facts.processors:
        for trouble in one.troubles if one.is_alive else ():
            # What several processors say is said once.
            if trouble.text not in told and trouble.what not in seen:
                told.add(trouble.text)
                yield Finding(Kind.TROUBLE, f"since {trouble.since}: {trouble.text}", about=trouble.what)
    for name in facts.broken_rules:
        yield Finding(Kind.RULE, f"the rule {name} is broken", "`autorthanc-spool check` says where")
    failed = facts.queues.get(State.FAILED, Queue()).count
    if failed:
        text = f"{failed} in failed/ {agreeing(failed, 'needs')} a person"
        yield Finding(Kind.FAILED, text, "`autorthanc-spool list failed` says why")


def span(seconds: float) -> str:
    """Write a time span in its largest unit: ``12 s``, ``3 min``, ``5 h``, ``9 days``."""
    for unit, length_s, next_s in (("s", 1, 120), ("min", 60, 7200), ("h", 3600, 172800)):
        if seconds < next_s:
            return f"{seconds / length_s:.0f} {unit}"
    return f"{seconds / 86400:.0f} days"
