"""How the findings of `replay`, `prune` and `doctor` are shown. Patients aren't named; Orthanc's IDs are."""

from __future__ import annotations

import json
import sys
from itertools import zip_longest

import click
from rich.filesize import decimal
from rich.table import Table

from autorthanc_spool.commands.progress import talk
from autorthanc_spool.doctor import Finding, Severity
from autorthanc_spool.run.prune import Pruned
from autorthanc_spool.run.replay import Found, Match

# As many as a person looks at before deciding.
FIRST_MATCHES = 10


def show_replay(found: Found, names: list[str], *, as_json: bool) -> None:
    """Show what a rule matches, and the markers that were written; without names it was a dry run."""
    if as_json:
        for match, name in zip_longest(found.matches, names):
            click.echo(json.dumps(_match_object(match, name)))
    elif not sys.stdout.isatty():
        for match, name in zip_longest(found.matches, names):
            click.echo(f"incoming/{name}" if name else f"{match.level} {match.resource_id}")
    console = talk()
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
    verb = "matches" if len(matches) == 1 else "match"
    looked_at = f"{_counted(len(matches), noun)} {verb}, of {_counted(listed.looked_at, 'study')} in Orthanc"
    sentences = [f"{looked_at}: {_counted(instances, 'instance')}, {decimal(size_bytes)}"]
    if done := sum(match.is_done for match in matches):
        sentences.append(f"done already, and left as they are: {done:,} of them")
    if listed.undated:
        undated = _counted(listed.undated, "study")
        sentences.append(f"{undated} without a StudyDate left out; --arrival goes by when they came instead")
    sentences += [f"study {one.resource_id} couldn't be looked at: {one.reason}" for one in found.unread]
    if names:
        sentences.append(f"{_counted(len(names), 'marker')} written to incoming/; `autorthanc-spool run` works on them")
    elif matches:
        sentences.append("nothing was written; without --dry-run, each gets a marker in incoming/")
    return sentences


def _counted(number: int, noun: str) -> str:
    plural = {"study": "studies", "series": "series"}.get(noun, f"{noun}s")
    return f"{number:,} {noun if number == 1 else plural}"


def show_pruned(pruned: Pruned, *, is_dry_run: bool, as_json: bool) -> None:
    """Show what was removed, and what was left alone."""
    for one in pruned.removed:
        if as_json:
            click.echo(json.dumps({"what": one.what, "where": one.where, "number": one.number}))
        else:
            click.echo(f"{one.where}: {one.number:,} {one.what}")
    for sentence in pruned.left:
        click.echo(sentence, err=True)
    if not pruned.removed:
        click.echo("there is nothing to be removed", err=True)
    elif is_dry_run:
        click.echo("nothing was removed; that is what would go without --dry-run", err=True)


def show_finding(finding: Finding, *, as_json: bool) -> None:
    """Show one line of `doctor`, as soon as it is known."""
    if as_json:
        names = ("severity", "what", "text", "mend")
        click.echo(json.dumps({name: str(getattr(finding, name)) for name in names}, ensure_ascii=False))
        return
    style = {Severity.OK: "green", Severity.WARNING: "yellow", Severity.BROKEN: "red"}[finding.severity]
    mend = f"; mend: {finding.mend}" if finding.mend else ""
    click.echo(f"{click.style(f'{finding.severity:<7}', fg=style)}  {finding.what}: {finding.text}{mend}")
