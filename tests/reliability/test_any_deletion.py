"""Whatever happens in whatever order: no file that was sent is ever in neither Orthanc nor what was published.

Rules delete from Orthanc, series and study; files come again and are replaced, the processor is killed, a person moves
markers and edits rules. `AUTORTHANC_TEST_SEQUENCES=200` runs so many sequences; without it there are a few.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from autorthanc_spool.run import wiring
from autorthanc_spool.settings import load_settings
from tests.helpers import crash, datasets
from tests.helpers.deletions import ids, wake
from tests.helpers.site import Site

SEQUENCES = int(os.environ.get("AUTORTHANC_TEST_SEQUENCES", "6"))
NEVER = 10**9
RULES = {
    "all": {"DeleteFromOrthanc": True},
    "each": {"CheckOn": "Series", "DeleteFromOrthanc": True},
    "first": {
        "CheckOn": "Series",
        "DeleteFromOrthanc": True,
        "Tags": [{"TagName": "SeriesNumber", "Value": "1"}],
    },
    "plain": {},
}
Files = frozenset[tuple[int, int, str]]
# Series, instance, and what makes it another file.
FILES = st.frozensets(
    st.tuples(st.integers(1, 2), st.integers(1, 3), st.sampled_from(["", "corrected"])), min_size=1, max_size=4
)
STATES = ("incoming", "processing", "deferred", "done")


class AnyDeletion(RuleBasedStateMachine):
    """One site with one study; every sequence begins with an empty Orthanc, spool and output."""

    site: Site

    @initialize(names=st.sets(st.sampled_from(sorted(RULES)), max_size=2))
    def begin(self, names: set[str]) -> None:
        site = self.site
        site.orthanc.clear()
        for folder in (site.spool, site.output, self.taken, site.rules):
            shutil.rmtree(folder, ignore_errors=True)
        for folder in (site.rules, self.taken):
            folder.mkdir()
        for name in names or {"all"}:
            site.rule(name, **RULES[name])
        self.sent: set[str] = set()
        self.moves = 0
        self.run_dying(NEVER, (crash.DELETION,))

    @property
    def taken(self) -> Path:
        return self.site.root / "taken"

    @rule(files=FILES, step=st.integers(1, 4))
    def die_while_it_deletes(self, files: Files, step: int) -> None:
        self.work(files, step, (crash.DELETION,))

    @rule(files=FILES, step=st.integers(1, 150))
    def die_anywhere(self, files: Files, step: int) -> None:
        self.work(files, step, (*crash.STEPS, crash.DELETION))

    @rule(files=FILES)
    def work_to_the_end(self, files: Files) -> None:
        self.work(files, NEVER, (crash.DELETION,))

    @rule(state=st.sampled_from(STATES), to=st.sampled_from(["incoming", "hold"]))
    def move(self, state: str, to: str) -> None:
        for path in self.site.markers(state)[-1:]:
            self.moves += 1
            path.rename(self.site.spool / to / f"{self.moves}-{path.name}")

    @rule()
    def release(self) -> None:
        for path in self.site.markers("hold"):
            path.rename(self.site.spool / "incoming" / path.name)

    @rule(name=st.sampled_from(sorted(RULES)), is_active=st.booleans())
    def edit(self, name: str, is_active: bool) -> None:
        self.site.rule(name, **RULES[name], IsActive=is_active)

    @rule()
    def take(self) -> None:
        """The consumer moves all away that is published."""
        for path in self.site.output.glob("*/*"):
            if ".WORKING" not in path.name:
                self.moves += 1
                path.rename(self.taken / str(self.moves))

    @invariant()
    def nothing_is_lost(self) -> None:
        folders = [path for root in (self.site.output, self.taken) for path in root.rglob("*.dcm")]
        published = {_md5(path.read_bytes()) for path in folders if ".WORKING" not in str(path)}
        assert self.sent <= published | self.in_orthanc()

    def teardown(self) -> None:
        """Where nobody is in the way, everything goes in the end."""
        for name in RULES:
            self.site.rule(name, **RULES[name], IsActive=name in ("all", "each"))
        for _ in range(3):
            for path in (*self.site.markers("hold"), *self.site.markers("failed")):
                path.unlink()
            self.work(frozenset(), NEVER, (crash.DELETION,))
        self.nothing_is_lost()
        assert ids(self.site) == set(), self.site.records("deferred")
        assert set(self.site.states()) <= {"done"}
        assert list((self.site.spool / "locks").iterdir()) == []

    def in_orthanc(self) -> set[str]:
        return {_md5(self.site.orthanc.bytes_of(one)) for one in ids(self.site)}

    def send(self, files: Files) -> None:
        """New, again, or otherwise; what is there already, Orthanc keeps as it is."""
        for series, instance, comment in sorted(files):
            data = datasets.make_instance(series=series, instance=instance, ImageComments=comment)
            self.site.orthanc.upload(data)
            if _md5(data) in self.in_orthanc():
                self.sent.add(_md5(data))

    def work(self, files: Files, step: int, among: tuple[str, ...]) -> None:
        """Run until the step, or the end; everything that is in Orthanc has its event, and what waits is due."""
        self.send(files)
        for study in ids(self.site, "/studies"):
            self.site.orthanc.wait_stable(f"/studies/{study}")
            wake(self.site, study)
        for series in ids(self.site, "/series"):
            wake(self.site, series, "series")
        for path in self.site.markers("deferred"):
            os.utime(path, (1, 1))
        self.run_dying(step, among)

    def run_dying(self, step: int, among: tuple[str, ...]) -> None:
        found = load_settings({}, {**self.site.environment, "AUTORTHANC_LOG_LEVEL": "error"}, self.site.root)
        crash.run_dying(step, lambda: wiring.run(found, once=True), among=among)


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


@pytest.mark.timeout(SEQUENCES * 60 + 120)
def test_nothing_is_lost_whatever_is_deleted(site: Site) -> None:
    class OnThisSite(AnyDeletion):
        pass

    OnThisSite.site = site
    chosen = settings(
        max_examples=SEQUENCES,
        stateful_step_count=12,
        deadline=None,
        database=None,
        derandomize="AUTORTHANC_TEST_SEQUENCES" not in os.environ,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )
    run_state_machine_as_test(OnThisSite, settings=chosen)  # type: ignore[no-untyped-call]
