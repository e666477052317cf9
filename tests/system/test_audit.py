"""The audit log: what left is in it, whatever happens, and nothing leaves that it can't tell of."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import datasets
from tests.helpers.site import Site
from tests.helpers.waiting import wait_until
from tests.system.test_road import send_and_touch


@pytest.fixture
def log(site: Site) -> Path:
    folder = site.root / "audit"
    folder.mkdir()
    site.variables["AUTORTHANC_AUDIT_LOG"] = str(folder / "audit.jsonl")
    return folder / "audit.jsonl"


def lines(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines() if line]


def test_a_line_tells_who_what_and_how_much_but_no_patient(site: Site, log: Path) -> None:
    site.rule("all")
    study = send_and_touch(site, *datasets.make_study(series=2, instances=3))
    site.once()
    (line,) = lines(log)
    tree = site.tree("all", "PAT1-FamilyPAT1-1")
    assert line.pop("time").endswith("Z")
    assert line == {
        "outcome": "published",
        "rule": "all",
        "level": "study",
        "id": study,
        "study_uid_sha256": hashlib.sha256(datasets.uid("PAT1", "1").encode()).hexdigest(),
        "instances": 6,
        "bytes": sum(map(len, tree.values())),
        "host": os.uname().nodename,
    }
    assert "PAT1" not in log.read_text()
    assert log.stat().st_mode & 0o7777 == 0o640


def test_a_second_run_adds_nothing_and_what_is_done_again_adds_a_line(site: Site, log: Path) -> None:
    site.rule("all")
    send_and_touch(site, *datasets.make_study())
    site.once()
    site.once()
    assert len(lines(log)) == 1
    site.run("requeue", site.markers("done")[0].name)
    site.once()
    assert [line["outcome"] for line in lines(log)] == ["published", "published"]


def test_each_rule_has_its_line_and_a_failure_too(site: Site, log: Path) -> None:
    site.rule("good")
    site.rule("bad")
    site.output.mkdir()
    (site.output / "bad").symlink_to(site.root)
    send_and_touch(site, *datasets.make_study())
    site.once(expect=1)
    found = {line["rule"]: line for line in lines(log)}
    assert {rule: line["outcome"] for rule, line in found.items()} == {"good": "published", "bad": "failed"}
    assert found["bad"]["error"] == "OutputConflict"
    assert (found["bad"]["instances"], found["bad"]["bytes"]) == (0, 0)


def test_logrotate_may_rename_it_while_the_processor_runs(site: Site, log: Path) -> None:
    site.rule("all")
    with site.processor():
        send_and_touch(site, *datasets.make_study("FIRST"))
        site.wait_states(done=1)
        log.rename(log.with_suffix(".1"))
        send_and_touch(site, *datasets.make_study("SECOND"))
        site.wait_states(done=2)
    assert len(lines(log.with_suffix(".1"))) == len(lines(log)) == 1


def test_without_its_log_nothing_leaves_until_it_is_back(site: Site, log: Path) -> None:
    site.rule("all")
    log.parent.rmdir()
    send_and_touch(site, *datasets.make_study())
    with site.processor():
        site.wait_states(deferred=1)
        assert site.published("all") == []
        record = site.records("deferred")[0]
        assert (record["error"]["kind"], record["attempts"]) == ("AuditUnavailable", 0)
        wait_until(lambda: "AUTORTHANC_AUDIT_LOG" in site.log_end(), 20, "the log names the setting")
        log.parent.mkdir()
        site.wait_states(done=1)
    assert site.published("all") == ["PAT1-FamilyPAT1-1"]
    assert len(lines(log)) == 1
    assert site.log.read_text().count("AUTORTHANC_AUDIT_LOG") == 1


@pytest.mark.parametrize("kind", ["directory", "fifo"])
def test_what_is_no_file_is_no_audit_log(site: Site, log: Path, kind: str) -> None:
    site.rule("all")
    log.mkdir() if kind == "directory" else os.mkfifo(log)
    send_and_touch(site, *datasets.make_study())
    site.once()
    assert site.published("all") == []
    assert site.records("deferred")[0]["error"]["kind"] == "AuditUnavailable"


def test_a_line_that_was_cut_short_spoils_no_other(site: Site, log: Path) -> None:
    log.write_text('{"outcome": "publi')
    site.rule("all")
    send_and_touch(site, *datasets.make_study())
    site.once()
    first, second = log.read_text().splitlines()
    assert first == '{"outcome": "publi'
    assert json.loads(second)["outcome"] == "published"


FILL = """
import os, sys
from pathlib import Path
from autorthanc_spool.spool.audit import AuditLog
log = AuditLog(Path(sys.argv[1]), "host")
for number in range(200):
    log._append(Path(sys.argv[1]), {"writer": sys.argv[2], "number": number})
"""


def test_several_writers_share_the_file(tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"
    writers = [subprocess.Popen([sys.executable, "-c", FILL, str(log), name]) for name in "ab"]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    found = lines(log)
    for name in "ab":
        assert [line["number"] for line in found if line["writer"] == name] == list(range(200))
