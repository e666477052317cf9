"""What a person may do at a shell, with `mv`, `rm` and `touch`: a tree in, a scan, a tree out."""

import json
import os
import time
from pathlib import Path

import pytest

from autorthanc_spool.core import marker
from autorthanc_spool.core.errors import SpoolError, UsageError
from autorthanc_spool.core.outcome import Problem
from autorthanc_spool.core.record import Entry, Record
from autorthanc_spool.core.states import Event, State
from autorthanc_spool.spool.directories import REST_S
from autorthanc_spool.spool.names import Names
from autorthanc_spool.spool.spool import Claim, Spool

ID = "0a4b249f-7fce45ca-4f722f72-de2a24df-92abc740"
OTHER = "1a4b249f-7fce45ca-4f722f72-de2a24df-92abc740"
KEY = f"study-{ID}"
NAME = f"20261123T212459Z-study-{ID}.json"
FROM_LUA = json.dumps(
    {"format": 1, "event": "StableStudy", "level": "Study", "id": ID, "source": "lua", "time": "2026-11-23T21:24:59Z"}
)


class Clock:
    """A clock that the test sets; it starts at the machine's, because file times are compared with it."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def spool(tmp_path: Path, clock: Clock) -> Spool:
    made = Spool(tmp_path / "spool", clock)
    made.directories.lay_out()
    return made


def test_the_spool_of_a_fresh_clone_is_closed_to_others_and_keeps_its_readme(tmp_path: Path, clock: Clock) -> None:
    root = tmp_path / "spool"
    root.mkdir(mode=0o755)
    (root / "README.md").write_text("what this is")
    made = Spool(root, clock)
    made.directories.lay_out()
    assert root.stat().st_mode & 0o7777 == 0o2770
    assert (root / "README.md").read_text() == "what this is"
    assert made.directories.items(State.INCOMING) == []


def test_a_spool_that_somebody_opened_stays_as_he_left_it(spool: Spool) -> None:
    (spool.directories.root / "README.md").touch()
    spool.directories.root.chmod(0o2771)
    spool.directories.lay_out()
    assert spool.directories.root.stat().st_mode & 0o7777 == 0o2771


def states(spool: Spool) -> dict[str, str]:
    return {item.name: str(item.state) for state in State for item in spool.directories.items(state)}


def drop(spool: Spool, name: str = NAME, text: str = FROM_LUA, state: State = State.INCOMING) -> Path:
    path = spool.directories.of(state) / name
    path.write_text(text)
    return path


def only_claim(spool: Spool) -> Claim:
    return next(spool.claims())


def finish(spool: Spool, event: Event = Event.FINISH, due_in_s: float = 0.0) -> Path:
    claim = only_claim(spool)
    filed = spool.file(claim, event, claim.marker, due_in_s)
    assert filed
    return filed.path


def test_a_marker_goes_from_incoming_over_processing_to_done(spool: Spool) -> None:
    drop(spool)
    claim = only_claim(spool)
    assert states(spool) == {NAME: "processing"}
    assert os.listdir(spool.root / "locks") == [f"{KEY}.lock"]
    filed = spool.file(claim, Event.FINISH, claim.marker)
    assert filed
    assert filed.path.parent.parent == spool.directories.of(State.DONE)
    assert json.loads(filed.path.read_text())["filed"]["path"] == str(filed.path.relative_to(spool.root))
    assert os.listdir(spool.root / "locks") == []


def test_what_comes_back_from_done_is_done_again_and_the_ledger_knows_it_before_the_claim(spool: Spool) -> None:
    drop(spool)
    done = finish(spool)
    spool.ledger.write(Record(KEY, entries={"brain": Entry("content", "fields", "published")}))
    done.rename(spool.directories.of(State.INCOMING) / NAME)
    only_claim(spool)
    assert spool.ledger.read(KEY).entries["brain"].again


def test_what_comes_back_from_failed_goes_on_with_what_is_missing_and_its_attempts_restart(spool: Spool) -> None:
    drop(spool)
    claim = only_claim(spool)
    failing = marker.Marker(claim.marker.level, ID, source="lua", attempts=10, error=Problem("x", "y"))
    filed = spool.file(claim, Event.FAIL, failing)
    assert filed
    spool.ledger.write(Record(KEY, entries={"brain": Entry("content", "fields", "published")}))
    filed.path.rename(spool.directories.of(State.INCOMING) / NAME)
    again = only_claim(spool)
    assert not spool.ledger.read(KEY).entries["brain"].again
    assert again.marker.attempts == 0


@pytest.mark.parametrize("name", [f"study-{ID}.json", "anything.json"])
def test_a_marker_made_by_hand_is_done_again(spool: Spool, name: str) -> None:
    spool.ledger.write(Record(KEY, entries={"brain": Entry("content", "fields", "published")}))
    drop(spool, name, "" if name.startswith("study") else json.dumps({"level": "study", "id": ID}))
    spool._clock.ahead_s = 3  # type: ignore[attr-defined]
    only_claim(spool)
    assert spool.ledger.read(KEY).entries["brain"].again


def test_again_is_asked_only_of_the_rules_that_the_marker_names(spool: Spool) -> None:
    entry = Entry("content", "fields", "published")
    spool.ledger.write(Record(KEY, entries={"a": entry, "b": entry}))
    drop(spool, "x.json", json.dumps({"level": "study", "id": ID, "rules": ["a"]}))
    only_claim(spool)
    assert {rule: entry.again for rule, entry in spool.ledger.read(KEY).entries.items()} == {"a": True, "b": False}


def test_what_is_tried_again_is_not_done_again(spool: Spool) -> None:
    drop(spool, text=json.dumps({"level": "study", "id": ID, "source": "cli"}))
    finish(spool, Event.DEFER)
    spool.ledger.write(Record(KEY, entries={"brain": Entry("content", "fields", "published")}))
    only_claim(spool)
    assert not spool.ledger.read(KEY).entries["brain"].again


def test_a_touch_makes_a_deferred_marker_due(spool: Spool) -> None:
    drop(spool)
    deferred = finish(spool, Event.DEFER, due_in_s=1000)
    assert list(spool.claims()) == []
    assert 990 < (spool.directories.next_due_s() or 0) <= 1000
    os.utime(deferred)
    assert only_claim(spool).item.name == NAME


def test_what_is_held_is_never_touched(spool: Spool) -> None:
    drop(spool, state=State.HOLD)
    spool.recover()
    assert list(spool.claims()) == []
    assert states(spool) == {NAME: "hold"}


def test_other_names_are_not_markers(spool: Spool) -> None:
    drop(spool, f".study-{ID}.json")
    drop(spool, f"study-{ID}.json~")
    drop(spool, "README")
    assert list(spool.claims()) == []
    assert len(os.listdir(spool.directories.of(State.INCOMING))) == 3


@pytest.mark.parametrize("text", ["", "{", '{"level": "study"}'])
def test_what_names_nothing_rests_two_seconds_and_fails_with_the_reason_inside(
    spool: Spool, clock: Clock, text: str
) -> None:
    drop(spool, "note.json", text)
    assert list(spool.claims()) == []
    assert states(spool) == {"note.json": "incoming"}
    assert spool.directories.is_resting()
    clock.ahead_s = 2.1
    assert list(spool.claims()) == []
    assert states(spool) == {"note.json": "failed"}
    content = json.loads((spool.directories.of(State.FAILED) / "note.json").read_text())
    assert content["error"]["text"]
    assert os.listdir(spool.root / "state" / "filing") == []


def test_a_file_that_is_being_written_becomes_a_marker_when_it_is_complete(spool: Spool, clock: Clock) -> None:
    path = drop(spool, "note.json", FROM_LUA[:30])
    assert list(spool.claims()) == []
    path.write_text(FROM_LUA)
    assert only_claim(spool).item.name == "note.json"


@pytest.mark.parametrize("kind", ["directory", "fifo"])
def test_what_is_not_a_file_is_put_aside(spool: Spool, clock: Clock, kind: str) -> None:
    path = spool.directories.of(State.INCOMING) / "x.json"
    path.mkdir() if kind == "directory" else os.mkfifo(path)
    clock.ahead_s = 3
    assert list(spool.claims()) == []
    assert states(spool) == {"x.json": "failed"}


def test_a_move_never_overwrites(spool: Spool) -> None:
    drop(spool, state=State.FAILED)
    drop(spool)
    finish(spool, Event.FAIL)
    assert set(states(spool)) == {NAME, NAME.replace(".json", ".2.json")}


def test_markers_of_one_resource_that_wait_are_superseded(spool: Spool) -> None:
    for second in range(3):
        drop(spool, f"20261123T21245{second}Z-study-{ID}.json")
    drop(spool, f"20261123T212450Z-study-{OTHER}.json", FROM_LUA.replace(ID, OTHER))
    claim = only_claim(spool)
    spool.file(claim, Event.FINISH, claim.marker)
    done = [json.loads(item.path.read_text()) for item in spool.directories.items(State.DONE)]
    assert [found.get("superseded_by") for found in done] == [None, claim.item.name, claim.item.name]
    assert [item.name for item in spool.directories.items(State.INCOMING)] == [f"20261123T212450Z-study-{OTHER}.json"]


def test_a_marker_that_asks_for_more_is_not_superseded(spool: Spool) -> None:
    drop(spool)
    asks_again = drop(spool, f"20261123T212500Z-study-{ID}.json", json.dumps({"level": "study", "id": ID}))
    claim = only_claim(spool)
    spool.file(claim, Event.FINISH, claim.marker)
    assert asks_again.exists()


def test_a_narrow_run_does_not_supersede_a_wide_one(spool: Spool) -> None:
    drop(spool, f"20261123T212458Z-study-{ID}.json", FROM_LUA.replace("{", '{"rules": ["a"], ', 1))
    wide = drop(spool)
    claim = only_claim(spool)
    spool.file(claim, Event.FINISH, claim.marker)
    assert wide.exists()


def test_a_marker_taken_out_of_processing_is_left_to_the_person(spool: Spool) -> None:
    drop(spool)
    claim = only_claim(spool)
    claim.item.path.rename(spool.directories.of(State.HOLD) / NAME)
    assert not claim.is_ours()
    assert spool.file(claim, Event.FINISH, claim.marker) is None
    assert states(spool) == {NAME: "hold"}
    assert os.listdir(spool.root / "locks") == []
    assert os.listdir(spool.root / "state" / "filing") == []


def test_an_orphan_in_processing_is_due_at_once(spool: Spool) -> None:
    drop(spool, state=State.PROCESSING)
    assert [item.name for item in spool.recover()] == [NAME]
    assert states(spool) == {NAME: "deferred"}
    assert only_claim(spool).marker.deaths == 1


def test_a_marker_that_is_worked_on_is_not_an_orphan(spool: Spool) -> None:
    drop(spool)
    claim = only_claim(spool)
    assert spool.recover() == []
    assert states(spool) == {NAME: "processing"}
    assert claim.is_ours()


def test_a_marker_that_killed_fifty_processes_fails(spool: Spool) -> None:
    drop(spool)
    for _ in range(51):
        claim = only_claim(spool)
        claim.lock.release()
        spool.recover()
    assert states(spool) == {NAME: "failed"}


def test_a_crash_between_the_two_renames_of_filing_is_completed(spool: Spool) -> None:
    drop(spool)
    claim = only_claim(spool)
    spool.file(claim, Event.DEFER, claim.marker, due_in_s=500)
    # The state after such a crash: the marker is renamed, its record still waits in state/filing.
    path = spool.directories.of(State.DEFERRED) / NAME
    record = path.read_text()
    path.write_text(FROM_LUA)
    waiting = spool.root / "state" / "filing" / f"{path.stat().st_ino}.json"
    waiting.write_text(record)
    os.utime(waiting, (0, time.time() + 500))
    os.utime(path, (0, 0))
    spool.recover()
    assert path.read_text() == record
    assert list(spool.claims()) == []
    assert not waiting.exists()


def test_a_record_whose_marker_never_moved_is_dropped(spool: Spool) -> None:
    path = drop(spool, state=State.PROCESSING)
    record = marker.dump(
        marker.Marker(marker.Level.STUDY, ID, filed={"path": f"done/2026-11-23/{NAME}", "time": "x"}, attempts=4)
    )
    (spool.root / "state" / "filing" / f"{path.stat().st_ino}.json").write_bytes(record)
    spool.recover()
    assert states(spool) == {NAME: "deferred"}
    assert os.listdir(spool.root / "state" / "filing") == []


def test_people_move_markers_only_where_a_transition_leads(spool: Spool) -> None:
    drop(spool, state=State.FAILED)
    held = spool.move(Names(spool.directories).one(ID), Event.HOLD)
    assert held.state is State.HOLD
    back = spool.move(held, Event.RELEASE)
    assert back.state is State.INCOMING
    with pytest.raises(UsageError, match="incoming/: release"):
        spool.move(back, Event.RELEASE)


def test_a_deleted_marker_leaves_a_refusal(spool: Spool) -> None:
    drop(spool)
    spool.delete(Names(spool.directories).one(NAME))
    assert states(spool) == {}
    assert spool.ledger.read(KEY).refused


def test_a_marker_that_is_worked_on_is_not_deleted(spool: Spool) -> None:
    drop(spool)
    claim = only_claim(spool)
    other = Spool(spool.root, time.time)
    with pytest.raises(SpoolError, match="being worked on"):
        other.delete(Names(other.directories).one(NAME), wait_s=0.1)
    spool.file(claim, Event.FINISH, claim.marker)


def test_a_marker_is_found_by_any_unique_part_of_its_name(spool: Spool) -> None:
    drop(spool)
    drop(spool, f"20261123T212459Z-study-{OTHER}.json", FROM_LUA.replace(ID, OTHER), State.FAILED)
    assert Names(spool.directories).one("1a4b").state is State.FAILED
    with pytest.raises(UsageError, match="could be any of"):
        Names(spool.directories).one("study")
    with pytest.raises(UsageError, match="no marker's name"):
        Names(spool.directories).one("nothing")


def test_an_empty_marker_rests_before_it_is_claimed(spool: Spool, clock: Clock) -> None:
    path = drop(spool, f"study-{ID}.json", "")
    assert [claim.item.name for claim in spool.claims()] == []
    assert spool.directories.is_resting()
    clock.ahead_s = REST_S + 0.1
    assert [claim.item.name for claim in spool.claims()] == [path.name]


def test_a_file_name_that_is_not_utf_8_stops_nobody(spool: Spool) -> None:
    name = os.fsdecode(b"bad\xffname.json")
    drop(spool, name, json.dumps({"level": "study", "id": ID}))
    claim = next(spool.claims())
    filed = spool.file(claim, Event.FINISH, claim.marker)
    assert filed
    assert filed.name == name
    assert (spool.directories.read(filed).filed or {})["path"] == f"done/{filed.path.parent.name}/{name}"


@pytest.mark.parametrize("target", ["nowhere", "/etc/hostname"])
def test_a_link_is_not_a_marker(spool: Spool, clock: Clock, target: str) -> None:
    link = spool.directories.of(State.INCOMING) / f"study-{ID}.json"
    link.symlink_to(target)
    clock.ahead_s = REST_S + 0.1
    assert list(spool.claims()) == []
    assert [item.name for item in spool.directories.items(State.FAILED)] == [link.name]


def test_a_name_in_capitals_names_its_resource(spool: Spool) -> None:
    drop(spool, f"STUDY-{ID.upper()}.json", "{}")
    assert next(spool.claims()).marker.key == f"study-{ID}"
