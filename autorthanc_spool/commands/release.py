"""`release`: parked markers are put back."""

from __future__ import annotations

import click

from autorthanc_spool.commands import steering
from autorthanc_spool.commands.options import with_settings
from autorthanc_spool.core.states import Event
from autorthanc_spool.run import wiring
from autorthanc_spool.settings import Settings


@click.command("release")
@click.argument("names", nargs=-1, required=True, metavar="MARKER...")
@with_settings
def command(settings: Settings, names: tuple[str, ...]) -> None:
    """Put markers back from hold/ into incoming/."""
    spool = wiring.find_spool(settings)
    steering.move(spool, steering.found(spool, names), Event.RELEASE)
