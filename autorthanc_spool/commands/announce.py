"""`announce`: what lies published is shown again to a consumer that began to watch later."""

from __future__ import annotations

import threading

import click

from autorthanc_spool.commands import complete, progress
from autorthanc_spool.commands.options import examples, with_settings
from autorthanc_spool.commands.views import echo_json
from autorthanc_spool.run import access, wiring
from autorthanc_spool.run import announce as announcing
from autorthanc_spool.run.announce import Lying
from autorthanc_spool.settings import Settings
from autorthanc_spool.spool.directories import shown

_EXAMPLES = examples(
    ("announce --dry-run", "what lies published and wasn't taken"),
    ("announce trial7", "after a consumer of this rule was started for the first time, or was down"),
)


@click.command("announce", epilog=_EXAMPLES)
@click.argument("rule_name", metavar="[RULE]", required=False, shell_complete=complete.rules)
@click.option("--dry-run", is_flag=True, help="Show what would be announced, and touch nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for each publication.")
@with_settings
def command(settings: Settings, rule_name: str | None, dry_run: bool, as_json: bool) -> int:
    """Let consumers see what was published, by a rule or by all, before they began to watch.

    Each folder or archive is renamed away and back at once, so that hurahura and others see it arrive. Only what was
    published and is still there untouched is announced; what was taken, and what others put there, is left alone. Don't
    call it while a consumer reads what lies there in place.
    """
    tools = wiring.tools(settings, threading.Event(), access.find_spool(settings))
    published = announcing.published(tools, rule_name.removesuffix(".json") if rule_name else None)
    found = published.lying
    for sentence in published.away:
        click.echo(sentence, err=True)
    announced: list[Lying] = []
    busy = taken = 0
    try:
        for one in progress.shown(found, len(found), "announcing"):
            is_seen = True if dry_run else announcing.announce(tools, one)
            busy += is_seen is None
            taken += is_seen is False
            announced += [one] if is_seen else []
    finally:
        for one in announced:
            _show(settings, one, as_json)
    verb = "would be announced" if dry_run else "announced"
    parts = [f"{len(announced)} {verb}"]
    parts += [f"{taken} taken meanwhile"] if taken else []
    parts += [f"{busy} left out, being worked on: run this again"] if busy else []
    click.echo("; ".join(parts), err=True)
    return 1 if busy or published.away else 0


def _show(settings: Settings, one: Lying, as_json: bool) -> None:
    if as_json:
        level, _, resource_id = one.key.partition("-")
        path = shown(str(settings.output_path / one.place))
        echo_json({"rule": one.rule, "path": path, "level": level, "id": resource_id, "time": one.entry.time})
    else:
        click.echo(shown(one.place))
