"""`resume`: the end of `pause`."""

from __future__ import annotations

import click

from autorthanc_spool.commands.options import examples, with_settings
from autorthanc_spool.monitor import pause
from autorthanc_spool.run import access
from autorthanc_spool.settings import Settings


@click.command("resume", epilog=examples(("resume", "go on")))
@with_settings
def command(settings: Settings) -> None:
    """End a pause: markers are claimed again."""
    was_paused = pause.end(access.find_spool(settings).root)
    click.echo("markers are claimed again" if was_paused else "it wasn't paused; nothing was changed", err=True)
