"""Which markers a person chooses without naming them: by rule, kind of error, and time. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from autorthanc_spool.core.marker import TIME_FORMAT, Marker
from autorthanc_spool.core.outcome import Outcome, Problem


@dataclass(frozen=True)
class Selection:
    """What a marker has to be like; what is empty is not asked for. `since` is UTC."""

    rule: str = ""
    kind: str = ""
    since: datetime | None = None

    @property
    def is_empty(self) -> bool:
        """Whether it chooses everything."""
        return not (self.rule or self.kind or self.since)

    def takes(self, marker: Marker) -> bool:
        """Whether the marker is chosen."""
        return (
            (not self.rule or self.rule in rules_of(marker))
            and (not self.kind or self.kind.casefold() in {kind.casefold() for kind in kinds_of(marker)})
            and (self.since is None or last_time(marker) >= self.since.strftime(TIME_FORMAT))
        )


def rules_of(marker: Marker) -> set[str]:
    """The rules that the marker is narrowed to, and those in its record."""
    return {*(marker.rules or ()), *marker.outcomes}


def kinds_of(marker: Marker) -> set[str]:
    """The kinds of all errors in the record, those of its destinations too."""
    return {problem.kind for problem in _problems(marker)}


def last_time(marker: Marker) -> str:
    """When it was filed, else when it was written, as markers spell times; "" when it doesn't say."""
    return marker.filed_time or marker.time


def _problems(marker: Marker) -> Iterator[Problem]:
    yield from (marker.error,) if marker.error else ()
    for outcome in marker.outcomes.values():
        yield from _problems_of(outcome)


def _problems_of(outcome: Outcome) -> Iterator[Problem]:
    yield from (outcome.problem,) if outcome.problem else ()
    for sent in outcome.forward.values():
        yield from _problems_of(sent)
