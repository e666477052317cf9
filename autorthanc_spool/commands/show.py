"""`show`: the story of one marker, or the history of one resource."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import click

from autorthanc_spool.commands import complete
from autorthanc_spool.commands.list import remark, summary
from autorthanc_spool.commands.options import examples, with_settings
from autorthanc_spool.commands.views import echo_json, on_one_line, size
from autorthanc_spool.core import selection
from autorthanc_spool.core.errors import MarkerError, UsageError
from autorthanc_spool.core.marker import Marker
from autorthanc_spool.core.outcome import Outcome, Problem
from autorthanc_spool.core.states import State
from autorthanc_spool.run import access
from autorthanc_spool.settings import Settings
from autorthanc_spool.spool.directories import Item, shell_word, shown
from autorthanc_spool.spool.names import Names
from autorthanc_spool.spool.spool import Spool

# What fits on a screen beside what was there.
MOST_LINES = 15

_NEXT = {
    State.INCOMING: "it is worked on as soon as a processor looks; `autorthanc-spool status` says whether one runs",
    State.PROCESSING: "a processor works on it",
    State.DEFERRED: "it is tried again by itself; `autorthanc-spool requeue {name}` has it done now",
    State.FAILED: "fix the cause, then: autorthanc-spool requeue {name}",
    State.HOLD: "a person parked it: autorthanc-spool release {name}",
    State.DONE: "`autorthanc-spool requeue {name}` has it done again",
}
_EXAMPLES = examples(
    ("show 0a4b249f", "by the beginning of the study's Orthanc ID"),
    ("show 20261123T212459Z-study-0a4b --json", "all of it, with the checksums of the files"),
)


@click.command("show", epilog=_EXAMPLES)
@click.argument("name", metavar="MARKER", shell_complete=complete.markers)
@click.option("--json", "as_json", is_flag=True, help="Print all of it, as one JSON object a line.")
@with_settings
def command(settings: Settings, name: str, as_json: bool) -> None:
    """Show the story of a marker: what it asks for, what was done, why it waits or failed, and what to do.

    It is named by any part of its name. A part that names several markers of one study or series shows its history.
    """
    spool = access.find_spool(settings)
    names = Names(spool.directories)
    items = names.all(name)
    if len(items) > 1 and (len({spool.directories.key_of(item) for item in items} - {""}) != 1):
        raise names.ambiguous(name, items)
    try:
        lines = [*_lines(spool, items, as_json)]
    except FileNotFoundError:
        raise UsageError(f"{shown(items[0].name)} was moved a moment ago; look again") from None
    for item in items if len(items) == 1 else ():
        click.echo(shown(f"{item.path}"), err=True)
    for line in lines:
        if isinstance(line, str):
            click.echo(line)
        else:
            echo_json(line)


def _lines(spool: Spool, items: list[Item], as_json: bool) -> Iterator[str | dict[str, Any]]:
    if as_json:
        yield from (_whole(spool, item) for item in items)
    elif len(items) == 1:
        yield from story(spool, items[0])
    else:
        yield from history(spool, items)


def _whole(spool: Spool, item: Item) -> dict[str, Any]:
    """All that the file holds, and where it is."""
    place = {"state": str(item.state), "name": shown(item.name), "path": shown(str(item.path))}
    data = item.path.read_bytes()
    try:
        content = json.loads(data.decode("utf-8-sig")) if data.strip() else {}
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        return {**summary(spool, item), "content": data.decode(errors="backslashreplace")}
    try:
        found = spool.directories.read(item)
        named = {"level": found.level.capitalize(), "id": found.resource_id}
    except MarkerError:
        named = {}
    return {**place, **named, **content}


def history(spool: Spool, items: list[Item]) -> list[str]:
    """One line for each marker of a resource, the oldest first."""
    found = sorted((str(one.get("last_time") or ""), one) for one in (_Summary(summary(spool, item)) for item in items))
    lines = [f"{time or 'no time':20}  {one['state']}/{one['name']}  {remark(one)}".rstrip() for time, one in found]
    more = len(lines) - MOST_LINES + 1
    return [f"{more} earlier ones; `list --all` shows them", *lines[more:]] if more > 1 else lines


class _Summary(dict[str, Any]):
    """A summary that can be sorted by its name, where times are the same."""

    def __lt__(self, other: dict[str, Any]) -> bool:
        return bool(self["name"] < other["name"])


def story(spool: Spool, item: Item) -> list[str]:
    """Say what a marker asks for, what was done, and what to do next, in at most `MOST_LINES` lines."""
    name = shown(item.name.removesuffix(".json"))
    one = summary(spool, item)
    try:
        found = spool.directories.read(item)
    except MarkerError:
        return [
            f"{name} is in {item.state}/: it is not a marker",
            f"why: {on_one_line(str(one['error']))}",
            "next: fix it, or remove it: rm " + shell_word(str(item.path)),
        ]
    head = [f"{name} is in {item.state}/{_since(found)}{_due(one)}", _asks(found)]
    tail = [f"why: {_reason(found.error)}"] if found.error else []
    tail += [f"tried: {found.attempts} times"] if found.attempts else []
    tail += [f"processes that died while working on it: {found.deaths}"] if found.deaths else []
    tail += [f"done by {shown(found.superseded_by)}"] if found.superseded_by else []
    tail += ["next: " + _NEXT[item.state].format(name=name)]
    rules = [line for rule, outcome in found.outcomes.items() for line in _outcome_lines(rule, outcome, found.error)]
    if item.state is State.DONE and not found.outcomes and not found.superseded_by:
        rules = [f"no rule matches: `autorthanc-spool explain {found.level} {found.resource_id}` says why"]
    room = MOST_LINES - len(head) - len(tail)
    if len(rules) > room:
        rules = [*rules[: room - 1], f"and {len(rules) - room + 1} more lines: show --json has them all"]
    return [*head, *rules, *tail]


def _since(found: Marker) -> str:
    time = selection.last_time(found)
    return f" since {on_one_line(time)}" if time else ""


def _due(one: dict[str, Any]) -> str:
    return f", due in {one['due_in_s']} s" if one.get("due_in_s") else ""


def _asks(found: Marker) -> str:
    rules = f"the rules {', '.join(found.rules)}" if found.rules is not None else "all rules"
    source = f", written by {found.source}" if found.source else ""
    time = f" at {found.time}" if found.time else ""
    return on_one_line(f"{found.level} {found.resource_id} for {rules}{source}{time}")


def _outcome_lines(rule: str, outcome: Outcome, told: Problem | None) -> Iterator[str]:
    """What a rule did, what went wrong, what was sent; what was `told` is not repeated."""
    parts = [f"{rule}: {outcome.sentence}"]
    parts += [outcome.path] if outcome.path else []
    parts += [f"{outcome.instances:,} files, {size(outcome.size_bytes or 0)}"] if outcome.instances else []
    parts += [f"since {outcome.since}"] if outcome.since else [outcome.time] if outcome.time else []
    parts += [f"{outcome.deleted.instances:,} files deleted from Orthanc"] if outcome.deleted else []
    yield on_one_line(", ".join(parts))
    if outcome.problem and outcome.problem != told:
        yield f"  why: {_reason(outcome.problem)}"
    if outcome.kept:
        yield f"  kept beside it: {len(outcome.kept)} earlier outputs that hold more than this one"
    for destination, sent in outcome.forward.items():
        is_news = sent.problem and sent.problem not in (told, outcome.problem)
        why = f": {_reason(sent.problem)}" if sent.problem and is_news else ""
        yield f"  {on_one_line(f'to {destination}: {sent.sentence}')}{why}"


def _reason(problem: Problem) -> str:
    return on_one_line(f"{problem.kind}: {problem.text}")
