"""One row of the table of figures: what was measured, how much it is, beside what, and what it should be.

Each module that measures has a function ``measure() -> list[Row]``; its figures come from several runs in pairs with
the peer's, on the same data, in the same minutes.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One line of the table.

    `ours` and `peer_value` are medians in `unit`; `ratio` is that of ours to the peer's, pair by pair, of which
    `spread` gives the lowest and the highest. Without a peer (""), `ratio` is None and `spread` is of ours. `target` is
    what it should be, as a sentence: "≤ 1.8 ×", "≥ 400 /s".
    """

    work: str
    ours: float
    unit: str
    peer: str
    peer_value: float | None
    ratio: float | None
    spread: tuple[float, float]
    target: str


def compared(work: str, ours: Sequence[float], unit: str, peer: str, theirs: Sequence[float], target: str) -> Row:
    """Make a row of measurements that were taken pair by pair."""
    ratios = [one / other for one, other in zip(ours, theirs, strict=True)]
    spread = (min(ratios), max(ratios))
    medians = statistics.median(ours), statistics.median(theirs), statistics.median(ratios)
    return Row(work, medians[0], unit, peer, medians[1], medians[2], spread, target)


def alone(work: str, ours: Sequence[float], unit: str, target: str) -> Row:
    """Make a row of measurements that nothing else is compared with."""
    return Row(work, statistics.median(ours), unit, "", None, None, (min(ours), max(ours)), target)
