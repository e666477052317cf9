"""What a shell completes: markers, rules, kinds of errors. Where anything is wrong, nothing, silently."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import click
from click.shell_completion import CompletionItem

from autorthanc_spool.commands.options import settings_of
from autorthanc_spool.core import errors, marker
from autorthanc_spool.core.errors import SpoolError
from autorthanc_spool.core.states import State

# What a shell would have to quote isn't offered, nor is more than anybody reads.
_PLAIN = re.compile(r"[\w.+:-]+", re.ASCII)
_MOST = 200

Note = TypeVar("Note")


def markers(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete a marker: by the beginning of its name, or of its Orthanc ID."""
    found: dict[str, State] = {}
    with suppress(SpoolError, OSError):
        for state in State:
            for name in _names(context, state):
                stem = name.removesuffix(".json")
                found[stem] = state
                if incomplete and (named := marker.named_resource(name)):
                    found[named[1]] = state
    return [CompletionItem(name, help=str(state)) for name, state in _fitting(found, incomplete)]


def rules(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the name of a rule."""
    with suppress(SpoolError, OSError):
        names = {path.stem: None for path in sorted(_settings_path(context, "rules").glob("*.json"))}
        return [CompletionItem(name) for name, _ in _fitting(names, incomplete)]
    return []


def kinds(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the kind of an error."""
    names = {name: None for name, one in sorted(vars(errors).items()) if isinstance(one, type) and _is_kind(one)}
    return [CompletionItem(name) for name, _ in _fitting(names, incomplete)]


def _is_kind(one: type) -> bool:
    return issubclass(one, SpoolError) and not issubclass(one, errors.UsageError) and one is not SpoolError


def _fitting(found: dict[str, Note], incomplete: str) -> Iterable[tuple[str, Note]]:
    fitting = [(name, note) for name, note in found.items() if name.startswith(incomplete) and _PLAIN.fullmatch(name)]
    return fitting[:_MOST]


def _names(context: click.Context, state: State) -> list[str]:
    folder = _settings_path(context, "spool") / state
    # What lies beside the days of records was moved there by a person.
    days = [path for path in folder.glob("????-??-??") if path.is_dir()] if state is State.DONE else []
    names = [name for place in (*days, folder) for name in os.listdir(place)]  # noqa: PTH208 - names are enough
    return sorted(name for name in names if name.endswith(".json") and not name.startswith("."))


def _settings_path(context: click.Context, option: str) -> Path:
    """The spool or the folder of rules, by the options that were typed so far, or by the settings."""
    settings = settings_of(context.params)
    return settings.spool_path if option == "spool" else settings.rules_path
