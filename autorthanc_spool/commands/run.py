"""`run`: the processor."""

from __future__ import annotations

import click

from autorthanc_spool.commands.options import with_settings
from autorthanc_spool.run import wiring
from autorthanc_spool.settings import Settings


@click.command("run")
@click.option("--once", is_flag=True, help="Work on what is there, then exit.")
@with_settings
def command(settings: Settings, once: bool) -> int:
    """Work on the spool until stopped. Several may share one spool."""
    return wiring.run(settings, once=once)
