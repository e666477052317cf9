"""What was done, in numbers by rule: pure values, and how a file of `state/statistics/` spells them.

Nothing of a patient is in them: a rule's name, words, and numbers.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Self

from autorthanc_spool.core.marker import TIME_FORMAT, Marker
from autorthanc_spool.core.outcome import Outcome, Word
from autorthanc_spool.core.states import State

FORMAT = 1
# The hours that are kept apart: the last day, and the hour that has begun.
HOURS = 25
# Most series take a second, a large study over a slow line an hour.
BOUNDS_S = (0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)
# Beside the states that a marker is filed to: it asked for nothing, and left no record.
PASSED_OVER = "passed_over"


class Number(StrEnum):
    """What is counted for each rule."""

    MATCHED = "matched"
    PUBLISHED = "published"
    FORWARDED = "forwarded"
    DEFERRED = "deferred"
    FAILED = "failed"
    FILES = "files"
    BYTES = "bytes"


ByRule = dict[str, Counter[str]]


@dataclass
class Counts:
    """Numbers that only grow, since the spool was laid out; and those of the last hours.

    `rules` are by rule and `Number`, `runs` by the state that a marker was filed to, retries included, or
    `PASSED_OVER`. `hours` has the same as `rules`, by the beginning of the hour as records write a time. `durations`
    are the runs that took at most so long, by the place in `BOUNDS_S`; one more for those that took longer.
    """

    rules: ByRule = field(default_factory=dict)
    hours: dict[str, ByRule] = field(default_factory=dict)
    runs: Counter[str] = field(default_factory=Counter)
    durations: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_S) + 1))
    duration_s: float = 0.0

    def note(self, hour: str, rule: str, new: Mapping[str, int]) -> None:
        """Add what one rule did."""
        for counters in (self.rules, self.hours.setdefault(hour, {})):
            counters.setdefault(rule, Counter()).update(new)

    def note_run(self, state: State, took_s: float) -> None:
        """Add one run of a marker, and, when it came to its end, how long it took."""
        self.runs[state] += 1
        if state is State.DONE:
            self.durations[bisect_left(BOUNDS_S, took_s)] += 1
            self.duration_s += took_s

    def add(self, other: Counts) -> None:
        """Add all of another one."""
        for rule, counter in other.rules.items():
            self.rules.setdefault(rule, Counter()).update(counter)
        for hour, rules in other.hours.items():
            for rule, counter in rules.items():
                self.hours.setdefault(hour, {}).setdefault(rule, Counter()).update(counter)
        self.runs.update(other.runs)
        self.durations = [one + more for one, more in zip(self.durations, other.durations, strict=True)]
        self.duration_s += other.duration_s

    def forget_before(self, hour: str) -> None:
        """Drop the hours before this one."""
        self.hours = {begin: rules for begin, rules in self.hours.items() if begin >= hour}

    def since(self, begin: str) -> ByRule:
        """The numbers by rule of the hours from this one on."""
        found: ByRule = {}
        for rules in (rules for hour, rules in self.hours.items() if hour >= begin):
            for rule, counter in rules.items():
                found.setdefault(rule, Counter()).update(counter)
        return found

    def dump(self) -> bytes:
        """Write them as JSON."""
        content = {
            "format": FORMAT,
            "rules": self.rules,
            "runs": self.runs,
            "durations": self.durations,
            "duration_s": round(self.duration_s, 3),
            "hours": self.hours,
        }
        return (json.dumps(content, ensure_ascii=True) + "\n").encode()

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read what `dump` wrote. Raises ValueError for anything else."""
        try:
            return cls._read(json.loads(data))
        except (AttributeError, KeyError, RecursionError, TypeError) as error:
            raise ValueError(f"they aren't statistics of format {FORMAT}") from error

    @classmethod
    def _read(cls, content: Mapping[str, Any]) -> Self:
        durations = list(map(_number, content["durations"]))
        if content["format"] != FORMAT or len(durations) != len(BOUNDS_S) + 1:
            raise ValueError(f"they aren't statistics of format {FORMAT}")
        hours = {datetime.strptime(hour, TIME_FORMAT).strftime(TIME_FORMAT): rules
                 for hour, rules in content["hours"].items()}  # fmt: skip
        return cls(
            rules=_by_rule(content["rules"]),
            hours={hour: _by_rule(rules) for hour, rules in hours.items()},
            runs=_counter(content["runs"]),
            durations=durations,
            duration_s=float(content["duration_s"]),
        )


def total(all_counts: Iterable[Counts]) -> Counts:
    """Add up what several processors counted."""
    found = Counts()
    for one in all_counts:
        found.add(one)
    return found


def hour_of(now: datetime) -> str:
    """Name the hour that a time is in, by its beginning; `now` knows its zone, some of which are half an hour off."""
    return _name(now.replace(minute=0, second=0, microsecond=0))


def day_of(now: datetime) -> str:
    """Name the first hour of the day that a time is in, in its zone."""
    return _name(now.replace(hour=0, minute=0, second=0, microsecond=0))


def last_hours(now: datetime) -> Iterator[datetime]:
    """Give the beginnings of the hours that are kept, oldest first."""
    begin = now.replace(minute=0, second=0, microsecond=0)
    yield from (begin - timedelta(hours=back) for back in range(HOURS - 1, -1, -1))


def gained(marker: Marker, rule: str, outcome: Outcome, begun: str) -> dict[str, int]:
    """Count what a run that began at a time added for one rule to what the marker's record says of earlier runs.

    A marker comes back because of another rule, or until a destination is there: nothing is counted twice.
    """
    earlier = marker.outcomes.get(rule, Outcome(""))
    is_retry = marker.last_state is State.DEFERRED and rule in marker.outcomes
    left = [outcome] if outcome.md5sums and outcome.time != earlier.time else []
    sent = [one for name, one in outcome.forward.items() if _is_new(one, earlier.forward.get(name), begun)]
    if outcome.word == Word.UNCHANGED:
        sent = []
    new = {
        Number.MATCHED: int(not is_retry),
        Number.PUBLISHED: len(left),
        Number.FORWARDED: len(sent),
        Number.DEFERRED: int(outcome.word == Word.DEFERRED and earlier.word != Word.DEFERRED),
        Number.FAILED: int(outcome.word == Word.FAILED and earlier.word != Word.FAILED),
        Number.FILES: sum(one.instances or 0 for one in left + sent),
        Number.BYTES: sum(one.size_bytes or 0 for one in left + sent),
    }
    return {name: number for name, number in new.items() if number}


def _is_new(sent: Outcome, earlier: Outcome | None, begun: str) -> bool:
    """Whether this run sent it: what an earlier marker sent is in the outcome as well."""
    return sent.word == Word.FORWARDED and sent.time >= begun and (earlier is None or earlier.time != sent.time)


def _name(begin: datetime) -> str:
    return datetime.fromtimestamp(begin.timestamp(), tz=UTC).strftime(TIME_FORMAT)


def _by_rule(content: Mapping[str, Any]) -> ByRule:
    return {str(rule): _counter(counter) for rule, counter in content.items()}


def _counter(content: Mapping[str, Any]) -> Counter[str]:
    return Counter({str(name): _number(number) for name, number in content.items()})


def _number(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} isn't a count")
    return value
