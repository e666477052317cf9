"""Everything at once, as the containers are put together: nginx, Orthanc, PostgreSQL, and three processors."""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from deploy_tools import CHECKOUT, PLUGINS, ask, free_port, orthanc, running
from test_index import PASSWORD, Server
from test_nginx import configuration

from autorthanc_spool.demo import study as demo_study
from tests.helpers import trees
from tests.helpers.site import EVERYTHING
from tests.helpers.waiting import wait_until

USER = "orthanc:secret"
STUDIES, PROCESSORS = 12, 3


class Whole:
    """One site on the servers of this machine."""

    def __init__(self, folder: Path, web: str, dicom_port: int) -> None:
        self.folder, self.web, self.dicom_port = folder, web, dicom_port

    def environ(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if "ORTHANC" not in name}
        return inherited | {
            "ORTHANC_URL": self.web, "ORTHANC_PASSWORD": "secret", "ORTHANC_STABLE_AGE": "1",
            "AUTORTHANC_POLL_INTERVAL_S": "1", "AUTORTHANC_RECONCILE_INTERVAL_S": "1",
        }  # fmt: skip

    def published(self) -> list[Path]:
        return [path for path in (self.folder / "output/all").glob("*") if ".WORKING" not in path.name]

    def records(self) -> list[dict[str, Any]]:
        return [json.loads(path.read_text()) for path in (self.folder / "spool/done").glob("*/*.json")]

    def published_records(self) -> list[dict[str, Any]]:
        # A marker that was just moved there gets its record a moment later.
        outcomes = [(one, one.get("outcomes", {}).get("all", {})) for one in self.records()]
        return [one for one, outcome in outcomes if outcome.get("outcome") == "published"]

    def reconcile(self) -> str:
        """Look for what was missed, which must be nothing; give what is said."""
        command = [sys.executable, "-m", "autorthanc_spool", "reconcile"]
        done = subprocess.run(command, cwd=self.folder, env=self.environ(), capture_output=True, text=True, check=True)
        assert ", 0 were missed" in done.stderr
        return done.stderr

    def logs(self) -> list[str]:
        return [path.read_text() for path in sorted(self.folder.glob("processor*.log"))]


@pytest.fixture
def whole(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Iterator[Whole]:
    # pytest's folders are closed to other users, and PostgreSQL runs as one.
    database = tmp_path_factory.mktemp("postgres")
    trees.open_to_all(database)
    for name in ("spool/tmp", "spool/incoming", "automation_scripts", "output"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "automation_scripts/all.json").write_text(json.dumps(EVERYTHING))
    index, web_port, dicom_port = Server(database), free_port(), free_port()
    section = {
        "Host": "127.0.0.1", "Port": index.port, "Database": "postgres", "Username": "postgres", "Password": PASSWORD,
        "EnableIndex": True, "EnableStorage": False, "Lock": False,
    }  # fmt: skip
    settings = {
        "Plugins": [str(PLUGINS / "libOrthancPostgreSQLIndex.so")], "PostgreSQL": section, "StableAge": 1,
        "DicomServerEnabled": True, "DicomPort": dicom_port, "DicomAet": "AUTORTHANCAET",
        "LuaScripts": [str(CHECKOUT / "lua/autorthanc_spool.lua")],
    }  # fmt: skip
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTORTHANC_SPOOL_PATH", str(tmp_path / "spool"))
        patch.setenv("TZ", "UTC")
        stack.enter_context(index.run())
        upstream = stack.enter_context(orthanc(tmp_path / "orthanc", USER, **settings))
        file = configuration(tmp_path, upstream, web_port, "none-*.conf")
        command = ["/usr/sbin/nginx", "-c", str(file), "-g", "daemon off;"]
        stack.enter_context(running(command, web_port, tmp_path / "nginx.log"))
        yield Whole(tmp_path, f"http://127.0.0.1:{web_port}", dicom_port)
    shutil.rmtree(database / "data")


def send_studies(whole: Whole, count: int) -> None:
    for _ in range(count):
        demo_study.send(demo_study.make(), whole.dicom_port, "AUTORTHANCAET")


@pytest.mark.timeout(300)
def test_three_processors_share_the_work_behind_the_web_port(whole: Whole) -> None:
    assert ask(f"{whole.web}/system").status == 401
    sent, command = 0, [sys.executable, "-m", "autorthanc_spool"]
    with ExitStack() as stack:
        for number in range(PROCESSORS):
            log = stack.enter_context((whole.folder / f"processor{number}.log").open("wb"))
            process = subprocess.Popen([*command, "run"], cwd=whole.folder, env=whole.environ(), stdout=log, stderr=log)
            stack.callback(lambda one=process: (one.terminate(), one.wait(60)))
        # Who takes a marker is a race, so it may need a few rounds until each has won once.
        while not all("published" in text for text in whole.logs()) and sent < 10 * STUDIES:
            send_studies(whole, STUDIES)
            sent += STUDIES
            wait_until(lambda wanted=sent: len(whole.published()) >= wanted, 120, f"{sent} studies are published")
        wait_until(lambda: len(whole.published_records()) >= sent, 60, "every record is filed")
    assert all("published" in text for text in whole.logs()), whole.logs()
    assert len(whole.published()) == sent
    assert all(len(list(path.rglob("*.dcm"))) == len(demo_study.make()) for path in whole.published())
    assert set(Counter(str(record["id"]) for record in whole.published_records()).values()) == {1}
    # What PostgreSQL says of the studies, when all have rested, is what the ledger has seen of them.
    wait_until(lambda: f"{sent} stable studies in Orthanc" in whole.reconcile(), 60, "all studies are stable")


@pytest.mark.timeout(300)
def test_what_was_exported_is_deleted_from_postgresql_too(whole: Whole) -> None:
    (whole.folder / "automation_scripts/all.json").write_text(json.dumps({**EVERYTHING, "DeleteFromOrthanc": True}))
    command = [sys.executable, "-m", "autorthanc_spool", "run"]
    with ExitStack() as stack:
        for number in range(2):
            log = stack.enter_context((whole.folder / f"processor{number}.log").open("wb"))
            process = subprocess.Popen(command, cwd=whole.folder, env=whole.environ(), stdout=log, stderr=log)
            stack.callback(lambda one=process: (one.terminate(), one.wait(60)))
        # First contact leaves alone what is there before.
        wait_until(lambda: any("first contact" in text for text in whole.logs()), 60, "a processor works")
        send_studies(whole, 3)
        wait_until(lambda: len(whole.published_records()) == 3, 120, "every record is filed")
    assert ask(f"{whole.web}/instances", user=USER).json() == []
    files = len(demo_study.make())
    told = [record["outcomes"]["all"]["deleted_from_orthanc"]["instances"] for record in whole.published_records()]
    assert told == [files] * 3
    assert all(len(list(path.rglob("*.dcm"))) == files for path in whole.published())
