"""`reidentify`: whose pseudonym this is."""

from __future__ import annotations

import threading
from pathlib import Path

import click

from autorthanc_spool.commands.options import Place, examples, with_settings
from autorthanc_spool.run import access, wiring
from autorthanc_spool.run import reidentify as reidentification
from autorthanc_spool.settings import Settings

_EXAMPLES = examples(
    ("reidentify P-3F7A91C2 --rule trial", "whose pseudonym it is, for who may know"),
)


@click.command("reidentify", epilog=_EXAMPLES)
@click.argument("pseudonym", metavar="PSEUDONYM")
@click.option("--rule", "rule_name", required=True, metavar="RULE", help="The rule that gave the pseudonym.")
@click.option(
    "--candidates",
    type=Place(path_type=Path),
    metavar="FILE",
    help="Look among these patients instead of those in Orthanc: one PatientID a line, an issuer after a tab.",
)
@with_settings
def command(settings: Settings, pseudonym: str, rule_name: str, candidates: Path | None) -> None:
    """Show whose pseudonym this is; the pseudonym key is needed, or the rule's pseudonym table."""
    parts = wiring.tools(settings, threading.Event(), access.find_spool(settings))
    options = reidentification.options_of(parts.rulebook.read(), rule_name)
    found = reidentification.reidentify(
        parts, options, pseudonym, candidates, say=lambda sentence: click.echo(sentence, err=True)
    )
    if found.PatientID:
        issuer = f"\t{found.IssuerOfPatientID}" if found.IssuerOfPatientID else ""
        click.echo(f"{found.PatientID}{issuer}")
    else:
        click.echo("the files have no PatientID; this is their StudyInstanceUID:", err=True)
        click.echo(found.StudyInstanceUID)
