"""`init`: a site is laid out."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import click


@click.command("init")
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
def command(directory: Path) -> None:
    """Lay out a site in DIR: Compose file, units, Lua script, examples, .env."""
    from autorthanc_spool.site.init import Person, lay_out

    person = Person(os.getuid(), os.getgid(), secrets.token_urlsafe(18))
    laid_out = lay_out(directory, person)
    for path in laid_out.written:
        click.echo(str(laid_out.directory / path))
    click.echo(laid_out.next_steps(), err=True)
