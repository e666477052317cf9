"""The one rename that publishes, and what makes it happen exactly once.

The order is what a crash can't break: the files are durable before this begins; then the ledger's *intent* (what will
have which name, what is parked for it); then the renames; then the ledger's entry. After a crash the intent and the
inodes tell whether the rename happened: then it is entered, else what was parked goes back and the job is done again.
Only where the consumer took the folder before recovery looked is it published twice.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from autorthanc_spool.core.record import Entry, Intent, Parked, Working
from autorthanc_spool.output.folders import WORKING, Output, RuleFolder
from autorthanc_spool.spool.ledger import HeldRecord


def begin(record: HeldRecord, folder_name: str, name: str, inode: int) -> None:
    """Enter a new working directory, so that whatever happens it is known as ours."""
    record.write(replace(record.now, working=Working(folder_name, name + WORKING, inode)))


def publish(record: HeldRecord, folder: RuleFolder, intent: Intent, source: str) -> tuple[str, ...]:
    """Enter the intent, rename `source` to the entry's name, enter what was done.

    Gives the names of what was parked and is kept, because it wasn't only ours.
    """
    record.write(replace(record.now, intent=intent))
    for parked in intent.parked:
        folder.rename(parked.name, parked.parked_name)
    folder.rename(source, intent.entry.name)
    return _commit(record, folder, intent)


def parking(folder: RuleFolder, name: str, previous: Entry | None) -> tuple[Parked, ...]:
    """Tell what has to be parked for a publication under this name: what stands there, and what it replaces."""
    names = [name] if previous is None or previous.name in ("", name) else [name, previous.name]
    parked = []
    for one in names:
        inode = folder.inode(one)
        ours = previous is not None and previous.name == one
        if inode is None or (one != name and (previous is None or inode != previous.inode)):
            continue
        tree = previous.tree if ours and previous is not None else ""
        parked.append(Parked(one, folder.free_parking(one), inode, tree))
    return tuple(parked)


def recover(record: HeldRecord, output: Output) -> tuple[str, ...]:
    """After a crash: enter a rename that happened, take back one that didn't, remove a dead working directory.

    Gives the names of what was parked and is kept, because it wasn't only ours.
    """
    kept: tuple[str, ...] = ()
    intent, working = record.now.intent, record.now.working
    if intent:
        with output.rule_folder(intent.folder) as folder:
            kept = _recover_intent(record, folder, intent)
            working = record.now.working
    if working:
        with output.rule_folder(working.folder) as folder:
            folder.remove(working.name, working.inode)
        record.write(replace(record.now, working=None))
    return kept


def _recover_intent(record: HeldRecord, folder: RuleFolder, intent: Intent) -> tuple[str, ...]:
    is_entered = record.now.entries.get(intent.rule) == intent.entry
    if is_entered or folder.inode(intent.entry.name) == intent.entry.inode:
        return _commit(record, folder, intent)
    for parked in intent.parked:
        if folder.inode(parked.parked_name) == parked.inode:
            # Somebody may have put something new at the old name meanwhile: then both are kept.
            with suppress(FileExistsError):
                folder.rename(parked.parked_name, parked.name)
    record.write(replace(record.now, intent=None))
    return ()


def _commit(record: HeldRecord, folder: RuleFolder, intent: Intent) -> tuple[str, ...]:
    """Enter what was done, then clear away what is left; twice is the same as once.

    Until all of that is gone, the intent has to stay, to tell whose it is. That the entry is there says that the
    publication itself was made.
    """
    working = record.now.working
    done = record.now.with_entry(intent.rule, intent.entry).owing(intent.owes)
    if not working and not intent.parked:
        record.write(done)
        return ()
    # Once it is known that a parked folder is exactly what was published, a crash in the middle of its removal
    # mustn't make its rest look like something foreign.
    parked = tuple(replace(one, is_condemned=_is_condemned(folder, one)) for one in intent.parked)
    record.write(replace(done, intent=replace(intent, parked=parked), working=working))
    if working:
        # Here it still has its name only where an archive was renamed out of it.
        folder.remove(working.name, working.inode)
    for one in parked:
        if one.is_condemned:
            folder.remove(one.parked_name, one.inode)
    kept = tuple(one.parked_name for one in parked if folder.inode(one.parked_name) == one.inode)
    record.write(done)
    return kept


def _is_condemned(folder: RuleFolder, parked: Parked) -> bool:
    if parked.is_condemned or folder.inode(parked.parked_name) != parked.inode:
        return parked.is_condemned
    return parked.tree != "" and folder.holds_exactly(parked.parked_name, parked.tree)
