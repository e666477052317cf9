"""`list`: the markers."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from typing import Any

import click

from autorthanc_spool.commands import choosing
from autorthanc_spool.commands.choosing import Choice, with_choice
from autorthanc_spool.commands.options import examples, with_settings
from autorthanc_spool.commands.views import echo_json, on_one_line
from autorthanc_spool.core import marker, selection
from autorthanc_spool.core.errors import MarkerError
from autorthanc_spool.core.states import State
from autorthanc_spool.disk import durable
from autorthanc_spool.run import access
from autorthanc_spool.settings import Settings
from autorthanc_spool.spool.directories import Item, shown
from autorthanc_spool.spool.spool import Spool

_USUAL = tuple(state for state in State if state is not State.DONE)
_EXAMPLES = examples(
    ("list failed", "what needs a person, and why"),
    ("list --all --rule brain --since 1d", "what a rule did since yesterday"),
    ("list --kind OrthancFault --json", "for a program: one object a line"),
)


@click.command("list", epilog=_EXAMPLES)
@click.argument("states", nargs=-1, metavar="[STATE]...", type=click.Choice([str(state) for state in State]))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@with_choice
@with_settings
def command(settings: Settings, states: tuple[str, ...], as_json: bool, choice: Choice) -> None:
    """List markers: all but the done ones, or those in the named states; --all lists the done ones too.

    The states are incoming (to do), processing (in progress), deferred (tried again later), failed (needs a person),
    hold (parked by a person), and done. `show` describes one marker.
    """
    usual = tuple(State) if choice.is_all else _USUAL
    wanted = replace(choice, states=tuple(dict.fromkeys([*map(State, states), *choice.states])), is_all=True)
    spool = access.find_spool(settings)
    items = choosing.chosen(spool, (), wanted, usual)
    for item in items:
        _show(summary(spool, item), as_json)
    if not items and not as_json:
        click.echo(choosing.nothing_chosen(spool, wanted, usual), err=True)


def summary(spool: Spool, item: Item) -> dict[str, Any]:
    """One marker as `list` shows it."""
    content: dict[str, Any] = {"state": str(item.state), "name": shown(item.name), "path": shown(str(item.path))}
    with suppress(FileNotFoundError):
        if item.state is State.DEFERRED:
            content["due_in_s"] = max(0, round(item.path.stat().st_mtime - time.time()))
        try:
            found = spool.directories.read(item)
        except MarkerError as error:
            return {**content, "error": _recorded_reason(item) or str(error), "kinds": [type(error).__name__]}
        content |= {"level": str(found.level), "id": found.resource_id, "source": found.source}
        content |= {"time": found.time or None, "last_time": selection.last_time(found) or None}
        content |= {"attempts": found.attempts, "error": found.error.text if found.error else None}
        content["outcomes"] = {rule: outcome.sentence for rule, outcome in found.outcomes.items()}
        content["kinds"] = sorted(selection.kinds_of(found))
    return content


def _recorded_reason(item: Item) -> str:
    """Read why what isn't a marker was rejected; "" where it wasn't, or can't be read. Raises OSError for a share."""
    try:
        # Reading a pipe would wait for somebody to write into it.
        return marker.recorded_reason(item.path.read_bytes()) if item.path.is_file() else ""
    except OSError as error:
        if durable.is_away(error) or isinstance(error, FileNotFoundError):
            raise
        return ""


def remark(one: dict[str, Any]) -> str:
    """The outcome of a marker, on one line."""
    parts = [f"{rule} {outcome}" for rule, outcome in (one.get("outcomes") or {}).items()]
    parts += [f"due in {one['due_in_s']} s"] if one.get("due_in_s") else []
    parts += [one["error"]] if one.get("error") else []
    return on_one_line("; ".join(parts))


def _show(one: dict[str, Any], as_json: bool) -> None:
    if as_json:
        echo_json(one)
        return
    said = remark(one)
    click.echo(f"{one['state']}/{one['name']}{f'  {said}' if said else ''}")
