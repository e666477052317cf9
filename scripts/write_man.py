"""Write the manual page from the same texts as `--help`; `man -l autorthanc_spool/man/autorthanc-spool.1` shows it."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path

import click

from autorthanc_spool import __version__
from autorthanc_spool.commands.main import PROGRAM, SECTIONS, cli
from autorthanc_spool.commands.options import with_settings

PAGE = Path(__file__).parents[1] / "autorthanc_spool" / "man" / f"{PROGRAM}.1"


@click.command()
@with_settings
def common(_settings: object) -> None:
    """Hold the options that most commands have."""


def page() -> str:
    """Give the page in the language of man(7)."""
    context = click.Context(cli, info_name=PROGRAM)
    lines = [f'.TH {PROGRAM.upper()} 1 "" "{PROGRAM} {__version__}" "User Commands"', ".SH NAME"]
    lines += [f"{text(PROGRAM)} \\- {text(cli.get_short_help_str(limit=200))}", ".SH SYNOPSIS", f".B {text(PROGRAM)}"]
    lines += [".I COMMAND", "[OPTIONS] [ARGUMENTS]", ".SH DESCRIPTION", *paragraphs(cli.help or "")]
    lines += [".SH COMMON OPTIONS", "All commands but init, demo and completion have these."]
    lines += options(common, context, frozenset())
    shared = frozenset(option.name for option in common.params)
    for title, names in SECTIONS.items():
        lines += [f'.SH "{text(title).upper()}"']
        for name in names:
            one = cli.get_command(context, name)
            assert one
            lines += described(one, click.Context(one, info_name=name, parent=context), shared)
    return "\n".join(lines) + "\n"


def described(command: click.Command, context: click.Context, shared: frozenset[str | None]) -> Iterator[str]:
    """Give one command: how it is called, what it does, its own options, its examples."""
    yield f'.SS "{text(" ".join([command.name or "", *command.collect_usage_pieces(context)]))}"'
    yield from paragraphs(command.help or "")
    yield from options(command, context, shared)
    if command.epilog:
        yield from (".PP", "Examples:", ".PP", ".EX")
        yield from (text(line) for line in command.epilog.splitlines()[2:])
        yield ".EE"


def options(command: click.Command, context: click.Context, without: frozenset[str | None]) -> Iterator[str]:
    """Give the options of a command with their help."""
    for option in command.params:
        record = option.get_help_record(context) if isinstance(option, click.Option) else None
        if record and option.name not in without:
            yield from (".TP", f".B {text(record[0])}", text(record[1]))


def paragraphs(help_text: str) -> Iterator[str]:
    """Give a help text, its paragraphs apart."""
    for number, paragraph in enumerate(cleandoc(help_text).split("\n\n")):
        yield from () if number == 0 else (".PP",)
        yield from (text(line) for line in paragraph.splitlines() if line != "\b")


def text(line: str) -> str:
    """Write a line so that nothing in it is taken for a command of man(7)."""
    escaped = line.replace("\\", "\\e").replace("-", "\\-").replace("…", "...")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page())
