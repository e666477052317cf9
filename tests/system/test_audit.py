"""The audit log: what left is in it, whatever happens, and nothing leaves that it can't record."""

import gzip
import hashlib
import hmac
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import datasets
from tests.helpers.site import Site, send_and_touch
from tests.helpers.waiting import wait_until


@pytest.fixture
def log(site: Site) -> Path:
    folder = site.root / "audit"
    folder.mkdir()
    site.variables["AUTORTHANC_AUDIT_LOG"] = str(folder / "audit.jsonl")
    return folder / "audit.jsonl"


def lines(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines() if line]


def key_file(site: Site) -> Path:
    return site.root / "secrets/audit.key"


def keyed(site: Site, uid: str) -> str:
    """As openssl would do it: the key is what its file holds, in hexadecimal digits."""
    plain = hashlib.sha256(uid.encode()).hexdigest()
    return hmac.new(bytes.fromhex(key_file(site).read_text()), plain.encode(), hashlib.sha256).hexdigest()


def test_a_line_says_who_what_and_how_much_but_no_patient(site: Site, log: Path) -> None:
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
        "study_uid_hmac": keyed(site, datasets.uid("PAT1", "1")),
        "instances": 6,
        "bytes": sum(map(len, tree.values())),
        "host": os.uname().nodename,
    }
    assert "PAT1" not in log.read_text()
    assert hashlib.sha256(datasets.uid("PAT1", "1").encode()).hexdigest() not in log.read_text()
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
def test_what_is_not_a_file_is_not_an_audit_log(site: Site, log: Path, kind: str) -> None:
    site.rule("all")
    log.mkdir() if kind == "directory" else os.mkfifo(log)
    send_and_touch(site, *datasets.make_study())
    site.once(expect=75)
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
log = AuditLog(Path(sys.argv[1]), "host", Path(sys.argv[3]))
for number in range(200):
    log._append(Path(sys.argv[1]), {"writer": sys.argv[2], "number": number, "study_uid_sha256": "0" * 64})
"""


def test_several_writers_share_the_file(tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"
    writers = [subprocess.Popen([sys.executable, "-c", FILL, str(log), name, str(tmp_path / "key")]) for name in "ab"]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    found = lines(log)
    for name in "ab":
        assert [line["number"] for line in found if line["writer"] == name] == list(range(200))
    # Both began without a key, and ended with one and the same.
    assert len({line["study_uid_hmac"] for line in found}) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["audit.jsonl", "key"]


def found_by(site: Site, uid: str, *arguments: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in site.run("audit", "--study", uid, *arguments).stdout.splitlines()]


@pytest.fixture
def two_studies(site: Site, log: Path) -> Site:
    site.rule("all")
    send_and_touch(site, *datasets.make_study("FIRST"))
    send_and_touch(site, *datasets.make_study("SECOND"))
    site.once()
    return site


FIRST = datasets.uid("FIRST", "1")


def test_a_study_is_found_by_its_uid_and_no_other_is(two_studies: Site, log: Path) -> None:
    (line,) = found_by(two_studies, FIRST)
    assert line in lines(log)
    assert found_by(two_studies, datasets.uid("SECOND", "1")) not in ([], [line])
    assert found_by(two_studies, datasets.uid("THIRD", "1")) == []


def test_lines_of_before_the_key_are_found_as_well_and_so_are_those_that_were_rotated(
    two_studies: Site, log: Path
) -> None:
    old = {"outcome": "published", "study_uid_sha256": hashlib.sha256(FIRST.encode()).hexdigest(), "id": "old"}
    with gzip.open(log.with_name("audit.jsonl.2.gz"), "wt") as stream:
        stream.write(json.dumps(old) + "\n")
    log.rename(log.with_name("audit.jsonl.1"))
    os.utime(log.with_name("audit.jsonl.2.gz"), (0, 0))
    first, second = found_by(two_studies, FIRST)
    assert first == old
    assert "study_uid_hmac" in second
    assert found_by(two_studies, FIRST, str(log.with_name("audit.jsonl.2.gz"))) == [old]


def test_the_key_is_its_owners_alone(two_studies: Site) -> None:
    status = key_file(two_studies).stat()
    assert (status.st_mode & 0o7777, status.st_uid) == (0o600, 1000)
    assert key_file(two_studies).parent.stat().st_mode & 0o077 == 0


def test_a_lost_key_stops_nothing_and_is_said_by_the_search(two_studies: Site, log: Path) -> None:
    before = key_file(two_studies).read_bytes()
    key_file(two_studies).unlink()
    done = two_studies.run("audit", "--study", FIRST)
    assert done.stdout == ""
    assert "there is no key" in done.stderr
    assert not key_file(two_studies).exists()
    send_and_touch(two_studies, *datasets.make_study("THIRD"))
    two_studies.once()
    assert len(lines(log)) == 3
    assert key_file(two_studies).read_bytes() != before
    assert len(found_by(two_studies, datasets.uid("THIRD", "1"))) == 1
    # A copy of the former key finds what was written with it.
    copy = key_file(two_studies).with_name("former.key")
    copy.write_bytes(before)
    copy.chmod(0o600)
    assert len(found_by(two_studies, FIRST, "--set", f"AUTORTHANC_AUDIT_KEY_FILE={copy}")) == 1


@pytest.mark.parametrize(("text", "mode"), [("no key", 0o600), ("", 0o600), ("ab" * 32, 0o644)])
def test_with_a_key_that_cant_be_used_nothing_leaves_until_it_is_right(
    site: Site, log: Path, text: str, mode: int
) -> None:
    site.rule("all")
    key_file(site).parent.mkdir()
    key_file(site).write_text(text)
    key_file(site).chmod(mode)
    send_and_touch(site, *datasets.make_study())
    site.once(expect=75)
    assert site.published("all") == []
    error = site.records("deferred")[0]["error"]
    assert error["kind"] == "AuditUnavailable"
    assert "AUTORTHANC_AUDIT_KEY_FILE" in str(error)
    key_file(site).unlink()
    site.run("requeue", "--deferred")
    site.once()
    assert len(lines(log)) == 1


def test_a_line_that_the_ledger_owed_before_there_was_a_key_gets_the_keyed_hash(site: Site, log: Path) -> None:
    site.rule("all")
    study = send_and_touch(site, *datasets.make_study())
    site.once()
    plain = hashlib.sha256(datasets.uid("PAT1", "1").encode()).hexdigest()
    (record,) = (site.spool / "ledger").rglob(f"*{study}*.json")
    content = json.loads(record.read_text())
    content["owed"] = [{"outcome": "published", "study_uid_sha256": plain}]
    record.write_text(json.dumps(content))
    site.touch(study)
    site.once()
    assert lines(log)[1]["study_uid_hmac"] == keyed(site, datasets.uid("PAT1", "1"))
    assert plain not in log.read_text()


def test_what_is_not_a_uid_and_a_site_without_a_log_are_said(site: Site) -> None:
    assert "takes a UID" in site.run("audit", "--study", "DOE^JANE", expect=2).stderr
    assert "AUTORTHANC_AUDIT_LOG" in site.run("audit", "--study", "1.2.3", expect=2).stderr
