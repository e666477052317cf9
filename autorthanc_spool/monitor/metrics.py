"""`AUTORTHANC_METRICS_FILE`: the numbers for Prometheus, by node_exporter's textfile collector.

The numbers are those of all processors of a spool; the one that has the role writes them. Two that write by turns what
each read before the other did would make a counter fall.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from autorthanc_spool import __version__
from autorthanc_spool.disk import durable
from autorthanc_spool.monitor import prometheus, snapshot, statistics
from autorthanc_spool.monitor.counts import BOUNDS_S, Counts, Number
from autorthanc_spool.monitor.health import Facts, is_at_work, judge
from autorthanc_spool.monitor.observer import Observer
from autorthanc_spool.monitor.prometheus import Metric, Sample, Type
from autorthanc_spool.monitor.role import Role
from autorthanc_spool.monitor.snapshot import Outside
from autorthanc_spool.spool.spool import Spool

INTERVAL_S = 5.0
# However much waits, looking takes no larger part of the time.
SHARE = 0.02
# node_exporter runs as a user of its own.
MODE = 0o644

_OUTCOMES = (Number.PUBLISHED, Number.FORWARDED, Number.DEFERRED, Number.FAILED)


class Metrics(Observer):
    """Writes the file. `spool` is one of its own, as the ticker is a thread of its own."""

    needs_spool = True

    def __init__(self, path: Path, spool: Spool, outside: Callable[[], Outside], clock: Callable[[], datetime]) -> None:
        self._path = path
        self._spool = spool
        self._outside = outside
        self._clock = clock
        self._next_s = 0.0
        self._role = Role(spool.root / "state", "metrics")

    def tick(self) -> None:
        """Write it when it is time."""
        begin_s = time.monotonic()
        if not self._role.hold() or begin_s < self._next_s:
            return
        self._next_s = begin_s + INTERVAL_S
        try:
            self._write()
        finally:
            self._next_s = max(self._next_s, begin_s + (time.monotonic() - begin_s) / SHARE)

    def end(self) -> None:
        """Say that this processor is gone, and what it did last."""
        try:
            if self._role.hold():
                self._write()
        finally:
            self._role.release()

    def _write(self) -> None:
        outside = self._outside()
        found = snapshot.look(self._spool, outside)
        counts = statistics.read(self._spool.root / statistics.FOLDER)
        metrics = (*_of_rules(counts), *_of_runs(counts), *_of_now(found, outside, self._clock().timestamp()))
        durable.show(self._path, prometheus.text_of(metrics).encode(), MODE)


def _of_rules(counts: Counts) -> Iterator[Metric]:
    rules = sorted(counts.rules.items())
    outcomes = tuple(
        Sample(counter[name], {"rule": rule, "outcome": str(name)}) for rule, counter in rules for name in _OUTCOMES
    )
    text = "Studies and series by rule and outcome; deferred and failed count beginnings, not tries."
    yield Metric("outcomes_total", Type.COUNTER, text, outcomes)
    for name, help_text in (
        (Number.MATCHED, "Studies and series that a rule matched."),
        (Number.FILES, "DICOM files that left, published or forwarded."),
        (Number.BYTES, "Size of the DICOM files that left."),
    ):
        samples = tuple(Sample(counter[name], {"rule": rule}) for rule, counter in rules)
        yield Metric(f"{name}_total", Type.COUNTER, help_text, samples)


def _of_runs(counts: Counts) -> Iterator[Metric]:
    runs = tuple(Sample(number, {"state": state}) for state, number in sorted(counts.runs.items()))
    yield Metric("runs_total", Type.COUNTER, "Runs of markers, retries included, by where they were filed.", runs)
    text = "How long successful runs took."
    yield prometheus.histogram("run_duration_seconds", text, BOUNDS_S, counts.durations, counts.duration_s)


def _of_now(found: Facts, outside: Outside, now_s: float) -> Iterator[Metric]:
    queues = [({"state": str(state)}, queue) for state, queue in found.queues.items()]
    lengths = tuple(Sample(queue.count, labels) for labels, queue in queues)
    ages = tuple(Sample(queue.oldest_age_s or 0.0, labels) for labels, queue in queues)
    yield Metric("queue_length", Type.GAUGE, "Markers in each state.", lengths)
    yield Metric("queue_oldest_age_seconds", Type.GAUGE, "Age of the oldest marker in each state; 0 when empty.", ages)
    if found.orthanc:
        yield prometheus.one(
            "orthanc_up", Type.GAUGE, "Whether Orthanc answers the processors.", int(found.orthanc.reachable)
        )
    yield Metric("processors", Type.GAUGE, "Processors by what they do.", tuple(_processors(found)))
    looks = [one.looked_s for one in found.processors if one.is_alive and one.looked_s is not None]
    if looks:
        text = "When a processor last looked at the spool."
        yield prometheus.one("last_look_timestamp_seconds", Type.GAUGE, text, now_s - min(looks))
    yield prometheus.one("paused", Type.GAUGE, "Whether a person paused the work.", int(found.pause is not None))
    states = list(outside.rules.values())
    rules = tuple(Sample(states.count(state), {"state": state}) for state in ("active", "off", "broken"))
    yield Metric("rules", Type.GAUGE, "Files of rules by what they are.", rules)
    troubles = sorted({trouble.what for one in found.processors if one.is_alive for trouble in one.troubles})
    text = "What a processor finds wrong outside itself; a trouble that is over isn't there."
    yield Metric("trouble", Type.GAUGE, text, tuple(Sample(1, {"what": what}) for what in troubles))
    alarms = sum(one.is_alarm for one in judge(found))
    yield prometheus.one("alarms", Type.GAUGE, "What needs a person now, as `status --check` counts it.", alarms)
    yield prometheus.one("written_timestamp_seconds", Type.GAUGE, "When these numbers were written.", now_s)
    version = (Sample(1, {"version": __version__}),)
    yield Metric("build_info", Type.GAUGE, "The version that wrote these numbers.", version)


def _processors(found: Facts) -> Iterator[Sample]:
    at_work = sum(map(is_at_work, found.processors))
    alive = sum(one.is_alive for one in found.processors)
    numbers = {"at_work": at_work, "silent": alive - at_work, "dead": len(found.processors) - alive}
    yield from (Sample(number, {"state": state}) for state, number in numbers.items())
