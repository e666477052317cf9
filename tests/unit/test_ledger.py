"""The ledger, and the record that is held while a marker is worked on, on a real disk."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from autorthanc_spool.core.errors import SpoolUnavailable
from autorthanc_spool.core.record import Aside, Entry, Intent, Record, Working
from autorthanc_spool.spool.ledger import HeldRecord, Ledger, LedgerError

KEY = "study-0a4b249f-7fce45ca-4f722f72-de2a24df-92abc740"
FIRST = Record(KEY, refused="2026-01-02T03:04:05Z")
SECOND = Record(KEY, entries={"trial": Entry("c", "f", "published", "NAME", 7, "t")})


def free() -> None:
    """Nobody else has the lock."""


def plain(record: Record) -> Record:
    return replace(record, writer=None)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    (tmp_path / "ledger").mkdir()
    return Ledger(tmp_path / "ledger")


def test_a_held_record_is_read_once(ledger: Ledger) -> None:
    ledger.write(FIRST)
    held = HeldRecord(ledger, KEY, free)
    assert held.now == FIRST
    ledger.write(SECOND)
    assert held.now is held.now
    assert held.now == FIRST


def test_what_is_written_to_a_held_record_is_in_the_ledger_at_once(ledger: Ledger) -> None:
    held = HeldRecord(ledger, KEY, free)
    assert held.now == Record(KEY)
    assert plain(held.write(SECOND)) == SECOND
    assert held.now == ledger.read(KEY)
    assert plain(held.now) == SECOND


def test_after_a_failed_write_the_disk_says_what_the_record_is(ledger: Ledger, tmp_path: Path) -> None:
    held = HeldRecord(ledger, KEY, free)
    writer = held.write(FIRST).writer
    away = (tmp_path / "ledger").rename(tmp_path / "away")
    with pytest.raises(SpoolUnavailable):
        held.write(replace(FIRST, refused=""))
    away.rename(tmp_path / "ledger")
    # As where the disk has what was written, although it said otherwise.
    ledger.write(replace(SECOND, writer=writer))
    assert plain(held.now) == SECOND


def test_what_was_delivered_elsewhere_and_what_is_left_there_is_read_as_it_was_written(
    ledger: Ledger, tmp_path: Path
) -> None:
    far = Entry("c", "f", "published", "NAME", 7, "t", root="/mnt/share")
    record = replace(
        SECOND,
        entries={**SECOND.entries, "far": far},
        intent=Intent("far", "far", far),
        working=Working("far", "NAME.WORKING", 8, "/mnt/share"),
        left=(Working("far", "NAME.WORKING", 9, "/mnt/other"), Working("near", "NAME.WORKING", 10)),
        aside=Aside("far", "far", "NAME", "NAME.WORKING.1", 7, "/mnt/share"),
    )
    ledger.write(record)
    assert ledger.read(KEY) == record
    # Of the output, nothing is said: as earlier versions wrote it, and read it.
    content = json.loads((tmp_path / "ledger" / "0a" / f"{KEY}.json").read_text())
    assert ["root" in one for one in (content["entries"]["trial"], content["left"][1])] == [False, False]


def test_a_record_that_is_not_understood_is_an_error_that_names_it(ledger: Ledger, tmp_path: Path) -> None:
    ledger.write(FIRST)
    (tmp_path / "ledger" / "0a" / f"{KEY}.json").write_text("{}")
    with pytest.raises(LedgerError, match=f"ledger/0a/{KEY}.json"):
        _ = HeldRecord(ledger, KEY, free).now


def test_a_folder_of_names_is_of_all_resources_and_no_name_of_one(ledger: Ledger, tmp_path: Path) -> None:
    (tmp_path / "ledger" / "names").mkdir()
    assert ledger.reserve_folder("trial", "2026")
    assert ledger.reserve_folder("trial", "2026")
    assert not ledger.reserve("trial", "2026", KEY)
    assert ledger.owner("trial", "2026") is None
    assert ledger.reserve("trial", "2027", KEY)
    assert not ledger.reserve_folder("trial", "2027")
    assert ledger.owner("trial", "2027") == KEY
    assert [path.name for path in (tmp_path / "ledger" / "names").glob(".*")] == []
