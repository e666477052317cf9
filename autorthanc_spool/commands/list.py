"""`list`: the markers."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import click

from autorthanc_spool.commands.options import with_settings
from autorthanc_spool.commands.views import echo_json
from autorthanc_spool.core import marker
from autorthanc_spool.core.errors import MarkerError
from autorthanc_spool.core.states import State
from autorthanc_spool.run import wiring
from autorthanc_spool.settings import Settings
from autorthanc_spool.spool.directories import Item, shown
from autorthanc_spool.spool.spool import Spool


@click.command("list")
@click.argument("states", nargs=-1, metavar="[STATE]...", type=click.Choice([str(state) for state in State]))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@with_settings
def command(settings: Settings, states: tuple[str, ...], as_json: bool) -> None:
    """List markers: all but the done ones, or those in the named states."""
    wanted = [State(state) for state in states] or [state for state in State if state is not State.DONE]
    spool = wiring.find_spool(settings)
    items = [item for state in wanted for item in spool.directories.items(state)]
    _show([_summary(spool, item) for item in items], as_json)


def _summary(spool: Spool, item: Item) -> dict[str, Any]:
    """One marker as `list` shows it."""
    content: dict[str, Any] = {"state": str(item.state), "name": shown(item.name), "path": shown(str(item.path))}
    with suppress(FileNotFoundError):
        if item.state is State.DEFERRED:
            content["due_in_s"] = max(0, round(item.path.stat().st_mtime - time.time()))
        try:
            found = spool.directories.read(item)
        except MarkerError as error:
            return {**content, "error": marker.recorded_reason(item.path.read_bytes()) or str(error)}
        content |= {"level": str(found.level), "id": found.resource_id, "source": found.source}
        content |= {"attempts": found.attempts, "error": found.error.text if found.error else None}
        content["outcomes"] = {rule: outcome.sentence for rule, outcome in found.outcomes.items()}
    return content


def _show(markers: list[dict[str, Any]], as_json: bool) -> None:
    """Show a list of markers."""
    if as_json:
        for one in markers:
            echo_json(one)
        return
    for one in markers:
        click.echo(f"{one['state']}/{one['name']}{_remark(one)}")
    if not markers:
        click.echo("nothing there", err=True)


def _remark(one: dict[str, Any]) -> str:
    parts = [f"{rule} {outcome}" for rule, outcome in (one.get("outcomes") or {}).items()]
    parts += [f"due in {one['due_in_s']} s"] if one.get("due_in_s") else []
    parts += [one["error"]] if one.get("error") else []
    return f"  {'; '.join(parts)}" if parts else ""
