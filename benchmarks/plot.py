"""The table of figures as a picture, light and dark: how far each is from what it should be.

Runs in the environment of the benchmarks, which has matplotlib. Usage: plot.py RESULTS.json PICTURE-%s.svg
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot

INCHES_PER_ROW = 0.34
# Ink, reached, missed.
THEMES = {"light": ("#1f2328", "#1a7f37", "#bc4c00"), "dark": ("#e6edf3", "#3fb950", "#f0883e")}
TARGET = re.compile(r"([≤≥<]) ([\d.]+)")


def distance(row: dict[str, Any]) -> float:
    """Compute how far a figure is from its target: 1 just reaches it, 2 takes, or lacks, twice as much."""
    found = TARGET.match(row["target"])
    assert found, row
    figure = row["ours"] if row["ratio"] is None else row["ratio"]
    target = float(found[2])
    return float(figure / target if found[1] != "≥" else target / figure)


def label(row: dict[str, Any]) -> str:
    """Say what was measured, and beside what."""
    return row["work"] + (f" / {row['peer']}" if row["peer"] else "")


def figure(row: dict[str, Any]) -> str:
    """Say the figure with its target."""
    measured = f"{row['ours']:.3g} {row['unit']}" if row["ratio"] is None else f"{row['ratio']:.2f} ×"
    return f" {measured} ({row['target']})"


def draw(rows: list[dict[str, Any]], theme: str, path: Path) -> None:
    """Draw one bar for each row."""
    ink, reached, missed = THEMES[theme]
    with mpl.rc_context({
        "svg.fonttype": "none", "svg.hashsalt": "", "text.color": ink, "axes.edgecolor": ink, "axes.labelcolor": ink,
        "xtick.color": ink, "ytick.color": ink, "font.size": 9,
    }):  # fmt: skip
        canvas, axes = pyplot.subplots(figsize=(11, 1 + INCHES_PER_ROW * len(rows)), layout="constrained")
        far = [distance(row) for row in rows]
        bars = axes.barh([label(row) for row in rows], far, color=[reached if one <= 1 else missed for one in far])
        axes.bar_label(bars, [figure(row) for row in rows])
        axes.axvline(1, color=ink, linewidth=1, linestyle="--")
        axes.set_xscale("log")
        axes.set_xlim(min(0.05, *far) / 2, max(2.0, *far) * 6)
        axes.invert_yaxis()
        axes.set_xlabel("share of the target; left of the line reaches it (logarithmic)")
        axes.spines[["top", "right"]].set_visible(False)
        canvas.savefig(path, transparent=True, metadata={"Date": None})
        pyplot.close(canvas)


if __name__ == "__main__":
    found = json.loads(Path(sys.argv[1]).read_text())
    for name in THEMES:
        draw(found, name, Path(sys.argv[2] % name))
