"""`doctor`: everything that has to be right around the processor."""

from __future__ import annotations

import json
import threading

import click

from autorthanc_spool import doctor as examination
from autorthanc_spool.commands.options import Seconds, examples, with_settings
from autorthanc_spool.core.errors import UsageError
from autorthanc_spool.doctor import Finding, Severity
from autorthanc_spool.run import access, wiring
from autorthanc_spool.settings import Settings

_EXAMPLES = examples(
    ("doctor", "after installing, and when something looks wrong"),
    ("doctor --probe", "also sends a synthetic study, to see that its marker comes"),
)


@click.command("doctor", epilog=_EXAMPLES)
@click.option("--probe", is_flag=True, help="Send a synthetic study to Orthanc, wait for its marker, and remove both.")
@click.option("--shared", is_flag=True, help="On several hosts at once: check whether they share the spool correctly.")
@click.option(
    "--hosts",
    type=click.IntRange(min=2),
    default=2,
    show_default=True,
    metavar="NUMBER",
    help="With --shared: on how many hosts it is started.",
)
@click.option(
    "--wait",
    "wait_s",
    type=Seconds(),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="With --shared: how long to wait for the others.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for each finding.")
@with_settings
def command(settings: Settings, probe: bool, shared: bool, hosts: int, wait_s: float, as_json: bool) -> int:
    """Look at everything that has to be right around the processor, and say how to fix what isn't.

    Exit code 1 when something is broken, 75 when Orthanc can't be reached. Nothing is changed; only --probe writes to
    Orthanc, and takes as long as ORTHANC_STABLE_AGE. With --shared, started on two or more hosts at the same time, it
    looks at nothing but whether they see one and the same spool.
    """
    if probe and shared:
        raise UsageError("--probe asks Orthanc, and --shared the other hosts: give one")
    parts = wiring.tools(settings, threading.Event(), access.find_spool(settings))
    findings = []
    if shared:
        looks = examination.examine_shared(parts, _say, hosts, wait_s)
    else:
        looks = examination.examine(parts, with_probe=probe, say=_say)
    for finding in looks:
        _show(finding, as_json=as_json)
        findings.append(finding)
    return examination.exit_code(findings)


def _say(text: str) -> None:
    click.echo(text, err=True)


def _show(finding: Finding, *, as_json: bool) -> None:
    """Show one line of `doctor`, as soon as it is known."""
    if as_json:
        line = {"severity": finding.severity, "what": finding.what, "text": finding.text, "fix": finding.fix}
        click.echo(json.dumps(line, ensure_ascii=False))
        return
    style = {Severity.OK: "green", Severity.WARNING: "yellow", Severity.BROKEN: "red"}[finding.severity]
    fix = f"; fix: {finding.fix}" if finding.fix else ""
    click.echo(f"{click.style(f'{finding.severity:<7}', fg=style)}  {finding.what}: {finding.text}{fix}")
