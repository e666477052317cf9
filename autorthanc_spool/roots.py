"""The identity of the three folders that people mount: output, rules, spool.

A folder that isn't mounted looks like an empty one. Writing there would fill the mount point, and reading no rules
there would let studies pass unnoticed. So each gets a small file ``.autorthanc`` when it is first used, and
``state/roots/`` of the spool knows its content; where it is missing later, the folder is unmounted or replaced.
"""

from __future__ import annotations

import json
import uuid
from pathlib import Path

from autorthanc_spool import durable
from autorthanc_spool.errors import FolderMissing

FILE_NAME = ".autorthanc"


class Roots:
    """The identities that one spool knows."""

    def __init__(self, state: Path) -> None:
        self._state = state / "roots"

    def check(self, role: str, folder: Path) -> None:
        """Make sure that the folder is the one that was first used in this role; mark it at first use.

        Raises FolderMissing.
        """
        known = self._read(self._state / f"{role}.json")
        if known is None:
            self._introduce(role, folder)
        elif known != "" and (found := self._read(folder / FILE_NAME)) != known:
            state = "has none" if found is None else "has another one"
            raise FolderMissing(
                f"the {role} folder {folder} isn't the one that was used before: its file {FILE_NAME} is how it is "
                f"known, and it {state}. Mount the right one; or, if it was replaced on purpose, remove "
                f"{self._state / role}.json"
            )
        elif known == "" and not any(folder.glob("*")):
            # It can't be marked, being read-only; but it wasn't empty.
            raise FolderMissing(f"the {role} folder {folder} is empty or missing; is it mounted?")

    def knows(self, role: str) -> bool:
        """Whether a folder was used in this role before."""
        return (self._state / f"{role}.json").exists()

    def _introduce(self, role: str, folder: Path) -> None:
        if not folder.is_dir():
            raise FolderMissing(f"the {role} folder {folder} is missing; create or mount it")
        identity = self._read(folder / FILE_NAME) or self._mark(role, folder)
        if identity == "" and not any(folder.glob("*")):
            # Nothing tells an empty read-only folder from a missing mount: wait until it holds something.
            return
        self._state.mkdir(exist_ok=True, parents=True)
        durable.write(self._state / f"{role}.json", _dump(role, identity), self._state)

    def _mark(self, role: str, folder: Path) -> str:
        identity = str(uuid.uuid4())
        try:
            durable.write(folder / FILE_NAME, _dump(role, identity), folder, mode=0o644)
        except OSError:
            return ""
        return identity

    @staticmethod
    def _read(path: Path) -> str | None:
        try:
            return str(json.loads(path.read_bytes())["id"])
        except (OSError, ValueError, KeyError, TypeError):
            return None


def _dump(role: str, identity: str) -> bytes:
    note = "autorthanc_spool knows this folder by this file; leave it here"
    return (json.dumps({"format": 1, "role": role, "id": identity, "note": note}) + "\n").encode()
