"""Two processors of one marker: one was cut off, lost its lock without knowing, and comes back at any moment.

A stops before each of its steps in turn (a step changes a file system, sends, or deletes), loses its locks, and another
processor B takes the marker over. A goes on when B is done, or when B has come to any of its own steps. Here a part of
all pairs is tried; AUTORTHANC_TEST_FAULTS=all (`make faults`) tries every step, and more pairs.
"""

import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.helpers import datasets
from tests.helpers.deletions import wake
from tests.helpers.destinations import add_modality, storescp
from tests.helpers.disks import small_disk
from tests.helpers.dying import clear, work
from tests.helpers.orthanc_server import OrthancServer, free_port
from tests.helpers.site import Site, stored_files
from tests.helpers.stepping import Stopped

NAME = "PAT1-FamilyPAT1-1"
FILES = datasets.make_study(series=1, instances=2)
NEVER = 10**9
ALL = os.environ.get("AUTORTHANC_TEST_FAULTS") == "all"
# How far apart the steps of A are that are tried, and how many pairs of steps of A and B.
STRIDE = 1 if ALL else 12
PAIRS = 300 if ALL else 6
TIMEOUT_S = 0 if ALL else 900

pytestmark = pytest.mark.timeout(TIMEOUT_S)


@pytest.fixture
def fast_site(tmp_path: Path, orthanc: OrthancServer) -> Iterator[Site]:
    with small_disk(tmp_path / "disk", "200m") as disk:
        yield Site(disk / "site", orthanc, {"AUTORTHANC_POLL_INTERVAL_S": "0.1", "AUTORTHANC_LOG_LEVEL": "error"})


class Race:
    """One marker, two processors; what was published, sent and deleted."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.sends = site.root / "sends"
        self.study = ""
        self.expected: dict[str, bytes] = {}
        self.inode = 0

    def prepare(self) -> None:
        """An empty site with one marker, and a whole study in Orthanc."""
        clear(self.site)
        self.sends.unlink(missing_ok=True)
        self.study = self.site.orthanc.upload_all(FILES)
        self.site.orthanc.wait_stable(f"/studies/{self.study}")
        self.expected = self.expected or stored_files(self.site.orthanc, self.study)
        wake(self.site, self.study)

    def begin(self, step: int, *, loses_locks: bool) -> Stopped:
        return Stopped(step, work(self.site), self.sends, loses_locks=loses_locks)

    def run(self) -> None:
        """Another processor, to its end."""
        self.begin(NEVER, loses_locks=False).go_on()

    def finish(self, context: str) -> None:
        """A third one clears up; then everything is published, once and whole, and nothing is left."""
        self.run()
        assert self.site.states() == {"done": 1}, context
        assert self.site.leftovers() == [], context
        outcome = self.site.records("done")[0]["outcomes"]["all"]["outcome"]
        assert outcome in ("published", "forwarded", "unchanged"), context

    def assert_published(self, context: str) -> None:
        assert self.site.published("all") == [NAME], context
        assert self.site.tree("all", NAME) == self.expected, context

    def sent(self, when: str) -> int:
        return self.sends.read_text().splitlines().count(when) if self.sends.exists() else 0


def each_step(race: Race, check: Callable[[str], None]) -> int:
    """A stops at each step in turn, B takes over and finishes, A goes on; count the steps."""
    for step in range(1, 2000, STRIDE):
        race.prepare()
        late = race.begin(step, loses_locks=True)
        race.run()
        published = _inode(race.site)
        sent = race.sent("in time")
        late.go_on()
        context = f"cut off before step {step}"
        # What B has published or sent stays the only one.
        assert published in (None, _inode(race.site)), context
        assert race.sent("late") == 0 or not late.was_stopped or sent == 0, context
        race.finish(context)
        check(context)
        if not late.was_stopped:
            return step
    raise AssertionError("it never comes to an end")


def some_pairs(race: Race, steps: int, check: Callable[[str], None]) -> None:
    """A stops, B takes over and stops, or dies, A goes on to its end, then B; some pairs of steps."""
    chance = random.Random(7)
    for _ in range(PAIRS):
        first, second, dies = chance.randint(1, steps), chance.randint(1, steps), chance.random() < 0.3
        context = f"cut off before step {first}, the other one {'dead' if dies else 'stopped'} before step {second}"
        race.prepare()
        late = race.begin(first, loses_locks=True)
        other = race.begin(second, loses_locks=False)
        if dies:
            other.kill()
        late.go_on()
        if not dies:
            other.go_on()
        race.finish(context)
        check(context)


def _inode(site: Site) -> int | None:
    path = site.output / "all" / NAME
    return path.stat().st_ino if path.exists() else None


@pytest.mark.parametrize("action", ["DOWNLOAD", "ZIP"])
def test_who_was_cut_off_publishes_nothing_twice_and_nothing_half(fast_site: Site, action: str) -> None:
    fast_site.rule("all", Action=[action])
    race = Race(fast_site)

    def check(context: str) -> None:
        if action == "DOWNLOAD":
            race.assert_published(context)
        else:
            assert fast_site.published("all") == [f"{NAME}.zip"], context
            unpacked = fast_site.root / "unpacked"
            shutil.unpack_archive(fast_site.output / "all" / f"{NAME}.zip", unpacked)
            found = [path.read_bytes() for path in unpacked.rglob("*.dcm")]
            shutil.rmtree(unpacked)
            assert sorted(found) == sorted(race.expected.values()), context

    steps = each_step(race, check)
    assert steps > 40
    some_pairs(race, steps, check)


def test_who_was_cut_off_deletes_nothing_that_is_not_published(fast_site: Site) -> None:
    fast_site.rule("all", DeleteFromOrthanc=True)
    race = Race(fast_site)

    def check(context: str) -> None:
        race.assert_published(context)
        assert fast_site.orthanc.get("/instances") == [], context

    steps = each_step(race, check)
    assert steps > 50
    some_pairs(race, steps, check)


def test_who_was_cut_off_sends_nothing_after_the_other_one_has(fast_site: Site, tmp_path: Path) -> None:
    fast_site.rule("all", Action=["DOWNLOAD", "FORWARD"], DestinationModality="archive")
    port = free_port()
    add_modality(fast_site.orthanc, "archive", "ARCHIVE", port)
    race = Race(fast_site)

    def check(context: str) -> None:
        race.assert_published(context)
        assert len(list((tmp_path / "received").iterdir())) == len(FILES), context

    with storescp(tmp_path / "received", port):
        steps = each_step(race, check)
        assert steps > 45
        some_pairs(race, steps, check)
