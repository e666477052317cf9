"""What the commands that move markers have in common."""

from __future__ import annotations

import click

from autorthanc_spool.core.errors import SpoolError
from autorthanc_spool.core.states import Event
from autorthanc_spool.spool.directories import Item, shown
from autorthanc_spool.spool.spool import Spool


def found(spool: Spool, names: tuple[str, ...]) -> list[Item]:
    """Find all markers before anything is done with the first; one that is named twice counts once."""
    return list(dict.fromkeys(spool.directories.find(name) for name in names))


def move(spool: Spool, items: list[Item], event: Event) -> None:
    """Move markers, and print where each is now. Raises SpoolError when one is somewhere else by now."""
    for item in dict.fromkeys(items):
        try:
            moved = spool.move(item, event)
        except FileNotFoundError:
            raise SpoolError(
                f"{shown(item.name)} is no longer in {item.state}/: somebody was quicker; look again"
            ) from None
        click.echo(moved.shown)
