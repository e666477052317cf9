"""`up`: Orthanc and the processor on this machine."""

from __future__ import annotations

import click

from autorthanc_spool.commands.options import examples, with_settings
from autorthanc_spool.settings import Settings

_EXAMPLES = examples(
    ("up", "in a terminal, until Ctrl-C"),
    ("up --site /srv/autorthanc", "a site elsewhere, from anywhere"),
)


@click.command("up", epilog=_EXAMPLES)
@with_settings
def command(settings: Settings) -> int:
    """Start Orthanc (with its SQLite index) and the processor on this machine, from the same settings."""
    from autorthanc_spool.site import up as starting

    return starting.up(settings)
