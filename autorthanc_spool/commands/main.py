"""The command line: options → settings → one call → exit code.

Standard output is for data, standard error for talk. Errors become messages in `main` and nowhere else. A command is a
file of this folder, which is imported when that command is asked for: `run` does without tables, checks, and the rest.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Mapping
from importlib import import_module

import click

from autorthanc_spool import __version__
from autorthanc_spool.core.errors import OrthancUnavailable, RulesInvalid, SpoolError
from autorthanc_spool.disk import durable

PROGRAM = "autorthanc-spool"

# What the help lists, on a line each: the names of the files here, whose `command` it is.
SECTIONS: Mapping[str, Mapping[str, str]] = {
    "The processor": {
        "up": "Start Orthanc and the processor on this machine.",
        "run": "Work on the spool until stopped.",
        "pause": "Claim nothing until `resume`.",
        "resume": "End a pause.",
        "init": "Lay out a site: Compose file, units, Lua script, examples, .env.",
        "demo": "Show the main job in a temporary folder.",
    },
    "Looking (why isn't a study there?)": {
        "status": "Show processors, spool, rules, and whether Orthanc answers.",
        "find": "Find a study, and what happened to it.",
        "explain": "Show why each rule matches a study or doesn't.",
        "show": "Show the story of a marker, and what to do.",
        "list": "List markers.",
        "doctor": "Check everything around the processor, and say how to fix it.",
        "check": "Check settings, folders, ports and rules.",
        "pixels": "Write pictures of images before and after blacking out.",
        "preview": "Show what ANONYMISE would do.",
    },
    "Steering": {
        "requeue": "Put failed or done markers back, to be done again.",
        "flush": "Make everything in deferred/ due now.",
        "hold": "Park markers in hold/, where nothing touches them.",
        "release": "Put markers back from hold/ into incoming/.",
        "delete": "Remove markers for good.",
        "enqueue": "Queue studies or series, by their Orthanc IDs.",
        "replay": "Run a rule over what is already in Orthanc.",
        "announce": "Let consumers see what is already published.",
    },
    "Maintenance": {
        "reconcile": "Write the markers that are missing; `run` does it, too.",
        "prune": "Remove old records and leftovers; `run` does it, too.",
        "audit": "Print the audit log's lines of a study.",
        "reidentify": "Show whose pseudonym this is.",
        "completion": "Print what a shell needs to complete commands.",
    },
}
COMMANDS = tuple(sorted(name for names in SECTIONS.values() for name in names))


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

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - the same
        """Write the list of commands, by what they are for."""
        for title, rows in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl(list(rows.items()))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="autorthanc-spool")
def cli() -> None:
    """Export what becomes stable in Orthanc, by rules, into the folder that your pipeline watches.

    Settings come from the environment or from .env in the working directory; docs/settings.md lists them. Another
    site is named by --site DIR, after any command.

    A study isn't there? `find` says what happened to it, by PatientID, accession number or name; `explain` which rules
    match it and why the others don't; `show` why its marker waits or failed; `status` whether a processor runs.

    Exit codes: 0 all right, 1 something failed, 2 wrong usage or settings, 75 try again later: Orthanc, or a folder, is
    away.
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
        result = cli.main(args=arguments, prog_name=PROGRAM, standalone_mode=False)
    except click.exceptions.Abort:
        return 130
    except click.ClickException as error:
        error.show()
        return 2
    except RulesInvalid as error:
        click.echo(str(error), err=True)
        return error.exit_code
    except SpoolError as error:
        cause = error.__cause__
        if isinstance(cause, OSError) and durable.is_away(cause):
            return _say_away(cause)
        click.echo(f"autorthanc-spool: {error}", err=True)
        return error.exit_code
    except BrokenPipeError:
        # Whoever read our output has seen enough; nothing is left to be flushed at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if durable.is_away(error):
            return _say_away(error)
        where = f": {error.filename}" if error.filename else ""
        click.echo(f"autorthanc-spool: {error.strerror}{where}", err=True)
        return 1
    return result if isinstance(result, int) else 0


def _say_away(error: OSError) -> int:
    """Say in one sentence that a share or disk is away, and what to do. Returns the exit code."""
    where = f" at {error.filename}" if error.filename else ""
    click.echo(
        f"autorthanc-spool: {durable.passing_reason(error)}{where} ({error.strerror}); check the mount of the "
        "spool, the rules and the output, then run this again",
        err=True,
    )
    return OrthancUnavailable.exit_code
