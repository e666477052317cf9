"""The command line: options → settings → one call → exit code.

Standard output is for data, standard error for talk. Errors become messages in `main` and nowhere else. A command is a
file of this folder, which is imported when that command, or the list of all, is asked for: `run` does without tables,
checks, and the rest.
"""

from __future__ import annotations

import io
import os
import sys
from importlib import import_module

import click

from autorthanc_spool import __version__
from autorthanc_spool.core.errors import RulesInvalid, SpoolError

# Each is the name of a file here, whose `command` it is.
COMMANDS = (
    "audit",
    "check",
    "delete",
    "demo",
    "doctor",
    "enqueue",
    "explain",
    "hold",
    "init",
    "list",
    "prune",
    "reconcile",
    "reidentify",
    "release",
    "replay",
    "requeue",
    "run",
    "show",
    "status",
    "up",
)


class Commands(click.Group):
    """All commands."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Find a command."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"autorthanc_spool.commands.{cmd_name}").command
        return command

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """List the names of all commands."""
        return list(COMMANDS)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="autorthanc-spool")
def cli() -> None:
    """Export what becomes stable in Orthanc, by rules, into the folder that your pipeline watches.

    Settings come from the environment or from .env in the working directory; docs/settings.md lists them.
    """


def main(arguments: list[str] | None = None) -> None:
    """Run the command line, and exit."""
    for stream in (sys.stdout, sys.stderr):
        # What can't be written in the encoding of the terminal or the pipe is escaped rather than refused.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.exit(_exit_code(arguments))


def _exit_code(arguments: list[str] | None) -> int:
    try:
        result = cli.main(args=arguments, standalone_mode=False)
    except click.exceptions.Abort:
        return 130
    except click.ClickException as error:
        error.show()
        return 2
    except RulesInvalid as error:
        click.echo(str(error), err=True)
        return error.exit_code
    except SpoolError as error:
        click.echo(f"autorthanc-spool: {error}", err=True)
        return error.exit_code
    except BrokenPipeError:
        # Whoever read our output has seen enough; nothing is left to be flushed at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        click.echo(f"autorthanc-spool: {error.strerror}{where}", err=True)
        return 1
    return result if isinstance(result, int) else 0
