"""`prune`, and what `run` does of it by itself: old records go, and what dead processes left; nothing else does."""

import json
import os
import shutil
import threading
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from autorthanc_spool.run import access, wiring
from autorthanc_spool.run.prune import Pruned, prune
from autorthanc_spool.run.tools import Tools
from autorthanc_spool.settings import load_settings
from tests.helpers import crash, datasets
from tests.helpers.dying import TOO_MANY, clear, work
from tests.helpers.site import Site, send, send_and_touch

ID = "0a4b249f-7fce45ca-4f722f72-de2a24df-92abc740"
PUBLISHED = {"all": {"outcome": "published", "path": "all/PAT1-FamilyPAT1-1"}}


def days_ago(number: int) -> str:
    return (datetime.now(UTC).date() - timedelta(days=number)).isoformat()


def record(site: Site, age_days: int, name: str, outcomes: dict[str, Any]) -> Path:
    folder = site.spool / "done" / days_ago(age_days)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-study-{ID}.json"
    path.write_text(json.dumps({"level": "study", "id": ID, "filed": {"path": "done/"}, "outcomes": outcomes}))
    return path


def tools(site: Site, ahead: timedelta = timedelta()) -> Tools:
    settings = load_settings({}, site.environment, site.root)
    return replace(
        wiring.tools(settings, threading.Event(), access.make_spool(settings)), clock=lambda: datetime.now(UTC) + ahead
    )


def pruned(site: Site, ahead: timedelta = timedelta()) -> Pruned:
    found = prune(tools(site, ahead))
    assert found
    return found


def test_records_go_by_age_and_earlier_where_no_rule_matched(site: Site) -> None:
    kept = [
        record(site, 0, "a", {}),
        record(site, 7, "b", {}),
        record(site, 8, "c", PUBLISHED),
        record(site, 90, "d", PUBLISHED),
    ]
    gone = [record(site, 8, "e", {}), record(site, 90, "f", {}), record(site, 91, "g", PUBLISHED)]
    done = site.run("prune")
    assert all(path.exists() for path in kept)
    assert not any(path.exists() for path in gone)
    assert not gone[-1].parent.exists()
    assert f"done/{days_ago(91)}: 1 records" in done.stdout
    assert f"done/{days_ago(8)}: 1 records of what no rule matched" in done.stdout


def test_zero_keeps_records_without_limit(site: Site) -> None:
    site.variables |= {"AUTORTHANC_DONE_RETENTION_DAYS": "0", "AUTORTHANC_DONE_UNMATCHED_RETENTION_DAYS": "0"}
    kept = [record(site, 4000, "a", PUBLISHED), record(site, 4000, "b", {})]
    done = site.run("prune")
    assert all(path.exists() for path in kept)
    assert "nothing to remove" in done.stderr


def test_what_a_person_put_into_done_is_left_alone(site: Site) -> None:
    record(site, 100, "a", PUBLISHED)
    folder = site.spool / "done" / days_ago(100)
    (folder / "notes.txt").write_text("mine")
    other = site.spool / "done" / "archive"
    other.mkdir()
    site.run("prune")
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]
    assert other.is_dir()


def test_what_is_no_record_in_a_day_is_left_alone_and_stops_nothing(site: Site) -> None:
    old, younger = record(site, 91, "old", PUBLISHED), record(site, 8, "younger", {})
    elsewhere = site.root / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "rule.json").write_text("{}")
    (site.spool / "done" / days_ago(92)).symlink_to(elsewhere)
    for day in (old.parent, younger.parent):
        (day / "folder.json").mkdir()
        os.mkfifo(day / "pipe.json")
    found = json.loads(site.run("prune", "--json", timeout_s=30).stdout.splitlines()[0])
    assert found["number"] == 1
    assert not old.exists()
    assert not younger.exists()
    assert (elsewhere / "rule.json").exists()
    assert (old.parent / "folder.json").is_dir()


def test_a_marker_that_a_person_moved_into_done_beside_the_days_is_found(site: Site) -> None:
    moved = record(site, 1, "one", PUBLISHED)
    moved = moved.rename(moved.parents[1] / moved.name)
    assert moved.name in site.run("list", "done").stdout
    assert site.run("requeue", "one").stdout == f"incoming/{moved.name}\n"


def test_a_file_that_is_called_like_a_day_hides_no_marker(site: Site) -> None:
    done = record(site, 1, "one", PUBLISHED)
    (done.parents[1] / days_ago(2)).write_text("a list")
    assert done.name in site.run("list", "done").stdout
    assert site.run("requeue", "one").stdout == f"incoming/{done.name}\n"


def test_a_dry_run_says_what_and_removes_nothing(site: Site) -> None:
    old = record(site, 100, "a", PUBLISHED)
    done = site.run("prune", "--dry-run", "--json")
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        {"what": "records", "where": f"done/{days_ago(100)}", "number": 1}
    ]
    assert old.exists()
    assert "without --dry-run" in done.stderr


def test_run_prunes_once_a_day_and_says_what(site: Site) -> None:
    site.rule("all")
    old = record(site, 100, "a", PUBLISHED)
    unmatched = record(site, 20, "b", {})
    done = site.once()
    assert not old.exists()
    assert not unmatched.exists()
    assert f"removed 1 records: done/{days_ago(100)}" in done.stderr
    old = record(site, 100, "a", PUBLISHED)
    site.once()
    assert old.exists(), "on the same day it is not looked at again"
    memory = site.spool / "state" / "prune.json"
    memory.write_text(memory.read_text().replace(date.today().isoformat(), days_ago(1)))
    site.once()
    assert not old.exists()


def test_the_ledger_stays_so_that_nothing_is_done_twice(site: Site) -> None:
    site.rule("all")
    study = send_and_touch(site, *datasets.make_study())
    site.once()
    for path in site.markers("done"):
        path.parent.rename(path.parent.with_name(days_ago(100)))
    site.run("prune")
    assert site.states() == {}
    lua = {"level": "Study", "id": study, "source": "lua", "time": "2030-01-01T00:00:00Z"}
    (site.spool / "incoming" / "x.json").write_text(json.dumps(lua))
    site.once()
    assert site.records("done")[0]["outcomes"]["all"]["outcome"] == "unchanged"


def test_unfinished_files_go_after_a_day_and_a_half(site: Site) -> None:
    site.run("prune")
    leftovers = [
        site.spool / "tmp" / ".4711-marker.json",
        site.spool / "tmp" / "half",
        site.spool / "ledger" / "0a" / f".4711-study-{ID}.json",
        site.spool / "ledger" / "names" / ".abc-study",
        site.spool / "state" / ".4711-baseline.json",
    ]
    for path in leftovers:
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")
    (site.spool / "tmp" / "folder").mkdir()
    pruned(site, timedelta(hours=35))
    assert all(path.exists() for path in leftovers)
    found = pruned(site, timedelta(hours=37))
    assert not any(path.exists() for path in leftovers)
    assert (site.spool / "tmp" / "folder").is_dir()
    assert {(one.where, one.number) for one in found.removed} == {("tmp/", 2), ("ledger/", 2), ("state/", 1)}


def test_locks_that_nobody_holds_go_and_held_ones_stay(site: Site) -> None:
    site.run("prune")
    orphan = site.spool / "locks" / f"study-{ID}.lock"
    orphan.touch()
    held = tools(site).spool.locked("series-x", 1)
    with held:
        done = site.run("prune")
        assert os.listdir(site.spool / "locks") == ["series-x.lock"]
    assert "locks/: 1 locks that nobody held" in done.stdout


def die_with_a_working_folder(site: Site, study: str) -> Path:
    """Have a processor die in mid-export; give what it left below the output."""
    for step in range(20, TOO_MANY):
        clear(site)
        site.touch(study)
        crash.run_dying(step, work(site))
        if left := list(site.output.glob("*/*.WORKING")):
            return left[0]
    raise AssertionError("it never left one")


def test_the_working_folder_of_a_dead_run_goes_although_its_marker_is_gone(site: Site) -> None:
    site.rule("all")
    study = send(site, datasets.make_instance())
    left = die_with_a_working_folder(site, study)
    for state in ("processing", "deferred", "incoming"):
        for path in site.markers(state):
            path.unlink()
    done = site.run("prune")
    assert not left.exists()
    assert "output/all: 1 .WORKING of dead runs" in done.stdout
    assert "PAT1" not in done.stdout + done.stderr


def test_the_working_folder_of_a_live_run_stays(site: Site) -> None:
    site.rule("all")
    study = send(site, datasets.make_instance())
    left = die_with_a_working_folder(site, study)
    with tools(site).spool.locked(f"study-{study}", 1):
        done = site.run("prune")
    assert left.exists()
    assert "left alone" not in done.stderr


@pytest.mark.parametrize("name", ["FOREIGN-NAME-1.WORKING", "PAT1-FamilyPAT1-1.WORKING", "PAT1-FamilyPAT1-1.WORKING.1"])
def test_a_foreign_working_folder_is_reported_and_left_alone(site: Site, name: str) -> None:
    site.rule("all")
    send_and_touch(site, datasets.make_instance())
    site.once()
    foreign = site.output / "all" / name
    foreign.mkdir()
    (foreign / "theirs").write_text("x")
    done = site.run("prune")
    assert (foreign / "theirs").exists()
    assert "output/all: 1 with .WORKING in the name left alone" in done.stderr
    assert name not in done.stdout + done.stderr


def test_a_working_folder_that_took_the_place_of_ours_is_left_alone(site: Site) -> None:
    site.rule("all")
    study = send(site, datasets.make_instance())
    left = die_with_a_working_folder(site, study)
    shutil.rmtree(left)
    # Something in between keeps the inode from being given out again.
    (left.parent / "between").mkdir()
    left.mkdir()
    (left / "theirs").write_text("x")
    site.run("prune")
    assert (left / "theirs").exists()


def test_an_output_that_is_gone_is_reported_and_the_rest_is_pruned(site: Site) -> None:
    site.rule("all")
    site.once()
    old = record(site, 100, "a", PUBLISHED)
    shutil.rmtree(site.output)
    done = site.run("prune")
    assert not old.exists()
    assert "the output folder" in done.stderr


def test_status_shows_sizes_room_and_how_long_records_are_kept(site: Site) -> None:
    site.rule("all")
    send_and_touch(site, datasets.make_instance())
    site.once()
    shown = site.run("status").stdout
    assert "done/ " in shown
    assert "free     spool" in shown
    assert "records  kept 90 days, what no rule matched 7 days" in shown
    site.variables["AUTORTHANC_DONE_RETENTION_DAYS"] = "0"
    assert "records  kept permanently" in site.run("status").stdout
    usage = json.loads(site.run("status", "--json").stdout)["usage"]
    assert usage["done"] == {"files": 1, "size_bytes": site.markers("done")[0].stat().st_size}
    assert usage["ledger"]["files"] == 2
    assert usage["tmp"]["files"] == 0
    assert usage["spool_free_bytes"] > 0
    assert usage["done_unmatched_retention_days"] == 7
