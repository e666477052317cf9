"""Observers of the work: they hear of each step, never able to stop, slow, or lose any of it.

An observer that fails is noted in the log once, and once when it works again. `tick` comes from a thread of its own, so
that an observer also sees work that takes long or hangs; all other calls come from the thread that does the work.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from autorthanc_spool.core.errors import SpoolError
from autorthanc_spool.core.outcome import Outcome
from autorthanc_spool.spool.directories import Item
from autorthanc_spool.spool.spool import Claim

log = logging.getLogger(__name__)

TICK_S = 1.0
WORKS_AFTER_S = 15.0


@dataclass(frozen=True)
class FiledMarker:
    """What happened to a claim: `item` is None when a person took the marker away; `outcomes` are by rule."""

    claim: Claim
    item: Item | None
    outcomes: Mapping[str, Outcome]
    error: SpoolError | None
    took_s: float


class Observer:
    """Does nothing; an observer overrides what it wants to know.

    One that writes into the spool, `needs_spool`, isn't called by the clock while the spool is away: nothing may be
    written below its mount point.
    """

    needs_spool = False

    def begin(self) -> None:
        """The processor starts."""

    def looked(self) -> None:
        """The spool was looked at, and is about to be worked on."""

    def claimed(self, claim: Claim) -> None:
        """The work on a marker begins."""

    def filed(self, filed: FiledMarker) -> None:
        """A marker was filed."""

    def passed_over(self, claim: Claim) -> None:
        """A marker asked for nothing, and was removed."""

    def trouble_began(self, what: str, text: str) -> None:
        """Something outside is wrong; `what` names it, as in `trouble_ended`."""

    def trouble_ended(self, what: str) -> None:
        """It is all right again."""

    def tick(self) -> None:
        """About once a second."""

    def end(self) -> None:
        """The processor ends cleanly."""


class Observers(Observer):
    """All observers of a processor."""

    def __init__(self, observers: Iterable[Observer], is_spool_there: Callable[[], bool] = lambda: True) -> None:
        self._observers = tuple(observers)
        self._is_spool_there = is_spool_there
        # When each last failed; it works again when it hasn't for a while, as not each call does something.
        self._failing: dict[Observer, float] = {}
        self._stop = threading.Event()
        self._ticker = threading.Thread(target=self._tick, name="observers", daemon=True)

    def begin(self) -> None:
        self._tell(lambda one: one.begin())
        if self._observers:
            self._ticker.start()

    def looked(self) -> None:
        self._tell(lambda one: one.looked())

    def claimed(self, claim: Claim) -> None:
        self._tell(lambda one: one.claimed(claim))

    def filed(self, filed: FiledMarker) -> None:
        self._tell(lambda one: one.filed(filed))

    def passed_over(self, claim: Claim) -> None:
        self._tell(lambda one: one.passed_over(claim))

    def trouble_began(self, what: str, text: str) -> None:
        self._tell(lambda one: one.trouble_began(what, text))

    def trouble_ended(self, what: str) -> None:
        self._tell(lambda one: one.trouble_ended(what))

    def tick(self) -> None:
        is_there = self._is_spool_there()
        self._tell(lambda one: one.tick() if is_there or not one.needs_spool else None)

    def end(self) -> None:
        self._stop.set()
        if self._ticker.is_alive():
            self._ticker.join()
        self._tell(lambda one: one.end())

    def _tick(self) -> None:
        while not self._stop.wait(TICK_S):
            self.tick()

    def _tell(self, call: Callable[[Observer], None]) -> None:
        for one in self._observers:
            try:
                call(one)
            except Exception as error:  # noqa: BLE001 - whatever it is, the work goes on
                if one not in self._failing:
                    log.warning("%s doesn't work: %s; the work goes on without it", type(one).__name__, error)
                self._failing[one] = time.monotonic()
            else:
                if time.monotonic() - self._failing.get(one, math.inf) > WORKS_AFTER_S:
                    log.info("%s works again", type(one).__name__)
                    self._failing.pop(one, None)
