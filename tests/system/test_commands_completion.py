"""Completion in real shells, and what it needs of the program: markers, rules, states, kinds of errors."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from autorthanc_spool.commands.completion import SHELLS
from tests.helpers.filed_markers import filed, resource_id
from tests.helpers.site import Site

PROGRAM = Path(sys.executable).with_name("autorthanc-spool")
# What readline does when Tab is pressed after these words.
ASKING = """
source <(autorthanc-spool completion bash)
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
function=$(complete -p autorthanc-spool | sed 's/.*-F \\([^ ]*\\).*/\\1/')
$function autorthanc-spool "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


def completed(site: Site, *words: str) -> list[str]:
    environment = {**site.environment, "PATH": f"{PROGRAM.parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "--norc", "-c", ASKING, "bash", "autorthanc-spool", *words],
        cwd=site.root, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    return [line for line in done.stdout.splitlines() if line]


@pytest.fixture
def busy(site: Site) -> Site:
    site.rule("brain")
    site.rule("knee")
    filed(site, 1, "failed", kind="OrthancFault")
    filed(site, 2, "done")
    return site


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["anno"], ["announce"]),
        (["list", "fa"], ["failed"]),
        (["list", "--state", "ho"], ["hold"]),
        (["list", "--kind", "OrthancF"], ["OrthancFault"]),
        (["list", "--rule", ""], ["brain", "knee"]),
        (["announce", "kn"], ["knee"]),
        (["replay", "b"], ["brain"]),
        (["show", "2026"], [f"20261123T212459Z-study-{resource_id(number)}" for number in (1, 2)]),
        (["requeue", resource_id(1)[:8]], [resource_id(1)]),
        (["hold", "nothing"], []),
    ],
    ids=lambda words: " ".join(words) or "nothing",
)
def test_bash_completes(busy: Site, words: list[str], found: list[str]) -> None:
    assert completed(busy, *words) == found


def test_what_lies_in_done_beside_its_days_is_completed_and_is_in_nobodys_way(busy: Site) -> None:
    (day,) = (busy.spool / "done").glob("????-??-??")
    (marker,) = day.iterdir()
    (busy.spool / "done" / "2026-13-99").write_text("named like a day")
    marker.rename(busy.spool / "done" / marker.name)
    assert completed(busy, "show", resource_id(2)[:8]) == [resource_id(2)]


def test_another_site_is_completed_by_its_option(busy: Site, tmp_path: Path) -> None:
    elsewhere = Site(tmp_path / "elsewhere", busy.orthanc, has_spool=False)
    assert completed(elsewhere, "show", "2026") == []
    assert len(completed(elsewhere, "show", "--spool", str(busy.spool), "2026")) == 2


def test_settings_that_cant_be_used_complete_nothing_and_say_nothing(busy: Site) -> None:
    busy.variables["AUTORTHANC_POLL_INTERVAL_S"] = "soon"
    assert completed(busy, "show", "2026") == []


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish isn't installed")
def test_fish_completes(busy: Site) -> None:
    environment = {**busy.environment, "PATH": f"{PROGRAM.parent}:{os.environ['PATH']}", "HOME": str(busy.root)}
    asking = "autorthanc-spool completion fish | source; complete -C'autorthanc-spool show 2026'; "
    asking += "complete -C'autorthanc-spool list --rule kn'; complete -C'autorthanc-spool list fa'"
    done = subprocess.run(
        ["fish", "--no-config", "-c", asking],
        cwd=busy.root,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    markers = [f"20261123T212459Z-study-{resource_id(number)}" for number in (1, 2)]
    assert [line.partition("\t")[0] for line in done.stdout.splitlines()] == [*markers, "knee", "failed"]


@pytest.mark.parametrize("shell", SHELLS)
def test_what_is_printed_is_read_by_its_shell(busy: Site, shell: str) -> None:
    script = busy.run("completion", shell).stdout
    assert "_AUTORTHANC_SPOOL_COMPLETE" in script
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, text=True, check=True)


def test_completion_begins_without_what_it_doesnt_need() -> None:
    program = "import sys, autorthanc_spool.commands.main, autorthanc_spool.commands.complete; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert {"pydicom", "rich", "urllib3", "watchdog"}.intersection(loaded) == set()
