"""`init`: a site is laid out, or brought to this version."""

from __future__ import annotations

import os
import secrets
import sys
from contextlib import suppress
from pathlib import Path

import click

from autorthanc_spool.commands.options import Place, examples
from autorthanc_spool.core.errors import SettingsError
from autorthanc_spool.run import access
from autorthanc_spool.settings import load_settings

_EXAMPLES = examples(
    ("init /srv/autorthanc", "lay a site out, with a password"),
    ("init --upgrade /srv/autorthanc", "bring its shipped files to this version"),
)


@click.command("init", epilog=_EXAMPLES)
@click.argument("directory", metavar="DIR", type=Place(path_type=Path))
@click.option("--upgrade", "is_upgrade", is_flag=True, help="Bring what was laid out there to this version.")
def command(directory: Path, is_upgrade: bool) -> None:
    """Lay out a site in DIR: Compose file, units, Lua script, examples, .env."""
    if is_upgrade:
        _upgrade(directory)
    else:
        _lay_out(directory)


def _lay_out(directory: Path) -> None:
    from autorthanc_spool.site.init import Password, Person, add_password, lay_out

    person = Person(os.getuid(), os.getgid(), secrets.token_urlsafe(18))
    laid_out = lay_out(directory, person)
    for path in laid_out.written:
        click.echo(str(laid_out.directory / path))
    if laid_out.password is Password.MISSING:
        given = _ask_for_password(directory) if sys.stdin.isatty() else ""
        laid_out = add_password(laid_out, given or person.password)
    # Where the settings lack something, what starts the site says what, and makes the spool later.
    with suppress(SettingsError):
        access.make_spool(load_settings({}, {}, directory.absolute()))
    click.echo(laid_out.next_steps(), err=True)


def _ask_for_password(directory: Path) -> str:
    asked = f"{directory / '.env'} has no password for Orthanc. New password (leave empty to have one made up)"
    given: str = click.prompt(asked, default="", hide_input=True, show_default=False, err=True)
    return given


def _upgrade(directory: Path) -> None:
    from autorthanc_spool.site.upgrade import upgrade

    upgraded = upgrade(directory)
    for line in upgraded.lines():
        click.echo(line)
    click.echo(upgraded.next_steps(), err=True)
