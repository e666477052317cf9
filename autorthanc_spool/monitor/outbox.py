"""What people were told, and what is still to be sent: one small file, written before and after each sending."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from autorthanc_spool.core.marker import TIME_FORMAT
from autorthanc_spool.disk import durable
from autorthanc_spool.monitor.notice_plan import Bundle, Notice, Queued, Seen, Told, decide, delivered
from autorthanc_spool.monitor.notice_target import NotSent, Target
from autorthanc_spool.spool.directories import utc

log = logging.getLogger(__name__)

RETRY_S = 60.0
GIVEN_UP = timedelta(days=1)


class Outbox:
    """Notices on their way; on a full disk they are kept in memory, and sent all the same."""

    def __init__(self, path: Path, targets: tuple[Target, ...], clock: Callable[[], float] = time.time) -> None:
        self.told = Told()
        self._path = path
        self._targets = {target.name: target for target in targets}
        self._clock = clock
        self._retry_s: dict[str, float] = {}

    def read(self) -> None:
        """Go on from what another process left."""
        self.told = _read(self._path)

    def add(self, seen: Seen) -> None:
        """Decide what people are to be told of what is seen."""
        now_s = self._clock()
        self._keep(decide(self.told, seen, now_s, utc(now_s), tuple(self._targets)))

    def send(self, may_go_on: Callable[[], bool] = lambda: True) -> None:
        """Send what is to be sent; `may_go_on` is asked before each."""
        now_s = time.monotonic()
        oldest = datetime.fromtimestamp(self._clock(), UTC) - GIVEN_UP
        for queued in self.told.outbox:
            for name in queued.to:
                if not may_go_on():
                    return
                target = self._targets.get(name)
                if target is None or queued.notice.time < oldest.strftime(TIME_FORMAT):
                    # It is no longer set up, or the notice is too old.
                    self._keep(delivered(self.told, queued.notice, name))
                elif self._retry_s.get(name, 0.0) <= now_s and self._is_sent(target, queued.notice):
                    self._keep(delivered(self.told, queued.notice, name))

    def _is_sent(self, target: Target, notice: Notice) -> bool:
        try:
            target.send(notice)
        except NotSent as error:
            if target.name not in self._retry_s:
                log.warning("a notice can't be sent by %s: %s; it is tried again", target.name, error)
            self._retry_s[target.name] = time.monotonic() + RETRY_S
            return False
        if self._retry_s.pop(target.name, None) is not None:
            log.info("notices are sent again by %s", target.name)
        return True

    def _keep(self, told: Told) -> None:
        if told == self.told:
            return
        self.told = told
        # In ASCII: a file name may have bytes that are no text.
        content = json.dumps({"format": 1, **asdict(told)}, indent=1).encode()
        with suppress(OSError):
            durable.write(self._path, content + b"\n", self._path.parent, mode=0o640)


def _read(path: Path) -> Told:
    """Read what was sent; nothing, where that can't be understood."""
    try:
        content = json.loads(path.read_bytes())
        outbox = (
            Queued(
                Notice(**{**_known(Notice, one["notice"]), "resources": tuple(one["notice"]["resources"])}),
                tuple(one["to"]),
            )
            for one in content["outbox"]
        )
        failed, uncollected = (Bundle(**_known(Bundle, content[name])) for name in ("failed", "uncollected"))
        return Told(dict(content["troubles"]), failed, uncollected, tuple(outbox))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return Told()


def _known(kind: type[Notice | Bundle], content: Mapping[str, Any]) -> dict[str, Any]:
    # A later version may have written more.
    return {one.name: content[one.name] for one in fields(kind) if one.name in content}
