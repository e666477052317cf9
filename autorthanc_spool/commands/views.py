"""How several commands show the same: a rule in a few words, one JSON object a line for a program."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import click
from rich.console import Console

from autorthanc_spool.rules import Rule
from autorthanc_spool.spool.directories import shown

# More than any line of ours has.
WIDEST = 10_000


def describe(rule: Rule) -> str:
    """A rule in a few words."""
    actions = ", ".join(sorted(str(action) for action in rule.actions))
    deletion = ", then deletes it from Orthanc" if rule.delete_from_orthanc else ""
    hours = f", at {rule.between} only" if rule.between else ""
    where = f", to {rule.deliver}" if rule.deliver else ""
    return f"{'active' if rule.is_active else 'not active'}, on each {rule.check_on}: {actions}{where}{deletion}{hours}"


def echo_json(content: Mapping[str, Any]) -> None:
    """Print one object on one line, whatever the reader takes for the end of a line."""
    text = json.dumps(content, ensure_ascii=False)
    # JSON escapes the line ends of ASCII itself; Unicode has more of them, and marks that turn a line around.
    click.echo("".join(one if one.isprintable() else json.dumps(one)[1:-1] for one in text))


def on_one_line(text: str) -> str:
    """Put a text on one line, without what a terminal would take for a command."""
    return shown(" ".join(text.split()))


def size(size_bytes: int) -> str:
    """Write a size for a person: ``1.2 MB``."""
    value = float(size_bytes)
    for unit in ("bytes", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def plain_console() -> Console:
    """A console that neither wraps nor cuts what goes into a pipe or a file."""
    console = Console()
    return console if console.is_terminal else Console(width=WIDEST)
