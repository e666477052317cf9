"""`requeue`: markers are put back to be worked on."""

from __future__ import annotations

import click

from autorthanc_spool.commands import steering
from autorthanc_spool.commands.options import with_settings
from autorthanc_spool.core.errors import UsageError
from autorthanc_spool.core.states import Event, State
from autorthanc_spool.run import wiring
from autorthanc_spool.settings import Settings


@click.command("requeue")
@click.argument("names", nargs=-1, metavar="[MARKER]...")
@click.option("--failed", is_flag=True, help="All that failed.")
@click.option("--deferred", is_flag=True, help="All that are deferred.")
@with_settings
def command(settings: Settings, names: tuple[str, ...], failed: bool, deferred: bool) -> None:
    """Put markers back into incoming/: a done one is done again, a failed one goes on with what it lacks."""
    if not (names or failed or deferred):
        raise UsageError("name a marker, or use --failed or --deferred; `autorthanc-spool list` shows what there is")
    spool = wiring.find_spool(settings)
    items = steering.found(spool, names)
    items += spool.directories.items(State.FAILED) if failed else []
    items += spool.directories.items(State.DEFERRED) if deferred else []
    if not items:
        click.echo("nothing there", err=True)
    steering.move(spool, items, Event.REQUEUE)
