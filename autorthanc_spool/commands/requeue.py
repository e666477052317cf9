"""`requeue`: markers are put back to be worked on."""

from __future__ import annotations

from dataclasses import replace

import click

from autorthanc_spool.commands import complete, steering
from autorthanc_spool.commands.choosing import Choice, with_choice
from autorthanc_spool.commands.options import examples, with_settings
from autorthanc_spool.core.errors import UsageError
from autorthanc_spool.core.states import Event, State
from autorthanc_spool.settings import Settings

_USUAL = (State.FAILED, State.DEFERRED)
_EXAMPLES = examples(
    ("requeue --failed", "all that failed, when the cause is gone"),
    ("requeue --kind UnknownModality --rule trial7", "what one error held up under one rule"),
    ("requeue --state done --rule brain --since 3d", "have the work of three days done again"),
)


@click.command("requeue", epilog=_EXAMPLES)
@click.argument("names", nargs=-1, metavar="[MARKER]...", shell_complete=complete.markers)
@click.option("--failed", is_flag=True, help="All that failed; short for --state failed.")
@click.option("--deferred", is_flag=True, help="All that are deferred; short for --state deferred.")
@with_choice
@with_settings
def command(settings: Settings, names: tuple[str, ...], failed: bool, deferred: bool, choice: Choice) -> None:
    """Put markers back into incoming/: a done one is done again, a failed one goes on with what it lacks.

    A marker is named by any unique part of its name. Options choose more of them: without --state, among the failed and
    the deferred ones.
    """
    short = {State.FAILED: failed, State.DEFERRED: deferred}
    choice = replace(choice, states=(*choice.states, *(state for state, is_asked in short.items() if is_asked)))
    if not (names or choice.is_made):
        raise UsageError(
            "name a marker, or use --failed or --deferred, --all, --state, --rule, --kind or --since; "
            "`autorthanc-spool list` shows what there is"
        )
    steering.move_chosen(settings, names, choice, _USUAL, Event.REQUEUE)
