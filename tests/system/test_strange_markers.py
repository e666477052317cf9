"""What people and accidents leave among the markers: pipes, broken links, folders, names that are no text."""

import json
import os
from pathlib import Path

import pytest

from autorthanc_spool.core.states import State
from autorthanc_spool.monitor import facts, outbox, snapshot
from autorthanc_spool.monitor.notice_plan import Bundle, Notice, Queued, Told
from autorthanc_spool.run import access
from autorthanc_spool.settings import load_settings
from autorthanc_spool.spool.spool import Spool
from tests.helpers import datasets
from tests.helpers.site import Site
from tests.helpers.waiting import wait_until


@pytest.fixture
def spool(site: Site) -> Spool:
    site.make_spool()
    return access.find_spool(load_settings({}, site.environment, site.root))


def test_a_pipe_and_a_broken_link_hold_up_no_command(site: Site, spool: Spool) -> None:
    os.mkfifo(site.spool / "failed" / "pipe.json")
    (site.spool / "failed" / "link.json").symlink_to("/nonexistent")
    listed = site.run("list", timeout_s=30).stdout
    assert "failed/pipe.json" in listed
    assert "failed/link.json" in listed
    for name in ("pipe", "link"):
        assert "it is not a marker" in site.run("show", name, timeout_s=30).stdout
    draft = site.spool / "failed" / "pipe.json"
    assert "isn't a file" in site.run("explain", "study", "1", "--rule", str(draft), expect=2, timeout_s=30).stderr
    assert "isn't a file" in site.run("check", str(draft), expect=1, timeout_s=30).stdout


def test_nothing_is_deleted_where_one_of_many_is_a_folder(site: Site, spool: Spool) -> None:
    (site.spool / "failed" / "a.json").write_text("{}")
    (site.spool / "failed" / "the folder.json").mkdir()
    said = site.run("delete", "--all", expect=2).stderr
    assert "nothing was deleted" in said
    assert f"rm -r '{site.spool}/failed/the folder.json'" in said
    assert (site.spool / "failed" / "a.json").exists()


def test_a_folder_that_pauses_is_removed_by_resume(site: Site, spool: Spool) -> None:
    (site.spool / "PAUSED").mkdir()
    site.run("resume")
    assert not (site.spool / "PAUSED").exists()


def test_a_pipe_that_pauses_holds_up_no_command_and_no_processor(site: Site, spool: Spool) -> None:
    os.mkfifo(site.spool / "PAUSED")
    assert "PAUSED" in site.run("status", timeout_s=30).stdout
    assert "paused" in site.run("run", "--once", expect=75, timeout_s=30).stderr
    site.run("resume")
    assert not (site.spool / "PAUSED").exists()


def test_what_is_no_marker_is_counted_by_its_kind(site: Site, spool: Spool) -> None:
    (site.spool / "failed" / "broken.json").write_text("[1,2")
    assert snapshot._kinds(spool, State.FAILED) == {"MarkerError": 1}


def test_a_log_line_stays_one_line_and_its_command_can_be_given(site: Site, spool: Spool) -> None:
    (site.spool / "incoming" / "bad\nname \udcff.json").write_text("nothing")
    log = site.run("run", "--once", expect=1).stderr
    (line,) = (one for one in log.splitlines() if "not a marker" in one)
    assert " ERROR " in line
    assert r"bad\nname \xff.json" in line
    assert r"show $'bad\x0aname \xff'" in line


def test_the_name_of_a_marker_stays_on_the_line_of_its_study(site: Site) -> None:
    study = site.orthanc.upload(datasets.make_instance())
    site.orthanc.wait_stable(f"/studies/{study}")
    site.rule("all")
    site.make_spool()
    (site.spool / "incoming" / "two\nlines.json").write_text(json.dumps({"level": "study", "id": study}))
    log = site.run("run", "--once").stderr
    assert r"INFO two\nlines.json -> done/: all published" in log
    assert not any(line.startswith("lines") for line in log.splitlines())


def test_what_was_told_of_a_name_that_is_no_text_is_remembered(tmp_path: Path) -> None:
    path = tmp_path / "notices.json"
    told = Told(failed=Bundle({"\udcff.json": "MarkerError"}))
    outbox.Outbox(path, ())._keep(told)
    assert outbox._read(path) == told


def test_a_rule_whose_file_name_is_no_text_hides_no_processor(site: Site) -> None:
    metrics = site.root / "metrics.prom"
    site.variables["AUTORTHANC_METRICS_FILE"] = str(metrics)
    Path(os.fsdecode(os.fsencode(site.rules) + b"/br\xff.json")).write_text("{}")
    with site.processor():
        named = r'autorthanc_trouble{what="the rule br\\udcff"} 1'
        wait_until(lambda: metrics.exists() and named in metrics.read_text(), 30, "the metrics name the rule")
        wait_until(lambda: r"br\udcff" in (site.spool / "state" / "status.html").read_text(), 30, "so does the page")
        (processor,) = json.loads(site.run("status", "--json").stdout)["processors"]
        assert processor["alive"]
    assert "doesn't work" not in site.log.read_text()


def test_what_is_no_heartbeat_hides_no_processor(site: Site, spool: Spool) -> None:
    folder = site.spool / "state" / "processors"
    folder.mkdir(exist_ok=True)
    (folder / "a folder.json").mkdir()
    (folder / "deep.json").write_text("[" * 200_000)
    (folder / "endless.json").write_text('{"host": "a", "pid": 1e999, "since": "2026-11-23T21:24:59Z"}')
    assert "no processor is running" in site.run("status", "--check", expect=1).stdout
    with site.processor():
        wait_until(lambda: json.loads(site.run("status", "--json").stdout)["processors"], 30, "the processor is shown")
    assert "doesn't work" not in site.log.read_text()


def test_what_is_nested_too_deeply_is_damaged_like_any_other_file(site: Site) -> None:
    site.rule("all")
    study = site.orthanc.upload(datasets.make_instance())
    site.orthanc.wait_stable(f"/studies/{study}")
    site.touch(study)
    site.once()
    state = site.spool / "state"
    record = site.spool / "ledger" / study[:2] / f"study-{study}.json"
    for path, code, says in (
        (state / "prune.json", 0, ""),
        (state / "baseline.json", 1, "baseline.json can't be understood"),
        (state / "contact.json", 1, "contact.json can't be understood"),
        (state / "roots" / "output.json", 75, "output.json can't be read"),
        (state / "roots" / "spool.json", 75, "spool.json can't be read"),
        (record, 1, "LedgerError"),
    ):
        before = path.read_bytes()
        path.write_text("[" * 200_000)
        if path == record:
            site.touch(study)
        said = site.once(expect=code).stderr
        assert says in said
        assert "Traceback" not in said
        path.write_bytes(before)


def test_a_name_of_the_output_whose_owner_cannot_be_read_stays_somebodys(site: Site, spool: Spool) -> None:
    spool.ledger.reserve("all", "a", "study-1")
    (name,) = (site.spool / "ledger" / "names").iterdir()
    name.write_bytes(b"\xff")
    assert not spool.ledger.reserve("all", "a", "study-1")


def test_half_a_character_in_a_marker_hides_no_other_one(site: Site, spool: Spool) -> None:
    content = {"filed": {}, "error": {"kind": "Bug\ud800", "text": "half \ud800"}}
    (site.spool / "failed" / "half-study-00000000-00000000-00000000-00000000-00000000.json").write_text(
        json.dumps(content)
    )
    (site.spool / "failed" / "other.json").write_text("{}")
    listed = site.run("list").stdout
    assert r"half \ud800" in listed
    assert "failed/other.json" in listed
    assert r"half \ud800" in site.run("show", "half").stdout


def test_a_deferred_marker_waits_since_it_was_written(site: Site, spool: Spool) -> None:
    name = "20260101T000000Z-study-00000000-00000000-00000000-00000000-00000000.json"
    (site.spool / "deferred" / name).write_text("{}")
    (site.spool / "deferred" / "by hand.json").write_text("{}")
    found = facts.gather(spool, 3600.0)
    assert found.waiting == name
    age_s = found.queues[State.DEFERRED].oldest_age_s
    assert age_s is not None
    assert age_s > 86400
    # In other states it is the time there that counts.
    (site.spool / "deferred" / name).rename(site.spool / "failed" / name)
    assert facts.gather(spool, 3600.0).queues[State.FAILED].oldest_age_s < 3600


@pytest.mark.parametrize("seconds", ["nan", "inf", "0", "-1"])
def test_a_time_that_never_ends_is_refused(site: Site, seconds: str) -> None:
    assert "'--idle-exit'" in site.run("run", "--idle-exit", seconds, expect=2).stderr


def test_files_that_are_no_dicom_are_named_and_a_place_without_rules_is_refused(site: Site, tmp_path: Path) -> None:
    site.rule("all")
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "a.dcm").write_bytes(datasets.make_instance())
    (folder / "notes.txt").write_text("nothing")
    done = site.run("explain", "file", str(folder))
    assert "all: matches" in done.stdout
    assert f"{folder}/notes.txt: not a DICOM file" in done.stderr
    site.rules.rename(tmp_path / "elsewhere")
    assert "--site DIR" in site.run("explain", "file", str(folder), expect=2).stderr


def test_a_fallback_is_explained_for_files_beside_all_rules(site: Site, tmp_path: Path) -> None:
    site.rule("ct", Tags=[{"TagName": "Modality", "Equals": "CT"}])
    site.rule("rest", Fallback=True)
    file = tmp_path / "a.dcm"
    file.write_bytes(datasets.make_instance(Modality="CT"))
    assert "rest: a fallback, and the rule ct matches" in site.run("explain", "file", str(file)).stdout
    draft = tmp_path / "draft.json"
    draft.write_text((site.rules / "rest.json").read_text())
    said = site.run("explain", "file", str(file), "--rule", str(draft)).stdout
    assert "draft: a fallback, and the rule ct matches" in said
    # Of a broken file, the last valid version counts.
    site.make_spool()
    site.run("check")
    (site.rules / "ct.json").write_text("{")
    assert "rest: a fallback, and the rule ct matches" in site.run("explain", "file", str(file)).stdout


def test_what_a_later_version_remembers_beside_it_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "notices.json"
    notice = Notice("later-event", "Orthanc", "Orthanc: trouble", "it is away", "2026-11-23T21:24:59Z")
    told = Told({"Orthanc": notice.time}, Bundle({"a.json": "1"}), outbox=(Queued(notice, ("command",)),))
    outbox.Outbox(path, ())._keep(told)
    content = json.loads(path.read_text())
    for one in (content, content["failed"], content["outbox"][0], content["outbox"][0]["notice"]):
        one["later"] = 1
    path.write_text(json.dumps(content))
    assert outbox._read(path) == told
