"""The commands that look after the whole: what was missed, what lies in Orthanc already, what may go, what is wrong."""

from __future__ import annotations

import threading
from functools import wraps
from pathlib import Path
from typing import Any

import click

from autorthanc_spool import doctor as examination
from autorthanc_spool.commands import audit, progress, views_upkeep
from autorthanc_spool.commands.options import Command, date_of, with_settings
from autorthanc_spool.core.errors import SpoolError, UsageError
from autorthanc_spool.run import prune as pruning
from autorthanc_spool.run import reidentify as reidentification
from autorthanc_spool.run import replay as replaying
from autorthanc_spool.run import wiring
from autorthanc_spool.settings import Settings


@click.command()
@with_settings
def reconcile(settings: Settings) -> None:
    """Write a marker for each study that Orthanc has and no run has seen; `run` does this by itself."""
    sweep = wiring.reconcile_now(settings)
    for name in sweep.markers:
        click.echo(f"incoming/{name}")
    note = f", {len(sweep.markers)} were missed"
    if sweep.left_alone is not None:
        note = f"; first contact: {sweep.left_alone} of them were there before, and are left alone{note}"
    click.echo(f"{sweep.studies} settled studies in Orthanc{note}", err=True)


def with_period(command: Command) -> Command:
    """Give a command the options that choose days, and call it with the period."""

    @click.option("--since", metavar="DATE", help="Only studies of this StudyDate or later: 2026-11-23 or 20261123.")
    @click.option("--until", metavar="DATE", help="Only studies of this StudyDate or earlier.")
    @click.option("--arrival", is_flag=True, help="The dates are those of the last arrival in Orthanc (UTC) instead.")
    @wraps(command)
    def wrapped(since: str | None, until: str | None, arrival: bool, **arguments: Any) -> int | None:
        period = replaying.Period(date_of(since, "--since"), date_of(until, "--until"), arrival)
        if period.since and period.until and period.since > period.until:
            raise UsageError(f"--since {since} is after --until {until}; nothing can lie between")
        return command(period=period, **arguments)

    return wrapped


@click.command()
@click.argument("rule_name", metavar="RULE")
@click.option("--dry-run", is_flag=True, help="Show what matches, and write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a match.")
@with_period
@with_settings
def replay(settings: Settings, rule_name: str, period: replaying.Period, dry_run: bool, as_json: bool) -> int:
    """Have a rule done on what already lies in Orthanc: a marker for each study or series that it matches.

    What the rule did before with the same content is not done again; `enqueue` and `requeue` are for that.
    """
    parts = wiring.tools(settings, threading.Event())
    rule = replaying.chosen(parts.rulebook.read(), rule_name)
    parts.orthanc.system()
    listed = replaying.candidates(parts.orthanc, rule, period)
    looked = replaying.matches(parts, rule, listed.studies)
    found = replaying.gathered(progress.shown(looked, len(listed.studies), "looking at studies"), listed)
    names = []
    if not dry_run:
        matches = progress.shown(found.matches, len(found.matches), "writing markers")
        names = [replaying.write_marker(parts.spool, rule, match, wiring.utc_now) for match in matches]
    views_upkeep.show_replay(found, names, as_json=as_json)
    return 1 if found.unread else 0


@click.command()
@click.option("--dry-run", is_flag=True, help="Show what would go, and remove nothing; locks aren't looked at.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for each place.")
@with_settings
def prune(settings: Settings, dry_run: bool, as_json: bool) -> None:
    """Remove old records, and what dead processes left behind; `run` does this by itself once a day.

    The ledger stays, and so does whatever isn't known as ours.
    """
    pruned = pruning.prune(wiring.tools(settings, threading.Event()), is_dry_run=dry_run)
    if pruned is None:
        raise SpoolError("another process is pruning at this moment; that is as good")
    views_upkeep.show_pruned(pruned, is_dry_run=dry_run, as_json=as_json)


@click.command()
@click.option("--probe", is_flag=True, help="Send a synthetic study to Orthanc, wait for its marker, and remove both.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for each finding.")
@with_settings
def doctor(settings: Settings, probe: bool, as_json: bool) -> int:
    """Look at everything that has to be right around the processor, and say how to mend what isn't.

    Exit code 1 when something is broken, 75 when Orthanc can't be reached. Nothing is changed; only --probe writes to
    Orthanc, and takes as long as ORTHANC_STABLE_AGE.
    """
    parts = wiring.tools(settings, threading.Event())
    findings = []
    for finding in examination.examine(parts, with_probe=probe, say=lambda text: click.echo(text, err=True)):
        views_upkeep.show_finding(finding, as_json=as_json)
        findings.append(finding)
    return examination.exit_code(findings)


@click.command()
@click.argument("pseudonym", metavar="PSEUDONYM")
@click.option("--rule", "rule_name", required=True, metavar="RULE", help="The rule that gave the pseudonym.")
@click.option(
    "--candidates",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Look among these patients instead of those in Orthanc: one PatientID a line, an issuer after a tab.",
)
@with_settings
def reidentify(settings: Settings, pseudonym: str, rule_name: str, candidates: Path | None) -> None:
    """Tell whose pseudonym this is; the pseudonym key is needed, or the rule's pseudonym table."""
    parts = wiring.tools(settings, threading.Event())
    options = reidentification.options_of(parts.rulebook.read(), rule_name)
    found = reidentification.reidentify(parts, options, pseudonym, candidates)
    if found.PatientID:
        issuer = f"\t{found.IssuerOfPatientID}" if found.IssuerOfPatientID else ""
        click.echo(f"{found.PatientID}{issuer}")
    else:
        click.echo("the files have no PatientID; this is their StudyInstanceUID:", err=True)
        click.echo(found.StudyInstanceUID)


COMMANDS = (audit.command, doctor, prune, reconcile, reidentify, replay)
