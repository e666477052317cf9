"""The command line: options → settings → one call → exit code.

Standard output is for data, standard error for talk. Errors become messages in `main` and nowhere else. What only some
commands need is imported by them: `run` does without tables, checks, and the commands of upkeep.
"""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path

import click

from autorthanc_spool import __version__
from autorthanc_spool.commands.options import resource_id_of, with_settings
from autorthanc_spool.core import marker
from autorthanc_spool.core.dicom import Level
from autorthanc_spool.core.errors import RulesInvalid, SettingsError, SpoolError, UsageError
from autorthanc_spool.core.states import Event, State
from autorthanc_spool.run import wiring
from autorthanc_spool.settings import Settings
from autorthanc_spool.spool.directories import Item
from autorthanc_spool.spool.spool import Spool


class Commands(click.Group):
    """All commands. Those of `cli_upkeep` are imported when one of them, or the list of all, is asked for."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Find a command."""
        if cmd_name not in self.commands:
            self._add_upkeep()
        return super().get_command(ctx, cmd_name)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List the names of all commands."""
        self._add_upkeep()
        return super().list_commands(ctx)

    def _add_upkeep(self) -> None:
        from autorthanc_spool.commands import upkeep

        for command in upkeep.COMMANDS:
            self.add_command(command)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="autorthanc-spool")
def cli() -> None:
    """Export what becomes stable in Orthanc, by rules, into the folder that your pipeline watches.

    Settings come from the environment or from .env in the working directory; docs/settings.md lists them.
    """


@cli.command()
@click.option("--once", is_flag=True, help="Work on what is there, then exit.")
@with_settings
def run(settings: Settings, once: bool) -> int:
    """Work on the spool until stopped. Several may share one spool."""
    return wiring.run(settings, once=once)


@cli.command()
@with_settings
def up(settings: Settings) -> int:
    """Start Orthanc (with its SQLite index) and the processor on this machine, from the same settings."""
    from autorthanc_spool.site import up as starting

    return starting.up(settings)


@cli.command()
@click.option("--keep", is_flag=True, help="Leave the folder of the demonstration in place.")
def demo(keep: bool) -> int:
    """Show the main job in a temporary folder: a study sent by C-STORE, and what becomes of it."""
    from autorthanc_spool.demo import demonstration

    return demonstration.demo(keep)


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@with_settings
def status(settings: Settings, as_json: bool) -> None:
    """Show what lies in the spool, which rules are in force, and whether Orthanc answers."""
    from autorthanc_spool.commands import views

    views.show_status(wiring.status(settings), as_json)


@cli.command("list")
@click.argument("states", nargs=-1, metavar="[STATE]...", type=click.Choice([str(state) for state in State]))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@with_settings
def list_markers(settings: Settings, states: tuple[str, ...], as_json: bool) -> None:
    """List markers: all but the done ones, or those in the named states."""
    from autorthanc_spool.commands import views

    wanted = [State(state) for state in states] or [state for state in State if state is not State.DONE]
    spool = wiring.open_spool(settings)
    views.show_markers([views.summary(spool, item) for state in wanted for item in spool.items(state)], as_json)


@cli.command()
@click.argument("name", metavar="MARKER")
@with_settings
def show(settings: Settings, name: str) -> None:
    """Print a marker: what it asks for, what was done, and why it waits or failed."""
    spool = wiring.open_spool(settings)
    item = spool.find(name)
    click.echo(f"{item.path}", err=True)
    click.echo(item.path.read_text(errors="backslashreplace").rstrip("\n") or "{}")


@cli.command()
@click.argument("names", nargs=-1, metavar="[MARKER]...")
@click.option("--failed", is_flag=True, help="All that failed.")
@click.option("--deferred", is_flag=True, help="All that are deferred.")
@with_settings
def requeue(settings: Settings, names: tuple[str, ...], failed: bool, deferred: bool) -> None:
    """Put markers back into incoming/: a done one is done again, a failed one goes on with what it lacks."""
    if not (names or failed or deferred):
        raise UsageError("name a marker, or use --failed or --deferred; `autorthanc-spool list` shows what there is")
    spool = wiring.open_spool(settings)
    items = _found(spool, names)
    items += spool.items(State.FAILED) if failed else []
    items += spool.items(State.DEFERRED) if deferred else []
    if not items:
        click.echo("nothing there", err=True)
    _move(spool, items, Event.REQUEUE)


@cli.command()
@click.argument("names", nargs=-1, required=True, metavar="MARKER...")
@with_settings
def hold(settings: Settings, names: tuple[str, ...]) -> None:
    """Park markers in hold/, where nothing touches them."""
    spool = wiring.open_spool(settings)
    _move(spool, _found(spool, names), Event.HOLD)


@cli.command()
@click.argument("names", nargs=-1, required=True, metavar="MARKER...")
@with_settings
def release(settings: Settings, names: tuple[str, ...]) -> None:
    """Put markers back from hold/ into incoming/."""
    spool = wiring.open_spool(settings)
    _move(spool, _found(spool, names), Event.RELEASE)


def _found(spool: Spool, names: tuple[str, ...]) -> list[Item]:
    """Find all markers before anything is done with the first; one that is named twice counts once."""
    return list(dict.fromkeys(spool.find(name) for name in names))


def _move(spool: Spool, items: list[Item], event: Event) -> None:
    for item in dict.fromkeys(items):
        try:
            moved = spool.move(item, event)
        except FileNotFoundError:
            raise SpoolError(f"{item.name} is in {item.state}/ no more: somebody was quicker; look again") from None
        click.echo(f"{moved.state}/{moved.name}")


@cli.command()
@click.argument("names", nargs=-1, required=True, metavar="MARKER...")
@with_settings
def delete(settings: Settings, names: tuple[str, ...]) -> None:
    """Remove markers, and remember that their resources are refused, so that they don't come back."""
    spool = wiring.open_spool(settings)
    for item in _found(spool, names):
        spool.delete(item)
        click.echo(f"{item.path.relative_to(spool.root)}")


@cli.command()
@click.argument("level", type=click.Choice([str(level) for level in Level], case_sensitive=False))
@click.argument("resource_ids", nargs=-1, required=True, metavar="ID...")
@with_settings
def enqueue(settings: Settings, level: str, resource_ids: tuple[str, ...]) -> None:
    """Have studies or series done, or done again, by their Orthanc IDs."""
    checked = [resource_id_of(text) for text in resource_ids]
    spool = wiring.open_spool(settings)
    for resource_id in checked:
        item = spool.put(marker.new(Level(level), resource_id, "cli", wiring.utc_now()))
        click.echo(f"{item.state}/{item.name}")


@cli.command()
@click.argument("files", nargs=-1, metavar="[FILE]...", type=click.Path(path_type=Path))
@with_settings
def check(settings: Settings, files: tuple[Path, ...]) -> None:
    """Check settings, folders, ports and rules, or some rule files alone: every problem with its place."""
    from autorthanc_spool.commands import views
    from autorthanc_spool.site import preflight

    if not files and (problems := preflight.problems(settings)):
        raise SettingsError(problems)
    views.show_check(wiring.check(settings, files))


@cli.command()
@click.argument("level", type=click.Choice([str(level) for level in Level], case_sensitive=False))
@click.argument("resource_id", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a rule and line.")
@with_settings
def explain(settings: Settings, level: str, resource_id: str, as_json: bool) -> None:
    """Tell for each rule and tag what was wanted, what was found, and what would be done."""
    from autorthanc_spool.commands import views

    explained = wiring.explain(settings, Level(level), resource_id_of(resource_id))
    views.show_explanation(explained, as_json)


@cli.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--upgrade", "is_upgrade", is_flag=True, help="Bring what was laid out there to this version.")
def init(directory: Path, is_upgrade: bool) -> None:
    """Lay out a site in DIR: Compose file, units, Lua script, examples, .env."""
    from autorthanc_spool.site.init import Password, Person, add_password, lay_out
    from autorthanc_spool.site.upgrade import upgrade

    if is_upgrade:
        upgraded = upgrade(directory)
        for line in upgraded.lines():
            click.echo(line)
        click.echo(upgraded.next_steps(), err=True)
        return
    person = Person(os.getuid(), os.getgid(), secrets.token_urlsafe(18))
    laid_out = lay_out(directory, person)
    for path in laid_out.written:
        click.echo(str(laid_out.directory / path))
    if laid_out.password is Password.MISSING and sys.stdin.isatty():
        asked = f"{directory / '.env'} has no password of Orthanc. A new one (nothing: one is made up)"
        given = click.prompt(asked, default="", hide_input=True, show_default=False, err=True)
        laid_out = add_password(laid_out, given or person.password)
    click.echo(laid_out.next_steps(), err=True)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line, and exit."""
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
