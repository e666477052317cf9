"""Code comes from where the program is installed, whatever lies in the working directory or in the site."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from autorthanc_spool.commands.main import cli
from autorthanc_spool.settings.variables import NAMES
from tests.helpers import datasets
from tests.helpers.site import Site
from tests.helpers.waiting import wait_until
from tests.helpers.whole_site import Site as WholeSite
from tests.helpers.whole_site import parent_of

CHECKOUT = Path(__file__).parents[2]
PROGRAM = Path(sys.executable).with_name("autorthanc-spool")
ID = "0a4b249f-7fce45ca-4f722f72-de2a24df-92abc740"

# A copy of the package as an earlier `init` laid it out, libraries of ours, modules of Python's own.
TRAPS = ("autorthanc_spool/__init__.py", "click.py", "pydicom.py", "urllib3.py", "json.py", "signal.py", "mmap.py")
TRAP = """import os
open({note!r}, "a").write(__name__ + " in " + " ".join(open("/proc/self/cmdline").read().split("\\0")) + "\\n")
raise SystemExit(99)
"""

ARGUMENTS = {
    "check": [],
    "completion": ["bash"],
    "delete": [ID],
    "demo": ["--help"],
    "enqueue": ["study", ID],
    "explain": ["study", ID],
    "find": [ID],
    "hold": [ID],
    "init": ["laid-out"],
    "reidentify": ["PSEUDONYM", "--rule", "all"],
    "release": [ID],
    "replay": ["all"],
    "requeue": ["--failed"],
    "run": ["--once"],
    "show": [ID],
    "up": ["--help"],
}


def lay_traps(folder: Path, note: Path) -> None:
    for name in TRAPS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(TRAP.format(note=str(note)))


def fell_for(note: Path) -> str:
    return note.read_text() if note.exists() else ""


@pytest.fixture
def trapped(site: Site, tmp_path: Path) -> Site:
    lay_traps(site.root, tmp_path / "note")
    return site


def test_the_traps_work(trapped: Site, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "autorthanc_spool"], cwd=trapped.root, env=trapped.environment)
    assert done.returncode == 99
    assert "autorthanc_spool" in fell_for(tmp_path / "note")


@pytest.mark.parametrize("name", cli.list_commands(click.Context(cli)))
@pytest.mark.parametrize("start", [[str(PROGRAM)], [sys.executable, "-P", "-m", "autorthanc_spool"]], ids=["", "-P -m"])
def test_no_command_takes_code_from_the_site(trapped: Site, tmp_path: Path, name: str, start: list[str]) -> None:
    trapped.rule("all")
    command = [*start, name, *ARGUMENTS.get(name, [])]
    done = subprocess.run(command, cwd=trapped.root, env=trapped.environment, capture_output=True, text=True)
    assert fell_for(tmp_path / "note") == ""
    assert done.returncode != 99
    assert "Traceback" not in done.stderr


def test_without_dash_p_the_libraries_in_the_working_directory_dont_count(site: Site, tmp_path: Path) -> None:
    # Only our own name, and what Python reads before us, would be taken from there.
    for name in ("click.py", "pydicom.py", "urllib3.py"):
        (site.root / name).write_text(TRAP.format(note=str(tmp_path / "note")))
    site.rule("all")
    site.orthanc.upload(datasets.make_instance())
    assert "all" in site.run("status").stdout
    site.once()
    assert fell_for(tmp_path / "note") == ""


def test_workers_that_anonymise_are_of_the_installed_version(trapped: Site, tmp_path: Path) -> None:
    trapped.rule("all", Action="ANONYMISE")
    study = trapped.orthanc.upload_all(datasets.make_study(series=2, instances=2))
    trapped.orthanc.wait_stable(f"/studies/{study}")
    trapped.touch(study)
    done = subprocess.run(
        [PROGRAM, "run", "--once"], cwd=trapped.root, env=trapped.environment, capture_output=True, text=True
    )
    assert (done.returncode, fell_for(tmp_path / "note")) == (0, ""), done.stderr
    assert len(trapped.published("all")) == 1


def test_up_starts_a_processor_of_the_installed_version(tmp_path: Path) -> None:
    site = WholeSite(tmp_path)
    site.set(ORTHANC_PASSWORD="sentinel")
    lay_traps(tmp_path, tmp_path / "note")
    (tmp_path / ".env").write_text("".join(f"{name}='{value}'\n" for name, value in site.variables.items()))
    log = tmp_path / "log"
    with log.open("wb") as stream:
        environ = {name: value for name, value in os.environ.items() if name not in NAMES}
        process = subprocess.Popen([PROGRAM, "up"], cwd=tmp_path, env=environ, stdout=stream, stderr=stream)
    try:
        # The processor makes it when it has read the rule.
        made = tmp_path / "output/all"
        wait_until(lambda: process.poll() is not None or made.is_dir(), 60, f"the processor works: {log.read_text()}")
        assert process.poll() is None, log.read_text()
        children = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
        lines = [
            Path(f"/proc/{number}/cmdline").read_bytes() for number in children if parent_of(number) == process.pid
        ]
        assert any(b"autorthanc_spool\0run" in line for line in lines)
    finally:
        process.terminate()
        process.wait(60)
    assert fell_for(tmp_path / "note") == ""
    assert process.returncode == 0, log.read_text()


def test_the_containers_programs_take_no_code_from_their_working_directory(tmp_path: Path) -> None:
    lay_traps(tmp_path, tmp_path / "note")
    text = (CHECKOUT / "docker-compose.yml").read_text()
    entries = [json.loads(found) for found in re.findall(r'entrypoint: (\["python".*\])', text)]
    assert len(entries) == 2
    for entry in entries:
        command = [sys.executable, *entry[1:]]
        done = subprocess.run(command, cwd=tmp_path, env={"UID": "nobody"}, capture_output=True, text=True)
        assert fell_for(tmp_path / "note") == ""
        # It got as far as the settings.
        assert "UID in the environment is 'nobody'" in done.stderr


def test_everything_that_starts_python_keeps_the_working_directory_off_its_path() -> None:
    """What is shipped, and what starts children: `python -m` only with -P."""
    shipped = [CHECKOUT / name for name in ("docker-compose.yml", "docker-compose.ohif.yml", "Dockerfile")]
    shipped += [path for folder in ("deploy", "autorthanc_spool") for path in (CHECKOUT / folder).rglob("*.*")]
    texts = {path: path.read_text() for path in shipped if path.is_file() and path.suffix != ".pyc"}
    starts = r'(?:python|sys\.executable)"?,? "?-(?:m|c)\b(?! venv)'
    assert {str(path): found for path, text in texts.items() if (found := re.findall(starts, text))} == {}
