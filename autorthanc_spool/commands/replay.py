"""`replay`: a rule over what already lies in Orthanc. Patients aren't named; Orthanc's IDs are."""

from __future__ import annotations

import json
import sys
import threading
from functools import wraps
from itertools import zip_longest
from pathlib import Path
from typing import Any

import click
from rich.filesize import decimal
from rich.table import Table

from autorthanc_spool.commands import complete, progress
from autorthanc_spool.commands.options import Command, date_of, examples, with_settings
from autorthanc_spool.core.counted import agreeing, counted
from autorthanc_spool.core.errors import UsageError
from autorthanc_spool.run import access, deliveries, wiring
from autorthanc_spool.run import draft as drafts
from autorthanc_spool.run import replay as replaying
from autorthanc_spool.run.replay import Found, Match
from autorthanc_spool.settings import Settings

# As many as a person looks at before deciding.
FIRST_MATCHES = 10


def _with_period(command: Command) -> Command:
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


_EXAMPLES = examples(
    ("replay brain --since 2026-11-01 --dry-run", "what the rule would take of what lies in Orthanc already"),
    ("replay brain --since 2026-11-01", "have it done"),
)


@click.command("replay", epilog=_EXAMPLES)
@click.argument("rule_name", metavar="RULE", shell_complete=complete.rules)
@click.option("--dry-run", is_flag=True, help="Show what matches, and write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a match.")
@_with_period
@with_settings
def command(settings: Settings, rule_name: str, period: replaying.Period, dry_run: bool, as_json: bool) -> int:
    """Run a rule over what is already in Orthanc: a marker for each study or series that it matches.

    What the rule did before with the same content is not done again; `enqueue` and `requeue` are for that. With
    --dry-run, RULE may be a rule file that isn't active, or lies elsewhere.
    """
    parts = wiring.tools(settings, threading.Event(), access.find_spool(settings))
    rules = parts.rulebook.read()
    if _is_draft(rule_name):
        if not dry_run:
            raise UsageError(f"{rule_name} is a file, and can only be tried; add --dry-run, or name a rule")
        rule = drafts.read(Path(rule_name), deliveries.judge(settings))
        rules = drafts.beside(rules, rule)
    else:
        rule = replaying.chosen(rules, rule_name)
    parts.orthanc.system()
    listed = replaying.candidates(parts.orthanc, rule, period, parts.today())
    looked = replaying.matches(parts, rule, listed.studies, rules)
    found = replaying.gathered(progress.shown(looked, len(listed.studies), "looking at studies"), listed)
    names = []
    if not dry_run:
        matches = progress.shown(found.matches, len(found.matches), "writing markers")
        names = [replaying.write_marker(parts.spool, rule, match, wiring.utc_now) for match in matches]
    _show(found, names, as_json=as_json)
    return 1 if found.unread else 0


def _is_draft(name: str) -> bool:
    # A rule is named without the suffix; what is a path with it is a file.
    return name.endswith(".json") and Path(name).is_file()


def _show(found: Found, names: list[str], *, as_json: bool) -> None:
    """Show what a rule matches, and the markers that were written; without names it was a dry run."""
    if as_json:
        for match, name in zip_longest(found.matches, names):
            click.echo(json.dumps(_match_object(match, name)))
    elif not sys.stdout.isatty():
        for match, name in zip_longest(found.matches, names):
            click.echo(f"incoming/{name}" if name else f"{match.level} {match.resource_id}")
    console = progress.talk()
    if console.is_terminal and found.matches:
        console.print(_first_matches(found))
    for sentence in _replay_sentences(found, names):
        click.echo(sentence, err=True)


def _match_object(match: Match, name: str | None) -> dict[str, object]:
    return {
        "level": str(match.level),
        "id": match.resource_id,
        "last_update": match.last_update,
        "instances": match.instances,
        "bytes": match.size_bytes,
        "done": match.is_done,
        "marker": name,
    }


def _first_matches(found: Found) -> Table:
    table = Table(box=None, pad_edge=False, header_style="")
    for header in ("Orthanc ID", "last arrival (UTC)"):
        table.add_column(header, no_wrap=True)
    for header in ("instances", "size"):
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column("")
    for match in found.matches[:FIRST_MATCHES]:
        done = "done already" if match.is_done else ""
        table.add_row(match.resource_id, match.last_update, f"{match.instances:,}", decimal(match.size_bytes), done)
    more = len(found.matches) - FIRST_MATCHES
    if more > 0:
        table.add_row(f"and {more:,} more")
    return table


def _replay_sentences(found: Found, names: list[str]) -> list[str]:
    matches, listed = found.matches, found.listed
    noun = "series" if matches and matches[0].level == "series" else "study"
    instances, size_bytes = sum(one.instances for one in matches), sum(one.size_bytes for one in matches)
    found_now = f"{counted(len(matches), noun)} {agreeing(len(matches), 'matches')}"
    looked_at = counted(listed.looked_at, "study")
    sentences = [f"{found_now}, of {looked_at} in Orthanc: {counted(instances, 'instance')}, {decimal(size_bytes)}"]
    if done := sum(match.is_done for match in matches):
        sentences.append(f"done already, and left as they are: {done:,} of them")
    if listed.undated:
        undated = counted(listed.undated, "study")
        sentences.append(f"{undated} without a StudyDate left out; --arrival counts by when they came instead")
    sentences += [f"study {one.resource_id} couldn't be looked at: {one.reason}" for one in found.unread]
    if names:
        sentences.append(f"{counted(len(names), 'marker')} written to incoming/; `autorthanc-spool run` works on them")
    elif matches:
        sentences.append("nothing was written; without --dry-run, each gets a marker in incoming/")
    return sentences
