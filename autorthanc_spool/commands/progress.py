"""How long work shows that it goes on: a bar on standard error, where a terminal is there to see it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Thing = TypeVar("Thing")


def talk() -> Console:
    """Open standard error for tables and bars."""
    return Console(stderr=True, highlight=False, markup=False, soft_wrap=True)


def shown(things: Iterable[Thing], total: int, text: str) -> Iterator[Thing]:
    """Give the things one by one, and show how many have been done with; it goes when it is over."""
    console = talk()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield from progress.track(things, total=total, description=text)
