"""Combinations that mean nothing, or that would lose data: they make a rule file invalid."""

from __future__ import annotations

from collections.abc import Mapping

from autorthanc_spool.rules.model import Action
from autorthanc_spool.rules.reader import Item, Reader

# What stands in a rule that doesn't ask for the action was meant for something; doing the rule without it would
# surprise. (DestinationModality is an exception, because old templates carry it.)
_ONLY_WITH = {
    "Anonymise": Action.ANONYMISE,
    "Zip": Action.ZIP,
    "StorageCommitment": Action.FORWARD,
}


def check(reader: Reader, members: Mapping[str, Item], asked: frozenset[Action]) -> None:
    """Note what is useless or forbidden. While the actions themselves are wrong (none), nothing is said about them."""
    if not asked:
        return
    for key, action in _ONLY_WITH.items():
        if action not in asked and _is_set(members, key):
            hint = f'add "{action}" to "Action", or remove "{key}"'
            reader.wrong(members[key], "both or neither", hint, found=f"it, but no {action} in Action")
    if Action.FORWARD in asked and "DestinationModality" not in members:
        hint = '"DestinationModality": "NAME" tells where to'
        reader.wrong(members["Action"], "both", hint, found="FORWARD, but no DestinationModality")
    if _is_set(members, "StorageCommitment") and {Action.FORWARD, Action.ANONYMISE} <= asked:
        hint = "Orthanc can have kept what it holds itself confirmed, and the anonymised files never lie in Orthanc"
        reader.wrong(members["StorageCommitment"], "false", hint, found="true together with ANONYMISE")
    if _is_set(members, "DeleteFromOrthanc"):
        _check_deletion(reader, members, asked)


def _check_deletion(reader: Reader, members: Mapping[str, Item], asked: frozenset[Action]) -> None:
    item = members["DeleteFromOrthanc"]
    if Action.ANONYMISE in asked:
        hint = "the original would be gone"
        reader.wrong(item, "false", hint, found="true together with ANONYMISE")
    if asked == {Action.FORWARD} and not _is_set(members, "StorageCommitment"):
        hint = '"StorageCommitment": true has the destination confirm that it keeps them'
        reader.wrong(item, "DOWNLOAD, ZIP or StorageCommitment beside it", hint, found="true with FORWARD alone")


def _is_set(members: Mapping[str, Item], key: str) -> bool:
    return key in members and members[key].node.value is not False
