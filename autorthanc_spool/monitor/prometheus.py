"""Prometheus' text format, version 0.0.4, as `promtool check metrics` accepts it.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate

PREFIX = "autorthanc_"


class Type(StrEnum):
    """What a number does: a counter only grows."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True)
class Sample:
    """One number; `suffix` is for the parts of a histogram."""

    value: float
    labels: Mapping[str, str]
    suffix: str = ""


@dataclass(frozen=True)
class Metric:
    """One metric; `name` is without the prefix."""

    name: str
    type: Type
    help: str
    samples: tuple[Sample, ...]


def one(name: str, type_: Type, text: str, value: float) -> Metric:
    """Make a metric of a single number."""
    return Metric(name, type_, text, (Sample(value, {}),))


def histogram(name: str, text: str, bounds: Iterable[float], numbers: Iterable[int], total: float) -> Metric:
    """Make one of what was counted between the bounds; `numbers` has one more, for what is above the last."""
    counts = list(accumulate(numbers))
    limits = [*(f"{bound:g}" for bound in bounds), "+Inf"]
    buckets = [Sample(count, {"le": limit}, suffix="_bucket") for limit, count in zip(limits, counts, strict=True)]
    ends = (Sample(total, {}, suffix="_sum"), Sample(counts[-1], {}, suffix="_count"))
    return Metric(name, Type.HISTOGRAM, text, (*buckets, *ends))


def text_of(metrics: Iterable[Metric]) -> str:
    """Write them."""
    return "".join(line + "\n" for metric in metrics for line in _lines(metric))


def _lines(metric: Metric) -> Iterator[str]:
    # A metric without a number isn't there, says promtool.
    if not metric.samples:
        return
    name = PREFIX + metric.name
    yield f"# HELP {name} {_escaped(metric.help)}"
    yield f"# TYPE {name} {metric.type}"
    for sample in metric.samples:
        labels = ",".join(f'{label}="{_escaped(value, quotes=True)}"' for label, value in sample.labels.items())
        yield f"{name}{sample.suffix}{'{' + labels + '}' if labels else ''} {_number(sample.value)}"


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else repr(round(float(value), 3))


def _escaped(text: str, *, quotes: bool = False) -> str:
    # A file name may have bytes that are no text.
    text = text.encode(errors="backslashreplace").decode()
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quotes else text
