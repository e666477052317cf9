"""`show`: one marker."""

from __future__ import annotations

import click

from autorthanc_spool.commands.options import with_settings
from autorthanc_spool.run import wiring
from autorthanc_spool.settings import Settings
from autorthanc_spool.spool.directories import shown


@click.command("show")
@click.argument("name", metavar="MARKER")
@with_settings
def command(settings: Settings, name: str) -> None:
    """Print a marker: what it asks for, what was done, and why it waits or failed."""
    spool = wiring.find_spool(settings)
    item = spool.directories.find(name)
    click.echo(shown(f"{item.path}"), err=True)
    click.echo(item.path.read_text(errors="backslashreplace").rstrip("\n") or "{}")
