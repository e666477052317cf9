"""`delete`: markers are removed, and refused from then on."""

from __future__ import annotations

from contextlib import suppress

import click

from autorthanc_spool.commands import steering
from autorthanc_spool.commands.options import with_settings
from autorthanc_spool.core.errors import MarkerError
from autorthanc_spool.run import wiring
from autorthanc_spool.settings import Settings
from autorthanc_spool.spool.directories import Item, shown
from autorthanc_spool.spool.spool import Spool


@click.command("delete")
@click.argument("names", nargs=-1, required=True, metavar="MARKER...")
@with_settings
def command(settings: Settings, names: tuple[str, ...]) -> None:
    """Remove markers, and remember that their resources are refused, so that they don't come back."""
    spool = wiring.find_spool(settings)
    for item in steering.found(spool, names):
        checksums = _checksums(spool, item)
        spool.delete(item)
        click.echo(shown(f"{item.path.relative_to(spool.root)}"))
        if checksums:
            text = f"with it went the record of what was published, and {checksums} checksums of files"
            click.echo(f"{text}; the ledger and the audit log keep the rest", err=True)


def _checksums(spool: Spool, item: Item) -> int:
    """How many checksums only this marker has."""
    with suppress(MarkerError, FileNotFoundError):
        return sum(len(outcome.md5sums) for outcome in spool.directories.read(item).outcomes.values())
    return 0
