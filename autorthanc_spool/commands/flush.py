"""`flush`: what is deferred is due now."""

from __future__ import annotations

import click

from autorthanc_spool.commands.options import examples, with_settings
from autorthanc_spool.core.counted import counted
from autorthanc_spool.run import access
from autorthanc_spool.settings import Settings

_EXAMPLES = examples(
    ("flush", "the destination is back: don't wait for the next try"),
)


@click.command("flush", epilog=_EXAMPLES)
@with_settings
def command(settings: Settings) -> int:
    """Make everything in deferred/ due now, as `touch` does; attempts go on being counted."""
    due, refused = access.find_spool(settings).flush()
    click.echo(f"{counted(due, 'deferred marker')} due now", err=True)
    if refused:
        text = f"{refused} can't be touched by this user; run it as the processor's user, or use `requeue --deferred`"
        click.echo(text, err=True)
    return 1 if refused else 0
