"""The rename that publishes, and what a crash around it leaves, on a real folder with a real ledger."""

from collections.abc import Iterator
from dataclasses import replace
from hashlib import md5
from pathlib import Path

import pytest

from autorthanc_spool.core.record import Entry, Intent, Parked, Record, Working
from autorthanc_spool.output import publish
from autorthanc_spool.output.folders import Delivered, Output, RuleFolder, tree_digest
from autorthanc_spool.spool.ledger import HeldRecord, Ledger

KEY = "study-0a4b249f-7fce45ca-4f722f72-de2a24df-92abc740"
OWED = {"line": "of the audit log"}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "ledger").mkdir()
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


@pytest.fixture
def output(out: Path) -> Output:
    return Output(out, None, 0o022)


@pytest.fixture
def folder(output: Output) -> Iterator[RuleFolder]:
    with output.rule_folder("trial") as opened:
        yield opened


@pytest.fixture
def record(out: Path) -> HeldRecord:
    return HeldRecord(Ledger(out.parent / "ledger"), KEY)


def tree(path: Path, content: str) -> Entry:
    """Make a folder of one file, and the entry of its publication."""
    path.mkdir()
    (path / "a.dcm").write_text(content)
    data = content.encode()
    digest = tree_digest((Delivered("a.dcm", len(data), md5(data, usedforsecurity=False).hexdigest()),))
    return Entry(content, "f", "published", path.name.removesuffix(".WORKING"), path.stat().st_ino, digest)


def names(out: Path) -> list[str]:
    return sorted(path.name for path in (out / "trial").iterdir())


def as_left_by_a_crash(out: Path) -> HeldRecord:
    """The record as the next process reads it."""
    return HeldRecord(Ledger(out.parent / "ledger"), KEY)


def test_nothing_is_parked_for_a_free_name(folder: RuleFolder) -> None:
    assert publish.parking(folder, "NAME", None) == ()


def test_what_stands_at_the_name_is_parked_and_is_ours_only_where_the_record_says(
    out: Path, folder: RuleFolder
) -> None:
    entry = tree(out / "trial" / "NAME", "old")
    (foreign,) = publish.parking(folder, "NAME", None)
    assert (foreign.name, foreign.inode, foreign.tree) == ("NAME", entry.inode, "")
    (ours,) = publish.parking(folder, "NAME", entry)
    assert ours.tree == entry.tree
    assert ".WORKING" in ours.parked_name


def test_the_former_name_is_parked_only_while_it_is_what_was_published(out: Path, folder: RuleFolder) -> None:
    entry = tree(out / "trial" / "OLD", "old")
    assert [one.name for one in publish.parking(folder, "NEW", entry)] == ["OLD"]
    assert publish.parking(folder, "NEW", replace(entry, inode=entry.inode + 1)) == ()


def test_a_publication_replaces_what_was_ours_and_owes_its_line(
    out: Path, folder: RuleFolder, record: HeldRecord
) -> None:
    old = tree(out / "trial" / "NAME", "old")
    new = tree(out / "trial" / "NAME.WORKING", "new")
    intent = Intent("trial", "trial", new, publish.parking(folder, "NAME", old), OWED)
    assert publish.publish(record, folder, intent, "NAME.WORKING") == ()
    assert names(out) == ["NAME"]
    assert (out / "trial" / "NAME" / "a.dcm").read_text() == "new"
    assert as_left_by_a_crash(out).now == Record(KEY, entries={"trial": new}, owed=(OWED,))


def test_a_publication_keeps_beside_it_what_somebody_added_to(
    out: Path, folder: RuleFolder, record: HeldRecord
) -> None:
    old = tree(out / "trial" / "NAME", "old")
    (out / "trial" / "NAME" / "notes.txt").write_text("mine")
    new = tree(out / "trial" / "NAME.WORKING", "new")
    (parked,) = publish.parking(folder, "NAME", old)
    assert publish.publish(record, folder, Intent("trial", "trial", new, (parked,)), "NAME.WORKING") == (
        parked.parked_name,
    )
    assert (out / "trial" / parked.parked_name / "notes.txt").read_text() == "mine"


def test_a_rename_that_happened_before_the_crash_is_entered(out: Path, output: Output, folder: RuleFolder) -> None:
    new = tree(out / "trial" / "NAME", "new")
    as_left_by_a_crash(out).write(Record(KEY, intent=Intent("trial", "trial", new, owes=OWED)))
    assert publish.recover(as_left_by_a_crash(out), output) == ()
    assert as_left_by_a_crash(out).now == Record(KEY, entries={"trial": new}, owed=(OWED,))


def test_without_the_rename_what_was_parked_goes_back_and_the_working_folder_goes(
    out: Path, output: Output, folder: RuleFolder
) -> None:
    old = tree(out / "trial" / "NAME.WORKING-old", "old")
    new = tree(out / "trial" / "NAME.WORKING", "new")
    parked = Parked("NAME", "NAME.WORKING-old", old.inode, old.tree)
    working = Working("trial", "NAME.WORKING", new.inode)
    as_left_by_a_crash(out).write(Record(KEY, intent=Intent("trial", "trial", new, (parked,)), working=working))
    publish.recover(as_left_by_a_crash(out), output)
    assert names(out) == ["NAME"]
    assert (out / "trial" / "NAME" / "a.dcm").read_text() == "old"
    assert as_left_by_a_crash(out).now == Record(KEY)


def test_a_working_folder_that_is_another_one_is_left_alone(out: Path, output: Output, folder: RuleFolder) -> None:
    foreign = tree(out / "trial" / "NAME.WORKING", "mine")
    as_left_by_a_crash(out).write(Record(KEY, working=Working("trial", "NAME.WORKING", foreign.inode + 1)))
    publish.recover(as_left_by_a_crash(out), output)
    assert names(out) == ["NAME.WORKING"]
    assert as_left_by_a_crash(out).now == Record(KEY)
