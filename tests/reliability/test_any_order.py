"""Whatever happens in whatever order: after draining, each study is published whole, and nothing is left behind.

A real Orthanc with its Lua script, the processor killed at any durable step, and a person who moves, touches and edits.
`AUTORTHANC_TEST_SEQUENCES=200` runs so many sequences; without it there are a few.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from autorthanc_spool.run import reconcile, wiring
from autorthanc_spool.settings import load_settings
from tests.helpers import crash, datasets, trees
from tests.helpers.site import Site, stored_files
from tests.helpers.waiting import wait_until

SEQUENCES = int(os.environ.get("AUTORTHANC_TEST_SEQUENCES", "6"))
NEVER = 10**9
# More than any run has durable steps; most have fewer than a hundred.
STEPS = st.integers(1, 150)
STATES = ("incoming", "deferred", "failed", "hold", "done")


class AnyOrder(RuleBasedStateMachine):
    """One site; every sequence begins with an empty Orthanc, spool and output."""

    site: Site

    @initialize()
    def begin(self) -> None:
        site = self.site
        site.orthanc.clear()
        for folder in (site.spool, site.output, self.taken, site.rules):
            shutil.rmtree(folder, ignore_errors=True)
        site.rules.mkdir()
        self.taken.mkdir()
        site.rule("all")
        self.ever_sent: set[tuple[str, bytes]] = set()
        self.done_again = 0
        # First contact is with an empty Orthanc: nothing is left alone.
        self.process(NEVER)

    @property
    def taken(self) -> Path:
        return self.site.root / "taken"

    @rule(patient=st.integers(0, 2), series=st.integers(1, 2), instances=st.integers(1, 3))
    def send(self, patient: int, series: int, instances: int) -> None:
        """New, again, or more of it."""
        study = self.site.orthanc.upload_all(datasets.make_study(f"P{patient}", series=series, instances=instances))
        self.ever_sent |= set(stored_files(self.site.orthanc, study).items())

    @precondition(lambda self: self.site.orthanc.get("/studies"))
    @rule(which=st.integers(0, 9))
    def delete(self, which: int) -> None:
        studies = sorted(self.site.orthanc.get("/studies"))
        self.site.orthanc.delete(f"/studies/{studies[which % len(studies)]}")

    @precondition(lambda self: self.site.orthanc.get("/studies"))
    @rule(which=st.integers(0, 9))
    def ask_for_it_again(self, which: int) -> None:
        studies = sorted(self.site.orthanc.get("/studies"))
        self.site.touch(studies[which % len(studies)])
        self.done_again += 1

    @rule()
    def settle(self) -> None:
        self.wait_settled()

    @rule(step=STEPS)
    def run_and_die(self, step: int) -> None:
        self.process(step)

    @rule()
    def run_to_the_end(self) -> None:
        self.process(NEVER)

    @rule()
    def kill_orthanc(self) -> None:
        self.site.orthanc.restart(kill=True)

    @precondition(lambda self: self.movable())
    @rule(which=st.integers(0, 99), state=st.sampled_from(["incoming", "hold"]))
    def move_by_hand(self, which: int, state: str) -> None:
        path = self.movable()[which % len(self.movable())]
        self.done_again += path.parent.parent.name == "done"
        if not (self.site.spool / state / path.name).exists():
            path.rename(self.site.spool / state / path.name)

    @precondition(lambda self: self.fresh())
    @rule(which=st.integers(0, 99))
    def lose_an_event(self, which: int) -> None:
        self.fresh()[which % len(self.fresh())].unlink()

    @rule()
    def break_the_rule(self) -> None:
        (self.site.rules / "all.json").write_text('{"CheckOn": "Study", "IsActive": true, "Tags": [')

    @rule()
    def mend_the_rule(self) -> None:
        self.site.rule("all")

    @rule(active=st.booleans())
    def edit_another_rule(self, active: bool) -> None:
        self.site.rule("other", IsActive=active)

    @precondition(lambda self: self.published("all"))
    @rule(which=st.integers(0, 9))
    def consume(self, which: int) -> None:
        folders = self.published("all")
        folder = folders[which % len(folders)]
        folder.rename(self.taken / f"{len(os.listdir(self.taken))}-{folder.name}")

    def teardown(self) -> None:
        if hasattr(self, "ever_sent"):
            self.drain()
            self.check()

    def drain(self) -> None:
        self.site.rule("all")
        for path in self.site.markers("hold"):
            path.rename(self.site.spool / "incoming" / path.name)
        self.wait_settled(margin_s=reconcile.MARGIN_S + 1)

        def is_dry() -> bool:
            for path in self.site.markers("deferred"):
                os.utime(path)
            self.process(NEVER)
            return not {"incoming", "processing", "deferred"} & self.site.states().keys()

        wait_until(is_dry, 60, "the spool drains")

    def check(self) -> None:
        orthanc, context = self.site.orthanc, self.context()
        assert self.site.leftovers() == [], context
        names = [path.name for state in STATES for path in self.site.markers(state)]
        assert len(names) == len(set(names)), context
        present = set(orthanc.get("/studies"))
        assert [one for one in self.site.records("failed") if one["id"] in present] == [], context
        standing = [trees.read(folder) for folder in self.published("all")]
        taken = [trees.read(folder) for folder in sorted(self.taken.iterdir())]
        for study in sorted(present):
            now = stored_files(orthanc, study)
            assert standing.count(now) + taken.count(now) >= 1, (study, context)
            assert standing.count(now) <= 1, (study, context)
            # One folder of a study is there, and it is the newest.
            assert sum(bool(tree.keys() & now.keys()) for tree in standing) <= 1, (study, context)
        for tree in [*standing, *taken, *(trees.read(folder) for folder in self.published("other"))]:
            assert set(tree.items()) <= self.ever_sent, context
            assert tree, context

    def context(self) -> str:
        log = self.site.log_end() if self.site.log.exists() else ""
        return f"{self.site.states()} {self.site.published('all')} {os.listdir(self.taken)}\n{log}"

    def published(self, name: str) -> list[Path]:
        return sorted(path for path in (self.site.output / name).glob("*") if ".WORKING" not in path.name)

    def movable(self) -> list[Path]:
        return [path for state in STATES for path in self.site.markers(state)]

    def fresh(self) -> list[Path]:
        """Markers as Orthanc dropped them, which nobody has looked at."""
        return [path for path in self.site.markers("incoming") if '"lua"' in path.read_text() and _is_unfiled(path)]

    def wait_settled(self, margin_s: float = 0.5) -> None:
        for study in self.site.orthanc.get("/studies"):
            self.site.orthanc.wait_stable(f"/studies/{study}", margin_s=margin_s)

    def process(self, step: int) -> None:
        environment = {**self.site.environment, "AUTORTHANC_LOG_LEVEL": "error"}
        found = load_settings({}, environment, self.site.root)
        crash.run_dying(step, lambda: wiring.run(found, once=True))


def _is_unfiled(path: Path) -> bool:
    return "filed" not in json.loads(path.read_text())


@pytest.fixture
def machine(live_site: Site, monkeypatch: pytest.MonkeyPatch) -> type[AnyOrder]:
    # Orthanc's own event comes first in production; here, waiting for ten seconds each time would prove nothing more.
    monkeypatch.setattr(reconcile, "MARGIN_S", 1.0)

    class OnThisSite(AnyOrder):
        site = live_site

    return OnThisSite


@pytest.mark.timeout(SEQUENCES * 60 + 120)
def test_whatever_happens_in_whatever_order_each_study_is_published_whole(machine: type[AnyOrder]) -> None:
    chosen = settings(
        max_examples=SEQUENCES,
        stateful_step_count=14,
        deadline=None,
        database=None,
        derandomize="AUTORTHANC_TEST_SEQUENCES" not in os.environ,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )
    run_state_machine_as_test(machine, settings=chosen)  # type: ignore[no-untyped-call]
