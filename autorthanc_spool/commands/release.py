"""`release`: parked markers are put back."""

from __future__ import annotations

import click

from autorthanc_spool.commands import complete, steering
from autorthanc_spool.commands.choosing import Choice, with_choice
from autorthanc_spool.commands.options import examples, with_settings
from autorthanc_spool.core.states import Event, State
from autorthanc_spool.settings import Settings

_USUAL = (State.HOLD,)
_EXAMPLES = examples(("release --all", "all that are parked"), ("release --rule trial7", "those of one rule"))


@click.command("release", epilog=_EXAMPLES)
@click.argument("names", nargs=-1, metavar="[MARKER]...", shell_complete=complete.markers)
@with_choice
@with_settings
def command(settings: Settings, names: tuple[str, ...], choice: Choice) -> None:
    """Put markers back from hold/ into incoming/.

    A marker is named by any unique part of its name; options choose more of those in hold.
    """
    steering.move_chosen(settings, names, choice, _USUAL, Event.RELEASE)
