"""A publication is moved away and back, so that a consumer that began to watch after it was published sees it arrive.

It goes into a folder ``NAME.WORKING.n`` beside it, and out again: for whoever watches ``OUT/RULE`` both a folder and an
archive appear as *created*, or as moved in, whatever kind of watch it is. The ledger's `aside` is entered before, and
struck out after: after a crash in between, whoever recovers the resource (its next run, pruning, the processor's next
look, `announce` itself) moves back what lies in that folder. Nothing is copied or removed, so nothing can get lost or
double; a consumer sees it late.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from autorthanc_spool.core.record import Aside, Entry
from autorthanc_spool.output.folders import RuleFolder
from autorthanc_spool.spool.ledger import HeldRecord


def announce(record: HeldRecord, folder: RuleFolder, aside: Aside) -> bool:
    """Move a publication away and back; False when it no longer lies there. The caller holds the resource's lock."""
    if folder.inode(aside.name) != aside.inode:
        return False
    record.write(replace(record.now, aside=aside))
    folder.make_aside(aside.place)
    record.check()
    # The consumer may take it at any moment.
    with suppress(FileNotFoundError):
        folder.put_aside(aside.name, aside.place)
    bring_back(record, folder)
    return folder.inode(aside.name) == aside.inode


def planned(rule: str, folder_name: str, folder: RuleFolder, entry: Entry) -> Aside:
    """Say where an entry's publication would be moved to."""
    return Aside(rule, folder_name, entry.name, folder.free_parking(entry.name), entry.inode, entry.root)


def bring_back(record: HeldRecord, folder: RuleFolder) -> bool:
    """Move what lies aside back, and strike it out; False when something else has its name, which is waited for."""
    aside = record.now.aside
    if aside is None:
        return True
    entry = record.now.entries.get(aside.rule)
    # What was published again since is there under this name; the older one is kept aside, and reported by pruning.
    if entry is not None and entry.inode == aside.inode:
        try:
            folder.put_back(aside.name, aside.place)
        except FileExistsError:
            return False
    folder.remove_aside(aside.place)
    record.write(replace(record.now, aside=None))
    return True
