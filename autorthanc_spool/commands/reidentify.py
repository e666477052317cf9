"""`reidentify`: whose pseudonym this is."""

from __future__ import annotations

import threading
from pathlib import Path

import click

from autorthanc_spool.commands.options import with_settings
from autorthanc_spool.run import reidentify as reidentification
from autorthanc_spool.run import wiring
from autorthanc_spool.settings import Settings


@click.command("reidentify")
@click.argument("pseudonym", metavar="PSEUDONYM")
@click.option("--rule", "rule_name", required=True, metavar="RULE", help="The rule that gave the pseudonym.")
@click.option(
    "--candidates",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Look among these patients instead of those in Orthanc: one PatientID a line, an issuer after a tab.",
)
@with_settings
def command(settings: Settings, pseudonym: str, rule_name: str, candidates: Path | None) -> None:
    """Tell whose pseudonym this is; the pseudonym key is needed, or the rule's pseudonym table."""
    parts = wiring.tools(settings, threading.Event(), wiring.find_spool(settings))
    options = reidentification.options_of(parts.rulebook.read(), rule_name)
    found = reidentification.reidentify(parts, options, pseudonym, candidates)
    if found.PatientID:
        issuer = f"\t{found.IssuerOfPatientID}" if found.IssuerOfPatientID else ""
        click.echo(f"{found.PatientID}{issuer}")
    else:
        click.echo("the files have no PatientID; this is their StudyInstanceUID:", err=True)
        click.echo(found.StudyInstanceUID)
