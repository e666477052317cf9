"""`delete`: markers are removed, and refused from then on."""

from __future__ import annotations

import click

from autorthanc_spool.commands import steering
from autorthanc_spool.commands.options import with_settings
from autorthanc_spool.run import wiring
from autorthanc_spool.settings import Settings


@click.command("delete")
@click.argument("names", nargs=-1, required=True, metavar="MARKER...")
@with_settings
def command(settings: Settings, names: tuple[str, ...]) -> None:
    """Remove markers, and remember that their resources are refused, so that they don't come back."""
    spool = wiring.open_spool(settings)
    for item in steering.found(spool, names):
        spool.delete(item)
        click.echo(f"{item.path.relative_to(spool.root)}")
