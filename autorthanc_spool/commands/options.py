"""What several commands have in common: the options that set variables, and how an ID or a date is written."""

from __future__ import annotations

import errno
import math
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime
from functools import wraps
from pathlib import Path
from typing import Any

import click

from autorthanc_spool.core.dicom import RESOURCE_ID_PATTERN
from autorthanc_spool.core.errors import SpoolUnavailable, UsageError
from autorthanc_spool.disk import durable
from autorthanc_spool.settings import Settings, load_settings, nearest_name
from autorthanc_spool.settings.variables import NAMES, SITE, VARIABLES

Command = Callable[..., int | None]

_SHORTHANDS = {
    "spool": "AUTORTHANC_SPOOL_PATH",
    "rules": "ORTHANC_AUTOMATION_JSON_SCRIPTS_PATH",
    "output": "ORTHANC_AUTOMATION_STORAGE_PATH",
    "orthanc_url": "ORTHANC_URL",
}

ENV = ".env"

# What the operating system says where somebody has to change something before the spool can be written.
_UNWRITABLE = frozenset({errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM})

_OF_SETTINGS = {"site", "assignments", *_SHORTHANDS}

_SECRETS = {spelling for variable in VARIABLES if variable.is_secret for spelling in variable.spellings}


class Seconds(click.FloatRange):
    """A finite time above 0."""

    def __init__(self) -> None:
        super().__init__(min=0, min_open=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read a number of seconds."""
        found = float(super().convert(value, param, ctx))
        if not math.isfinite(found):
            self.fail(f"{value} is not a number of seconds", param, ctx)
        return found


class Place(click.Path):
    """A file or a folder that is named: nothing isn't the working directory, but a variable that a script lacks."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read a path."""
        if not os.fspath(value):
            self.fail(
                "it is empty; is a variable of the shell not set? A dot is the folder that you are in", param, ctx
            )
        return super().convert(value, param, ctx)


def examples(*calls: tuple[str, str]) -> str:
    """Write the end of a command's help: calls of the program, each with what it is for."""
    lines = [f"  autorthanc-spool {call}\n      {purpose}" for call, purpose in calls]
    return "\n".join(["\b", "Examples:", *lines])


def with_settings(command: Command) -> Command:
    """Give a command the options that set variables, and call it with the settings."""

    @click.option(
        "--site", metavar="DIR", type=Place(), help="The folder that holds the .env (AUTORTHANC_SITE; default: here)."
    )
    @click.option("--set", "assignments", multiple=True, metavar="NAME=VALUE", help="Set a variable of the .env file.")
    @click.option("--spool", metavar="DIR", type=Place(), help="The spool (AUTORTHANC_SPOOL_PATH).")
    @click.option("--rules", metavar="DIR", type=Place(), help="The rules (ORTHANC_AUTOMATION_JSON_SCRIPTS_PATH).")
    @click.option("--output", metavar="DIR", type=Place(), help="The output (ORTHANC_AUTOMATION_STORAGE_PATH).")
    @click.option("--orthanc-url", metavar="URL", help="Orthanc's web address (ORTHANC_URL).")
    @wraps(command)
    def wrapped(**arguments: Any) -> int | None:
        settings = settings_of(arguments)
        others = {name: value for name, value in arguments.items() if name not in _OF_SETTINGS}
        if settings.time_zone:
            os.environ["TZ"] = settings.time_zone
            time.tzset()
        # What is published gets AUTORTHANC_UMASK by itself; what else is written is for the group, and nobody else.
        os.umask(0o007)
        for warning in settings.warnings:
            click.echo(f"warning: {warning}", err=True)
        with _spool_trouble(settings):
            return command(settings, **others)

    return wrapped


def settings_of(arguments: Mapping[str, Any]) -> Settings:
    """Read the settings, with what the options of `with_settings` say. Raises SettingsError, UsageError."""
    overrides = dict(_assignment(text) for text in arguments.get("assignments") or ())
    for option, name in _SHORTHANDS.items():
        value = arguments.get(option)
        if value is not None:
            # A path typed at a shell is relative to where the shell is.
            overrides[name] = value if option == "orthanc_url" else str(Path(value).absolute())
    return load_settings(overrides, os.environ, site_folder(arguments.get("site")))


def site_folder(option: str | None) -> Path:
    """The folder that holds the `.env`: of the option, the environment, or the working directory. Raises UsageError."""
    named = option or os.environ.get(SITE, "")
    folder = Path(os.path.expanduser(named)).absolute()  # noqa: PTH111 - it leaves the ~ of an unknown user as it is
    source = "--site" if option else SITE
    if named and not folder.is_dir():
        raise UsageError(f"{source} {named}: there is no such folder; name the one that holds the .env")
    if named and not (folder / ENV).exists():
        raise UsageError(
            f"{source} {named}: there is no {ENV} in it; name the folder that holds it, or lay a site out there: "
            f"`autorthanc-spool init {named}`"
        )
    return folder


def _assignment(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UsageError(f"--set takes NAME=VALUE, as in the .env file; {name!r} has no '='")
    if name not in NAMES:
        raise UsageError(
            f"--set {name}: it is not a variable of autorthanc-spool; {nearest_name(name) or 'see docs/settings.md'}"
        )
    if name in _SECRETS:
        raise UsageError(
            f"--set {name}: everybody on this machine can read a command's options; write it into .env"
            f"{', or name a file that holds it in ORTHANC_PASSWORD_FILE' if name == 'ORTHANC_PASSWORD' else ''}"
        )
    return name, value


def resource_id_of(text: str) -> str:
    """Read an Orthanc ID. Raises UsageError."""
    resource_id = text.strip().lower()
    if not RESOURCE_ID_PATTERN.fullmatch(resource_id):
        raise UsageError(
            f"{text!r} is not an Orthanc ID: expected five groups of eight hexadecimal digits, as at the end of the "
            "address that Orthanc Explorer shows for the study"
        )
    return resource_id


def uid_of(text: str, option: str) -> str:
    """Read a DICOM UID (PS3.5 section 9.1). Raises UsageError."""
    uid = text.strip()
    if not re.fullmatch(r"[0-9.]{1,64}", uid):
        raise UsageError(f"{option} takes a UID: digits and dots, 64 characters at most")
    return uid


def date_of(text: str | None, option: str) -> date | None:
    """Read a date as ``2026-11-23`` or, as DICOM writes it, ``20261123``. Raises UsageError."""
    if text is None:
        return None
    for form in ("%Y-%m-%d", "%Y%m%d"):
        try:
            return datetime.strptime(text.strip(), form).date()
        except ValueError:
            continue
    raise UsageError(f"{option} takes a day like 2026-11-23 or 20261123; {text!r} is not one")


@contextmanager
def _spool_trouble(settings: Settings) -> Iterator[None]:
    """Turn what the operating system says of a spool that can't be written into SpoolUnavailable, in any command."""
    try:
        yield
    except OSError as error:
        name = error.filename if isinstance(error.filename, str | bytes) else ""
        if error.errno in _UNWRITABLE and Path(os.fsdecode(name)).is_relative_to(settings.spool_path):
            raise SpoolUnavailable(f"the spool can't be used: {durable.passing_reason(error)}") from error
        raise
