"""The commands that look after the whole: what was missed, what lies in Orthanc already, what may go, what is wrong."""

from __future__ import annotations

import click

from autorthanc_spool import assembly
from autorthanc_spool.cli_options import with_settings
from autorthanc_spool.settings import Settings


@click.command()
@with_settings
def reconcile(settings: Settings) -> None:
    """Write a marker for each study that Orthanc has and no run has seen; `run` does this by itself."""
    sweep = assembly.reconcile_now(settings)
    for name in sweep.markers:
        click.echo(f"incoming/{name}")
    note = "; first contact: they are left alone" if sweep.is_first else f", {len(sweep.markers)} were missed"
    click.echo(f"{sweep.studies} settled studies in Orthanc{note}", err=True)


COMMANDS = (reconcile,)
