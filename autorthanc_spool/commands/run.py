"""`run`: the processor."""

from __future__ import annotations

import os

import click

from autorthanc_spool.commands.options import Seconds, examples, with_settings
from autorthanc_spool.core.errors import UsageError
from autorthanc_spool.deidentify import codecs
from autorthanc_spool.monitor.systemd import Manager
from autorthanc_spool.run import wiring
from autorthanc_spool.settings import Settings

_EXAMPLES = examples(
    ("run", "in a terminal, until Ctrl-C"),
    ("run --once", "from cron: work on what is there"),
    ("run --idle-exit 600", "in a batch job, which ends when nothing came for ten minutes"),
)


@click.command("run", epilog=_EXAMPLES)
@click.option("--once", is_flag=True, help="Work on what is there, then exit.")
@click.option(
    "--idle-exit",
    "idle_exit_s",
    type=Seconds(),
    metavar="SECONDS",
    help="End, with exit code 0, when nothing came for so long: for a batch job.",
)
@with_settings
def command(settings: Settings, once: bool, idle_exit_s: float | None) -> int:
    """Work on the spool until stopped. Several may share one spool.

    SIGTERM, Ctrl-C and the end of the terminal stop it; what is under way goes to deferred/, due at once.
    """
    if once and idle_exit_s is not None:
        raise UsageError("--once ends when nothing is left, and --idle-exit when nothing came for a while: give one")
    # Pixels are decoded by processes of their own.
    codecs.leave_out()
    return wiring.run(settings, once=once, idle_exit_s=idle_exit_s, manager=Manager.of(os.environ), environ=os.environ)
