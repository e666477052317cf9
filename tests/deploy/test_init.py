"""`init` lays out a site that Compose takes as it is."""

import json
import os
import pty
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from deploy_tools import CHECKOUT, compose

from autorthanc_spool.core.errors import UsageError
from autorthanc_spool.settings import load_settings
from autorthanc_spool.site import init, wheel
from autorthanc_spool.site.init import LaidOut, Password, Person

PERSON = Person(uid=1234, gid=2345, password="Sentinel-1")


@pytest.fixture
def site(tmp_path: Path) -> LaidOut:
    return init.lay_out(tmp_path / "new/site", PERSON)


def test_a_site_holds_all_that_is_shipped(site: LaidOut) -> None:
    for name in (*init.SHIPPED, "lua/autorthanc_spool.lua", "deploy/nginx/nginx.conf", f"dist/{wheel.NAME}"):
        assert (site.directory / name).exists(), name
    assert site.kept == ()


def test_a_site_holds_no_code_that_python_would_find(site: LaidOut) -> None:
    assert [*site.directory.rglob("*.py")] == []
    assert not (site.directory / "autorthanc_spool").exists()


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


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ORTHANC_PASSWORD='mine'\n", Password.THERE),
        ("ORTHANC_DB_STORAGE_PATH=/data\nORTHANC_WEB_PORT=80\n", Password.MISSING),
        ("ORTHANC_PASSWORD=\n", Password.MISSING),
        ("#ORTHANC_PASSWORD='mine'\n", Password.MISSING),
        ("", Password.MISSING),
        ("ORTHANC_PASSWORD_FILE=./secrets/password\n", Password.IN_FILE),
    ],
)
def test_whether_an_env_that_was_there_has_the_password_is_said_truly(
    tmp_path: Path, text: str, expected: Password
) -> None:
    (tmp_path / ".env").write_text(text)
    site = init.lay_out(tmp_path, PERSON)
    assert site.password is expected
    assert ("There is no password" in site.next_steps()) is (expected is Password.MISSING)
    assert (tmp_path / ".env").read_text() == text


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("UID=1000\n", "UID=1000\nORTHANC_PASSWORD='new $1'\n"),
        ("UID=1000", "UID=1000\nORTHANC_PASSWORD='new $1'\n"),
        ("# mine\nORTHANC_PASSWORD=\nUID=1000\n", "# mine\nORTHANC_PASSWORD='new $1'\nUID=1000\n"),
        ("", "ORTHANC_PASSWORD='new $1'\n"),
    ],
)
def test_a_password_is_added_and_the_rest_stays(tmp_path: Path, before: str, after: str) -> None:
    (tmp_path / ".env").write_text(before)
    site = init.add_password(init.lay_out(tmp_path, PERSON), "new $1")
    assert (tmp_path / ".env").read_text() == after
    assert "was added" in site.next_steps()
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) & 0o077 == 0
    settings = load_settings({}, {}, tmp_path)
    assert settings.password is not None
    assert settings.password.get_secret_value() == "new $1"
    assert settings.warnings == ()


def test_a_password_that_would_end_its_own_quotes_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("UID=1000\n")
    with pytest.raises(UsageError, match="single quote"):
        init.add_password(init.lay_out(tmp_path, PERSON), "it's")
    assert (tmp_path / ".env").read_text() == "UID=1000\n"


@pytest.mark.parametrize(("typed", "expected"), [("of my own", "of my own"), ("", None)], ids=["typed", "made up"])
def test_a_person_at_a_terminal_is_asked_for_the_password(tmp_path: Path, typed: str, expected: str | None) -> None:
    (tmp_path / ".env").write_text("UID=1000\n")
    shown = at_a_terminal("init", str(tmp_path), typed=typed)
    settings = load_settings({}, {}, tmp_path)
    assert settings.password is not None
    password = settings.password.get_secret_value()
    assert password == expected if expected else len(password) > 20
    assert password not in shown
    assert "was added" in shown


def test_without_a_terminal_a_password_is_made_up(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("UID=1000\n")
    command = [sys.executable, "-P", "-m", "autorthanc_spool", "init", "."]
    done = subprocess.run(command, cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
    settings = load_settings({}, {}, tmp_path)
    assert settings.password is not None
    password = settings.password.get_secret_value()
    assert len(password) > 20
    assert password not in done.stdout + done.stderr
    assert f"was added to {tmp_path}/.env" in done.stderr


def test_no_link_in_the_docs_of_a_site_leads_nowhere(site: LaidOut) -> None:
    pages = [site.directory / "README.md", *(site.directory / "docs").rglob("*.md")]
    links = [(page, link) for page in pages for link in re.findall(r"\]\(([^)#\s]+)", page.read_text())]
    inside = [(page, link) for page, link in links if not link.startswith("http")]
    assert len(inside) > 20
    assert [(page.name, link) for page, link in inside if not (page.parent / link).exists()] == []


def at_a_terminal(*arguments: str, typed: str) -> str:
    """Run a command on a terminal of its own, type one line when it asks, and give what it shows."""
    child, terminal = pty.fork()
    if child == 0:
        try:
            os.execv(sys.executable, [sys.executable, "-P", "-m", "autorthanc_spool", *arguments])
        finally:
            os._exit(127)
    shown, answered = b"", False
    while data := _read(terminal):
        shown += data
        if not answered and b"made up)" in shown:
            os.write(terminal, f"{typed}\n".encode())
            answered = True
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, shown
    return shown.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:
        # Linux says so when nobody has the other end open.
        return b""


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
