"""`delete`: markers are removed, and refused from then on."""

from __future__ import annotations

from contextlib import suppress

import click

from autorthanc_spool.commands import choosing, complete, progress
from autorthanc_spool.commands.choosing import Choice, with_choice
from autorthanc_spool.commands.options import examples, with_settings
from autorthanc_spool.core.counted import counted
from autorthanc_spool.core.errors import MarkerError, UsageError
from autorthanc_spool.core.states import State
from autorthanc_spool.run import access
from autorthanc_spool.settings import Settings
from autorthanc_spool.spool.directories import Item, shell_word, shown
from autorthanc_spool.spool.spool import Spool

_USUAL = (State.FAILED, State.HOLD)
_EXAMPLES = examples(
    ("delete 0a4b249f", "one marker, by the beginning of its study's Orthanc ID"),
    ("delete --kind ResourceMissing", "what failed because Orthanc no longer has it"),
)


@click.command("delete", epilog=_EXAMPLES)
@click.argument("names", nargs=-1, metavar="[MARKER]...", shell_complete=complete.markers)
@with_choice
@with_settings
def command(settings: Settings, names: tuple[str, ...], choice: Choice) -> None:
    """Remove markers, and remember that their resources are refused, so that they don't come back.

    A marker is named by any unique part of its name. Options choose more of them: without --state, among those in
    failed and hold. `enqueue` takes a refusal back.
    """
    if not (names or choice.is_made):
        raise UsageError(
            "name a marker, or choose some: --all, --state, --rule, --kind, --since; without --state among those in "
            "failed and hold. `autorthanc-spool list` shows what there is"
        )
    spool = access.find_spool(settings)
    items = choosing.chosen(spool, names, choice, _USUAL)
    if not items:
        click.echo(choosing.nothing_chosen(spool, choice, _USUAL), err=True)
    folder = next((one for one in items if one.path.is_dir() and not one.path.is_symlink()), None)
    if folder:
        path = shell_word(str(folder.path))
        raise UsageError(f"{shown(folder.name)} is a folder: look inside it, and run rm -r {path}; nothing was deleted")
    deleted: list[Item] = []
    checksums = 0
    try:
        for item in progress.shown(items, len(items), "deletion of markers"):
            checksums += _checksums(spool, item)
            spool.delete(item)
            deleted.append(item)
    finally:
        for one in deleted:
            click.echo(shown(f"{one.path.relative_to(spool.root)}"))
        if checksums:
            text = f"this also removed the record of what was published, and {counted(checksums, 'checksum')} of files"
            click.echo(f"{text}; the ledger and the audit log keep the rest", err=True)


def _checksums(spool: Spool, item: Item) -> int:
    """How many checksums only this marker has."""
    with suppress(MarkerError, FileNotFoundError):
        return sum(len(outcome.md5sums) for outcome in spool.directories.read(item).outcomes.values())
    return 0
