"""How things are shown: tables for a person, one JSON object a line for a program."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any

import click
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from autorthanc_spool import actions, marker
from autorthanc_spool.assembly import Checked, Status
from autorthanc_spool.errors import MarkerError, RulesInvalid
from autorthanc_spool.lifecycle import State
from autorthanc_spool.plan import Plan
from autorthanc_spool.rules import Rule, known_private
from autorthanc_spool.shelves import Item
from autorthanc_spool.spool import Spool
from autorthanc_spool.usage import Usage

_MEANING = {
    State.INCOMING: "to do",
    State.PROCESSING: "being worked on",
    State.DEFERRED: "will be tried again",
    State.FAILED: "need a person",
    State.HOLD: "parked by a person",
    State.DONE: "finished",
}


def summary(spool: Spool, item: Item) -> dict[str, Any]:
    """One marker as `list` shows it."""
    content: dict[str, Any] = {"state": str(item.state), "name": item.name, "path": str(item.path)}
    with suppress(FileNotFoundError):
        if item.state is State.DEFERRED:
            content["due_in_s"] = max(0, round(item.path.stat().st_mtime - time.time()))
        try:
            found = spool.read(item)
        except MarkerError as error:
            return {**content, "error": marker.recorded_reason(item.path.read_bytes()) or str(error)}
        content |= {"level": str(found.level), "id": found.resource_id, "source": found.source}
        content |= {"attempts": found.attempts, "error": (found.error or {}).get("text")}
        content["outcomes"] = {rule: outcome.get("outcome") for rule, outcome in found.outcomes.items()}
    return content


def show_markers(markers: list[dict[str, Any]], as_json: bool) -> None:
    """Show a list of markers."""
    if as_json:
        for one in markers:
            _echo_json(one)
        return
    for one in markers:
        click.echo(f"{one['state']}/{one['name']}{_remark(one)}")
    if not markers:
        click.echo("nothing there", err=True)


def _remark(one: dict[str, Any]) -> str:
    parts = [f"{rule} {outcome}" for rule, outcome in (one.get("outcomes") or {}).items()]
    parts += [f"due in {one['due_in_s']} s"] if one.get("due_in_s") else []
    parts += [one["error"]] if one.get("error") else []
    return f"  {'; '.join(parts)}" if parts else ""


def show_status(found: Status, as_json: bool) -> None:
    """Show the state of the whole."""
    if as_json:
        _echo_json(_status_object(found))
        return
    console = Console()
    table = Table(box=None, show_header=False, pad_edge=False)
    for state in State:
        count = found.counts[state]
        style = "bold red" if state is State.FAILED and count else ""
        table.add_row(
            f"{state}/", Text(str(count), style=style, justify="right"), _MEANING[state] + _since(found, state)
        )
    console.print(f"spool    {found.spool}", highlight=False, soft_wrap=True)
    console.print(f"Orthanc  {found.orthanc_url}: {found.orthanc}", highlight=False, markup=False, soft_wrap=True)
    console.print(table)
    for problem in found.folder_problems:
        console.print(Text(problem, style="bold red"), soft_wrap=True)
    console.print(_usage_sentence(found.usage), highlight=False, markup=False, soft_wrap=True)
    _show_rules(console, found)
    if found.counts[State.FAILED]:
        click.echo("`autorthanc-spool list failed` tells why; `autorthanc-spool requeue MARKER` tries again", err=True)


def _usage_sentence(usage: Usage) -> str:
    heaps = {"done/": usage.done, "ledger/": usage.ledger, "tmp/": usage.tmp}
    held = ", ".join(f"{name} {decimal(heap.size_bytes)} in {heap.files:,} files" for name, heap in heaps.items())
    free = {"spool": usage.spool_free_bytes, "output": usage.output_free_bytes}
    room = ", ".join(f"{name} {'missing' if size is None else decimal(size)}" for name, size in free.items())
    kept = f"{_days(usage.done_retention_days)}, what no rule matched {_days(usage.done_unmatched_retention_days)}"
    return f"holds    {held}\nfree     {room}\nrecords  kept {kept}"


def _days(number: int) -> str:
    return f"{number} days" if number else "for ever"


def _since(found: Status, state: State) -> str:
    if state is State.INCOMING and found.oldest_incoming:
        return f", oldest {found.oldest_incoming}"
    if state is State.DEFERRED and found.counts[state] and found.next_due_s is not None:
        return f", next in {found.next_due_s:.0f} s"
    return ""


def _show_rules(console: Console, found: Status) -> None:
    if found.rules is None:
        console.print(f"rules    {found.rules_problem}", highlight=False, markup=False, soft_wrap=True)
        return
    table = Table(box=None, show_header=False, pad_edge=False)
    for rule in found.rules.rules:
        table.add_row("rule", rule.name, describe(rule))
    for broken in found.rules.broken:
        waits = "matching studies wait in deferred/" if broken.last_valid else "nothing is exported by it"
        table.add_row("rule", broken.name, Text(f"broken: {waits}; `autorthanc-spool check` says where", style="red"))
    for name in found.rules.ignored:
        table.add_row("rule", name.removesuffix(".json"), "ignored: a template")
    console.print(table)


def describe(rule: Rule) -> str:
    """A rule in a few words."""
    actions = ", ".join(sorted(str(action) for action in rule.actions))
    deletion = ", then deletes it from Orthanc" if rule.delete_from_orthanc else ""
    return f"{'active' if rule.is_active else 'not active'}, on each {rule.check_on}: {actions}{deletion}"


def _status_object(found: Status) -> dict[str, Any]:
    rules = found.rules
    return {
        "spool": str(found.spool),
        "orthanc": {"url": found.orthanc_url, "state": found.orthanc},
        "counts": found.counts,
        "folder_problems": list(found.folder_problems),
        "oldest_incoming": found.oldest_incoming or None,
        "next_due_s": found.next_due_s,
        "usage": asdict(found.usage),
        "rules": {
            "active": [rule.name for rule in rules.rules if rule.is_active] if rules else [],
            "inactive": [rule.name for rule in rules.rules if not rule.is_active] if rules else [],
            "broken": [broken.name for broken in rules.broken] if rules else [],
            "ignored": list(rules.ignored) if rules else [],
            "problem": found.rules_problem or None,
        },
    }


def show_check(checked: list[Checked]) -> None:
    """Show what was found in rule files. Raises RulesInvalid when one is."""
    for one in checked:
        if one.is_ignored:
            click.echo(f"{one.path.name}: ignored, because its name holds 'template' or 'master'")
        elif one.rule:
            click.echo(f"{one.path.name}: ok, {describe(one.rule)}")
            for warning in known_private.warnings(one.rule.anonymise):
                click.echo(f"{one.path.name}: warning: {warning}", err=True)
        else:
            click.echo(one.problem)
    broken = [one.path.name for one in checked if one.problem]
    if broken:
        raise RulesInvalid(f"{len(broken)} of {len(checked)} rule files can't be used: {', '.join(broken)}")
    click.echo("the settings are all right", err=True)
    if not checked:
        click.echo("there is no rule file yet: docs/rules.md shows how to write one", err=True)


def show_explanation(explained: Plan, as_json: bool) -> None:
    """Show what each rule wanted and found."""
    for verdict in explained.verdicts:
        if as_json:
            _echo_json(_verdict_object(verdict, explained))
            continue
        click.echo(
            f"{verdict.rule.name}: {'matches' if verdict.matches else verdict.reason}{_fate(verdict, explained)}"
        )
        for one in verdict.conditions:
            found = ", ".join(repr(value) for value in one.found) or "nothing"
            mark = "yes" if one.passed else "no "
            click.echo(f"  {mark} {one.condition.tag_name}: wanted {one.condition.value!r}, found {found}")
    for name in explained.waiting:
        click.echo(f"{name}: its file is broken; its last valid version matches, so this would wait in deferred/")
    if not explained.verdicts and not explained.waiting:
        click.echo("there is no rule", err=True)


def _fate(verdict: Any, explained: Plan) -> str:
    job = explained.job(verdict.rule)
    if job:
        to = replace(job.rule, destination_modalities=job.destinations)
        deletion = ", then delete them from Orthanc" if job.rule.delete_from_orthanc else ""
        return f": would {actions.describe(to, explained.instances, job.actions)}{deletion}"
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
                "passed": one.passed,
            }
            for one in verdict.conditions
        ],
    }


def _echo_json(content: dict[str, Any]) -> None:
    click.echo(json.dumps(content, ensure_ascii=False))
