"""Which destinations of FORWARD are down: a trouble from the first marker that waits for one until none does.

A destination shows only when something is sent to it, so its trouble shows in the outcomes of markers; and, at the
beginning, from the records of those that wait. Other work doesn't wait for a destination.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress

from autorthanc_spool.core.errors import DestinationUnavailable, MarkerError
from autorthanc_spool.core.outcome import Outcome, Word
from autorthanc_spool.core.states import State
from autorthanc_spool.monitor.notice_plan import DESTINATION
from autorthanc_spool.run.plan import Work
from autorthanc_spool.run.troubles import Troubles
from autorthanc_spool.spool.spool import Spool


class Destinations:
    """Begins and ends the troubles of destinations."""

    def __init__(self, spool: Spool, troubles: Troubles) -> None:
        self._spool = spool
        self._troubles = troubles
        self._is_first = True
        # Those whose markers were woken, as something could be sent: once for each trouble, as one that is up may still
        # not confirm.
        self._woken: set[str] = set()

    def look(self) -> None:
        """Find those that markers wait for, at the first look; at each, end what is over."""
        if self._is_first:
            self._is_first = False
            # What is in incoming/ is tried in a moment, and there may be a hundred thousand.
            for name, text in self._waiting(State.DEFERRED, State.PROCESSING):
                self._begin(name, text)
        for name in self._known():
            self._end_unless_waited_for(name)

    def learn(self, work: Work) -> None:
        """Take from the outcomes of a marker which destinations are down, or up again."""
        for name, sent in _sent(work.outcomes):
            if text := _trouble(sent):
                self._begin(name, text)
            elif sent.word == Word.FORWARDED and name in self._known():
                if name not in self._woken:
                    self._woken.add(name)
                    self._spool.make_due_for(name)
                self._end_unless_waited_for(name)

    def _known(self) -> list[str]:
        return [what.removeprefix(DESTINATION) for what in self._troubles.current if what.startswith(DESTINATION)]

    def _begin(self, name: str, text: str) -> None:
        self._troubles.begin(f"{DESTINATION}{name}", f"{text}; what is to be sent there waits in deferred/")

    def _end_unless_waited_for(self, name: str) -> None:
        waiting = self._waiting(State.DEFERRED, State.PROCESSING, State.INCOMING)
        if all(waited_for != name for waited_for, _ in waiting):
            self._woken.discard(name)
            self._troubles.end(f"{DESTINATION}{name}")

    def _waiting(self, *states: State) -> Iterator[tuple[str, str]]:
        """Give the destinations that markers wait for, and why; one that is just being tried still waits."""
        for state in states:
            for item in self._spool.directories.items(state):
                with suppress(FileNotFoundError, MarkerError):
                    found = self._spool.directories.read(item).outcomes
                    yield from ((name, text) for name, sent in _sent(found) if (text := _trouble(sent)))


def _sent(outcomes: Mapping[str, Outcome]) -> Iterator[tuple[str, Outcome]]:
    for outcome in outcomes.values():
        yield from outcome.forward.items()


def _trouble(sent: Outcome) -> str:
    problem = sent.problem
    return problem.text if problem and problem.is_a(DestinationUnavailable) else ""
