"""What must hold before anything starts, for `up` and for `check`: each thing that doesn't is one sentence."""

from __future__ import annotations

import errno
import os
import re
import shutil
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

from autorthanc_spool.core.errors import SettingsError, SpoolError
from autorthanc_spool.monitor import notice_target
from autorthanc_spool.run import access
from autorthanc_spool.settings import Settings
from autorthanc_spool.site import folders, orthanc_config, ports

# Debian installs it here, where the search path of ordinary users doesn't lead.
MORE_PLACES = "/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin"

# The file of Orthanc's embedded database; without it, stored files belong to an index somewhere else.
_INDEX = "index"

# Orthanc stores a file under its UUID, in folders named by the UUID's first four digits.
_ATTACHMENT = re.compile(r"(?:^|/)([0-9a-f]{2})/([0-9a-f]{2})/\1\2[0-9a-f]{4}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$")

# PS3.10 section 7.1: a preamble of 128 bytes, then this.
_PREAMBLE_BYTES = 128
_PREFIX = b"DICM"


def check(settings: Settings, environ: Mapping[str, str], more_places: str = MORE_PLACES) -> Path:
    """Give Orthanc's program. Raises SettingsError with everything that is in the way."""
    orthanc = shutil.which("Orthanc", path=f"{environ.get('PATH', '')}:{more_places}")
    problems = [*_password(settings), *_ports(settings), *folders.problems(settings), *_data_folder(settings)]
    if orthanc is None:
        problems.append("Orthanc isn't installed (there is no program Orthanc); apt-get install orthanc installs it.")
    if orthanc is None or problems:
        raise SettingsError(problems)
    return Path(orthanc)


def problems(settings: Settings) -> list[str]:
    """Give what `check` has to say of this machine; nothing is started, made or changed."""
    found = [*_password(settings), *folders.problems(settings), *notice_target.problems(settings)]
    if _has_an_orthanc_of_its_own(settings) and not _is_running(settings):
        # Root opens the ports below 1024 for Docker, whoever checks.
        found += _ports(settings, is_root_on_the_way=True)
    return found


def _has_an_orthanc_of_its_own(settings: Settings) -> bool:
    """Return whether the ports of the settings are ours to open, and not those of an Orthanc that was there before."""
    return settings.orthanc_url == f"http://127.0.0.1:{orthanc_config.web_port(settings)}"


def _is_running(settings: Settings) -> bool:
    try:
        # The client is patient with a busy Orthanc; nobody waits that long for what isn't one.
        is_there = ports.speaks_http(orthanc_config.web_port(settings))
        return is_there and access.orthanc(settings).system().get("Name") == settings.display_name
    except SpoolError:
        return False


def _password(settings: Settings) -> Iterator[str]:
    if settings.authentication_enabled and settings.password is None:
        yield (
            "ORTHANC_PASSWORD isn't set, and ORTHANC_AUTHENTICATION_ENABLED is true; write ORTHANC_PASSWORD='…' into "
            ".env, or name a file that holds the password in ORTHANC_PASSWORD_FILE."
        )


def _ports(settings: Settings, *, is_root_on_the_way: bool = False) -> Iterator[str]:
    web, dicom = orthanc_config.web_port(settings), settings.aet_port
    if web == dicom:
        yield f"ORTHANC_AET_PORT is {dicom}, which Orthanc's web server uses without Docker; change one of the two."
        return
    for name, port in (("ORTHANC_WEB_PORT", web), ("ORTHANC_AET_PORT", dicom)):
        problem = _why_not(name, port, is_root_on_the_way)
        if problem:
            yield f"{name}: {problem}"


def _why_not(variable: str, port: int, is_root_on_the_way: bool) -> str | None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        # As Orthanc does: connections that ended lately don't count as use.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("0.0.0.0", port))  # noqa: S104 - Orthanc binds all interfaces as well
            listener.listen()
        except PermissionError:
            return None if is_root_on_the_way else f"port {port} is for root only; set {variable} to a port above 1023."
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return (
                    f"port {port} is in use by another program; set {variable} to a free port, or end that program: "
                    f"sudo ss -ltnp 'sport = :{port}' shows which it is."
                )
            return f"port {port} can't be used ({error.strerror}); set {variable} to another port."
    return None


def _data_folder(settings: Settings) -> Iterator[str]:
    data = settings.db_storage_path
    others = {
        "ORTHANC_AUTOMATION_JSON_SCRIPTS_PATH": settings.rules_path,
        "ORTHANC_AUTOMATION_STORAGE_PATH": settings.output_path,
        "AUTORTHANC_SPOOL_PATH": settings.spool_path,
    }
    for name, folder in others.items():
        if _overlap(data, folder):
            yield (
                f"ORTAHNC_DB_STORAGE_PATH is {data} and {name} is {folder}; "
                "expected two folders, neither inside the other."
            )
    try:
        data.mkdir(mode=0o750, parents=True, exist_ok=True)
        foreign = None if (data / _INDEX).exists() else _foreign_file(data)
        writable = os.access(data, os.R_OK | os.W_OK | os.X_OK)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        yield f"ORTAHNC_DB_STORAGE_PATH is {data}, which can't be used ({reason}); expected a folder of this user."
        return
    if not writable:
        yield f"ORTAHNC_DB_STORAGE_PATH is {data}, where this user may not write; expected a folder of this user."
    if foreign is not None:
        yield (
            f"ORTAHNC_DB_STORAGE_PATH is {data}, which holds DICOM files ({foreign}) but no index of Orthanc's: "
            "it belongs to another set-up, with its index in PostgreSQL perhaps. Name a new folder for `up`."
        )


def _overlap(one: Path, other: Path) -> bool:
    first, second = Path(os.path.realpath(one)), Path(os.path.realpath(other))
    return first.is_relative_to(second) or second.is_relative_to(first)


def _foreign_file(data: Path) -> Path | None:
    for path in _files(data):
        inside = path.relative_to(data)
        if _ATTACHMENT.search(inside.as_posix()) or _is_dicom(path):
            return inside
    return None


def _files(folder: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise error

    for place, _, names in os.walk(folder, onerror=refuse):
        yield from (Path(place, name) for name in names)


def _is_dicom(path: Path) -> bool:
    # Anything but a plain file (a socket, a link into nowhere) can't be a stored one.
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as stream:
        stream.seek(_PREAMBLE_BYTES)
        return stream.read(len(_PREFIX)) == _PREFIX
