"""`enqueue`: markers are made."""

from __future__ import annotations

import click

from autorthanc_spool.commands.options import examples, resource_id_of, with_settings
from autorthanc_spool.core import marker
from autorthanc_spool.core.dicom import Level
from autorthanc_spool.run import access, wiring
from autorthanc_spool.settings import Settings

_EXAMPLES = examples(
    ("enqueue study 0a4b249f-7fce45ca-4f722f72-de2a24df-92abc740", "`find` says which Orthanc ID a study has"),
)


@click.command("enqueue", epilog=_EXAMPLES)
@click.argument("level", type=click.Choice([str(level) for level in Level], case_sensitive=False))
@click.argument("resource_ids", nargs=-1, required=True, metavar="ID...")
@with_settings
def command(settings: Settings, level: str, resource_ids: tuple[str, ...]) -> None:
    """Queue studies or series, to be done or done again, by their Orthanc IDs.

    Every active rule that matches is run, also where it did the same before; a refusal by `delete` is taken back.
    """
    checked = [resource_id_of(text) for text in resource_ids]
    spool = access.find_spool(settings)
    for resource_id in checked:
        item = spool.directories.put(marker.new(Level(level), resource_id, "cli", wiring.utc_now()))
        click.echo(item.shown)
