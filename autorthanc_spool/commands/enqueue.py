"""`enqueue`: markers are made."""

from __future__ import annotations

import click

from autorthanc_spool.commands.options import resource_id_of, with_settings
from autorthanc_spool.core import marker
from autorthanc_spool.core.dicom import Level
from autorthanc_spool.run import wiring
from autorthanc_spool.settings import Settings


@click.command("enqueue")
@click.argument("level", type=click.Choice([str(level) for level in Level], case_sensitive=False))
@click.argument("resource_ids", nargs=-1, required=True, metavar="ID...")
@with_settings
def command(settings: Settings, level: str, resource_ids: tuple[str, ...]) -> None:
    """Have studies or series done, or done again, by their Orthanc IDs."""
    checked = [resource_id_of(text) for text in resource_ids]
    spool = wiring.find_spool(settings)
    for resource_id in checked:
        item = spool.directories.put(marker.new(Level(level), resource_id, "cli", wiring.utc_now()))
        click.echo(item.shown)
