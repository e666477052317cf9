"""`status`: what lies in the spool, which rules are active, whether Orthanc answers."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from autorthanc_spool.commands.options import with_settings
from autorthanc_spool.commands.views import describe, echo_json
from autorthanc_spool.core.errors import MarkerError, OrthancUnavailable, SpoolError
from autorthanc_spool.core.states import State
from autorthanc_spool.disk.usage import Usage, usage
from autorthanc_spool.run import wiring
from autorthanc_spool.run.rulebook import RuleSet
from autorthanc_spool.settings import Settings
from autorthanc_spool.spool.spool import Spool

_MEANING = {
    State.INCOMING: "to do",
    State.PROCESSING: "being worked on",
    State.DEFERRED: "will be tried again",
    State.FAILED: "need a person",
    State.HOLD: "parked by a person",
    State.DONE: "finished",
}


@click.command("status")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@with_settings
def command(settings: Settings, as_json: bool) -> None:
    """Show what lies in the spool, which rules are active, and whether Orthanc answers."""
    _show(_look(settings), as_json)


@dataclass(frozen=True)
class Status:
    """What `status` shows."""

    spool: Path
    counts: dict[str, int]
    oldest_incoming: str
    next_due_s: float | None
    rules: RuleSet | None
    rules_problem: str
    orthanc: str
    orthanc_url: str
    usage: Usage
    done_retention_days: int
    done_unmatched_retention_days: int
    folder_problems: tuple[str, ...]
    withheld_today: int


def _look(settings: Settings) -> Status:
    """Look at everything, and change nothing."""
    spool = wiring.find_spool(settings)
    rules, problem = None, ""
    try:
        rules = wiring.rulebook(settings, spool).read()
    except SpoolError as error:
        problem = str(error)
    try:
        answer = f"answers, version {wiring.orthanc(settings).system().get('Version', 'unknown')}"
    except OrthancUnavailable as error:
        answer = str(error)
    incoming = spool.directories.items(State.INCOMING)
    return Status(
        spool=spool.root,
        counts={str(state): len(spool.directories.items(state)) for state in State},
        oldest_incoming=incoming[0].name if incoming else "",
        next_due_s=spool.directories.next_due_s(),
        rules=rules,
        rules_problem=problem,
        orthanc=answer,
        orthanc_url=settings.orthanc_url,
        usage=usage(spool.root, settings.output_path),
        done_retention_days=settings.done_retention_days,
        done_unmatched_retention_days=settings.done_unmatched_retention_days,
        folder_problems=tuple(wiring.replaced_folders(settings, spool)),
        withheld_today=_withheld_today(spool),
    )


def _withheld_today(spool: Spool) -> int:
    """How many files were withheld in what was done today (UTC)."""
    today = wiring.utc_now().strftime("%Y-%m-%d")
    count = 0
    for item in spool.directories.items(State.DONE):
        if item.path.parent.name == today:
            with suppress(MarkerError, FileNotFoundError):
                count += sum(outcome.withheld for outcome in spool.directories.read(item).outcomes.values())
    return count


def _show(found: Status, as_json: bool) -> None:
    """Show the state of the whole."""
    if as_json:
        echo_json(_status_object(found))
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
    console.print(_usage_sentence(found), highlight=False, markup=False, soft_wrap=True)
    if found.withheld_today:
        text = f"withheld {found.withheld_today} files in what was done today; `autorthanc-spool list done` shows where"
        console.print(text, highlight=False, markup=False, soft_wrap=True)
    _show_rules(console, found)
    if found.counts[State.FAILED]:
        click.echo("`autorthanc-spool list failed` tells why; `autorthanc-spool requeue MARKER` tries again", err=True)


def _usage_sentence(found: Status) -> str:
    usage = found.usage
    heaps = {"done/": usage.done, "ledger/": usage.ledger, "tmp/": usage.tmp}
    held = ", ".join(f"{name} {decimal(heap.size_bytes)} in {heap.files:,} files" for name, heap in heaps.items())
    free = {"spool": usage.spool_free_bytes, "output": usage.output_free_bytes}
    room = ", ".join(f"{name} {'missing' if size is None else decimal(size)}" for name, size in free.items())
    kept = f"{_days(found.done_retention_days)}, what no rule matched {_days(found.done_unmatched_retention_days)}"
    return f"holds    {held}\nfree     {room}\nrecords  kept {kept}"


def _days(number: int) -> str:
    return f"{number} days" if number else "permanently"


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


def _status_object(found: Status) -> dict[str, Any]:
    rules = found.rules
    return {
        "spool": str(found.spool),
        "orthanc": {"url": found.orthanc_url, "state": found.orthanc},
        "counts": found.counts,
        "withheld_today": found.withheld_today,
        "folder_problems": list(found.folder_problems),
        "oldest_incoming": found.oldest_incoming or None,
        "next_due_s": found.next_due_s,
        "usage": asdict(found.usage)
        | {
            "done_retention_days": found.done_retention_days,
            "done_unmatched_retention_days": found.done_unmatched_retention_days,
        },
        "rules": {
            "active": [rule.name for rule in rules.rules if rule.is_active] if rules else [],
            "inactive": [rule.name for rule in rules.rules if not rule.is_active] if rules else [],
            "broken": [broken.name for broken in rules.broken] if rules else [],
            "ignored": list(rules.ignored) if rules else [],
            "problem": found.rules_problem or None,
        },
    }
