"""`up`: Orthanc and the processor on this machine."""

from __future__ import annotations

import click

from autorthanc_spool.commands.options import with_settings
from autorthanc_spool.settings import Settings


@click.command("up")
@with_settings
def command(settings: Settings) -> int:
    """Start Orthanc (with its SQLite index) and the processor on this machine, from the same settings."""
    from autorthanc_spool.site import up as starting

    return starting.up(settings)
