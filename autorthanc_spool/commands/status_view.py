"""What `status` shows a person, and its JSON: all that a look at everything finds."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from autorthanc_spool.commands.views import describe, echo_json, plain_console
from autorthanc_spool.core import marker
from autorthanc_spool.core.counted import counted
from autorthanc_spool.core.errors import MarkerError, SpoolError
from autorthanc_spool.core.states import State
from autorthanc_spool.disk.usage import Usage, usage
from autorthanc_spool.monitor import shape
from autorthanc_spool.monitor.facts import gather
from autorthanc_spool.monitor.health import (
    START,
    Facts,
    Finding,
    Kind,
    OrthancFacts,
    is_at_work,
    judge,
    span,
)
from autorthanc_spool.monitor.heartbeat import Processor
from autorthanc_spool.run import access, wiring
from autorthanc_spool.run.rulebook import RuleSet
from autorthanc_spool.settings import Settings
from autorthanc_spool.spool.spool import Spool

# For so long the records of the day are read.
READING_S = 0.15

_MEANING = {
    State.INCOMING: "to do",
    State.PROCESSING: "being worked on",
    State.DEFERRED: "will be tried again",
    State.FAILED: "need a person",
    State.HOLD: "parked by a person",
    State.DONE: "finished",
}


def show_whole(
    settings: Settings, as_json: bool, begin: Callable[[], None], ask: Callable[[Settings], OrthancFacts]
) -> None:
    """Look at everything, and show it; `begin` is called in between."""
    found = _look(settings, ask(settings))
    begin()
    _show(found, as_json)


def show_shape(settings: Settings, as_json: bool, begin: Callable[[], None]) -> None:
    """Show how old what waits is, by rule; `begin` is called before."""
    rows = shape.of(access.find_spool(settings))
    begin()
    if as_json:
        for rule, ages in rows.items():
            echo_json({"rule": rule, "total": sum(ages), "minutes": dict(zip(shape.HEADS, ages, strict=True))})
        return
    width = max(map(len, rows))
    click.echo(f"{'':{width}}  {'TOTAL':>6}" + "".join(f" {head:>6}" for head in shape.HEADS))
    for rule, ages in rows.items():
        click.echo(f"{rule:{width}}  {sum(ages):>6}" + "".join(f" {count:>6}" for count in ages))


@dataclass(frozen=True)
class Status:
    """What `status` shows."""

    spool: Path
    counts: dict[str, int]
    oldest_incoming: str
    next_due_s: float | None
    rules: RuleSet | None
    rules_problem: str
    facts: Facts
    findings: tuple[Finding, ...]
    usage: Usage
    done_retention_days: int
    done_unmatched_retention_days: int
    withheld_today: int


def _look(settings: Settings, orthanc: OrthancFacts) -> Status:
    """Look at everything, and change nothing."""
    spool = access.find_spool(settings)
    rules, problem = None, ""
    try:
        rules = wiring.rulebook(settings, spool).read()
    except SpoolError as error:
        problem = str(error)
    facts = gather(spool, settings.alert_age_s, orthanc)
    facts = replace(
        facts,
        folder_problems=tuple(wiring.replaced_folders(settings, spool, rules.rules if rules else ())),
        broken_rules=tuple(one.name for one in rules.broken) if rules else (),
    )
    held = usage(spool.root, settings.output_path, _delivered(rules))
    return Status(
        spool=spool.root,
        # A day of done/ may hold a hundred thousand records, and there are many days.
        counts={str(state): queue.count for state, queue in facts.queues.items()} | {str(State.DONE): held.done.files},
        oldest_incoming=min(spool.directories.names(State.INCOMING), default=""),
        next_due_s=spool.directories.next_deferred_s(),
        rules=rules,
        rules_problem=problem,
        facts=facts,
        findings=judge(facts),
        usage=held,
        done_retention_days=settings.done_retention_days,
        done_unmatched_retention_days=settings.done_unmatched_retention_days,
        withheld_today=_withheld_today(spool),
    )


def _delivered(rules: RuleSet | None) -> list[str]:
    """What active rules deliver to."""
    return sorted({rule.deliver for rule in rules.rules if rule.is_active and rule.deliver} if rules else ())


def _withheld_today(spool: Spool) -> int:
    """How many files were withheld in what was done today (UTC), as far as that can be read in a moment."""
    folder, enough_s = spool.directories.of(State.DONE) / wiring.utc_now().strftime("%Y-%m-%d"), time.monotonic()
    count = 0
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if time.monotonic() > enough_s + READING_S:
                break
            with suppress(MarkerError, OSError):
                data = Path(entry.path).read_bytes()
                outcomes = marker.parse(entry.name, data).outcomes if marker.may_withhold(data) else {}
                count += sum(outcome.withheld for outcome in outcomes.values())
    return count


def _show(found: Status, as_json: bool) -> None:
    """Show the state of the whole."""
    if as_json:
        echo_json(_status_object(found))
        return
    console = plain_console()
    for line in _processor_lines(found.facts):
        console.print(line, soft_wrap=True)
    table = Table(box=None, show_header=False, pad_edge=False)
    for state in State:
        count = found.counts[state]
        style = "bold red" if state is State.FAILED and count else ""
        table.add_row(
            f"{state}/", Text(str(count), style=style, justify="right"), _MEANING[state] + _since(found, state)
        )
    console.print(f"spool    {found.spool}", highlight=False, soft_wrap=True)
    console.print(f"Orthanc  {_answer(found.facts)}", highlight=False, markup=False, soft_wrap=True)
    console.print(_folded(table))
    for finding in found.findings:
        if finding.kind not in _SHOWN_ELSEWHERE:
            console.print(Text(str(finding), style="bold red" if finding.is_alarm else "red"), soft_wrap=True)
    console.print(_usage_sentence(found), highlight=False, markup=False, soft_wrap=True)
    if found.withheld_today:
        withheld = counted(found.withheld_today, "file")
        text = f"withheld {withheld} in what was done today; `autorthanc-spool list done` shows where"
        console.print(text, highlight=False, markup=False, soft_wrap=True)
    _show_rules(console, found)
    if found.counts[State.FAILED]:
        click.echo("`autorthanc-spool list failed` says why; `autorthanc-spool requeue MARKER` tries again", err=True)


# The first lines, and the rows of the tables, say these.
_SHOWN_ELSEWHERE = {Kind.NOT_RUNNING, Kind.DIED, Kind.ORTHANC, Kind.PAUSED, Kind.RULE, Kind.FAILED}


def _processor_lines(facts: Facts) -> Iterator[Text]:
    for one in facts.processors:
        if not one.is_alive:
            yield Text(f"processor  {one.name} DIED{one.at_work}", style="red")
        else:
            looked = "no look yet" if one.looked_s is None else f"last look {span(one.looked_s)} ago"
            state = "" if is_at_work(one) else f", SILENT for {span(one.silent_s)}"
            text = f"processor  {one.name}, version {one.version}, since {one.since}, {looked}{state}{one.at_work}"
            yield Text(text, style="bold red" if state else "")
    if not any(one.is_alive for one in facts.processors):
        yield Text(f"processor  NOT RUNNING; {START}", style="bold red")
    if facts.pause:
        reason = f": {facts.pause.reason}" if facts.pause.reason else ""
        age = span(facts.pause.age_s)
        yield Text(f"PAUSED     for {age}{reason}; `autorthanc-spool resume` lets it go on", style="bold yellow")


def _answer(facts: Facts) -> str:
    orthanc = facts.orthanc
    assert orthanc
    return f"{orthanc.url}: {f'answers, version {orthanc.version}' if orthanc.reachable else orthanc.problem}"


def _usage_sentence(found: Status) -> str:
    usage = found.usage
    heaps = {"done/": usage.done, "ledger/": usage.ledger, "tmp/": usage.tmp}
    held = ", ".join(f"{name} {decimal(heap.size_bytes)} in {heap.files:,} files" for name, heap in heaps.items())
    free = {"spool": usage.spool_free_bytes, "output": usage.output_free_bytes, **usage.delivered_free_bytes}
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


def _folded(table: Table) -> Table:
    """Have a narrow terminal break what doesn't fit, not cut it."""
    for column in table.columns:
        column.overflow = "fold"
    return table


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
    console.print(_folded(table))


def _status_object(found: Status) -> dict[str, Any]:
    rules, facts = found.rules, found.facts
    orthanc, pause = facts.orthanc, facts.pause
    assert orthanc
    return {
        "spool": str(found.spool),
        "healthy": not any(finding.is_alarm for finding in found.findings),
        "findings": [finding.content() for finding in found.findings],
        "processors": [_processor_object(one) for one in facts.processors],
        "paused": {"reason": pause.reason, "age_s": round(pause.age_s, 1)} if pause else None,
        "orthanc": {
            "url": orthanc.url,
            "reachable": orthanc.reachable,
            "version": orthanc.version or None,
            "state": _answer(facts).removeprefix(f"{orthanc.url}: "),
        },
        "counts": found.counts,
        "oldest_age_s": {str(state): _rounded(queue.oldest_age_s) for state, queue in facts.queues.items()},
        "withheld_today": found.withheld_today,
        "folder_problems": list(facts.folder_problems),
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


def _processor_object(one: Processor) -> dict[str, Any]:
    return {
        "host": one.host,
        "pid": one.pid,
        "version": one.version,
        "alive": one.is_alive,
        "at_work": is_at_work(one),
        "since": one.since,
        "looked": one.looked or None,
        "looked_age_s": _rounded(one.looked_s),
        "silent_s": round(one.silent_s, 1),
        "marker": one.marker or None,
        "marker_since": one.marker_since or None,
        "troubles": [asdict(trouble) for trouble in one.troubles],
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)
