"""The ledger, and the record that is held while a marker is worked on, on a real disk."""

from dataclasses import replace
from pathlib import Path

import pytest

from autorthanc_spool.core.errors import SpoolUnavailable
from autorthanc_spool.core.record import Entry, Record
from autorthanc_spool.spool.ledger import HeldRecord, Ledger, LedgerError

KEY = "study-0a4b249f-7fce45ca-4f722f72-de2a24df-92abc740"
FIRST = Record(KEY, refused="2026-01-02T03:04:05Z")
SECOND = Record(KEY, entries={"trial": Entry("c", "f", "published", "NAME", 7, "t")})


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    (tmp_path / "ledger").mkdir()
    return Ledger(tmp_path / "ledger")


def test_a_held_record_is_read_once(ledger: Ledger) -> None:
    ledger.write(FIRST)
    held = HeldRecord(ledger, KEY)
    assert held.now == FIRST
    ledger.write(SECOND)
    assert held.now is held.now
    assert held.now == FIRST


def test_what_is_written_to_a_held_record_is_in_the_ledger_at_once(ledger: Ledger) -> None:
    held = HeldRecord(ledger, KEY)
    assert held.now == Record(KEY)
    assert held.write(SECOND) == SECOND
    assert held.now == SECOND == ledger.read(KEY)


def test_after_a_failed_write_the_disk_says_what_the_record_is(ledger: Ledger, tmp_path: Path) -> None:
    held = HeldRecord(ledger, KEY)
    held.write(FIRST)
    away = (tmp_path / "ledger").rename(tmp_path / "away")
    with pytest.raises(SpoolUnavailable):
        held.write(replace(FIRST, refused=""))
    away.rename(tmp_path / "ledger")
    # As where the disk has what was written, although it said otherwise.
    ledger.write(SECOND)
    assert held.now == SECOND


def test_a_record_that_is_not_understood_is_an_error_that_names_it(ledger: Ledger, tmp_path: Path) -> None:
    ledger.write(FIRST)
    (tmp_path / "ledger" / "0a" / f"{KEY}.json").write_text("{}")
    with pytest.raises(LedgerError, match=f"ledger/0a/{KEY}.json"):
        _ = HeldRecord(ledger, KEY).now
