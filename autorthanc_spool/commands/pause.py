"""`pause`: nothing is claimed until `resume`."""

from __future__ import annotations

import click

from autorthanc_spool.commands.options import examples, with_settings
from autorthanc_spool.monitor import pause
from autorthanc_spool.run import access
from autorthanc_spool.settings import Settings

_EXAMPLES = examples(
    ("pause moving the disks", "what runs is finished, nothing new is claimed"),
    ("resume", "go on"),
)


@click.command("pause", epilog=_EXAMPLES)
@click.argument("reason", nargs=-1)
@with_settings
def command(settings: Settings, reason: tuple[str, ...]) -> None:
    """Claim nothing until `resume`; what is being worked on is finished. `status` and the log show the REASON."""
    pause.begin(access.find_spool(settings).root, " ".join(reason))
    click.echo("paused: nothing is claimed until `autorthanc-spool resume`", err=True)
