"""Combinations that mean nothing, or that would lose data: they make a rule file invalid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from autorthanc_spool.rules.model import ActionWord, Kind, carried_out, with_implied
from autorthanc_spool.rules.reader import Item, Reader


def check(
    reader: Reader, members: Mapping[str, Item], asked: frozenset[ActionWord], known: Sequence[ActionWord]
) -> None:
    """Note what is useless or forbidden. While the actions themselves are wrong (none), nothing is said about them."""
    if not asked:
        return
    _check_keys(reader, members, asked, known)
    for kind in (Kind.PUBLISHES, Kind.SENDS):
        words = sorted(one.word for one in carried_out(asked) if one.kind is kind)
        if len(words) > 1:
            found = f"{' and '.join(words)}, each of which {kind.value}"
            reader.wrong(members["Action"], "one of them", "write one rule for each", found=found)
    changing = sorted(one.word for one in asked if one.kind is Kind.CHANGES)
    if changing and _is_set(members, "StorageCommitment") and any(one.kind is Kind.SENDS for one in asked):
        hint = "Orthanc can ask for confirmation only of what it holds itself, and it never holds the changed files"
        reader.wrong(members["StorageCommitment"], "false", hint, found=f"true together with {changing[0]}")
    if "Deliver" in members and not any(one.kind is Kind.PUBLISHES for one in with_implied(asked, known)):
        sending = " and ".join(sorted(one.word for one in asked))
        hint = "add DOWNLOAD or ZIP, or remove it"
        reader.wrong(members["Deliver"], "an action that publishes beside it", hint, found=f"it with {sending} alone")
    if _is_set(members, "DeleteFromOrthanc"):
        _check_deletion(reader, members, asked, changing)


def _check_keys(
    reader: Reader, members: Mapping[str, Item], asked: frozenset[ActionWord], known: Sequence[ActionWord]
) -> None:
    # What is in a rule that doesn't ask for the action was meant for something; doing the rule without it would
    # surprise. (What an action needs is an exception, because old templates carry DestinationModality.)
    for key in dict.fromkeys(key for action in known for key in action.keys):
        owners = [action for action in known if key in action.keys]
        if not asked.intersection(owners) and _is_set(members, key):
            hint = f'add "{owners[0]}" to "Action", or remove "{key}"'
            reader.wrong(members[key], "both or neither", hint, found=f"it, but no {owners[0]} in Action")
    for action in sorted(asked):
        for key in action.needs:
            if key not in members:
                hint = f'"{key}": "NAME" says where to' if action.kind is Kind.SENDS else f'add "{key}"'
                reader.wrong(members["Action"], "both", hint, found=f"{action}, but no {key}")


def _check_deletion(
    reader: Reader, members: Mapping[str, Item], asked: frozenset[ActionWord], changing: list[str]
) -> None:
    item = members["DeleteFromOrthanc"]
    if "Series" in members and str(members["Series"].node.value).lower() == "matching":
        hint = "the series that don't match would be gone without having been exported"
        reader.wrong(item, "false", hint, found='true together with "Series": "matching"')
    if changing:
        hint = "the original would be gone"
        reader.wrong(item, "false", hint, found=f"true together with {changing[0]}")
    sending = [one.word for one in asked if one.kind is Kind.SENDS]
    if sending and len(asked) == 1 and not _is_set(members, "StorageCommitment"):
        hint = '"StorageCommitment": true has the destination confirm that it keeps them'
        found = f"true with {sending[0]} alone"
        reader.wrong(item, "DOWNLOAD, ZIP or StorageCommitment beside it", hint, found=found)


def _is_set(members: Mapping[str, Item], key: str) -> bool:
    return key in members and members[key].node.value is not False
