"""What waits, as one look at the directories saw it: a hint, so that one look serves many claims.

The directory stays the truth. A name that is gone when its turn comes was taken by somebody else, and the next one has
its turn; what came since the look is found by the next one. Looking takes a small part of the time, however much waits:
a few markers are looked at before each claim, a hundred thousand every few seconds.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable, Iterator

from autorthanc_spool.core.states import State
from autorthanc_spool.spool.directories import Directories, Item

# Looking again never takes more than this part of the time.
SHARE = 0.05
_STATES = (State.INCOMING, State.DEFERRED)
# Processors that skip a different number of names come apart.
_SHORTEST_SKIP = 16
# Of Orthanc's IDs: five groups of eight digits.
_LENGTH = 44


class Queue:
    """The markers that wait in ``incoming/`` and ``deferred/``.

    `moment` is a clock that is never set, in seconds.
    """

    def __init__(self, directories: Directories, moment: Callable[[], float]) -> None:
        self._directories = directories
        self._moment = moment
        self._names: dict[State, list[str]] = {state: [] for state in _STATES}
        # By ID, and only where several markers have the same: most are alone.
        self._together: dict[str, list[Item]] = {}
        self._rest_until_s = 0.0
        self._skips = 0

    def due(self, looked: Callable[[], None]) -> Iterator[Item]:
        """Give what is due, the oldest name of ``incoming/`` first; `looked` is called after each look."""
        self._look(looked)
        for state in _STATES:
            names, place = self._names[state], 0
            while place < len(names):
                name = names[place]
                item = self._directories.item(state, name)
                place += 1
                if state is State.DEFERRED and self._directories.due_in_s(item) > 0:
                    continue
                yield item
                if self._moment() >= self._rest_until_s:
                    names = []
                    self._look(looked)
                    # What came before this one in the order of names has its turn in the next round.
                    names = self._names[state]
                    place = bisect_right(names, name)
                place += self._skips
                self._skips = 0

    def step_aside(self) -> None:
        """Go on some places further on: somebody else took what was given last, and is about to take the next.

        Two that follow each other would be in each other's way at every name. Whoever has skipped names begins again.
        """
        self._skips = _SHORTEST_SKIP + os.getpid() % _SHORTEST_SKIP

    def others(self, claimed: Item, resource_id: str) -> list[Item]:
        """Give the other markers that may be of the same resource, as they waited at the last look."""
        return [item for item in self._together.get(resource_id, ()) if item != claimed]

    def _look(self, looked: Callable[[], None]) -> None:
        begin_s = self._moment()
        # What was seen before is let go first: it may be long.
        self._names.clear()
        self._names = {state: self._directories.names(state) for state in _STATES}
        self._together = self._gathered()
        looked()
        end_s = self._moment()
        self._rest_until_s = end_s + (end_s - begin_s) / SHARE

    def _gathered(self) -> dict[str, list[Item]]:
        seen: set[str] = set()
        repeated: set[str] = set()
        for state, names in self._names.items():
            for name in names:
                resource_id = self._resource_id(state, name)
                (repeated if resource_id in seen else seen).add(resource_id)
        together: dict[str, list[Item]] = {resource_id: [] for resource_id in repeated if resource_id}
        for state, names in self._names.items() if together else ():
            for name in names:
                if (resource_id := self._resource_id(state, name)) in together:
                    together[resource_id].append(self._directories.item(state, name))
        return together

    def _resource_id(self, state: State, name: str) -> str:
        """Read the ID out of a name, if need be out of the file; "" when there is none."""
        # As most names end. A regular expression would take longer than all the rest of a look.
        end = name[-49:-5]
        if end[8::9] == "----" and len(end) == _LENGTH:
            return end.lower()
        return self._directories.key_of(self._directories.item(state, name)).partition("-")[2]
