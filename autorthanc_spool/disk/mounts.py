"""The identity of the folders that people mount: output, rules, spool, and what rules deliver to.

A folder that isn't mounted looks like an empty one. Writing there would fill the mount point, and reading no rules
there would let studies pass unnoticed. So each gets a small file ``.autorthanc`` when it is first used, and
``state/roots/`` of the spool knows its content; where it is missing later, the folder is unmounted or replaced. Of what
rules deliver to, ``state/roots/deliver-HASH.json`` knows the path as well.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

from autorthanc_spool.core.errors import FolderMissing, SpoolUnavailable
from autorthanc_spool.disk import durable

FILE_NAME = ".autorthanc"
# A share that works answers within milliseconds, a busy one within a second.
PATIENCE_S = 2.0
_DELIVER = "deliver"


# Folders whose file system was asked and hasn't answered yet.
_asked: dict[Path, threading.Event] = {}


def answers(folder: Path, patience_s: float = PATIENCE_S) -> bool:
    """Whether the file system of a folder says anything within a moment, be it an error.

    A hard mount whose server is gone lets whoever asks wait until it comes back. Here a thread asks, which ends with
    this process, so that a person who only looks gets an answer. Who asks again meanwhile waits for the same thread: a
    processor that looks every few seconds, for days, has no more than one for each folder.
    """
    has_answered = threading.Event()
    waiting = _asked.setdefault(folder, has_answered)
    if waiting is has_answered:
        threading.Thread(target=_ask, args=(folder, has_answered), name="mount", daemon=True).start()
    return waiting.wait(patience_s)


def real(path: Path) -> Path:
    """Follow the links of a path; where a share doesn't answer, what the path itself says is all that is known.

    Unlike Path.resolve(), this raises nothing on a loop of links or a name that is too long.
    """
    return Path(os.path.realpath(path) if answers(path) else os.path.abspath(path))  # noqa: PTH100


def _ask(folder: Path, has_answered: threading.Event) -> None:
    # What is no path at all is refused here, too.
    with suppress(OSError, ValueError):
        # Unlike what `stat` says, this isn't kept by the kernel.
        os.statvfs(folder)
    del _asked[folder]
    has_answered.set()


def lacking(what: str, folder: Path) -> str:
    """Say that a folder isn't there, or that something else is in its place."""
    if os.path.lexists(folder):
        return f"{what} {folder} is not a folder; move away what is there, or name another one"
    return f"{what} {folder} is missing; create or mount it"


def unanswered(folder: Path) -> str:
    """Say what a folder is whose file system doesn't answer."""
    return f"{folder} doesn't answer, as a share does whose server is away; look at its mount (findmnt -T {folder})"


class KnownFolders:
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
                    f"{folder / FILE_NAME} can't be read by this user; run: chmod a+r {folder / FILE_NAME}"
                )
            raise FolderMissing(
                f"the {_said(role)} folder {folder} isn't the one that was used before: {_seen(found)}. Mount the "
                f"right one; or, if it was replaced on purpose, remove {self._state / role}.json"
            )
        elif known == "" and not any(folder.glob("*")):
            # It can't be marked, being read-only; but it wasn't empty.
            raise FolderMissing(f"the {_said(role)} folder {folder} is empty or missing; is it mounted?")

    def check_delivered(self, root: str) -> None:
        """Make sure that what rules deliver to is the folder that was first delivered to; mark it at first use.

        Raises FolderMissing, SpoolUnavailable.
        """
        self.check(_role(root), Path(root))

    def knows_delivered(self, root: str) -> bool:
        """Whether a folder was delivered to before."""
        return self.knows(_role(root))

    def delivered(self) -> list[str]:
        """List the folders that were delivered to."""
        contents = (_content(path) for path in self._state.glob(f"{_DELIVER}-*.json"))
        return sorted(str(one["path"]) for one in contents if "path" in one)

    def check_spool(self, folder: Path) -> None:
        """Make sure that the spool is the one that this process began with, in which all these identities are kept.

        Raises FolderMissing, SpoolUnavailable.
        """
        if not self._home:
            self.check("spool", folder)
            self._home = _read(folder / FILE_NAME) or ""
        elif (found := _read(folder / FILE_NAME)) != self._home:
            raise FolderMissing(
                f"the spool {folder} isn't the one that this process began with: {_seen(found)}. Mount the right one; "
                "or, if it was replaced on purpose, restart the processor"
            )

    def is_spool_there(self, folder: Path) -> bool:
        """Whether it is still the one that this process began with; nothing is made."""
        try:
            return not self._home or _read(folder / FILE_NAME) == self._home
        except OSError:
            return False

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
            raise FolderMissing(
                f"{path} can't be read; fix it, or remove it when the {_said(role)} folder is the right one"
            )
        return known

    def _introduce(self, role: str, folder: Path) -> None:
        # Unlike Path.is_dir(), this raises nothing where a folder above is closed to us, or a share is dying.
        if not os.path.isdir(folder):  # noqa: PTH112
            raise FolderMissing(lacking(f"the {_said(role)} folder", folder))
        identity = _read(folder / FILE_NAME) or _mark(role, folder)
        if identity == "" and role.startswith(_DELIVER):
            raise FolderMissing(
                f"the {_said(role)} folder {folder} can't be marked by the file {FILE_NAME}; let this user write there"
            )
        if identity == "" and not any(folder.glob("*")):
            # Nothing tells an empty read-only folder from a missing mount: wait until it holds something.
            return
        try:
            self._state.mkdir(mode=0o750, exist_ok=True)
        except FileNotFoundError:
            # A moment ago the spool was there: what is here now may be the folder that it was mounted on.
            raise FolderMissing(f"{self._state.parent} is missing; is the spool mounted?") from None
        path = {"path": str(folder)} if role.startswith(_DELIVER) else {}
        durable.write(self._state / f"{role}.json", _dump(role, identity, **path), self._state)


def _mark(role: str, folder: Path) -> str:
    """Give the folder an identity; return which it then has, "" when it can't be written to."""
    identity = str(uuid.uuid4())
    scratch = folder / f"{FILE_NAME}.{identity}"
    try:
        durable.create(scratch, _dump(_said(role), identity), mode=0o640)
        # A share may keep no owners and permissions; then they are as it has them.
        with suppress(OSError):
            # It is not a secret, and the next processor may run as another user; in the spool nothing is for the world.
            scratch.chmod(0o640 if role == "spool" else 0o644)
        if os.geteuid() == 0:
            status = folder.stat()
            with suppress(OSError):
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


def _role(root: str) -> str:
    return f"{_DELIVER}-{hashlib.sha256(root.encode()).hexdigest()[:16]}"


def _said(role: str) -> str:
    # What rules deliver to is output, too.
    return "output" if role.startswith(_DELIVER) else role


def _read(path: Path) -> str | None:
    found = _content(path).get("id")
    return None if found is None else str(found)


def _content(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _is_barred(path: Path) -> bool:
    try:
        path.open("rb").close()
    except PermissionError:
        return True
    except OSError:
        return False
    return False


def _seen(found: str | None) -> str:
    state = "it has none" if found is None else "it has another one"
    return f"its file {FILE_NAME} is how it is known, and {state}"


def _dump(role: str, identity: str, **more: str) -> bytes:
    note = "autorthanc_spool knows this folder by this file; leave it here"
    return (json.dumps({"format": 1, "role": role, "id": identity, **more, "note": note}) + "\n").encode()
