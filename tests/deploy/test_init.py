"""`init` lays out a site that Compose takes as it is."""

import json
import stat
from pathlib import Path

import pytest
from deploy_tools import CHECKOUT, compose

from autorthanc_spool.core.errors import UsageError
from autorthanc_spool.settings import load_settings
from autorthanc_spool.site import init
from autorthanc_spool.site.init import LaidOut, Person

PERSON = Person(uid=1234, gid=2345, password="Sentinel-1")


@pytest.fixture
def site(tmp_path: Path) -> LaidOut:
    return init.lay_out(tmp_path / "new/site", PERSON)


def test_a_site_holds_all_that_is_shipped(site: LaidOut) -> None:
    for name in (
        *init.SHIPPED,
        "autorthanc_spool/commands/main.py",
        "lua/autorthanc_spool.lua",
        "deploy/nginx/nginx.conf",
    ):
        assert (site.directory / name).exists(), name
    assert site.kept == ()


def test_the_settings_of_a_new_site_are_good(site: LaidOut) -> None:
    settings = load_settings({}, {}, site.directory)
    assert (settings.uid, settings.gid) == (1234, 2345)
    assert settings.password is not None
    assert settings.password.get_secret_value() == "Sentinel-1"
    assert settings.warnings == ()


def test_compose_takes_a_new_site_as_it_is(site: LaidOut) -> None:
    services = json.loads(compose("config", "--format", "json", folder=site.directory))["services"]
    assert services["init"]["environment"]["ORTHANC_PASSWORD"] == "Sentinel-1"
    sources = [mount["source"] for service in services.values() for mount in service["volumes"]]
    files = [Path(source) for source in sources if source.startswith("/") and Path(source).suffix]
    assert files
    assert all(file.is_file() for file in files)


def test_the_password_is_readable_for_its_owner_alone(site: LaidOut) -> None:
    assert stat.S_IMODE((site.directory / ".env").stat().st_mode) == 0o600
    others = [path for path in site.directory.rglob("*") if path.is_file() and path.name != ".env"]
    assert not [path for path in others if b"Sentinel-1" in path.read_bytes()]
    assert "Sentinel-1" not in site.next_steps()


def test_what_is_there_stays_and_is_named(tmp_path: Path) -> None:
    (tmp_path / "docker-compose.yml").write_text("mine")
    (tmp_path / ".env").write_text("ORTHANC_PASSWORD='mine'\n")
    site = init.lay_out(tmp_path, PERSON)
    assert (tmp_path / "docker-compose.yml").read_text() == "mine"
    assert (tmp_path / ".env").read_text() == "ORTHANC_PASSWORD='mine'\n"
    assert site.kept == (Path("docker-compose.yml"),)
    assert "docker-compose.yml" in site.next_steps()


def test_the_second_time_writes_nothing(site: LaidOut) -> None:
    again = init.lay_out(site.directory, PERSON)
    assert (again.written, again.kept) == ((), ())


def test_what_to_do_next_is_said(site: LaidOut) -> None:
    steps = site.next_steps()
    assert "docker compose up --detach" in steps
    assert "autorthanc-spool up" in steps
    assert f"{site.directory}/.env" in steps


def test_root_doesnt_publish_as_root(tmp_path: Path) -> None:
    init.lay_out(tmp_path, Person(0, 0, "x"))
    assert load_settings({}, {}, tmp_path).uid == 1000


def test_a_file_in_place_of_the_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="can't be laid out as a site"):
        init.lay_out(tmp_path / "file", PERSON)


def test_every_shipped_file_is_in_the_wheel() -> None:
    included = (CHECKOUT / "pyproject.toml").read_text()
    assert not [name for name in init.SHIPPED if f'"autorthanc_spool/share/site/{name}"' not in included]
