"""How old what waits is, by rule: as Postfix's qshape shows a queue, whose columns double."""

from __future__ import annotations

from bisect import bisect_left
from contextlib import suppress

from autorthanc_spool.core.errors import MarkerError
from autorthanc_spool.core.states import State
from autorthanc_spool.monitor.facts import age_s
from autorthanc_spool.spool.directories import Item
from autorthanc_spool.spool.spool import Spool

LIMITS_MIN = (5, 10, 20, 40, 80, 160, 320, 640, 1280)
# Minutes: up to 5, up to 10 …, and more.
HEADS = (*map(str, LIMITS_MIN), f"{LIMITS_MIN[-1]}+")
TOTAL = "TOTAL"
# What waits in incoming/ for any rule was not looked at yet.
UNKNOWN = "(not looked at yet)"


def of(spool: Spool) -> dict[str, list[int]]:
    """Count what waits in ``incoming/`` and ``deferred/``: a row for all, then one for each rule, the longest first.

    A marker that waits for two rules is in both rows, and counts once in the first.
    """
    rows = {TOTAL: [0] * len(HEADS)}
    for state in (State.INCOMING, State.DEFERRED):
        for item in spool.directories.items(state):
            column = bisect_left(LIMITS_MIN, age_s(item) / 60)
            for name in (TOTAL, *_rules(spool, item)):
                rows.setdefault(name, [0] * len(HEADS))[column] += 1
    return dict(sorted(rows.items(), key=lambda row: (row[0] != TOTAL, -sum(row[1]), row[0])))


def _rules(spool: Spool, item: Item) -> tuple[str, ...]:
    with suppress(MarkerError, FileNotFoundError):
        found = spool.directories.read(item)
        waiting = [rule for rule, outcome in found.outcomes.items() if outcome.problem]
        return tuple(waiting) or found.rules or (UNKNOWN,)
    return (UNKNOWN,)
