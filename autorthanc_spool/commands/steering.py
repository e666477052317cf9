"""What the commands that move markers have in common."""

from __future__ import annotations

from collections.abc import Collection

import click

from autorthanc_spool.commands import choosing, progress
from autorthanc_spool.commands.choosing import Choice
from autorthanc_spool.core.errors import SpoolError, UsageError
from autorthanc_spool.core.states import Event, State
from autorthanc_spool.run import access
from autorthanc_spool.settings import Settings
from autorthanc_spool.spool.directories import Item, shown
from autorthanc_spool.spool.spool import Spool


def move_chosen(
    settings: Settings, names: tuple[str, ...], choice: Choice, usual: Collection[State], event: Event
) -> None:
    """Move the markers that are named or chosen. Raises UsageError when none is asked for."""
    if not (names or choice.is_made):
        raise UsageError(
            f"name a marker, or choose some: --all, --state, --rule, --kind, --since; without --state among those in "
            f"{', '.join(usual)}. `autorthanc-spool list` shows what there is"
        )
    spool = access.find_spool(settings)
    items = choosing.chosen(spool, names, choice, usual)
    if not items:
        click.echo(choosing.nothing_chosen(spool, choice, usual), err=True)
    move(spool, items, event)


def move(spool: Spool, items: list[Item], event: Event) -> None:
    """Move markers, and print where each is now. Raises SpoolError when one is somewhere else by now."""
    spool.check_moves(items, event)
    moved: list[Item] = []
    gone: list[Item] = []
    try:
        for item in progress.shown(items, len(items), f"{event} of markers"):
            try:
                moved.append(spool.move(item, event))
            except FileNotFoundError:
                gone.append(item)
    finally:
        spool.make_moves_durable([*items, *moved])
        for one in moved:
            click.echo(one.shown)
    if gone:
        more = f", and {len(gone) - 1} more likewise" if len(gone) > 1 else ""
        raise SpoolError(
            f"{shown(gone[0].name)} is no longer in {gone[0].state}/: somebody moved it first; try again{more}"
        )
