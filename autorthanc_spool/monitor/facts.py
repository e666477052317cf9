"""The facts that `health` judges, as far as they are in the spool.

Looking changes nothing. ``done/`` isn't listed: it may hold a hundred thousand records.
"""

from __future__ import annotations

import math
import time
from contextlib import suppress

from autorthanc_spool.core.errors import MarkerError, OutsideHours, StillArriving
from autorthanc_spool.core.states import State
from autorthanc_spool.monitor import pause
from autorthanc_spool.monitor.health import Facts, OrthancFacts, Queue
from autorthanc_spool.monitor.heartbeat import processors
from autorthanc_spool.spool.directories import Item, since_s
from autorthanc_spool.spool.spool import Spool

OPEN = (State.INCOMING, State.PROCESSING, State.DEFERRED, State.FAILED, State.HOLD)
_WAITING = (State.INCOMING, State.DEFERRED)


def gather(spool: Spool, alert_age_s: float, orthanc: OrthancFacts | None = None) -> Facts:
    """Look at the spool."""
    queues, old = {}, []
    for state in OPEN:
        count, first_s = 0, math.inf
        for first, name in spool.directories.changed(state):
            count, first_s = count + 1, min(first_s, first)
            if state in _WAITING and _age_s(first) > alert_age_s:
                old.append((first, state, name))
        queues[state] = Queue(count, _age_s(first_s) if count else None)
    waiting = _oldest_waiting(spool, old)
    return Facts(
        processors=processors(spool.root),
        queues=queues,
        waiting=waiting.name if waiting else "",
        waiting_s=age_s(waiting) if waiting else None,
        orthanc=orthanc,
        pause=pause.read(spool.root),
        alert_age_s=alert_age_s,
    )


def age_s(item: Item) -> float:
    """For how long a marker has waited, or been in its state (see `Directories.changed`)."""
    try:
        return _age_s(since_s(item.state, item.name, item.path.lstat().st_ctime))
    except FileNotFoundError:
        return 0.0


def _age_s(since_s: float) -> float:
    return max(0.0, time.time() - since_s)


def _oldest_waiting(spool: Spool, old: list[tuple[float, State, str]]) -> Item | None:
    """Find the one that waits longest of those that wait for too long; they alone are read."""
    items = (spool.directories.item(state, name) for _, state, name in sorted(old))
    return next((item for item in items if not _is_meant_to_wait(spool, item)), None)


def _is_meant_to_wait(spool: Spool, item: Item) -> bool:
    # What is still arriving waits for the scanner, what is outside of its hours for the night: not for us.
    with suppress(MarkerError, FileNotFoundError):
        error = spool.directories.read(item).error
        return (
            item.state is State.DEFERRED and error is not None and any(map(error.is_a, (StillArriving, OutsideHours)))
        )
    return False
