"""How several commands show the same: a rule in a few words, one JSON object a line for a program."""

from __future__ import annotations

import json
from typing import Any

import click

from autorthanc_spool.rules import Rule


def describe(rule: Rule) -> str:
    """A rule in a few words."""
    actions = ", ".join(sorted(str(action) for action in rule.actions))
    deletion = ", then deletes it from Orthanc" if rule.delete_from_orthanc else ""
    return f"{'active' if rule.is_active else 'not active'}, on each {rule.check_on}: {actions}{deletion}"


def echo_json(content: dict[str, Any]) -> None:
    """Print one object on one line."""
    click.echo(json.dumps(content, ensure_ascii=False))
