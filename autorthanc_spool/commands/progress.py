"""How long work shows that it goes on: a bar on standard error, where a terminal is there to see it."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.console import Console

Thing = TypeVar("Thing")


def talk() -> Console:
    """Open standard error for tables and bars."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, markup=False, soft_wrap=True)


def shown(things: Iterable[Thing], total: int, text: str) -> Iterator[Thing]:
    """Give the things one by one, and show how many are done; the bar goes at the end."""
    if not sys.stderr.isatty():
        # Nothing of rich is needed then, and its import takes longer than most commands.
        yield from things
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=talk(), transient=True) as progress:
        yield from progress.track(things, total=total, description=text)
