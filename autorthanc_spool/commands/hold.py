"""`hold`: markers are parked."""

from __future__ import annotations

import click

from autorthanc_spool.commands import complete, steering
from autorthanc_spool.commands.choosing import Choice, with_choice
from autorthanc_spool.commands.options import examples, with_settings
from autorthanc_spool.core.states import Event, State
from autorthanc_spool.settings import Settings

_USUAL = (State.INCOMING, State.DEFERRED, State.FAILED)
_EXAMPLES = examples(
    ("hold 0a4b249f", "one marker, by the beginning of its study's Orthanc ID"),
    ("hold --rule trial7", "all that wait for a rule, or failed under it"),
)


@click.command("hold", epilog=_EXAMPLES)
@click.argument("names", nargs=-1, metavar="[MARKER]...", shell_complete=complete.markers)
@with_choice
@with_settings
def command(settings: Settings, names: tuple[str, ...], choice: Choice) -> None:
    """Park markers in hold/, where nothing touches them.

    A marker is named by any unique part of its name. Options choose more of them: without --state, among those in
    incoming, deferred and failed.
    """
    steering.move_chosen(settings, names, choice, _USUAL, Event.HOLD)
