"""Orthanc's index in a real PostgreSQL, started by the script that the container starts with."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from deploy_tools import CHECKOUT, PLUGINS, ask, dicom_file, free_port, orthanc, running

from autorthanc_spool.orthanc.client import Orthanc
from autorthanc_spool.orthanc.storage import Storage
from tests.helpers import trees

USER = "orthanc:secret"
PASSWORD = "index-0123456789abcdef"

# What the image's own script does, with places of the test's; it only makes a database where there is none.
ENTRYPOINT = """#!/bin/sh
set -eu
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    initdb --username=postgres --pwfile="$POSTGRES_PASSWORD_FILE" --auth-host=scram-sha-256 > /dev/null
    cat >> "$PGDATA/postgresql.conf" << END
listen_addresses = '127.0.0.1'
port = $PORT
unix_socket_directories = '$PGDATA'
fsync = off
END
fi
exec "$@"
"""


class Server:
    """A PostgreSQL of the test's own, never the machine's, run by another user than root."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.user = pwd.getpwnam("postgres") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
        (folder / "bin").mkdir()
        (folder / "bin/docker-entrypoint.sh").write_text(ENTRYPOINT)
        (folder / "bin/docker-entrypoint.sh").chmod(0o755)
        (folder / "data").mkdir()
        self.set_password(PASSWORD)
        for path in (folder, *folder.iterdir()):
            os.chown(path, self.user.pw_uid, self.user.pw_gid)

    def set_password(self, password: str) -> None:
        (self.folder / "password").write_text(password)

    def environ(self) -> dict[str, str]:
        programs = max(Path("/usr/lib/postgresql").glob("*/bin"))
        return {
            "PATH": f"{self.folder}/bin:{programs}:/usr/bin:/bin",
            "PGDATA": f"{self.folder}/data",
            "PORT": str(self.port),
            "POSTGRES_PASSWORD_FILE": f"{self.folder}/password",
        }

    def options(self) -> dict[str, Any]:
        return {
            "env": self.environ(), "cwd": self.folder, "user": self.user.pw_uid, "group": self.user.pw_gid,
            "extra_groups": [],
        }  # fmt: skip

    def run(self) -> AbstractContextManager[object]:
        script = str(CHECKOUT / "deploy/postgres/start.sh")
        return running(["sh", script], self.port, self.folder / "log", **self.options())

    def orthanc(self, folder: Path, password: str = PASSWORD) -> AbstractContextManager[str]:
        section = {
            "Host": "127.0.0.1", "Port": self.port, "Database": "postgres", "Username": "postgres",
            "Password": password, "EnableIndex": True, "EnableStorage": False, "Lock": False,
        }  # fmt: skip
        plugins = [str(PLUGINS / "libOrthancPostgreSQLIndex.so")]
        return orthanc(folder, user=USER, Plugins=plugins, PostgreSQL=section)


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    # pytest's folders are closed to other users.
    folder = tmp_path_factory.mktemp("postgres")
    trees.open_to_all(folder)
    yield Server(folder)
    shutil.rmtree(folder / "data")


def test_studies_outlive_a_restart_of_both(server: Server, tmp_path: Path) -> None:
    with server.run(), server.orthanc(tmp_path / "orthanc") as url:
        study = ask(f"{url}/instances", method="POST", data=dicom_file(1000), user=USER).json()["ParentStudy"]
    # No embedded index beside the files: the other one is in use.
    assert not (tmp_path / "orthanc/index").exists()
    with server.run(), server.orthanc(tmp_path / "orthanc") as url:
        assert ask(f"{url}/studies", user=USER).json() == [study]


def test_files_beside_an_index_in_postgresql_are_taken_from_the_storage(server: Server, tmp_path: Path) -> None:
    data, (user, _, password) = dicom_file(1000), USER.partition(":")
    with server.run(), server.orthanc(tmp_path / "orthanc") as url:
        uploaded = ask(f"{url}/instances", method="POST", data=data, user=USER).json()["ID"]
        client = Orthanc(url, user, password)
        instance = client.instance(uploaded)
        assert instance
        file = Storage(client, tmp_path / "orthanc", verify_md5=True).open(instance)
        assert file
        assert b"".join(file) == data


def test_an_index_with_another_password_gets_the_present_one(server: Server, tmp_path: Path) -> None:
    server.set_password("postgres")
    with server.run(), server.orthanc(tmp_path / "orthanc", "postgres") as url:
        study = ask(f"{url}/instances", method="POST", data=dicom_file(1000), user=USER).json()["ParentStudy"]
    server.set_password(PASSWORD)
    with server.run(), server.orthanc(tmp_path / "orthanc") as url:
        assert ask(f"{url}/studies", user=USER).json() == [study]
    assert PASSWORD not in (server.folder / "log").read_text()


def test_an_index_of_another_version_is_said_with_the_image_to_name(server: Server) -> None:
    (server.folder / "data/PG_VERSION").write_text("9\n")
    script = str(CHECKOUT / "deploy/postgres/start.sh")
    done = subprocess.run(["sh", script], capture_output=True, text=True, check=False, **server.options())
    assert done.returncode == 1
    assert "was made by PostgreSQL 9" in done.stderr
    assert "postgres:9 as the image of index-db" in done.stderr
