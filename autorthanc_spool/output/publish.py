"""The one rename that publishes, and what makes it happen exactly once.

The order is what a crash can't break: the files are durable before this begins; then the ledger's *intent* (what will
have which name, what is parked for it); then the renames; then the ledger's entry. After a crash the intent and the
inodes show whether the rename happened: then it is entered, else what was parked goes back and the job is done again.
Only where the consumer took the folder before recovery looked is it published twice.

What was begun on a share that has been away since is *left*: the ledger knows it, work goes on elsewhere, and whoever
recovers the resource when the share is back removes it. Only an intent whose rename may have happened has to be waited
for.

*A late publisher is refused.* A process that was cut off from the output and the spool may be late: another one has
recovered the work, and does it again. So recovery begins with the working folder: it renames it. Where that succeeds,
the rename that publishes finds nothing, however late it comes; where it doesn't, that rename was made, and is entered.
The next working folder gets a name that was never used (`Record.takeovers`), so that nothing of it is ever taken for
the former one. Whoever parks makes sure that what was parked is what was meant, or puts it back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace

from autorthanc_spool.core.errors import ClaimLost, FolderMissing, OutputConflict, OutputUnavailable, Unavailable
from autorthanc_spool.core.record import Entry, Intent, Parked, Record, Working
from autorthanc_spool.disk import durable
from autorthanc_spool.output import announce
from autorthanc_spool.output.folders import Output, RuleFolder
from autorthanc_spool.spool.ledger import HeldRecord

# Opens a root as the ledger names it. Raises FolderMissing when it is away.
Opener = Callable[[str], Output]


def begin(record: HeldRecord, folder: RuleFolder, begun: Working, *, is_new: bool = True) -> None:
    """Enter a new working directory, so that whatever happens it is known as ours. Raises ClaimLost.

    `is_new` says that it wasn't there before.
    """
    try:
        record.write(replace(record.now, working=begun, left=_begun(record)))
    except ClaimLost:
        # Nobody else knows of it.
        if is_new:
            folder.remove_aside(begun.name)
        raise


def publish(
    record: HeldRecord, folder: RuleFolder, intent: Intent, source: str, check: Callable[[], None]
) -> tuple[str, ...]:
    """Enter the intent, rename `source` to the entry's name, enter what was done.

    `check` raises ClaimLost or MarkerTaken when the work is no longer ours. Gives the names of what was parked and is
    kept, because it wasn't only ours. Raises FolderMissing or OutputUnavailable where nobody would see it.
    """
    folder.check_there()
    check()
    record.write(replace(record.now, intent=intent))
    check()
    try:
        folder.check_there()
    except Unavailable:
        # Nothing was renamed yet.
        record.write(replace(record.now, intent=None))
        raise
    with ExitStack() as undo:
        undo.callback(_take_back, record, folder, intent, check)
        for parked in intent.parked:
            _park(folder, parked)
        check()
        folder.rename(source, intent.entry.name)
        undo.pop_all()
    return _commit(record, folder, intent)


def _take_back(record: HeldRecord, folder: RuleFolder, intent: Intent, check: Callable[[], None]) -> None:
    # Whoever has taken the work over has put it back, and may have parked it again.
    record.check()
    _put_back(folder, intent.parked)
    # A person may have taken it: that is said rather than what followed from it.
    check()


def _park(folder: RuleFolder, parked: Parked) -> None:
    folder.rename(parked.name, parked.parked_name)
    if folder.inode(parked.parked_name) != parked.inode:
        with suppress(FileNotFoundError, FileExistsError):
            folder.rename(parked.parked_name, parked.name)
        raise ClaimLost("something else was published meanwhile")


def parking(folder: RuleFolder, name: str, previous: Entry | None) -> tuple[Parked, ...]:
    """Find what has to be parked for a publication under this name: what is there, and what it replaces."""
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


def recover(record: HeldRecord, opened: Opener) -> tuple[str, ...]:
    """After a crash: enter a rename that happened, take back one that didn't, remove what else was begun.

    Gives the names of what was parked and is kept, because it wasn't only ours. Raises FolderMissing where only a share
    that is away can tell whether the rename happened; everything else that lies there can wait.
    """
    kept: tuple[str, ...] = ()
    aside, intent, working = record.now.aside, record.now.intent, record.now.working
    if aside:
        with suppress(FolderMissing), _there(opened, aside.root, aside.folder) as folder:
            announce.bring_back(record, folder)
    # First: whoever is late has nothing to publish from here on.
    left = tuple(one for one in _begun(record) if not _is_removed(one, opened))
    if intent:
        try:
            with _there(opened, intent.root, intent.folder) as folder:
                if working in left and not _is_entered(record, intent):
                    raise OutputUnavailable("what was begun can't be taken back yet; it is tried again")
                kept = _recover_intent(record, folder, intent)
        except FolderMissing:
            if not _is_entered(record, intent):
                raise
            left = (*left, *_condemned(intent))
    if intent or working or left != record.now.left:
        takeovers = record.now.takeovers + (1 if intent or working else 0)
        record.write(replace(record.now, intent=None, working=None, left=left, takeovers=takeovers))
    return kept


def is_clear(record: Record) -> bool:
    """Whether nothing has to be recovered."""
    return not (record.intent or record.working or record.left or record.aside)


@contextmanager
def _there(opened: Opener, root: str, folder_name: str) -> Iterator[RuleFolder]:
    """Open a rule's folder to decide by what lies in it; in a mount point, nothing would lie there."""
    with opened(root).rule_folder(folder_name) as folder:
        folder.check_there()
        yield folder


def _begun(record: HeldRecord) -> tuple[Working, ...]:
    """What was begun and isn't known to be gone."""
    working = (record.now.working,) if record.now.working else ()
    return (*record.now.left, *working)


def _condemned(intent: Intent) -> tuple[Working, ...]:
    """What was parked and only has to be removed."""
    return tuple(
        Working(intent.folder, one.parked_name, one.inode, intent.root) for one in intent.parked if one.is_condemned
    )


def _is_removed(begun: Working, opened: Opener) -> bool:
    """Remove what was begun; False where the share that it lies on is away."""
    try:
        with _there(opened, begun.root, begun.folder) as folder:
            folder.remove(begun.name, begun.inode)
    except (FolderMissing, OutputUnavailable, OutputConflict):
        return False
    except OSError as error:
        if durable.passing_reason(error) is None:
            raise
        return False
    return True


def _is_entered(record: HeldRecord, intent: Intent) -> bool:
    """Whether the publication was made, and only what is left of it has to be cleared away."""
    return record.now.entries.get(intent.rule) == intent.entry


def _recover_intent(record: HeldRecord, folder: RuleFolder, intent: Intent) -> tuple[str, ...]:
    if _is_entered(record, intent) or folder.inode(intent.entry.name) == intent.entry.inode:
        return _commit(record, folder, intent)
    _put_back(folder, intent.parked)
    record.write(replace(record.now, intent=None))
    return ()


def _put_back(folder: RuleFolder, parked: Iterable[Parked]) -> None:
    for one in parked:
        if folder.inode(one.parked_name) == one.inode:
            # Somebody may have put something new at the old name meanwhile: then both are kept.
            with suppress(FileExistsError, FileNotFoundError):
                folder.rename(one.parked_name, one.name)


def _commit(record: HeldRecord, folder: RuleFolder, intent: Intent) -> tuple[str, ...]:
    """Enter what was done, then clear away what is left; twice is the same as once.

    Until all of that is gone, the intent has to stay, to say whose it is. That the entry is there says that the
    publication itself was made.
    """
    working = record.now.working
    # A folder was renamed itself, an archive out of its folder.
    if working and folder.inode(working.name) != working.inode:
        working = None
    done = record.now.with_published(intent)
    if not working and not intent.parked:
        record.write(done)
        return ()
    # Once it is known that a parked folder is exactly what was published, a crash in the middle of its removal
    # mustn't make its rest look like something foreign.
    parked = tuple(replace(one, is_condemned=_is_condemned(folder, one)) for one in intent.parked)
    record.write(replace(done, intent=replace(intent, parked=parked), working=working))
    if working:
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
