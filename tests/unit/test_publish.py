"""The rename that publishes, and what a crash around it leaves, on a real folder with a real ledger."""

import os
from collections.abc import Iterator
from dataclasses import replace
from hashlib import md5
from pathlib import Path

import pytest

from autorthanc_spool.core.errors import ClaimLost, FolderMissing, OutputUnavailable
from autorthanc_spool.core.record import Entry, Intent, Parked, Record, Working
from autorthanc_spool.output import publish
from autorthanc_spool.output.contents import Delivered, tree_digest
from autorthanc_spool.output.folders import Output, RuleFolder
from autorthanc_spool.output.rights import Rights
from autorthanc_spool.spool.ledger import HeldRecord, Ledger

KEY = "study-0a4b249f-7fce45ca-4f722f72-de2a24df-92abc740"
OWED = {"line": "of the audit log"}


def free() -> None:
    """Nobody else has the lock."""


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "ledger").mkdir()
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


@pytest.fixture
def output(out: Path) -> Output:
    return Output(out, Rights(None, 0o022, "output"))


@pytest.fixture
def folder(output: Output) -> Iterator[RuleFolder]:
    with output.rule_folder("trial") as opened:
        yield opened


@pytest.fixture
def record(out: Path) -> HeldRecord:
    return HeldRecord(Ledger(out.parent / "ledger"), KEY, free)


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
    return HeldRecord(Ledger(out.parent / "ledger"), KEY, free)


def plain(record: Record) -> Record:
    """The record without who wrote it, and how often."""
    return replace(record, writer=None, takeovers=0)


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
    assert publish.publish(record, folder, intent, "NAME.WORKING", free) == ()
    assert names(out) == ["NAME"]
    assert (out / "trial" / "NAME" / "a.dcm").read_text() == "new"
    assert plain(as_left_by_a_crash(out).now) == Record(KEY, entries={"trial": new}, owed=(OWED,))


def test_a_publication_keeps_beside_it_what_somebody_added_to(
    out: Path, folder: RuleFolder, record: HeldRecord
) -> None:
    old = tree(out / "trial" / "NAME", "old")
    (out / "trial" / "NAME" / "notes.txt").write_text("mine")
    new = tree(out / "trial" / "NAME.WORKING", "new")
    (parked,) = publish.parking(folder, "NAME", old)
    assert publish.publish(record, folder, Intent("trial", "trial", new, (parked,)), "NAME.WORKING", free) == (
        parked.parked_name,
    )
    assert (out / "trial" / parked.parked_name / "notes.txt").read_text() == "mine"


def test_a_rename_that_happened_before_the_crash_is_entered(out: Path, output: Output, folder: RuleFolder) -> None:
    new = tree(out / "trial" / "NAME", "new")
    as_left_by_a_crash(out).write(Record(KEY, intent=Intent("trial", "trial", new, owes=OWED)))
    assert publish.recover(as_left_by_a_crash(out), lambda _: output) == ()
    assert plain(as_left_by_a_crash(out).now) == Record(KEY, entries={"trial": new}, owed=(OWED,))


def test_without_the_rename_what_was_parked_goes_back_and_the_working_folder_goes(
    out: Path, output: Output, folder: RuleFolder
) -> None:
    old = tree(out / "trial" / "NAME.WORKING-old", "old")
    new = tree(out / "trial" / "NAME.WORKING", "new")
    parked = Parked("NAME", "NAME.WORKING-old", old.inode, old.tree)
    working = Working("trial", "NAME.WORKING", new.inode)
    as_left_by_a_crash(out).write(Record(KEY, intent=Intent("trial", "trial", new, (parked,)), working=working))
    publish.recover(as_left_by_a_crash(out), lambda _: output)
    assert names(out) == ["NAME"]
    assert (out / "trial" / "NAME" / "a.dcm").read_text() == "old"
    assert plain(as_left_by_a_crash(out).now) == Record(KEY)


def test_a_working_folder_that_is_another_one_is_left_alone(out: Path, output: Output, folder: RuleFolder) -> None:
    foreign = tree(out / "trial" / "NAME.WORKING", "mine")
    as_left_by_a_crash(out).write(Record(KEY, working=Working("trial", "NAME.WORKING", foreign.inode + 1)))
    publish.recover(as_left_by_a_crash(out), lambda _: output)
    assert names(out) == ["NAME.WORKING"]
    assert plain(as_left_by_a_crash(out).now) == Record(KEY)


def test_nothing_is_entered_or_renamed_where_nobody_would_see_it(
    out: Path, folder: RuleFolder, record: HeldRecord
) -> None:
    new = tree(out / "trial" / "NAME.WORKING", "new")
    (out / "trial").rename(out / "away")
    (out / "trial").mkdir()
    with pytest.raises(OutputUnavailable, match="unmounted or moved"):
        publish.publish(record, folder, Intent("trial", "trial", new), "NAME.WORKING", free)
    assert plain(as_left_by_a_crash(out).now) == Record(KEY)
    assert (names(out), os.listdir(out / "away")) == ([], ["NAME.WORKING"])


class GoesAway(HeldRecord):
    """The folder is moved away as soon as the intent is written."""

    def write(self, record: Record, *, keeps: bool = True) -> Record:
        written = super().write(record, keeps=keeps)
        if record.intent:
            trial = self.trial
            trial.rename(trial.with_name("away"))
        return written

    trial: Path


def test_an_intent_is_taken_back_where_the_folder_went_away_before_the_rename(out: Path, folder: RuleFolder) -> None:
    new = tree(out / "trial" / "NAME.WORKING", "new")
    record = GoesAway(Ledger(out.parent / "ledger"), KEY, free)
    record.trial = out / "trial"
    with pytest.raises(OutputUnavailable, match="unmounted or moved"):
        publish.publish(record, folder, Intent("trial", "trial", new), "NAME.WORKING", free)
    assert plain(as_left_by_a_crash(out).now) == Record(KEY)
    assert os.listdir(out / "away") == ["NAME.WORKING"]


def is_away(_: str) -> Output:
    raise FolderMissing("away")


FAR = Working("trial", "NAME.WORKING", 7, "/mnt/share")


def test_what_was_begun_on_a_share_that_is_away_is_left_and_the_next_is_begun(out: Path, folder: RuleFolder) -> None:
    as_left_by_a_crash(out).write(Record(KEY, working=FAR))
    publish.recover(as_left_by_a_crash(out), is_away)
    assert plain(as_left_by_a_crash(out).now) == Record(KEY, left=(FAR,))
    near = Working("trial", "NAME.WORKING", 8)
    publish.begin(as_left_by_a_crash(out), folder, near)
    assert plain(as_left_by_a_crash(out).now) == Record(KEY, working=near, left=(FAR,))


def test_what_the_rule_before_couldnt_remove_is_not_forgotten(
    out: Path, folder: RuleFolder, record: HeldRecord
) -> None:
    publish.begin(record, folder, FAR)
    publish.begin(record, folder, Working("other", "NAME.WORKING", 8))
    assert as_left_by_a_crash(out).now.left == (FAR,)


def test_what_is_left_is_removed_when_its_share_is_back(out: Path, output: Output, folder: RuleFolder) -> None:
    left = replace(FAR, inode=tree(out / "trial" / "NAME.WORKING", "new").inode)
    as_left_by_a_crash(out).write(Record(KEY, left=(left,)))
    publish.recover(as_left_by_a_crash(out), lambda _: output)
    assert (plain(as_left_by_a_crash(out).now), names(out)) == (Record(KEY), [])


def test_a_rename_that_may_have_happened_on_a_share_that_is_away_is_waited_for(out: Path) -> None:
    intent = Intent("trial", "trial", Entry("c", "f", "published", "NAME", 7, root="/mnt/share"))
    as_left_by_a_crash(out).write(Record(KEY, intent=intent, working=FAR))
    with pytest.raises(FolderMissing):
        publish.recover(as_left_by_a_crash(out), is_away)
    assert plain(as_left_by_a_crash(out).now) == Record(KEY, intent=intent, working=FAR)


def test_once_it_is_entered_only_what_is_to_be_removed_is_left_on_the_share(out: Path) -> None:
    entry = Entry("c", "f", "published", "NAME.zip", 9, root="/mnt/share")
    parked = (Parked("NAME.zip", "NAME.zip.WORKING.1", 5, "t", is_condemned=True), Parked("X", "X.WORKING.1", 6, ""))
    intent = Intent("trial", "trial", entry, parked)
    as_left_by_a_crash(out).write(Record(KEY, entries={"trial": entry}, intent=intent, working=FAR))
    publish.recover(as_left_by_a_crash(out), is_away)
    old = Working("trial", "NAME.zip.WORKING.1", 5, "/mnt/share")
    assert plain(as_left_by_a_crash(out).now) == Record(KEY, entries={"trial": entry}, left=(FAR, old))


def test_who_has_lost_the_work_puts_nothing_back(out: Path, folder: RuleFolder) -> None:
    """Another process may have parked it again, under the same name."""
    old, new = tree(out / "trial" / "NAME", "old"), tree(out / "trial" / "NAME.WORKING", "new")
    asked: list[None] = []

    def lost() -> None:
        asked.append(None)
        if (out / "trial" / "NAME.WORKING-old").exists():
            raise ClaimLost("lost")

    record = HeldRecord(Ledger(out.parent / "ledger"), KEY, lost)
    parked = Parked("NAME", "NAME.WORKING-old", old.inode, old.tree)
    with pytest.raises(ClaimLost):
        publish.publish(record, folder, Intent("trial", "trial", new, (parked,)), "NAME.WORKING", lost)
    assert names(out) == ["NAME.WORKING", "NAME.WORKING-old"]
    assert len(asked) > 2


def test_what_cannot_be_removed_now_is_left(out: Path, output: Output) -> None:
    working = Working("trial", "NAME.WORKING", 7)
    as_left_by_a_crash(out).write(Record(KEY, working=working))
    (out / "elsewhere").mkdir()
    (out / "trial").symlink_to(out / "elsewhere")
    publish.recover(as_left_by_a_crash(out), lambda _: output)
    assert plain(as_left_by_a_crash(out).now) == Record(KEY, left=(working,))
