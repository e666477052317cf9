"""One mistake, three ways in: `docker compose up`, `check` and `up` each say the variable and the fix."""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from deploy_tools import CHECKOUT, compose, free_port

from autorthanc_spool.settings import load_settings
from autorthanc_spool.settings.variables import NAMES
from autorthanc_spool.site import ports
from autorthanc_spool.site.prepare import check_site
from tests.helpers import trees

# An ordinary user: root may write everywhere, so nothing would be wrong with any folder.
PERSON, STRANGER = 1234, 1777
# The interpreter itself may lie where that user can't read, so everything is imported first: the two commands, and what
# they import when they need it.
AS_PERSON = """
import os, sys
from autorthanc_spool.commands import check, main, up, views
from autorthanc_spool.site import preflight, up
"".encode("idna")
os.setgroups([])
os.setgid(int(sys.argv[1]))
os.setuid(int(sys.argv[1]))
main.main([sys.argv[2]])
"""
FOLDERS = {
    "ORTHANC_AUTOMATION_JSON_SCRIPTS_PATH": "rules",
    "ORTHANC_AUTOMATION_STORAGE_PATH": "output",
    "AUTORTHANC_SPOOL_PATH": "spool",
}


@dataclass
class Site:
    """A folder with a `.env` that an ordinary user has written."""

    folder: Path
    lines: dict[str, str] = field(default_factory=dict)

    def write(self) -> None:
        path = self.folder / ".env"
        path.write_text("".join(f"{name}={value}\n" for name, value in self.lines.items()))
        # Whatever umask the tests before have left.
        path.chmod(0o644)

    def command(self, word: str) -> str:
        """Run a command of ours as that user; give what it says when it refuses."""
        self.write()
        done = subprocess.run(
            [sys.executable, "-c", AS_PERSON, str(PERSON), word],
            cwd=self.folder,
            env={name: value for name, value in os.environ.items() if name not in NAMES},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 2, done.stdout + done.stderr
        return done.stderr

    def check(self) -> str:
        return self.command("check")

    def up(self) -> str:
        return self.command("up")

    def compose_up(self) -> str:
        """Do what Docker Compose does up to the first containers, with these containers' programs on this machine."""
        self.write()
        try:
            services = json.loads(compose("config", "--format", "json", folder=self.folder))["services"]
        except subprocess.CalledProcessError as refused:
            return str(refused.stderr)
        root = self._mount(services["init"]["volumes"])
        said = check_site(services["init"]["environment"], root)
        return "\n".join(said or ports.check(services["ports"]["environment"], root))

    def _mount(self, volumes: list[dict[str, str]]) -> Path:
        root = self.folder / "root"
        for mount in volumes:
            target = root / mount["target"].lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            if mount["type"] == "bind":
                # The engine makes a missing folder as root.
                Path(mount["source"]).mkdir(parents=True, exist_ok=True)
                target.symlink_to(mount["source"])
            else:
                target.mkdir()
        return root


Way = Callable[[Site], str]
WAYS = pytest.mark.parametrize("way", [Site.compose_up, Site.check, Site.up], ids=["compose", "check", "up"])


@pytest.fixture
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    trees.open_to_all(folder)
    for name in ("docker-compose.yml", "deploy", "lua"):
        (folder / name).symlink_to(CHECKOUT / name)
    (folder / "automation_scripts").mkdir()
    for path in (folder, folder / "automation_scripts"):
        os.chown(path, PERSON, PERSON)
    ports_of_its_own = {name: str(free_port()) for name in ("ORTHANC_WEB_PORT", "ORTHANC_AET_PORT")}
    ports_of_its_own["POSGRES_DOCKER_EXPOSE_PORT"] = str(free_port())
    own = {"ORTHANC_PASSWORD": "'secret'", "UID": str(PERSON), "GID": str(PERSON)}
    yield Site(folder, own | ports_of_its_own)
    shutil.rmtree(folder)


@WAYS
def test_no_password(site: Site, way: Way) -> None:
    del site.lines["ORTHANC_PASSWORD"]
    said = way(site)
    assert "ORTHANC_PASSWORD" in said
    assert "rite ORTHANC_PASSWORD='…' into" in said


@WAYS
@pytest.mark.parametrize("variable", ["ORTHANC_WEB_PORT", "ORTHANC_AET_PORT"])
def test_a_port_in_use(site: Site, way: Way, variable: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        site.lines[variable] = str(other.getsockname()[1])
        said = way(site)
    assert said.count(variable) >= 2, said
    assert "free port" in said


@WAYS
@pytest.mark.parametrize("variable", FOLDERS)
def test_a_folder_of_someone_else(site: Site, way: Way, variable: str) -> None:
    folder = site.folder / FOLDERS[variable]
    folder.mkdir(mode=0o700)
    (folder / "file").touch()
    os.chown(folder, STRANGER, STRANGER)
    site.lines[variable] = f"./{folder.name}"
    said = way(site)
    assert f"{variable} is " in said
    assert f"belongs to user {STRANGER}" in said
    assert f"sudo chown {PERSON}:{PERSON} " in said
    assert folder.stat().st_uid == STRANGER


@WAYS
@pytest.mark.parametrize("variable", FOLDERS)
def test_a_file_in_place_of_a_folder(site: Site, way: Way, variable: str) -> None:
    (site.folder / "file").touch()
    site.lines[variable] = "./file"
    if way is not Site.compose_up:
        said = way(site)
        assert f"{variable} is " in said
        assert "is not a folder" in said
    else:
        # The engine refuses before anything of ours runs.
        with pytest.raises(FileExistsError, match="/file"):
            way(site)


@pytest.mark.parametrize("way", [Site.check, Site.up], ids=["check", "up"])
def test_rules_that_dont_exist(site: Site, way: Way) -> None:
    # With Compose the folder is made; there is no rule in it yet.
    site.lines["ORTHANC_AUTOMATION_JSON_SCRIPTS_PATH"] = "./nowhere"
    said = way(site)
    assert "ORTHANC_AUTOMATION_JSON_SCRIPTS_PATH is " in said
    assert f"mkdir -p {site.folder}/nowhere" in said
    assert not (site.folder / "orthanc-db/orthanc.json").exists()


@pytest.mark.parametrize("way", [Site.check, Site.up], ids=["check", "up"])
def test_a_folder_that_this_user_may_not_make(site: Site, way: Way) -> None:
    site.lines["ORTHANC_AUTOMATION_STORAGE_PATH"] = "/autorthanc-nowhere/output"
    said = way(site)
    assert "ORTHANC_AUTOMATION_STORAGE_PATH is /autorthanc-nowhere/output, which doesn't exist" in said
    assert f"sudo install -d -o {PERSON} -g {PERSON} /autorthanc-nowhere/output" in said


@WAYS
@pytest.mark.parametrize("text", ["'{PACS}'", "{PACS}", """{"PACS": ["PACSAET", "10.0.0.5"]}""", "'[]'"])
def test_modalities_that_are_not_json(site: Site, way: Way, text: str) -> None:
    site.lines["ORTHANC_DICOM_MODALITIES"] = text
    said = way(site)
    assert said.startswith(("ORTHANC_DICOM_MODALITIES ", "autorthanc-spool: ORTHANC_DICOM_MODALITIES ")), said
    assert """for example ORTHANC_DICOM_MODALITIES='{"PACS": ["PACSAET", "10.0.0.5", 104]}'.""" in said


@WAYS
def test_a_password_that_compose_would_change(site: Site, way: Way) -> None:
    site.lines["ORTHANC_PASSWORD"] = "pa$word"
    said = way(site)
    assert "ORTHANC_PASSWORD in .env line 1 holds a $ outside single quotes" in said
    assert "write ORTHANC_PASSWORD='…' in single quotes" in said


@WAYS
def test_names_of_the_first_versions(site: Site, way: Way) -> None:
    site.lines["AUTOMATION_DATA_STORAGE"] = "/data/out"
    said = way(site)
    assert "AUTOMATION_DATA_STORAGE in .env line 7" in said
    assert "write ORTHANC_AUTOMATION_STORAGE_PATH=" in said


@WAYS
def test_both_spellings_with_different_values(site: Site, way: Way) -> None:
    site.lines |= {"ORTAHNC_DB_STORAGE_PATH": "./one", "ORTHANC_DB_STORAGE_PATH": "./two"}
    said = way(site)
    assert "ORTAHNC_DB_STORAGE_PATH" in said
    assert "take one of them out" in said


AUTORTHANC = """\
# Save a copy of this file as .env
ORTAHNC_DB_STORAGE_PATH=/data/dicom storage
ORTHANC_STABLE_AGE=300
ORTHANC_AET_NAME=AUTORTHANCAET
ORTHANC_AET_PORT=4006   # as the scanner has it
ORTHANC_DICOM_MODALITIES={"PACS": ["PACSAET", "10.0.0.5", 104], "scanner": ["MR 1", "10.0.0.6", 104]}
ORTHANC_DISPLAY_NAME=Our "research" server
ORTHANC_AUTOMATION_JSON_SCRIPTS_PATH=/data/scripts
ORTHANC_AUTOMATION_STORAGE_PATH=/data/out
"""


def test_values_of_autorthanc_are_read_alike_without_quotes(tmp_path: Path) -> None:
    (tmp_path / "docker-compose.yml").symlink_to(CHECKOUT / "docker-compose.yml")
    (tmp_path / ".env").write_text(AUTORTHANC + "ORTHANC_PASSWORD='x'\n")
    settings = load_settings({}, {}, tmp_path)
    by_compose = json.loads(compose("config", "--format", "json", folder=tmp_path))["services"]["init"]["environment"]
    assert json.loads(by_compose["ORTHANC_DICOM_MODALITIES"]) == settings.dicom_modalities
    assert by_compose["ORTAHNC_DB_STORAGE_PATH"] == str(settings.db_storage_path) == "/data/dicom storage"
    assert by_compose["ORTHANC_DISPLAY_NAME"] == settings.display_name == 'Our "research" server'
    assert int(by_compose["ORTHANC_AET_PORT"]) == settings.aet_port == 4006
