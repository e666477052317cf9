"""The manual page: made from the texts of `--help`, readable, and in the wheel."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from autorthanc_spool.commands.main import COMMANDS
from scripts import write_man

ROOT = Path(__file__).parents[1]


def test_the_page_is_what_help_says() -> None:
    assert write_man.PAGE.read_text() == write_man.page(), "a command changed: `make man` writes the page again"


@pytest.mark.parametrize(
    "reader", [["man", "--warnings", "-l"], ["mandoc", "-T", "lint", "-W", "error"]], ids=lambda words: words[0]
)
def test_readers_have_nothing_against_it(reader: list[str]) -> None:
    done = subprocess.run([*reader, write_man.PAGE], capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_every_command_has_its_place_in_it() -> None:
    shown = subprocess.run(["mandoc", "-T", "ascii", write_man.PAGE], capture_output=True, text=True, check=True).stdout
    text = re.sub(r".\x08", "", shown)
    assert [name for name in COMMANDS if not re.search(rf"^   {name} \[OPTIONS\]", text, re.MULTILINE)] == []
    assert "autorthanc-spool requeue --failed" in text
    assert "The folder that holds the .env" in text


def test_it_is_in_the_wheel(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, capture_output=True, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert any(name.endswith("data/share/man/man1/autorthanc-spool.1") for name in names)
