"""All that the page shows, found at one moment. Nothing of a patient is in it: kinds, rules' names, and numbers."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from autorthanc_spool.core.errors import MarkerError
from autorthanc_spool.core.states import State
from autorthanc_spool.monitor import facts as looking
from autorthanc_spool.monitor import statistics
from autorthanc_spool.monitor.counts import Number, day_of, hour_of, last_hours
from autorthanc_spool.monitor.health import Facts, Kind, OrthancFacts, is_at_work, judge
from autorthanc_spool.spool.spool import Spool

# Kinds are read out of markers for so long at one look; a heap of new ones is known after some looks.
READING_S = 0.1
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Outside:
    """What the spool doesn't say: rules by name and state, folders that aren't the right ones, when to alert."""

    rules: Mapping[str, str]
    folder_problems: tuple[str, ...]
    alert_age_s: float


def look(spool: Spool, outside: Outside) -> Facts:
    """Find all that `judge` judges, as far as the spool and the living processors know of it."""
    found = _without_persons_words(looking.gather(spool, outside.alert_age_s))
    broken = tuple(name for name, state in outside.rules.items() if state == "broken")
    return replace(found, orthanc=_orthanc(found), folder_problems=outside.folder_problems, broken_rules=broken)


def take(spool: Spool, outside: Outside, now: datetime) -> dict[str, Any]:
    """Look at everything, and give it as `status.json` has it. `now` knows the site's zone."""
    found = look(spool, outside)
    counts = statistics.read(spool.root / statistics.FOLDER)
    today = counts.since(day_of(now))
    queues = {str(state): {"count": one.count, "oldest_age_s": _rounded(one.oldest_age_s)}
              for state, one in found.queues.items()}  # fmt: skip
    findings = judge(found)
    return {
        "format": 1,
        "time": now.isoformat(timespec="seconds"),
        "time_s": round(now.timestamp()),
        "healthy": not findings,
        "findings": [one.content() for one in findings],
        "paused": found.pause is not None,
        "folder_problems": list(outside.folder_problems),
        "orthanc_reachable": found.orthanc.reachable if found.orthanc else None,
        "processors": [
            {"host": one.host, "pid": one.pid, "version": one.version, "alive": one.is_alive, "since": one.since,
             "running_s": _rounded(one.since_s), "looked": one.looked, "looked_s": _rounded(one.looked_s),
             "silent": one.is_alive and not is_at_work(one), "silent_s": _rounded(one.silent_s),
             "works": bool(one.marker)}
            for one in found.processors
        ],
        "states": queues,
        "waiting_by": _kinds(spool, State.DEFERRED),
        "failed_by": _kinds(spool, State.FAILED),
        "rules": {
            name: {"state": outside.rules.get(name, "gone"), **{one: today.get(name, Counter())[one] for one in Number}}
            for name in sorted({*outside.rules, *today})
        },
        "hours": [_hour(hour_of(begin), begin, counts.hours) for begin in last_hours(now)],
    }  # fmt: skip


def _hour(name: str, begin: datetime, hours: Mapping[str, Mapping[str, Mapping[str, int]]]) -> dict[str, Any]:
    rules = hours.get(name, {}).values()
    left = sum(one.get(Number.PUBLISHED, 0) + one.get(Number.FORWARDED, 0) for one in rules)
    return {"begin": begin.strftime("%H:%M"), "left": left, "failed": sum(one.get(Number.FAILED, 0) for one in rules)}


def _without_persons_words(found: Facts) -> Facts:
    # A person may write anything into a reason or a marker's file name.
    pause = replace(found.pause, reason="") if found.pause else None
    return replace(found, pause=pause, waiting="a marker" if found.waiting else "")


def _orthanc(found: Facts) -> OrthancFacts | None:
    """Whether the processors reach Orthanc; None while none of them can say."""
    alive = [one for one in found.processors if one.is_alive]
    for trouble in (trouble for one in alive for trouble in one.troubles):
        if trouble.what == str(Kind.ORTHANC):
            return OrthancFacts("", reachable=False, problem=f"since {trouble.since}: {trouble.text}")
    return OrthancFacts("", reachable=True) if any(one.looked for one in alive) else None


def _kinds(spool: Spool, state: State) -> dict[str, int]:
    """Count by kind of error what lies there, as far as the time allows."""
    enough_s = time.monotonic() + READING_S
    kinds: Counter[str] = Counter()
    for item in spool.directories.items(state):
        kind = UNKNOWN
        if time.monotonic() < enough_s:
            try:
                problems = spool.directories.read(item).problems
                kind = problems[0].kind if problems else UNKNOWN
            except MarkerError:
                kind = MarkerError.__name__
            except OSError:
                kind = UNKNOWN
        kinds[kind] += 1
    return dict(kinds.most_common())


def _rounded(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds)
