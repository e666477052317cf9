"""`autorthanc-spool init DIR`: everything that a site needs, out of the installed package.

The folder holds the Compose file with what it mounts, systemd units, examples of rules, and a wheel of this program, so
that `docker compose build` makes the image from the very version that laid the site out. What is there already stays;
bringing a site to another version is for `upgrade`.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

from autorthanc_spool.core.errors import UsageError
from autorthanc_spool.disk import durable
from autorthanc_spool.settings import envfile
from autorthanc_spool.settings.variables import NAMES
from autorthanc_spool.site import manifest, shipped
from autorthanc_spool.site.shipped import SHIPPED

__all__ = ["SHIPPED", "LaidOut", "Password", "Person", "add_password", "lay_out", "put"]

# Whoever serves these in a container is another user.
MODE = 0o644

_ENV, _ENV_EXAMPLE = ".env", ".env.example"
_FOLDERS = ("ORTAHNC_DB_STORAGE_PATH", "ORTHANC_AUTOMATION_JSON_SCRIPTS_PATH", "ORTHANC_AUTOMATION_STORAGE_PATH")


@dataclass(frozen=True)
class Person:
    """Who lays out the site: user and group of what will be published, and a password that nobody knows yet."""

    uid: int
    gid: int
    password: str


class Password(Enum):
    """Where a site has the password of Orthanc: each is a sentence about its `.env`."""

    MADE = "A password for Orthanc was generated; it is in {env}."
    ADDED = "The password of Orthanc was added to {env}; the rest of that file is as it was."
    THERE = "The password of Orthanc is, as before, in {env}."
    IN_FILE = (
        "ORTHANC_PASSWORD_FILE in {env} names the file with Orthanc's password. That counts without Docker only; "
        "Docker Compose takes ORTHANC_PASSWORD='…' from {env}."
    )
    MISSING = (
        "There is no password for Orthanc in {env} yet, and nothing starts without one (autorthanc had a built-in "
        "one). Add a line with one of your own, in single quotes: ORTHANC_PASSWORD='…'"
    )


@dataclass(frozen=True)
class LaidOut:
    """What happened to a site's files: paths relative to it."""

    directory: Path
    written: tuple[Path, ...]
    kept: tuple[Path, ...]
    password: Password

    def next_steps(self) -> str:
        """Say what a person does now."""
        directory = self.directory.absolute()
        lines = [f"{len(self.written)} files written to {directory}."]
        if self.kept:
            lines += ["These were there, differ from this version's, and stayed:", *(f"  {path}" for path in self.kept)]
            lines += [f"`autorthanc-spool init --upgrade {directory}` lays this version's beside them."]
        return "\n".join(
            [
                *lines,
                self.password.value.format(env=directory / _ENV),
                "",
                "With Docker:",
                f"  cd {directory}",
                "  docker compose up --detach",
                "Without Docker, as yourself (docs/install.md shows how with systemd):",
                f"  cd {directory}",
                "  autorthanc-spool up",
                "",
                "Then copy an example in automation_scripts/ to a name without `template`, and say what you are after.",
            ]
        )


def lay_out(directory: Path, person: Person) -> LaidOut:
    """Write the site's files. Raises UsageError when the folder can't be used."""
    written, kept = [], []
    try:
        known = manifest.read(directory)
        for path, data in sorted(shipped.files().items()):
            target = directory / path
            if not os.path.lexists(target):
                put(directory, path, data)
                written.append(path)
            elif target.read_bytes() != data:
                kept.append(path)
                continue
            known[path] = manifest.checksum(data)
        manifest.write(directory, known)
        if _write_env(directory, person):
            written.append(Path(_ENV))
    except OSError as error:
        raise UsageError(
            f"{directory}: can't be laid out as a site ({error.strerror}); name a folder that you may write to"
        ) from None
    password = Password.MADE if Path(_ENV) in written else _password(directory / _ENV)
    return LaidOut(directory, tuple(written), tuple(kept), password)


def put(directory: Path, path: Path, data: bytes) -> None:
    """Write a file of the site, new or instead of the old one, whose owner and permissions stay."""
    target = directory / path
    target.parent.mkdir(parents=True, exist_ok=True)
    there = target.stat() if target.exists() else None
    durable.write(target, data, target.parent, mode=stat.S_IMODE(there.st_mode) if there else MODE)
    if os.geteuid() == 0:
        # A site that was given to a user stays that user's.
        owner = there or directory.stat()
        os.chown(target, owner.st_uid, owner.st_gid)


def add_password(site: LaidOut, password: str) -> LaidOut:
    """Write the password into a `.env` that lacks one, and change nothing else there. Raises UsageError."""
    if re.search(r"['\x00-\x1f\x7f]", password):
        raise UsageError("the password holds a single quote or a control character, which .env can't; take another one")
    path = site.directory / _ENV
    line = f"ORTHANC_PASSWORD='{password}'"
    text = path.read_text(encoding="utf-8")
    text, found = re.subn(r"(?m)^ORTHANC_PASSWORD=[ \t]*$", lambda _: line, text, count=1)
    if not found:
        text += f"{'' if text.endswith(chr(10)) or not text else chr(10)}{line}\n"
    there = path.stat()
    # It held nothing secret before.
    durable.write(path, text.encode(), site.directory, mode=stat.S_IMODE(there.st_mode) & ~0o077)
    if os.geteuid() == 0:
        os.chown(path, there.st_uid, there.st_gid)
    return replace(site, password=Password.ADDED)


def _password(path: Path) -> Password:
    values = envfile.read(path, NAMES).values
    if values.get("ORTHANC_PASSWORD", "").strip():
        return Password.THERE
    return Password.IN_FILE if values.get("ORTHANC_PASSWORD_FILE", "").strip() else Password.MISSING


def _write_env(directory: Path, person: Person) -> bool:
    try:
        descriptor = os.open(directory / _ENV, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(_env((directory / _ENV_EXAMPLE).read_text(encoding="utf-8"), person))
    return True


def _env(example: str, person: Person) -> str:
    values = {"ORTHANC_PASSWORD": f"'{person.password}'"}
    # Root's own numbers would have root write what leaves; the example's stay then.
    if person.uid != 0:
        values |= {"UID": str(person.uid), "GID": str(person.gid)}
    for name, value in values.items():
        example = re.sub(rf"^#?{name}=.*$", f"{name}={value}", example, count=1, flags=re.MULTILINE)
    # podman-compose mistakes the container's own values for these where `.env` doesn't name them.
    names = "|".join((*_FOLDERS, "AUTORTHANC_SPOOL_PATH"))
    return re.sub(rf"^#({names})=", r"\1=", example, flags=re.MULTILINE)
