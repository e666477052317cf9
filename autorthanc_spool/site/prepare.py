"""What is done before the containers start: settings, folders, passwords and ports are looked at.

The services `init` and `ports` of docker-compose.yml run this module, the first as root and the second in the host's
network. What is wrong is said in sentences that name the variable and the fix, and the other services don't start.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import click

from autorthanc_spool.core.errors import SettingsError
from autorthanc_spool.settings import Settings, load_settings, written_badly
from autorthanc_spool.site import folders, ports
from autorthanc_spool.spool.directories import SHARED_MODE, Directories, is_as_cloned

# User and group of the images orthancteam/orthanc and postgres (Debian variant); both happen to be the same numbers.
ORTHANC_USER = 999
POSTGRES_USER = 999

# Where the Compose file mounts Orthanc's storage for the processor.
STORAGE_IN_CONTAINER = Path("/orthanc-db")

# Orthanc keeps each attachment in xx/yy/UUID below its folder, and an SQLite index beside them.
_STORAGE_ENTRY = re.compile(r"[0-9a-f]{2}|index(-wal|-shm|-journal)?|lost\+found|\.autorthanc")


@dataclass(frozen=True)
class Folder:
    """A folder of the host, where it is mounted, and what the processor does there; `mode` is for a new one."""

    variable: str
    path: Path
    is_written: bool
    mode: int
    gid: int


def check_site(environ: Mapping[str, str], root: Path) -> list[str]:
    """Check settings, make folders and deliver passwords; give what is wrong, as sentences.

    `root` holds the mount points `site`, `passwords`, and `project` with the `.env` as it was written: Compose expands
    what it reads there, so that the environment doesn't show it. Needs root's rights over `site` and `passwords`.
    """
    written = written_badly(root / "project" / ".env")
    try:
        settings = load_settings({}, environ, root / "site")
    except SettingsError as error:
        return [*written, *error.problems]
    if written:
        return written
    problems = [*_private_files(settings, root / "site" / "secrets"), *_storage_path(settings), *_quotes(settings)]
    for folder in _folders(settings, root / "site"):
        problems += _prepare_folder(folder, settings, environ)
    problems += _prepare_storage(root / "site" / "orthanc-db", settings.spool_gid, environ)
    if not problems:
        _prepare_spool(root / "site" / "spool", settings)
        _deliver_passwords(settings, root / "passwords")
    return problems


def _private_files(settings: Settings, folder: Path) -> Iterator[str]:
    named = {
        "AUTORTHANC_PSEUDONYM_KEY_FILE": settings.pseudonym_key_file,
        "AUTORTHANC_AUDIT_LOG": settings.audit_log,
        "AUTORTHANC_AUDIT_KEY_FILE": settings.audit_key_file,
        "AUTORTHANC_CA_FILE": settings.ca_file,
    }
    for variable, path in named.items():
        if path and not path.is_relative_to(folder):
            yield (
                f"{variable} names a file outside ./secrets, the only private folder that the container sees; "
                f"move the file there and write {variable}=./secrets/{path.name}."
            )


def _storage_path(settings: Settings) -> Iterator[str]:
    if settings.orthanc_storage_path not in (None, STORAGE_IN_CONTAINER):
        yield (
            "AUTORTHANC_ORTHANC_STORAGE_PATH is a path that the container doesn't have; with Docker Compose, write "
            f"AUTORTHANC_ORTHANC_STORAGE_PATH={STORAGE_IN_CONTAINER}, where it sees Orthanc's storage."
        )


def _quotes(settings: Settings) -> Iterator[str]:
    named = {"ORTHANC_DISPLAY_NAME": settings.display_name, "ORTHANC_AET_NAME": settings.aet_name}
    for variable, text in named.items():
        if json.dumps(text, ensure_ascii=False) != f'"{text}"':
            yield f"{variable} holds a quotation mark or a backslash, which can't be passed to Orthanc; take it out."


def _folders(settings: Settings, site: Path) -> tuple[Folder, ...]:
    output_mode = 0o777 & ~settings.umask
    return (
        Folder("ORTHANC_AUTOMATION_JSON_SCRIPTS_PATH", site / "rules", False, 0o755, settings.gid),
        Folder("ORTHANC_AUTOMATION_STORAGE_PATH", site / "output", True, output_mode, settings.gid),
        Folder("AUTORTHANC_SPOOL_PATH", site / "spool", True, SHARED_MODE, settings.spool_gid),
        Folder("AUTORTHANC_PSEUDONYM_KEY_FILE", site / "secrets", True, 0o700, settings.spool_gid),
    )


def _prepare_folder(folder: Folder, settings: Settings, environ: Mapping[str, str]) -> Iterator[str]:
    shown = environ.get(folder.variable, folder.path.name)
    named = f"{folder.variable} is {shown}"
    if not folder.path.is_dir():
        yield folders.no_folder(named)
        return
    if _is_new(folder):
        os.chown(folder.path, settings.uid, folder.gid)
        folder.path.chmod(folder.mode)
    if not _is_usable(folder, settings):
        who = (settings.uid, folder.gid)
        yield folders.denied(named, shown, folder.path.stat(), is_written=folder.is_written, who=who)


def _is_new(folder: Folder) -> bool:
    # The engine makes a missing folder for root; a person's own is left as it is. git makes the spool of a checkout.
    if folder.variable == "AUTORTHANC_SPOOL_PATH" and is_as_cloned(folder.path):
        return True
    return folder.path.stat().st_uid == 0 and not any(folder.path.iterdir())


def _is_usable(folder: Folder, settings: Settings) -> bool:
    wanted = os.R_OK | os.X_OK | (os.W_OK if folder.is_written else 0)
    return _as_user(
        settings.uid, (settings.spool_gid, settings.gid), lambda: os.access(folder.path, wanted, effective_ids=True)
    )


def _as_user(uid: int, gids: tuple[int, int], question: Callable[[], bool]) -> bool:
    """Answer a question as another user. A child asks: only the kernel knows all of ACLs, NFS and read-only mounts."""
    child = os.fork()
    if child == 0:
        answer = False
        try:
            os.setgroups(gids)
            os.setgid(gids[0])
            os.setuid(uid)
            answer = question()
        finally:
            os._exit(0 if answer else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def _prepare_storage(path: Path, gid: int, environ: Mapping[str, str]) -> Iterator[str]:
    named = f"ORTAHNC_DB_STORAGE_PATH is {environ.get('ORTAHNC_DB_STORAGE_PATH', path.name)}"
    if not path.is_dir():
        yield folders.no_folder(named)
        return
    foreign = sum(not _STORAGE_ENTRY.fullmatch(entry.name) for entry in path.iterdir())
    if foreign:
        yield (
            f"{named}, which holds {foreign} things that aren't Orthanc's; "
            "expected a folder that is empty, or that Orthanc alone has written to."
        )
    elif path.stat().st_uid != ORTHANC_USER:
        _give_away(path, ORTHANC_USER, gid, named)
    elif path.stat().st_gid != gid:
        # The folder itself is enough: nobody gets past it.
        os.chown(path, -1, gid)
        path.chmod(0o750)


def _give_away(path: Path, uid: int, gid: int, named: str) -> None:
    if any(path.iterdir()):
        _say(f"{named}; giving it to user {uid}, which Orthanc runs as. With a large archive this takes a while.")
    # The top comes last, so that an interrupted run begins again.
    for _, inside, files, descriptor in os.fwalk(path, topdown=False):
        for name in (*files, *inside):
            os.chown(name, uid, gid, dir_fd=descriptor, follow_symlinks=False)
    path.chmod(0o750)
    os.chown(path, uid, gid)


def _prepare_spool(path: Path, settings: Settings) -> None:
    Directories(path, time.time).lay_out((settings.uid, settings.spool_gid))
    # Orthanc writes to these two as a member of the group; a spool from before Docker may have had another group.
    for name in ("", "tmp", "incoming"):
        status = (path / name).stat()
        if status.st_gid != settings.spool_gid or status.st_mode & SHARED_MODE != SHARED_MODE:
            os.chown(path / name, -1, settings.spool_gid)
            (path / name).chmod(SHARED_MODE)


def _deliver_passwords(settings: Settings, folder: Path) -> None:
    """Write the files of `/run/secrets`. The Orthanc image reads each as the setting that its name says, as JSON."""
    password = settings.password.get_secret_value() if settings.password else ""
    kept = folder / "index" / "postgres-password"
    # With letters in front, the Orthanc image can't take it for a number.
    index_password = kept.read_text() if kept.exists() else f"index-{secrets.token_hex(24)}"
    orthanc = {
        "ORTHANC__REGISTERED_USERS": json.dumps({settings.username: password}),
        "ORTHANC__POSTGRESQL__PASSWORD": json.dumps(index_password),
        "ORTHANC__AUTHENTICATION_ENABLED": json.dumps(settings.authentication_enabled),
        "ORTHANC__DICOM_ALWAYS_ALLOW_STORE": json.dumps(not settings.dicom_strict),
        "ORTHANC__DICOM_CHECK_CALLED_AET": json.dumps(settings.dicom_strict),
    }
    _deliver(folder / "orthanc", orthanc, ORTHANC_USER, ORTHANC_USER)
    _deliver(folder / "index", {"postgres-password": index_password}, POSTGRES_USER, POSTGRES_USER)
    _deliver(folder / "processor", {"orthanc-password": password}, settings.uid, settings.spool_gid)


def _deliver(folder: Path, texts: Mapping[str, str], uid: int, gid: int) -> None:
    for name, text in texts.items():
        new = folder / f".{name}.new"
        new.unlink(missing_ok=True)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
            os.fchown(stream.fileno(), uid, gid)
        new.rename(folder / name)
    os.chown(folder, uid, gid)
    folder.chmod(0o500)


def _say(text: str) -> None:
    click.echo(text, err=True)


def main(arguments: list[str], environ: Mapping[str, str], root: Path) -> int:
    """Run `site` or `ports`; give the exit code."""
    wrong = check_site(environ, root) if arguments == ["site"] else ports.check(environ, root / "notes")
    for problem in wrong:
        _say(problem)
    return SettingsError.exit_code if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ, Path("/")))
