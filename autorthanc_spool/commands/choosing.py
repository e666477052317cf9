"""How `list` and the commands that steer choose markers: by name, or by state, rule, kind of error, and time."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Any

import click

from autorthanc_spool.commands import complete
from autorthanc_spool.commands.options import Command
from autorthanc_spool.core import selection
from autorthanc_spool.core.errors import MarkerError, UsageError
from autorthanc_spool.core.selection import Selection
from autorthanc_spool.core.states import State
from autorthanc_spool.run import wiring
from autorthanc_spool.spool.directories import Item
from autorthanc_spool.spool.names import Names
from autorthanc_spool.spool.spool import Spool

_AGE = re.compile(r"(\d{1,6})\s*([dhms])")
_UNITS = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
_TIME_FORMS = ("%Y-%m-%d", "%Y%m%d", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class Choice:
    """What the options of a command choose, beside the markers that are named."""

    states: tuple[State, ...] = ()
    selection: Selection = field(default_factory=Selection)
    is_all: bool = False

    @property
    def is_made(self) -> bool:
        """Whether any option chooses something."""
        return bool(self.states) or self.is_all or not self.selection.is_empty


def with_choice(command: Command) -> Command:
    """Give a command the options that choose markers, and call it with the choice."""

    @click.option(
        "--state",
        "in_states",
        multiple=True,
        type=click.Choice([str(state) for state in State]),
        help="Those in this state; may be given several times.",
    )
    @click.option(
        "--rule",
        metavar="NAME",
        default="",
        shell_complete=complete.rules,
        help="Those that are for this rule, or on which it worked.",
    )
    @click.option(
        "--kind",
        metavar="KIND",
        default="",
        shell_complete=complete.kinds,
        help="Those with an error of this kind, as `show` names it: StillArriving, OrthancFault …",
    )
    @click.option(
        "--since",
        metavar="TIME",
        default="",
        help="Those filed or written since: 2h, 3d, 2026-11-23 or 2026-11-23T21:00 (UTC).",
    )
    @click.option("--all", "is_all", is_flag=True, help="All of them.")
    @wraps(command)
    def wrapped(
        in_states: tuple[str, ...], rule: str, kind: str, since: str, is_all: bool, **arguments: Any
    ) -> int | None:
        chosen = Selection(rule.removesuffix(".json"), kind, time_of(since, wiring.utc_now()) if since else None)
        return command(choice=Choice(tuple(State(state) for state in in_states), chosen, is_all), **arguments)

    return wrapped  # fmt: skip


def time_of(text: str, now: datetime) -> datetime:
    """Read a time (UTC), or how long ago it was. Raises UsageError."""
    age = _AGE.fullmatch(text.strip().lower())
    with suppress(OverflowError):
        if age:
            return now - timedelta(**{_UNITS[age[2]]: int(age[1])})
    for form in _TIME_FORMS:
        with suppress(ValueError):
            return datetime.strptime(text.strip(), form).replace(tzinfo=UTC)
    raise UsageError(
        f"--since takes a time like 2026-11-23 or 2026-11-23T21:00 (UTC), or an age like 2h or 3d: {text!r}"
    )


def chosen(spool: Spool, names: Iterable[str], choice: Choice, usual: Collection[State]) -> list[Item]:
    """Find the markers that are named, and those that are chosen, each once; in `usual` states if no state is given."""
    named = list(names)
    known = Names(spool.directories) if named else None
    items = [known.one(name) for name in named] if known else []
    if choice.is_made:
        items += _in_states(spool, choice.states or tuple(usual), choice.selection)
    return list(dict.fromkeys(items))


def _in_states(spool: Spool, states: tuple[State, ...], selection: Selection) -> Iterator[Item]:
    for state in states:
        for item in spool.directories.items(state):
            if selection.is_empty or _takes(spool, item, selection):
                yield item


def _takes(spool: Spool, item: Item, selection: Selection) -> bool:
    try:
        return selection.takes(spool.directories.read(item))
    except FileNotFoundError:
        return False
    except MarkerError as error:
        # What names nothing belongs to no rule, and its only time is the file's.
        is_kind = not selection.kind or selection.kind.casefold() == type(error).__name__.casefold()
        return not selection.rule and is_kind and _is_young(item, selection.since)


def _is_young(item: Item, since: datetime | None) -> bool:
    with suppress(FileNotFoundError):
        return since is None or item.path.lstat().st_ctime >= since.timestamp()
    return False


def nothing_chosen(spool: Spool, choice: Choice, usual: Collection[State]) -> str:
    """Say that nothing is chosen, in which states, and which kinds of errors there are where one was asked for."""
    looked = f"nothing found in {', '.join(choice.states or tuple(usual))}"
    if not choice.selection.kind:
        return looked
    kinds: Counter[str] = Counter()
    for item in _in_states(spool, choice.states or tuple(usual), Selection()):
        with suppress(FileNotFoundError):
            try:
                kinds.update(selection.kinds_of(spool.directories.read(item)))
            except MarkerError as error:
                kinds.update([type(error).__name__])
    there = ", ".join(f"{kind} ({number})" for kind, number in kinds.most_common())
    return f"{looked}; kinds of errors there: {there or 'none'}"
