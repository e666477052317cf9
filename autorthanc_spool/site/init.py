"""`autorthanc-spool init DIR`: everything that a site needs, out of the installed package.

The folder holds the Compose file with what it mounts, systemd units, examples of rules, and this program itself, so
that `docker compose build` makes the image from the very version that laid the site out. What is there already stays.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from autorthanc_spool.core.errors import UsageError

# Also what pyproject.toml puts into the wheel, below share/site.
SHIPPED = (
    ".dockerignore",
    ".env.example",
    "Dockerfile",
    "LICENSE",
    "README.md",
    "automation_scripts",
    "deploy",
    "docker-compose.ohif.yml",
    "docker-compose.yml",
    "docs/install.md",
    "lua",
    "pyproject.toml",
)

_PACKAGE = Path(str(resources.files("autorthanc_spool")))
_LEFT_OUT = {"__pycache__", "share"}
_ENV, _ENV_EXAMPLE = ".env", ".env.example"
_FOLDERS = ("ORTAHNC_DB_STORAGE_PATH", "ORTHANC_AUTOMATION_JSON_SCRIPTS_PATH", "ORTHANC_AUTOMATION_STORAGE_PATH")


@dataclass(frozen=True)
class Person:
    """Who lays out the site: user and group of what will be published, and a password that nobody knows yet."""

    uid: int
    gid: int
    password: str


@dataclass(frozen=True)
class LaidOut:
    """What became of a site's files: paths relative to it."""

    directory: Path
    written: tuple[Path, ...]
    kept: tuple[Path, ...]

    def next_steps(self) -> str:
        """Say what a person does now."""
        lines = [f"{len(self.written)} files written to {self.directory}."]
        if self.kept:
            lines += ["These were there, differ from this version's, and stayed:", *(f"  {path}" for path in self.kept)]
        password = "was made up; it stands" if Path(_ENV) in self.written else "stands, as before,"
        return "\n".join(
            [
                *lines,
                f"The password of Orthanc {password} in {self.directory / _ENV}.",
                "",
                "With Docker:",
                f"  cd {self.directory}",
                "  docker compose up --detach",
                "Without Docker, as yourself (docs/install.md tells how with systemd):",
                f"  cd {self.directory}",
                "  autorthanc-spool up",
                "",
                "Then copy an example in automation_scripts/ to a name without `template`, and say what you are after.",
            ]
        )


def lay_out(directory: Path, person: Person) -> LaidOut:
    """Write the site's files. Raises UsageError when the folder can't be used."""
    written, kept = [], []
    try:
        for path, source in sorted(_sources()):
            target = directory / path
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, target)
                written.append(path)
            elif target.read_bytes() != source.read_bytes():
                kept.append(path)
        if _write_env(directory, person):
            written.append(Path(_ENV))
    except OSError as error:
        raise UsageError(
            f"{directory}: can't be laid out as a site ({error.strerror}); name a folder that you may write to"
        ) from None
    return LaidOut(directory, tuple(written), tuple(kept))


def _sources() -> Iterator[tuple[Path, Path]]:
    root = _PACKAGE / "share" / "site"
    # From a checkout, the files stand beside the package.
    if not root.is_dir():
        root = _PACKAGE.parent
    for name in SHIPPED:
        for path in _files(root / name):
            yield path.relative_to(root), path
    for path in _files(_PACKAGE):
        yield Path(_PACKAGE.name, path.relative_to(_PACKAGE)), path


def _files(place: Path) -> Iterator[Path]:
    if place.is_file():
        yield place
    elif place.is_dir() and place.name not in _LEFT_OUT:
        for inside in place.iterdir():
            yield from _files(inside)


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
