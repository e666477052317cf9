"""The identity of the three folders that people mount: output, rules, spool.

A folder that isn't mounted looks like an empty one. Writing there would fill the mount point, and reading no rules
there would let studies pass unnoticed. So each gets a small file ``.autorthanc`` when it is first used, and
``state/roots/`` of the spool knows its content; where it is missing later, the folder is unmounted or replaced.
"""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path

from autorthanc_spool.core.errors import FolderMissing, SpoolUnavailable
from autorthanc_spool.disk import durable

FILE_NAME = ".autorthanc"


class Roots:
    """The identities that one spool knows."""

    def __init__(self, state: Path) -> None:
        self._state = state / "roots"
        self._home = ""

    def check(self, role: str, folder: Path) -> None:
        """Make sure that the folder is the one that was first used in this role; mark it at first use.

        Raises FolderMissing, SpoolUnavailable.
        """
        known = self._known(role)
        if known is None:
            with durable.passing_trouble(SpoolUnavailable, "the spool"):
                self._introduce(role, folder)
        elif known != "" and (found := _read(folder / FILE_NAME)) != known:
            if _is_barred(folder / FILE_NAME):
                raise FolderMissing(
                    f"{folder / FILE_NAME} can't be read by this user; say: chmod a+r {folder / FILE_NAME}"
                )
            raise FolderMissing(
                f"the {role} folder {folder} isn't the one that was used before: {_told(found)}. Mount the right one; "
                f"or, if it was replaced on purpose, remove {self._state / role}.json"
            )
        elif known == "" and not any(folder.glob("*")):
            # It can't be marked, being read-only; but it wasn't empty.
            raise FolderMissing(f"the {role} folder {folder} is empty or missing; is it mounted?")

    def check_spool(self, folder: Path) -> None:
        """Make sure that the spool is the one that this process began with, in which all these identities are kept.

        Raises FolderMissing, SpoolUnavailable.
        """
        if not self._home:
            self.check("spool", folder)
            self._home = _read(folder / FILE_NAME) or ""
        elif (found := _read(folder / FILE_NAME)) != self._home:
            raise FolderMissing(
                f"the spool {folder} isn't the one that this process began with: {_told(found)}. Mount the right one; "
                "or, if it was replaced on purpose, restart the processor"
            )

    def knows(self, role: str) -> bool:
        """Whether a folder was used in this role before."""
        return (self._state / f"{role}.json").exists()

    def _known(self, role: str) -> str | None:
        path = self._state / f"{role}.json"
        with durable.passing_trouble(SpoolUnavailable, "the spool"):
            if not path.exists():
                return None
            known = _read(path)
        if known is None:
            # Taken for a first use, it would let an empty mount point pass.
            raise FolderMissing(f"{path} can't be read; fix it, or remove it when the {role} folder is the right one")
        return known

    def _introduce(self, role: str, folder: Path) -> None:
        if not folder.is_dir():
            raise FolderMissing(f"the {role} folder {folder} is missing; create or mount it")
        identity = _read(folder / FILE_NAME) or _mark(role, folder)
        if identity == "" and not any(folder.glob("*")):
            # Nothing tells an empty read-only folder from a missing mount: wait until it holds something.
            return
        self._state.mkdir(mode=0o750, exist_ok=True, parents=True)
        durable.write(self._state / f"{role}.json", _dump(role, identity), self._state)


def _mark(role: str, folder: Path) -> str:
    """Give the folder an identity; tell which it has then, "" when it can't be written to."""
    identity = str(uuid.uuid4())
    scratch = folder / f"{FILE_NAME}.{identity}"
    try:
        durable.create(scratch, _dump(role, identity), mode=0o640)
        # It is not a secret, and the next processor may run as another user; in the spool nothing is for the world.
        scratch.chmod(0o640 if role == "spool" else 0o644)
        if os.geteuid() == 0:
            status = folder.stat()
            os.chown(scratch, status.st_uid, status.st_gid)
        try:
            durable.move(scratch, folder / FILE_NAME)
        except FileExistsError:
            # Another process began at the same moment: its mark counts.
            scratch.unlink(missing_ok=True)
            return _read(folder / FILE_NAME) or ""
    except OSError:
        return ""
    return identity


def _read(path: Path) -> str | None:
    try:
        return str(json.loads(path.read_bytes())["id"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _is_barred(path: Path) -> bool:
    try:
        path.open("rb").close()
    except PermissionError:
        return True
    except OSError:
        return False
    return False


def _told(found: str | None) -> str:
    state = "it has none" if found is None else "it has another one"
    return f"its file {FILE_NAME} is how it is known, and {state}"


def _dump(role: str, identity: str) -> bytes:
    note = "autorthanc_spool knows this folder by this file; leave it here"
    return (json.dumps({"format": 1, "role": role, "id": identity, "note": note}) + "\n").encode()
