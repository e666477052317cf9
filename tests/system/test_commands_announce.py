"""`announce`: what lies published is seen by whoever watches from now on; nothing foreign is touched, nothing lost."""

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from autorthanc_spool.run import access, wiring
from autorthanc_spool.run import announce as announcing
from autorthanc_spool.settings import load_settings
from tests.helpers import crash, datasets, hurahura
from tests.helpers.site import Site, send_and_touch, stored_files
from tests.helpers.waiting import wait_until

NAME = "PAT1-FamilyPAT1-1"


@pytest.fixture
def published(site: Site) -> Site:
    """A folder and an archive of one study."""
    site.rule("folder")
    site.rule("archive", Action="ZIP")
    send_and_touch(site, *datasets.make_study())
    site.once()
    assert (site.published("folder"), site.published("archive")) == ([NAME], [f"{NAME}.zip"])
    return site


def inodes(site: Site) -> dict[str, int]:
    return {str(path.relative_to(site.output)): path.lstat().st_ino for path in site.output.glob("*/*")}


def notes(site: Site) -> list[str]:
    """What the program remembers of an announcement that is under way."""
    records = [json.loads(path.read_text()) for path in site.spool.glob("ledger/??/study-*.json")]
    return [path.name for path in (site.spool / "state" / "announcing").iterdir()] + [
        "ledger" for record in records if "aside" in record
    ]


@pytest.mark.timeout(240)
@pytest.mark.parametrize("rule", ["folder", "archive"])
def test_hurahura_takes_what_lay_there_before_it_watched(published: Site, tmp_path: Path, rule: str) -> None:
    study = published.orthanc.get("/studies")[0]
    with hurahura.watching(published.output / rule, tmp_path / "hurahura") as watcher:
        done = published.run("announce", rule)
        watcher.wait_loaded()
        assert watcher.errors() == []
    assert watcher.loaded() == sorted(stored_files(published.orthanc, study).values())
    assert done.stdout == f"{rule}/{NAME}{'.zip' if rule == 'archive' else ''}\n"
    assert published.leftovers() == []
    other = {"folder": "archive", "archive": "folder"}[rule]
    assert len(published.published(other)) == 1


def test_all_rules_are_announced_and_everything_stays_the_same(published: Site) -> None:
    before = inodes(published)
    done = published.run("announce", "--json")
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert sorted(one["rule"] for one in told) == ["archive", "folder"]
    assert all(Path(one["path"]).exists() for one in told)
    assert inodes(published) == before
    assert (published.leftovers(), notes(published)) == ([], [])
    published.touch(published.orthanc.get("/studies")[0])
    assert "2 announced" in published.run("announce").stderr


def test_a_dry_run_touches_nothing(published: Site) -> None:
    before = {path: path.lstat().st_ctime_ns for path in published.output.rglob("*")}
    assert len(published.run("announce", "--dry-run").stdout.splitlines()) == 2
    assert {path: path.lstat().st_ctime_ns for path in published.output.rglob("*")} == before


def test_what_is_foreign_taken_or_a_link_is_left_alone(published: Site, tmp_path: Path) -> None:
    folder = published.output / "folder" / NAME
    folder.rename(tmp_path / "taken")
    (published.output / "folder" / "mine").mkdir()
    folder.symlink_to(tmp_path / "taken")
    (published.output / "archive" / f"{NAME}.zip").rename(tmp_path / "taken.zip")
    (published.output / "archive" / f"{NAME}.zip").write_bytes(b"mine")
    before = {path: path.lstat().st_ctime_ns for path in [*published.output.rglob("*"), *tmp_path.glob("taken*")]}
    done = published.run("announce")
    assert (done.stdout, "0 announced" in done.stderr) == ("", True)
    assert {path: path.lstat().st_ctime_ns for path in before} == before


def test_a_rules_folder_that_became_a_link_is_not_followed(published: Site, tmp_path: Path) -> None:
    (published.output / "folder").rename(tmp_path / "elsewhere")
    (published.output / "folder").symlink_to(tmp_path / "elsewhere")
    before = (tmp_path / "elsewhere" / NAME).lstat().st_ctime_ns
    assert published.run("announce").stdout == f"archive/{NAME}.zip\n"
    assert (tmp_path / "elsewhere" / NAME).lstat().st_ctime_ns == before


def test_an_unmounted_output_is_said_and_an_unknown_rule_too(published: Site, tmp_path: Path) -> None:
    assert "those that have: archive, folder" in published.run("announce", "nonsense", expect=2).stderr
    published.output.rename(tmp_path / "away")
    published.output.mkdir()
    assert "isn't the one that was used before" in published.run("announce", expect=1).stderr
    assert list(published.output.iterdir()) == []


def announcer(site: Site) -> Callable[[], object]:
    settings = load_settings({}, {**site.environment, "AUTORTHANC_LOG_LEVEL": "error"}, site.root)

    def work() -> None:
        tools = wiring.tools(settings, threading.Event(), access.find_spool(settings))
        for one in announcing.published(tools, None).lying:
            announcing.announce(tools, one)

    return work


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("by", ["run", "prune", "announce", "the next run of the study"])
def test_a_crash_anywhere_in_it_loses_and_doubles_nothing(published: Site, by: str) -> None:
    before, study = inodes(published), published.orthanc.get("/studies")[0]
    were_away = 0
    for step in crash.steps(200):
        died = crash.run_dying(step, announcer(published))
        were_away += inodes(published) != before
        if by == "the next run of the study":
            for note in (published.spool / "state" / "announcing").iterdir():
                note.unlink()
            published.touch(study).write_text('{"source": "lua"}')
        published.run(*{"prune": ["prune"], "announce": ["announce"]}.get(by, ["run", "--once"]))
        assert inodes(published) == before, step
        # Whoever looks at the output alone doesn't know of the note; the next look of a processor removes it.
        published.once()
        assert (published.leftovers(), notes(published)) == ([], []), step
        if not died:
            break
    assert step > 20
    assert were_away >= 4
    assert published.tree("folder", NAME) == stored_files(published.orthanc, study)


def die_between_the_renames(site: Site) -> Path:
    """Leave the published folder of the rule where a crash leaves it, and return where that is."""
    for step in crash.steps(200):
        crash.run_dying(step, announcer(site))
        if not (site.output / "folder" / NAME).exists():
            return next((site.output / "folder").glob("*.WORKING.*"))
        site.run("announce")
    raise AssertionError("it never died in between")


def test_a_running_processor_brings_back_what_a_crash_left(published: Site) -> None:
    before = inodes(published)
    with published.processor():
        wait_until(lambda: published.log.stat().st_size or (published.spool / "state").exists(), 30, "it works")
        die_between_the_renames(published)
        wait_until(lambda: inodes(published) == before, 30, "its next look brings it back")
    assert "was interrupted by a process that died" in published.log_end()
    assert NAME not in published.log_end()


def test_a_link_in_the_place_of_what_lies_aside_is_not_followed(published: Site, tmp_path: Path) -> None:
    place = die_between_the_renames(published)
    place.rename(tmp_path / "moved")
    (tmp_path / "foreign" / NAME).mkdir(parents=True)
    place.symlink_to(tmp_path / "foreign")
    published.once()
    assert os.listdir(tmp_path / "foreign") == [NAME]
    assert not (published.output / "folder" / NAME).exists()
    assert place.is_symlink()


def test_an_output_that_is_wrong_by_then_stops_no_other_work(published: Site, tmp_path: Path) -> None:
    die_between_the_renames(published)
    folder = published.output / "folder"
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    (published.rules / "folder.json").unlink()
    send_and_touch(published, *datasets.make_study("PAT2", "2"))
    published.once()
    assert "PAT2-FamilyPAT2-2.zip" in published.published("archive")
    folder.unlink()
    (tmp_path / "elsewhere").rename(folder)
    published.once()
    assert NAME in published.published("folder")


def test_what_has_its_name_meanwhile_is_kept_and_it_comes_back_afterwards(published: Site) -> None:
    folder = published.output / "folder"
    before = inodes(published)
    die_between_the_renames(published)
    (folder / NAME).mkdir()
    (folder / NAME / "mine").write_text("mine")
    published.once()
    assert os.listdir(folder / NAME) == ["mine"]
    (folder / NAME / "mine").unlink()
    (folder / NAME).rmdir()
    published.once()
    assert inodes(published) == before
    assert notes(published) == []


def test_what_is_being_worked_on_is_left_out(published: Site) -> None:
    settings = load_settings({}, published.environment, published.root)
    lock = access.find_spool(settings).try_lock(f"study-{published.orthanc.get('/studies')[0]}")
    assert lock
    done = published.run("announce", expect=1)
    lock.release()
    assert (done.stdout, "2 left out" in done.stderr) == ("", True)
