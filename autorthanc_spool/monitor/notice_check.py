"""That no processor is at work, reported by somebody else: a health check, a timer, `up`.

A processor that was stopped or killed can't report it. Where one lives that can, it does, and nothing is sent here.
What was sent is in ``state/notices-check.json``, apart from what processors sent.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from autorthanc_spool.disk import locks
from autorthanc_spool.monitor import notice_target
from autorthanc_spool.monitor.health import Facts, can_tell, judge
from autorthanc_spool.monitor.heartbeat import Processor, processors
from autorthanc_spool.monitor.notice_plan import Seen
from autorthanc_spool.monitor.outbox import Outbox
from autorthanc_spool.settings import Settings

# Who restarts a processor is through with it by then.
RESTART_S = 10.0
NAME = "notices-check"
ABOUT = "the processor"


def tell(spool: Path, settings: Settings, environ: Mapping[str, str], restart_s: float = RESTART_S) -> None:
    """Tell people once that no processor is at work, where none can say so itself, and once that one is again.

    Where none lives, one that begins within `restart_s` is waited for.
    """
    targets = notice_target.targets(settings, environ)
    held = locks.take(spool / "locks", NAME) if targets else None
    if held is None:
        return
    try:
        found = _after_a_restart(spool, restart_s)
        alarm = next((one for one in judge(Facts(found)) if one.is_alarm), None)
        text = str(alarm) if alarm and not any(map(can_tell, found)) else None
        outbox = Outbox(spool / "state" / f"{NAME}.json", targets)
        outbox.read()
        outbox.add(Seen(changes=((ABOUT, text),)))
        outbox.send()
    finally:
        held.release()


def _after_a_restart(spool: Path, restart_s: float) -> tuple[Processor, ...]:
    """Find the processors; where none lives, look for a moment whether one begins."""
    end_s = time.monotonic() + restart_s
    found = processors(spool)
    while not any(one.is_alive for one in found) and time.monotonic() < end_s:
        time.sleep(0.5)
        found = processors(spool)
    return found
