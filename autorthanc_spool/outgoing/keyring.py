"""Which key this spool's pseudonyms are made with.

The id of the key lies in ``state/pseudonym-key.json`` from before the first use of the key on. Where that file is lost,
the ledger and the records in ``done/`` name the key. So a key is made only where nothing names one, and a missing or
exchanged key is noticed before anything is made with it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from autorthanc_spool.core.errors import KeyUnavailable, MarkerError, SpoolError, SpoolUnavailable
from autorthanc_spool.core.outcome import PSEUDONYM_KEY, Outcome
from autorthanc_spool.core.states import State
from autorthanc_spool.deidentify.key import Key, find_key, open_key
from autorthanc_spool.disk import durable, locks
from autorthanc_spool.spool.spool import Spool

FORMAT = 1

# Making a key takes milliseconds; who waits longer waits for a process that hangs.
_WAIT_S = 30.0


class Keyring:
    """The key file, and what the spool knows about it."""

    def __init__(self, path: Path, spool: Spool) -> None:
        self._path = path
        self._spool = spool
        self._state = spool.root / "state" / "pseudonym-key.json"

    def open(self) -> Key:
        """Read the key, or make the first one. Raises KeyUnavailable."""
        noted = self._noted()
        if noted:
            return open_key(self._path, {noted})
        # Two processes that begin at the same moment must end with one key.
        lock = locks.take(self._spool.root / "locks", "pseudonym-key", _WAIT_S)
        if lock is None:
            raise KeyUnavailable("another process has been making the pseudonym key for too long; it is tried again")
        try:
            noted = self._noted()
            key = open_key(self._path, {noted} if noted else frozenset(self._recorded()))
            self._note(key)
            return key
        finally:
            lock.release()

    def recorded(self) -> Key:
        """Read the key to look something up; none is made. Raises KeyUnavailable."""
        noted = self._noted()
        known = {noted} if noted else frozenset(self._recorded())
        if not known and not self._path.exists():
            raise KeyUnavailable(
                f"there is no pseudonym key {self._path}, and nothing was anonymised in this spool yet"
            )
        return open_key(self._path, known)

    def complaint(self, *, searches: bool = False) -> str:
        """Say why the key can't be used; nothing where it can, or where the first one is still to be made.

        Where `state/` doesn't name the key, the ledger and the records are asked only with `searches`: it takes long.
        """
        try:
            noted = self._noted()
            recorded = self._recorded() if searches and not noted else ()
            find_key(self._path, {noted} if noted else frozenset(recorded))
        except KeyUnavailable as error:
            return str(error)
        return ""

    def _noted(self) -> str:
        try:
            return str(json.loads(self._state.read_bytes())["id"])
        except FileNotFoundError:
            return ""
        except (ValueError, KeyError, TypeError, RecursionError):
            raise KeyUnavailable(
                f"{self._state} can't be understood; it names the pseudonym key. Restore it from a backup, or remove "
                "it: then the ledger says which key is the right one"
            ) from None

    def _note(self, key: Key) -> None:
        note = "the pseudonym key that this spool uses; back the key itself up, see docs/anonymise.md"
        content = json.dumps({"format": FORMAT, "id": key.id, "note": note}) + "\n"
        with durable.passing_trouble(SpoolUnavailable, "the spool"):
            durable.write(self._state, content.encode(), self._state.parent)

    def _recorded(self) -> Iterator[str]:
        """The ids that the ledger and the records name."""
        for key in self._spool.ledger.keys():  # noqa: SIM118 - a ledger is not a dictionary
            with suppress(SpoolError):
                for details in self._spool.ledger.read(key).details():
                    if PSEUDONYM_KEY in details:
                        yield str(details[PSEUDONYM_KEY])
        for item in (item for state in State for item in self._spool.directories.items(state)):
            with suppress(MarkerError, FileNotFoundError):
                yield from _named_in(self._spool.directories.read(item).outcomes.values())


def _named_in(outcomes: Iterable[Outcome]) -> Iterator[str]:
    for outcome in outcomes:
        if PSEUDONYM_KEY in outcome.details:
            yield str(outcome.details[PSEUDONYM_KEY])
        yield from _named_in(outcome.forward.values())
