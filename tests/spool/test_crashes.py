"""A crash at every durable step of a marker's life, then recovery: published once, complete, nothing left behind."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers import crash, datasets
from tests.helpers.dying import TOO_MANY, clear, work
from tests.helpers.site import Site, stored_files

NAME = "PAT1-FamilyPAT1-1"


def crash_at_every_step(site: Site, prepare: Callable[[], None], check: Callable[[int], None]) -> int:
    """Prepare, die at step n, run to the end, check; for n = 1, 2, 3 … until nothing is left to die at."""
    for step in crash.steps(TOO_MANY):
        prepare()
        died = crash.run_dying(step, work(site))
        crash.run_dying(TOO_MANY * 1000, work(site))
        check(step)
        if not died:
            return step - 1
    raise AssertionError("it never comes to an end")


def assert_published_once(site: Site, study: str, step: int) -> None:
    context = f"died before step {step}"
    assert site.published("all") == [NAME], context
    assert site.tree("all", NAME) == stored_files(site.orthanc, study), context
    assert site.states() == {"done": 1}, context
    assert site.leftovers() == [], context
    outcome = site.records("done")[0]["outcomes"]["all"]["outcome"]
    assert outcome in ("published", "unchanged"), context


@pytest.mark.timeout(1800)
def test_a_study_is_published_once_whenever_the_processor_dies(site: Site) -> None:
    site.rule("all")
    study = site.orthanc.upload_all(datasets.make_study(series=2, instances=2))
    site.orthanc.wait_stable(f"/studies/{study}")

    log = site.root / "audit.jsonl"
    site.variables["AUTORTHANC_AUDIT_LOG"] = str(log)

    def prepare() -> None:
        clear(site)
        log.unlink(missing_ok=True)
        site.touch(study)

    def check(step: int) -> None:
        assert_published_once(site, study, step)
        # The audit log never lacks it. A crash between a line and the ledger repeats the line; and what a person asked
        # for again by a marker of his own is done again.
        told = [json.loads(line)["outcome"] for line in log.read_text().splitlines()]
        assert told in (["published"], ["published", "published"]), (step, told)
        assert "owed" not in json.loads((site.spool / "ledger" / study[:2] / f"study-{study}.json").read_text()), step

    assert crash_at_every_step(site, prepare, check) > 40


@pytest.mark.timeout(1800)
def test_a_study_that_grew_is_replaced_once_whenever_the_processor_dies(site: Site) -> None:
    site.rule("all")
    study = site.orthanc.upload_all(datasets.make_study(series=1, instances=2))
    site.orthanc.wait_stable(f"/studies/{study}")
    site.touch(study)
    work(site)()
    before = site.root / "before"
    for folder in (site.spool, site.output):
        shutil.copytree(folder, before / folder.name, symlinks=True)
    site.orthanc.upload_all(datasets.make_study(series=2, instances=2))
    site.orthanc.wait_stable(f"/studies/{study}")

    def prepare() -> None:
        clear(site)
        for folder in (site.spool, site.output):
            shutil.copytree(before / folder.name, folder, symlinks=True)
        _know_inodes_of_copies(site)
        site.touch(study)
        shutil.rmtree(site.spool / "done")

    def check(step: int) -> None:
        assert_published_once(site, study, step)

    assert crash_at_every_step(site, prepare, check) > 40


@pytest.mark.timeout(1800)
def test_what_was_published_of_a_study_that_shrank_stays_whenever_the_processor_dies(site: Site) -> None:
    site.rule("all")
    files = datasets.make_study(series=2, instances=2)
    study = site.orthanc.upload_all(files[:2])
    site.orthanc.wait_stable(f"/studies/{study}")
    site.touch(study)
    work(site)()
    (first,) = site.published("all")
    only_copy = site.tree("all", first)
    before = site.root / "before"
    for folder in (site.spool, site.output):
        shutil.copytree(folder, before / folder.name, symlinks=True)
    site.orthanc.delete(f"/studies/{study}")
    site.orthanc.upload_all(files[2:])
    site.orthanc.wait_stable(f"/studies/{study}")

    def prepare() -> None:
        clear(site)
        for folder in (site.spool, site.output):
            shutil.copytree(before / folder.name, folder, symlinks=True)
        _know_inodes_of_copies(site)
        site.touch(study)
        shutil.rmtree(site.spool / "done")

    def check(step: int) -> None:
        assert site.tree("all", first) == only_copy, step
        (second,) = set(site.published("all")) - {first}
        assert site.tree("all", second) == stored_files(site.orthanc, study), step
        assert site.leftovers() == [], step

    assert crash_at_every_step(site, prepare, check) > 40


def _know_inodes_of_copies(site: Site) -> None:
    """The ledger knows what it published by its inode; a copy has another one."""
    for path in (site.spool / "ledger").glob("??/*.json"):
        content = json.loads(path.read_text())
        for entry in content["entries"].values():
            entry["inode"] = (site.output / "all" / entry["name"]).stat().st_ino
        path.write_text(json.dumps(content))


def test_after_a_crash_the_intent_shows_that_the_consumer_may_have_it(site: Site, tmp_path: Path) -> None:
    """Twice only where the consumer took the folder before recovery looked; never zero times."""
    site.rule("all")
    study = site.orthanc.upload_all(datasets.make_study(series=1, instances=1))
    site.orthanc.wait_stable(f"/studies/{study}")
    taken = 0
    for step in crash.steps(TOO_MANY):
        clear(site)
        site.touch(study)
        died = crash.run_dying(step, work(site))
        if site.published("all") == [NAME]:
            shutil.rmtree(site.output / "all" / NAME)
            taken += 1
        crash.run_dying(TOO_MANY * 1000, work(site))
        assert site.states() == {"done": 1}
        if not died:
            break
    assert taken > 3
