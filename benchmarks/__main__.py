"""`make bench`: every row of the table, beside its peer; printed, kept in `benchmarks/results`, and shown in the docs.

Usage: python -m benchmarks [NAME], where NAME is that of the file in `benchmarks/results` (default: latest). What is
recorded under the name `recorded` is what the table says the difference to.
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

# Each gives its rows.
PARTS = (export.measure_all, zip.measure_all, queue.measure_all)

HEAD = (
    "| work | ours | beside | theirs | ratio (lowest to highest) | target | since the record |",
    "|---|---|---|---|---|---|---|",
)


def main(name: str) -> None:
    rows, recorded = [], _recorded()
    print("\n".join(HEAD), flush=True)
    for row in itertools.chain.from_iterable(part() for part in PARTS):
        rows.append(row)
        print(_line(row, recorded.get(_key(row))), flush=True)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(
        json.dumps([asdict(row) for row in rows], indent=1, ensure_ascii=False) + "\n"
    )
    _show(rows, recorded)
    picture = DOCUMENT.parent / "performance-%s.svg"
    subprocess.run([PEERS_PYTHON, Path(__file__).parent / "plot.py", RESULTS / f"{name}.json", picture], check=True)


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


def _recorded() -> dict[str, float]:
    path = RESULTS / "recorded.json"
    if not path.exists():
        return {}
    found = [Row(**{**row, "spread": tuple(row["spread"])}) for row in json.loads(path.read_text())]
    return {_key(row): row.ours if row.ratio is None else row.ratio for row in found}


def _key(row: Row) -> str:
    return f"{row.work} | {row.peer}"


def _show(rows: Sequence[Row], recorded: dict[str, float]) -> None:
    before, _, rest = DOCUMENT.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    DOCUMENT.write_text(f"{before}{BEGIN}" + "\n".join(lines(rows, recorded)) + f"\n{END}{after}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "latest")
