"""`doctor --shared`: two that see one spool correctly say so; what one sees wrongly is named with its fix."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.orthanc_server import OrthancServer
from tests.helpers.site import Site

COMMAND = [sys.executable, "-m", "autorthanc_spool"]
# A file system whose locks each host has for itself: every lock is granted.
OWN_LOCKS = "import fcntl; fcntl.flock = lambda descriptor, operation: None; "
# A host whose clock is an hour behind.
OTHER_CLOCK = "import time; now = time.time; time.time = lambda: now() - 3600; "
# Of a file system that numbers files for each host by itself.
OTHER_NUMBERS = (
    "import os; from pathlib import Path; stat = Path.stat; "
    "Path.stat = lambda path, **keywords: (found := stat(path, **keywords)) and "
    "os.stat_result((found[0], found[1] + 1, *found[2:])) if path.suffix in ('.made', '.renamed') "
    "else stat(path, **keywords); "
)


@pytest.fixture
def spool(tmp_path: Path) -> Site:
    """A site whose Orthanc isn't asked."""
    found = Site(tmp_path / "site", OrthancServer(tmp_path / "orthanc", lua=()))
    found.make_spool()
    return found


def start(site: Site, *options: str, fault: str = "") -> "subprocess.Popen[str]":
    program = [sys.executable, "-c", f"{fault}from autorthanc_spool.commands.main import main; main()"]
    return subprocess.Popen(
        [*(program if fault else COMMAND), "doctor", "--shared", "--json", *options],
        cwd=site.root,
        env=site.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: "subprocess.Popen[str]") -> tuple[int, list[dict[str, Any]]]:
    out, talk = process.communicate(timeout=150)
    assert "Traceback" not in talk, talk
    return process.returncode, [json.loads(line) for line in out.splitlines()]


def not_ok(findings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one for one in findings if one["severity"] != "ok"]


def test_three_that_share_a_spool_correctly_find_all_of_it_right(spool: Site) -> None:
    for code, findings in map(ended, [start(spool, "--hosts", "3") for _ in range(3)]):
        assert (code, not_ok(findings)) == (0, [])
        assert {one["what"] for one in findings} >= {"locks", "names", "inodes", "times", "clocks", "races"}
        assert len([one for one in findings if one["what"] == "locks"]) == 2
    assert list((spool.spool / "tmp").iterdir()) == []


def test_an_audit_log_beside_the_spool_is_named_and_one_on_a_disk_of_its_own_is_not(spool: Site) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as own_disk:
        spool.variables["AUTORTHANC_AUDIT_LOG"] = str(spool.root / "audit.jsonl")
        beside = start(spool)
        spool.variables["AUTORTHANC_AUDIT_LOG"] = f"{own_disk}/audit.jsonl"
        apart = start(spool)
        found = [{one["what"] for one in not_ok(ended(process)[1])} for process in (beside, apart)]
    assert found == [{"audit log"}, set()]


def test_locks_that_one_host_has_for_itself_are_named_with_what_to_do(spool: Site) -> None:
    processes = [start(spool), start(spool, fault=OWN_LOCKS)]
    results = [ended(process) for process in processes]
    assert [code for code, _ in results] == [1, 1]
    for _, findings in results:
        assert {one["what"] for one in not_ok(findings)} == {"locks"}
        found = not_ok(findings)[0]
        assert "two processors would work on one study" in found["text"]
        assert "a file system that shares flock" in found["fix"]


def test_a_clock_that_is_an_hour_behind_is_named(spool: Site) -> None:
    processes = [start(spool), start(spool, fault=OTHER_CLOCK)]
    results = [ended(process) for process in processes]
    assert [code for code, _ in results] == [0, 0]
    for _, findings in results:
        apart = [one for one in findings if "apart" in one["text"]]
        assert apart
        assert {one["what"] for one in not_ok(findings)} == {"clocks"}
        assert "NTP" in apart[0]["fix"]


def test_other_inode_numbers_are_named(spool: Site) -> None:
    processes = [start(spool), start(spool, fault=OTHER_NUMBERS)]
    results = [ended(process) for process in processes]
    assert [code for code, _ in results] == [1, 1]
    assert {one["what"] for _, findings in results for one in not_ok(findings)} == {"inodes"}


def test_other_paths_are_named(spool: Site) -> None:
    processes = [start(spool), start(spool, "--output", "elsewhere")]
    for code, findings in map(ended, processes):
        assert code == 0
        assert [one["what"] for one in not_ok(findings)] == ["paths"]


def test_one_that_stays_alone_says_how_to_start_two(spool: Site) -> None:
    code, findings = ended(start(spool, "--wait", "1"))
    assert code == 1
    assert "no other host came within 1 s" in findings[-1]["text"]
    assert "srun -N2" in findings[-1]["fix"]
    assert list((spool.spool / "tmp").iterdir()) == []


def test_what_a_killed_one_left_is_not_a_partner(spool: Site) -> None:
    board = spool.spool / "tmp" / ".doctor-shared"
    board.mkdir()
    (board / "aaa-1.json").write_text(json.dumps({"beat": 7, "roster": ["aaa-1", "bbb-2"], "through": True}))
    processes = [start(spool) for _ in range(2)]
    assert [ended(process)[0] for process in processes] == [0, 0]


def test_a_probe_and_other_hosts_are_two_examinations(spool: Site) -> None:
    assert "give one" in spool.run("doctor", "--shared", "--probe", expect=2).stderr
