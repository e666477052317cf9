"""What keeps `up` from starting: every cause is a sentence, before anything starts."""

import os
import socket
import sqlite3
from pathlib import Path

import pytest

from autorthanc_spool.core.errors import SettingsError
from autorthanc_spool.settings import Settings, load_settings
from autorthanc_spool.site import preflight

UUID = "3a4b5c6d-1111-2222-3333-444444444444"


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def settings_of(site: Path, **environ: str) -> Settings:
    ports = {"ORTHANC_WEB_PORT": str(free_port()), "ORTHANC_AET_PORT": str(free_port())}
    (site / "automation_scripts").mkdir(exist_ok=True)
    return load_settings({}, {"ORTHANC_PASSWORD": "secret"} | ports | environ, site)


def problems_of(settings: Settings) -> list[str]:
    with pytest.raises(SettingsError) as raised:
        preflight.check(settings, os.environ)
    return raised.value.problems


def test_orthanc_is_found_where_debian_puts_it(tmp_path: Path) -> None:
    assert preflight.check(settings_of(tmp_path), {"PATH": "/usr/bin"}).name == "Orthanc"


def test_a_missing_orthanc_is_said_with_the_way_to_install_it(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="apt-get install orthanc"):
        preflight.check(settings_of(tmp_path), {"PATH": str(tmp_path)}, more_places=str(tmp_path))


def test_authentication_needs_a_password(tmp_path: Path) -> None:
    (problem,) = problems_of(settings_of(tmp_path, ORTHANC_PASSWORD=""))
    assert problem.startswith("ORTHANC_PASSWORD isn't set")
    preflight.check(settings_of(tmp_path, ORTHANC_PASSWORD="", ORTHANC_AUTHENTICATION_ENABLED="no"), os.environ)


@pytest.mark.parametrize("name", ["ORTHANC_WEB_PORT", "ORTHANC_AET_PORT"])
@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_a_port_in_use_names_its_variable(tmp_path: Path, name: str, address: str) -> None:
    with socket.socket() as other:
        other.bind((address, 0))
        other.listen()
        port = other.getsockname()[1]
        (problem,) = problems_of(settings_of(tmp_path, **{name: str(port)}))
    assert problem.startswith(f"{name}: port {port} is in use by another program; set {name} to a free port")


def test_orthancs_own_web_port_is_not_the_dicom_port(tmp_path: Path) -> None:
    (problem,) = problems_of(settings_of(tmp_path, ORTHANC_WEB_PORT="", ORTHANC_AET_PORT="8042"))
    assert problem.startswith("ORTHANC_AET_PORT is 8042")


@pytest.mark.parametrize("name", [f"3a/4b/{UUID}", f"orthanc/3a/4b/{UUID}", "some.dcm", "deep/er/x"])
def test_a_folder_with_files_of_another_set_up_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "orthanc-db" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(b"compressed" if UUID in name else bytes(128) + b"DICM")
    (problem,) = problems_of(settings_of(tmp_path))
    assert "belongs to another set-up" in problem
    assert name in problem


@pytest.mark.parametrize("name", ["notes.txt", "orthanc.json", f"3a/4c/{UUID}", ".orthanc.json.tmp"])
def test_a_folder_with_other_files_is_taken(tmp_path: Path, name: str) -> None:
    path = tmp_path / "orthanc-db" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(b"text")
    (path.parent / "link").symlink_to("nowhere")
    preflight.check(settings_of(tmp_path), os.environ)


def test_a_folder_with_its_index_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "orthanc-db" / "3a" / "4b" / UUID
    path.parent.mkdir(parents=True)
    path.write_bytes(bytes(128) + b"DICM")
    sqlite3.connect(tmp_path / "orthanc-db" / "index").close()
    preflight.check(settings_of(tmp_path), os.environ)


def test_a_data_folder_that_is_a_file_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "orthanc-db").touch()
    (problem,) = problems_of(settings_of(tmp_path))
    assert problem.startswith("ORTAHNC_DB_STORAGE_PATH is ")


@pytest.mark.parametrize("folder", ["output", "spool/x", "."])
def test_the_data_folder_stands_alone(tmp_path: Path, folder: str) -> None:
    problems = problems_of(settings_of(tmp_path, ORTAHNC_DB_STORAGE_PATH=folder))
    assert all("neither inside the other" in problem for problem in problems)


def test_all_problems_come_at_once(tmp_path: Path) -> None:
    (tmp_path / "orthanc-db").touch()
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        assert len(problems_of(settings_of(tmp_path, ORTHANC_PASSWORD="", ORTHANC_WEB_PORT=port))) == 3
