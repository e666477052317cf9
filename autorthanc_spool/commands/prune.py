"""`prune`: what is no longer needed goes."""

from __future__ import annotations

import json
import threading

import click

from autorthanc_spool.commands.options import examples, with_settings
from autorthanc_spool.core.errors import SpoolError
from autorthanc_spool.run import access, wiring
from autorthanc_spool.run import prune as pruning
from autorthanc_spool.run.prune import Pruned
from autorthanc_spool.settings import Settings

_EXAMPLES = examples(
    ("prune --dry-run", "what would go, and what isn't known"),
    ("prune", "remove what nobody needs; a processor does it once a day"),
)


@click.command("prune", epilog=_EXAMPLES)
@click.option("--dry-run", is_flag=True, help="Show what would go, and remove nothing; locks aren't looked at.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for each place.")
@with_settings
def command(settings: Settings, dry_run: bool, as_json: bool) -> None:
    """Remove old records, and what dead processes left behind; `run` does this by itself once a day.

    The ledger stays, and so does whatever isn't known as ours.
    """
    pruned = pruning.prune(wiring.tools(settings, threading.Event(), access.find_spool(settings)), is_dry_run=dry_run)
    if pruned is None:
        raise SpoolError("another process is pruning at this moment, which does the same")
    _show(pruned, is_dry_run=dry_run, as_json=as_json)


def _show(pruned: Pruned, *, is_dry_run: bool, as_json: bool) -> None:
    """Show what was removed, and what was left alone."""
    for one in pruned.removed:
        if as_json:
            click.echo(json.dumps({"what": one.what, "where": one.where, "number": one.number}))
        else:
            click.echo(f"{one.where}: {one.number:,} {one.what}")
    for sentence in pruned.left:
        click.echo(sentence, err=True)
    if not pruned.removed:
        click.echo("there is nothing to remove", err=True)
    elif is_dry_run:
        click.echo("nothing was removed; that is what would go without --dry-run", err=True)
