"""`make bench`: every row of the table, beside its peer; printed, kept in `benchmarks/results`, and shown in the docs.

Usage: python -m benchmarks [PART …], with the parts export, zip and queue; without any, all of them. Rows of the parts
that aren't measured stay as they were. What `benchmarks/results/recorded.json` holds is what the table says the
difference to.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks import export, queue, zip
from benchmarks.export import PEERS_PYTHON
from benchmarks.table import Row

RESULTS = Path(__file__).parent / "results"
DOCUMENT = Path(__file__).parents[1] / "docs" / "performance.md"
BEGIN, END = "<!-- figures: written by `make bench` -->\n", "<!-- end of figures -->\n"

LATEST, RECORDED = RESULTS / "latest.json", RESULTS / "recorded.json"

# Each gives its rows.
PARTS = {"export": export.measure_all, "zip": zip.measure_all, "queue": queue.measure_all}

HEAD = (
    "| work | ours | beside | theirs | ratio (lowest to highest) | target | since the record |",
    "|---|---|---|---|---|---|---|",
)


def main(parts: Sequence[str]) -> None:
    recorded = _figures(_read(RECORDED))
    print("\n".join(HEAD), flush=True)
    measured = []
    for row in itertools.chain.from_iterable(PARTS[part]() for part in parts):
        measured.append(row)
        print(_line(row, recorded.get(_key(row))), flush=True)
    rows = _merged(_read(LATEST), measured) if len(parts) < len(PARTS) else measured
    LATEST.write_text(json.dumps([asdict(row) for row in rows], indent=1, ensure_ascii=False) + "\n")
    _show(rows, recorded)
    picture = DOCUMENT.parent / "performance-%s.svg"
    subprocess.run([PEERS_PYTHON, Path(__file__).parent / "plot.py", LATEST, picture], check=True)


def _merged(before: Sequence[Row], measured: Sequence[Row]) -> list[Row]:
    """Put new rows where the old ones of the same work are."""
    new = {_key(row): row for row in measured}
    return [new.pop(_key(row), row) for row in before] + list(new.values())


def lines(rows: Sequence[Row], recorded: dict[str, float]) -> list[str]:
    """Write rows as a table; `recorded` has the earlier figure of each, by work and peer."""
    return [*HEAD, *(_line(row, recorded.get(_key(row))) for row in rows)]


def _line(row: Row, before: float | None) -> str:
    theirs = "" if row.peer_value is None else f"{row.peer_value:.2f} {row.unit}"
    ratio = "" if row.ratio is None else f"{row.ratio:.2f} "
    figure = row.ours if row.ratio is None else row.ratio
    since = "" if before is None else f"{(figure / before - 1) * 100:+.0f} %"
    spread = f"({row.spread[0]:.2f} to {row.spread[1]:.2f})"
    return (
        f"| {row.work} | {row.ours:.2f} {row.unit} | {row.peer} | {theirs} | {ratio}{spread} | {row.target} | {since} |"
    )


def _read(path: Path) -> list[Row]:
    rows = json.loads(path.read_text()) if path.exists() else []
    return [Row(**{**row, "spread": tuple(row["spread"])}) for row in rows]


def _figures(rows: Sequence[Row]) -> dict[str, float]:
    return {_key(row): row.ours if row.ratio is None else row.ratio for row in rows}


def _key(row: Row) -> str:
    return f"{row.work} | {row.peer}"


def _show(rows: Sequence[Row], recorded: dict[str, float]) -> None:
    before, _, rest = DOCUMENT.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    DOCUMENT.write_text(f"{before}{BEGIN}" + "\n".join(lines(rows, recorded)) + f"\n{END}{after}")


if __name__ == "__main__":
    main(sys.argv[1:] or list(PARTS))
