"""`doctor`: everything that has to be right around the processor."""

from __future__ import annotations

import json
import threading

import click

from autorthanc_spool import doctor as examination
from autorthanc_spool.commands.options import with_settings
from autorthanc_spool.doctor import Finding, Severity
from autorthanc_spool.run import wiring
from autorthanc_spool.settings import Settings


@click.command("doctor")
@click.option("--probe", is_flag=True, help="Send a synthetic study to Orthanc, wait for its marker, and remove both.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for each finding.")
@with_settings
def command(settings: Settings, probe: bool, as_json: bool) -> int:
    """Look at everything that has to be right around the processor, and say how to fix what isn't.

    Exit code 1 when something is broken, 75 when Orthanc can't be reached. Nothing is changed; only --probe writes to
    Orthanc, and takes as long as ORTHANC_STABLE_AGE.
    """
    parts = wiring.tools(settings, threading.Event(), wiring.find_spool(settings))
    findings = []
    for finding in examination.examine(parts, with_probe=probe, say=lambda text: click.echo(text, err=True)):
        _show(finding, as_json=as_json)
        findings.append(finding)
    return examination.exit_code(findings)


def _show(finding: Finding, *, as_json: bool) -> None:
    """Show one line of `doctor`, as soon as it is known."""
    if as_json:
        names = ("severity", "what", "text", "mend")
        click.echo(json.dumps({name: str(getattr(finding, name)) for name in names}, ensure_ascii=False))
        return
    style = {Severity.OK: "green", Severity.WARNING: "yellow", Severity.BROKEN: "red"}[finding.severity]
    mend = f"; fix: {finding.mend}" if finding.mend else ""
    click.echo(f"{click.style(f'{finding.severity:<7}', fg=style)}  {finding.what}: {finding.text}{mend}")
