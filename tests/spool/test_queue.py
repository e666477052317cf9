"""One look serves many claims: what a marker costs doesn't depend on how many wait, and none is done twice."""

import itertools
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from autorthanc_spool.core import marker
from autorthanc_spool.core.dicom import Level
from autorthanc_spool.core.marker import Marker
from autorthanc_spool.core.record import Entry, Intent, Record
from autorthanc_spool.core.states import Event, State
from autorthanc_spool.run.plan import asks_nothing
from autorthanc_spool.spool.ledger import HeldRecord
from autorthanc_spool.spool.spool import Claim, Spool
from tests.helpers import crash
from tests.helpers.many import fill, orthanc_id

FEW, MANY = 200, 2000
WORKED_ON = 100
LOOKS = "looks at incoming/"


def ticking() -> Callable[[], float]:
    """A clock that goes on by one each time that somebody reads it: then what depends on time repeats."""
    ticks = itertools.count()
    return lambda: float(next(ticks))


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return make_spool(tmp_path / "spool")


def make_spool(root: Path) -> Spool:
    made = Spool(root, time.time, moment=ticking())
    made.directories.lay_out()
    return made


def drop(spool: Spool, number: int, source: str = "lua", level: Level = Level.STUDY, prefix: str = "2026") -> Path:
    path = spool.directories.of(State.INCOMING) / f"{prefix}-{level}-{orthanc_id(number)}.json"
    path.write_bytes(marker.dump(Marker(level, orthanc_id(number), source=source)))
    return path


def passing() -> Callable[[Marker, HeldRecord], bool]:
    return lambda found, record: asks_nothing(found, record.now)


def work(spool: Spool, claim: Claim) -> None:
    if claim.is_idle:
        spool.pass_over(claim)
    else:
        spool.file(claim, Event.FINISH, claim.marker)


@contextmanager
def counting(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    counts: Counter[str] = Counter()
    incoming = str(spool.directories.of(State.INCOMING))

    def counted(name: str) -> Callable[..., Any]:
        real = getattr(os, name)

        def call(*arguments: Any, **keywords: Any) -> Any:
            counts[name] += 1
            counts[LOOKS] += name == "listdir" and str(arguments[0]) == incoming
            return real(*arguments, **keywords)

        return call

    with monkeypatch.context() as patch:
        for name in ("listdir", "scandir", "fsync", "open", "replace", "unlink"):
            patch.setattr(os, name, counted(name))
        yield counts


def costs(root: Path, waiting: int, source: str, level: Level, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count what is asked of the system for a hundred markers while so many wait."""
    spool = make_spool(root)
    for number in range(waiting):
        drop(spool, number, source, level, f"2026{number:06d}")
    with counting(spool, monkeypatch) as counts:
        for claim in itertools.islice(spool.claims(passing), WORKED_ON):
            work(spool, claim)
    return counts


@pytest.mark.parametrize("level", list(Level))
def test_a_marker_costs_the_same_however_many_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, level: Level
) -> None:
    few = costs(tmp_path / "few", FEW, "lua", level, monkeypatch)
    many = costs(tmp_path / "many", MANY, "lua", level, monkeypatch)
    # IDs fall into folders of the ledger by chance, and nothing else differs.
    assert few == many
    assert few[LOOKS] < WORKED_ON / 10


def test_passing_over_waits_for_no_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = costs(tmp_path / "spool", FEW, "lua", Level.SERIES, monkeypatch)
    assert counts["fsync"] == 0
    assert counts["replace"] == 0


def test_what_was_passed_over_is_made_durable_at_once_for_all(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(FEW):
        drop(spool, number, level=Level.SERIES)
    with counting(spool, monkeypatch) as counts:
        for claim in spool.claims(passing):
            work(spool, claim)
        spool.sync()
    # incoming/ and processing/
    assert counts["fsync"] == 2
    assert [item for state in State for item in spool.directories.items(state)] == []
    assert os.listdir(spool.root / "locks") == []


def test_what_comes_while_others_wait_is_claimed_in_the_same_pass(spool: Spool) -> None:
    fill(spool, FEW)
    claims = spool.claims()
    work(spool, next(claims))
    # Their names come before and after all others.
    dropped = {drop(spool, FEW + 1, prefix="2000").name, drop(spool, FEW + 2, prefix="zzz").name}
    names = []
    for claim in claims:
        names.append(claim.item.name)
        work(spool, claim)
    assert dropped <= set(names)
    assert len(names) == FEW + 1


def test_what_was_taken_away_since_the_look_is_passed_by(spool: Spool) -> None:
    fill(spool, 10)
    claims = spool.claims()
    work(spool, next(claims))
    for item in spool.directories.items(State.INCOMING)[:5]:
        item.path.rename(spool.directories.of(State.HOLD) / item.name)
    assert sum(1 for claim in claims if not work(spool, claim)) == 4


def test_a_marker_that_came_after_the_look_has_its_own_turn(spool: Spool) -> None:
    drop(spool, 1)
    claims = spool.claims()
    claim = next(claims)
    later = drop(spool, 1, prefix="2027")
    work(spool, claim)
    assert next(claims).item.name == later.name


def test_the_markers_of_a_resource_that_another_one_works_on_are_not_all_tried(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(spool, 1, markers_each=50)
    other = Spool(spool.root, time.time)
    lock = other.try_lock(f"study-{orthanc_id(0)}")
    assert lock
    tried = []
    real = spool.try_lock
    monkeypatch.setattr(spool, "try_lock", lambda key: tried.append(key) or real(key))  # type: ignore[func-returns-value]
    assert list(spool.claims()) == []
    # Once beside others that may be in the way, and once more to be sure.
    assert len(tried) == 2
    lock.release()
    claim = next(spool.claims())
    assert len(claim.companions) == 49


def test_whoever_meets_another_one_goes_on_further_on_and_leaves_nothing_out(spool: Spool) -> None:
    fill(spool, FEW)
    other = Spool(spool.root, time.time)
    first, second = spool.claims(), other.claims()
    names: dict[str, list[str]] = {"first": [], "second": []}
    for one, own in itertools.zip_longest(first, second):
        for who, where, claim in (("first", spool, one), ("second", other, own)):
            if claim:
                names[who].append(claim.item.name)
                work(where, claim)
    assert sorted(names["first"] + names["second"]) == sorted({*names["first"], *names["second"]})
    assert len(names["first"] + names["second"]) == FEW
    # After they met, they are apart: neither has each second name.
    listed = sorted(names["first"] + names["second"])
    assert sum(listed.index(name) % 2 == 0 for name in names["first"]) < len(names["first"]) * 0.9


@pytest.mark.parametrize("source", ["", "cli", "button"])
def test_what_a_person_asks_for_is_never_passed_over(spool: Spool, source: str) -> None:
    drop(spool, 1, source, Level.SERIES)
    assert not next(spool.claims(passing)).is_idle


def test_a_study_is_never_passed_over(spool: Spool) -> None:
    drop(spool, 1)
    assert not next(spool.claims(passing)).is_idle


def test_what_was_begun_is_never_passed_over(spool: Spool) -> None:
    drop(spool, 1, level=Level.SERIES)
    key = f"series-{orthanc_id(1)}"
    spool.ledger.write(Record(key, intent=Intent("each", "each", Entry("content", "fields", "published"))))
    assert not next(spool.claims(passing)).is_idle


def test_what_came_back_from_done_is_never_passed_over(spool: Spool) -> None:
    path = drop(spool, 1, level=Level.SERIES)
    path.write_text(json.dumps({"source": "lua", "filed": {"path": f"done/2026-11-23/{path.name}"}}))
    assert not next(spool.claims(passing)).is_idle


def test_a_marker_that_somebody_takes_while_it_is_passed_over_is_left_to_him(spool: Spool) -> None:
    drop(spool, 1, level=Level.SERIES)
    claim = next(spool.claims(passing))
    claim.item.path.rename(spool.directories.of(State.HOLD) / claim.item.name)
    assert not spool.pass_over(claim)
    assert len(spool.directories.items(State.HOLD)) == 1


def test_a_crash_while_a_marker_is_passed_over_loses_nothing(tmp_path: Path) -> None:
    for step in range(1, 20):
        spool = make_spool(tmp_path / str(step))
        drop(spool, 1, level=Level.SERIES)

        def run(spool: Spool = spool) -> None:
            spool.sweep_locks()
            spool.recover()
            for claim in spool.claims(passing):
                work(spool, claim)
            spool.sync()

        if not crash.run_dying(step, run):
            break
        left = [item.state for state in State for item in spool.directories.items(state)]
        assert left in ([State.INCOMING], [State.PROCESSING], []), step
        run()
        left = [item.state for state in State for item in spool.directories.items(state)]
        # What was left in processing/ has a record of that death.
        assert left in ([], [State.DONE]), step
        assert os.listdir(spool.root / "locks") == []
    assert 2 < step < 19
