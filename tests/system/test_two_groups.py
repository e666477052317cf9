"""Two groups: whoever reads the output doesn't see the spool. Real users, so this needs root."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from autorthanc_spool.core.errors import SettingsError
from autorthanc_spool.settings import load_settings
from autorthanc_spool.site import folders
from tests.helpers import datasets
from tests.helpers.orthanc_server import OrthancServer, orthanc_program
from tests.helpers.site import Site

PROCESSOR, ORTHANC, READER = 1234, 1999, 3000
SPOOL_GROUP, OUTPUT_GROUP = 2001, 2002

# The interpreter may lie where that user can't read, so everything is imported first.
AS_USER = """
import _strptime, codecs, os, sys
from autorthanc_spool.commands import main, views
from autorthanc_spool.run import wiring
[codecs.lookup(name) for name in ("idna", "utf-8-sig", "latin-1")]
user, group, *others = map(int, sys.argv[1].split(","))
os.setgroups(others)
os.setgid(group)
os.setuid(user)
main.main(sys.argv[2:])
"""


def as_user(user: int, group: int, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a program of the system as a user of one group."""
    switch = ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups"]
    return subprocess.run([*switch, *command], capture_output=True, text=True, errors="replace", check=False)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users reach: not pytest's, which every session of pytest closes to them."""
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        yield Path(made)


@pytest.fixture
def folder(open_folder: Path) -> Path:
    made = open_folder / "site"
    made.mkdir()
    os.chown(made, PROCESSOR, SPOOL_GROUP)
    made.chmod(0o751)
    return made


@pytest.fixture
def orthanc_of_another_user(
    folder: Path, open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[OrthancServer]:
    """Orthanc as a user of its own, who is a member of the spool's group."""
    program = open_folder / "bin" / "Orthanc"
    program.parent.mkdir(mode=0o755)
    switch = f"setpriv --reuid={ORTHANC} --regid={ORTHANC} --groups={SPOOL_GROUP}"
    program.write_text(f'#!/bin/sh\nexec {switch} {orthanc_program()} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    lua = folder / "autorthanc_spool.lua"
    lua.write_bytes((Path(__file__).parents[2] / "lua" / lua.name).read_bytes())
    lua.chmod(0o644)
    server = OrthancServer(open_folder / "orthanc", spool=folder / "spool", lua=(lua,))
    server.storage.mkdir()
    os.chown(server.storage, ORTHANC, ORTHANC)
    yield server.start()
    server.stop()


@pytest.mark.parametrize(
    "groups",
    [f"{SPOOL_GROUP},{OUTPUT_GROUP}", f"{OUTPUT_GROUP},{SPOOL_GROUP}"],
    ids=["the spool's first", "the output's first"],
)
def test_who_reads_the_output_gets_it_and_is_refused_by_the_spool(
    folder: Path, orthanc_of_another_user: OrthancServer, groups: str
) -> None:
    site = Site(folder, orthanc_of_another_user)
    site.rule("all")
    site.variables |= {
        "UID": str(PROCESSOR),
        "GID": str(OUTPUT_GROUP),
        "AUTORTHANC_SPOOL_GID": str(SPOOL_GROUP),
        "AUTORTHANC_AUDIT_LOG": str(folder / "audit.jsonl"),
    }
    command = [sys.executable, "-P", "-c", AS_USER, f"{PROCESSOR},{groups}", "run", "--once"]

    def run_once() -> None:
        done = subprocess.run(command, cwd=folder, env=site.environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    # The first lays out the spool, into which Orthanc's Lua then writes as a member of its group.
    run_once()
    study = site.orthanc.upload(datasets.make_instance())
    site.orthanc.wait_stable(f"/studies/{study}")
    # One for the study, one for its series.
    site.wait_states(incoming=2)
    assert {(path.stat().st_uid, path.stat().st_gid) for path in site.markers("incoming")} == {(ORTHANC, SPOOL_GROUP)}
    run_once()
    # No rule asks for the series.
    assert site.states() == {"done": 1}

    published = [path for path in (site.output / "all").rglob("*") if path.is_file()]
    assert len(published) == 1
    assert as_user(READER, OUTPUT_GROUP, "dcmdump", str(published[0])).returncode == 0
    everything = [path for path in folder.rglob("*") if path.is_file()]
    readable = [path for path in everything if as_user(READER, OUTPUT_GROUP, "cat", str(path)).returncode == 0]
    below = {path.relative_to(folder).parts[0] for path in readable}
    assert below == {"output", "automation_scripts", "autorthanc_spool.lua"}
    for place in (site.spool, site.spool / "incoming", site.spool / "ledger"):
        refused = as_user(READER, OUTPUT_GROUP, "ls", str(place))
        assert (refused.returncode, refused.stdout) == (2, "")
        assert "Permission denied" in refused.stderr


def settings_in(folder: Path, **variables: str):  # type: ignore[no-untyped-def]
    (folder / "automation_scripts").mkdir(exist_ok=True)
    return load_settings({}, variables, folder)


def test_the_spool_has_the_outputs_group_where_nothing_else_is_said(tmp_path: Path) -> None:
    assert settings_in(tmp_path, GID="77").spool_gid == 77
    assert settings_in(tmp_path, GID="77", AUTORTHANC_SPOOL_GID="78").spool_gid == 78
    with pytest.raises(SettingsError, match="AUTORTHANC_SPOOL_GID"):
        settings_in(tmp_path, AUTORTHANC_SPOOL_GID="users")


def test_a_spool_that_still_belongs_to_the_outputs_group_is_said_with_the_command_that_changes_it(
    tmp_path: Path,
) -> None:
    (tmp_path / "spool").mkdir()
    (tmp_path / "output").mkdir()
    os.chown(tmp_path / "spool", -1, OUTPUT_GROUP)
    settings = settings_in(tmp_path, GID=str(OUTPUT_GROUP), AUTORTHANC_SPOOL_GID=str(SPOOL_GROUP))
    (problem,) = folders.problems(settings)
    assert "sees what lies there" in problem
    command = problem.partition("sudo ")[2]
    subprocess.run(command, shell=True, check=True)
    assert [*folders.problems(settings)] == []


def test_a_group_that_the_user_isnt_in_is_said(folder: Path) -> None:
    (folder / "automation_scripts").mkdir()
    text = f"GID={OUTPUT_GROUP}\nAUTORTHANC_SPOOL_GID={SPOOL_GROUP}\nORTHANC_PASSWORD='0123456789'\n"
    (folder / ".env").write_text(text)
    (folder / ".env").chmod(0o644)
    command = [sys.executable, "-P", "-c", AS_USER, f"{PROCESSOR},{SPOOL_GROUP}", "check"]
    environ = {name: value for name, value in os.environ.items() if "ORTHANC" not in name}
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True)
    assert done.returncode == 2
    assert f"GID is {OUTPUT_GROUP}, a group that this user isn't in" in done.stderr
