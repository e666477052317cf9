"""`explain`: what each rule wanted and found."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import click

from autorthanc_spool.actions import describe
from autorthanc_spool.commands.options import resource_id_of, with_settings
from autorthanc_spool.commands.views import echo_json
from autorthanc_spool.core.dicom import Level, resource_key
from autorthanc_spool.run import wiring
from autorthanc_spool.run.plan import Plan
from autorthanc_spool.run.processor import Processor
from autorthanc_spool.settings import Settings

# As much of a long text as can be read in a list; `--json` has all of it.
_SHOWN_CHARACTERS = 400


@click.command("explain")
@click.argument("level", type=click.Choice([str(level) for level in Level], case_sensitive=False))
@click.argument("resource_id", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a rule and line.")
@with_settings
def command(settings: Settings, level: str, resource_id: str, as_json: bool) -> None:
    """Tell for each rule and tag what was wanted, what was found, and what would be done."""
    _show(_plan(settings, Level(level), resource_id_of(resource_id)), as_json)


def _plan(settings: Settings, level: Level, resource_id: str) -> Plan:
    """Plan the run of a resource, and don't do it. Raises ResourceMissing, OrthancUnavailable."""
    parts = wiring.tools(settings, threading.Event(), wiring.find_spool(settings))
    parts.orthanc.system()
    rules = parts.rulebook.read()
    record = parts.spool.ledger.read(resource_key(level, resource_id))
    return Processor(parts).explain(level, resource_id, rules, record)


def _show(explained: Plan, as_json: bool) -> None:
    """Show what each rule wanted and found."""
    for verdict in explained.verdicts:
        if as_json:
            echo_json(_verdict_object(verdict, explained))
            continue
        click.echo(
            f"{verdict.rule.name}: {'matches' if verdict.matches else verdict.reason}{_fate(verdict, explained)}"
        )
        for one in verdict.conditions:
            found = ", ".join(map(_found, one.found, one.places)) or "nothing"
            mark = "yes" if one.passed else "no "
            click.echo(f"  {mark} {one.condition.tag_name}: wanted {one.condition.value!r}, found {found}")
    for name in explained.waiting:
        click.echo(f"{name}: its file is broken; its last valid version matches, so this would wait in deferred/")
    if not explained.verdicts and not explained.waiting:
        click.echo("there is no rule", err=True)


def _found(value: str, place: str) -> str:
    cut = f"{value[:_SHOWN_CHARACTERS]}…" if len(value) > _SHOWN_CHARACTERS else value
    return f"{cut!r} in series {place}" if place else repr(cut)


def _fate(verdict: Any, explained: Plan) -> str:
    job = explained.job(verdict.rule)
    if job:
        to = replace(job.rule, destination_modalities=job.destinations)
        deletion = ", then delete them from Orthanc" if explained.deletes == job.rule else ""
        return f": would {describe(to, len(explained.resource.instances), job.words)}{deletion}"
    return ": done already" if verdict.rule in explained.unchanged else ""


def _verdict_object(verdict: Any, explained: Plan) -> dict[str, Any]:
    return {
        "rule": verdict.rule.name,
        "matches": verdict.matches,
        "reason": verdict.reason,
        "would_run": explained.job(verdict.rule) is not None,
        "tags": [
            {
                "tag": one.condition.tag_name,
                "wanted": one.condition.value,
                "found": list(one.found),
                "found_in_series": [place or None for place in one.places],
                "passed": one.passed,
            }
            for one in verdict.conditions
        ],
    }
