"""`reconcile`: what was missed gets its marker."""

from __future__ import annotations

import click

from autorthanc_spool.commands.options import examples, with_settings
from autorthanc_spool.core.errors import SpoolError
from autorthanc_spool.run import access, wiring
from autorthanc_spool.run.reconcile import Sweep, reconcile
from autorthanc_spool.settings import Settings

_EXAMPLES = examples(
    ("reconcile", "at once, instead of at the next interval: after a restore, for instance"),
)


@click.command("reconcile", epilog=_EXAMPLES)
@with_settings
def command(settings: Settings) -> None:
    """Write a marker for each study that Orthanc has and no run has seen; `run` does this by itself."""
    sweep = _reconcile(settings)
    for name in sweep.markers:
        click.echo(f"incoming/{name}")
    note = f", {len(sweep.markers)} were missed"
    if sweep.left_alone is not None:
        note = f"; first contact: {sweep.left_alone} of them were there before, and are left alone{note}"
    click.echo(f"{sweep.studies} stable studies in Orthanc{note}", err=True)


def _reconcile(settings: Settings) -> Sweep:
    """Look for studies that were missed, and write their markers. Raises OrthancUnavailable."""
    spool, server = access.find_spool(settings), access.orthanc(settings)
    server.system()
    sweep = reconcile(spool, server, settings.stable_age_s, wiring.utc_now())
    if sweep is None:
        raise SpoolError("another process is reconciling at this moment, which does the same")
    return sweep
