"""First contact: which Orthanc this is, and what lay in it before we came.

Orthanc's database has no name of its own. But its log of changes is numbered, and only grows: where the last number is
lower than it was, or another change has the number of one that we saw, another database answers. (A deleted study
takes its rows along, so a row that is missing means nothing.) Source: https://orthanc.uclouvain.be/book/users/rest.html
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from autorthanc_spool.core.errors import SpoolError
from autorthanc_spool.disk import durable
from autorthanc_spool.orthanc.answers import Change, StudySummary
from autorthanc_spool.orthanc.client import Orthanc

FORMAT = 1
_STUDIES, _CONTACT, _FORMER = "baseline.json", "contact.json", "another-database.json"
# What a person says by removing a file.
_REMOVED = {
    _STUDIES: "then what is in Orthanc now is left alone",
    _CONTACT: "then the database that Orthanc has now counts as the one that it had before",
    _FORMER: "that confirms that the database that Orthanc has now is meant, and what isn't there fails",
}


class BaselineError(SpoolError):
    """What is known of Orthanc can't be read."""


@dataclass(frozen=True)
class Contact:
    """The database as it was when it was last looked through: its last change, and the time by its own clock."""

    last_seq: int
    change: Change | None
    time: str

    def is_same(self, orthanc: Orthanc) -> bool:
        """Whether Orthanc still has that database."""
        if orthanc.last_change()[0] < self.last_seq:
            return False
        found = orthanc.change(self.change.seq) if self.change else None
        return found is None or found == self.change

    def is_certainly_same(self, orthanc: Orthanc) -> bool:
        """Whether Orthanc still lists the change that was the last one then."""
        return self.change is not None and orthanc.change(self.change.seq) == self.change


def look(orthanc: Orthanc) -> Contact:
    """Take note of the database."""
    time = orthanc.now()
    last_seq, change = orthanc.last_change()
    return Contact(last_seq, change, time.isoformat())


class Baseline:
    """``state/baseline.json``: ID and LastUpdate of what lay in Orthanc at first contact; ``state/contact.json``: the
    last contact; ``state/another-database.json``: the last one with the former database, until that one is back, or a
    person has removed the file to confirm that the new one is meant.
    """

    def __init__(self, state: Path) -> None:
        self._studies = state / _STUDIES
        self._contact = state / _CONTACT
        self.confirmed_by_removing = state / _FORMER

    def studies(self) -> Mapping[str, str] | None:
        """Read what was there; None before first contact. Raises BaselineError."""
        content = _read(self._studies)
        if content is None:
            return None
        studies = content.get("studies")
        if not isinstance(studies, dict):
            raise _unreadable(self._studies)
        return {str(key): str(value) for key, value in studies.items()}

    def contact(self) -> Contact | None:
        """Read the last contact, if it is known. Raises BaselineError."""
        return _read_contact(self._contact)

    def former(self) -> Contact | None:
        """Read the last contact with the former database, if Orthanc has another one. Raises BaselineError."""
        return _read_contact(self.confirmed_by_removing)

    def is_other(self, orthanc: Orthanc) -> bool:
        """Whether Orthanc has another database than before, and nobody has confirmed that. Raises BaselineError."""
        last = self.contact()
        return self.former() is not None or (last is not None and not last.is_same(orthanc))

    def write_studies(self, studies: Mapping[str, str]) -> None:
        """Replace what was there, durably."""
        _write(self._studies, {"studies": studies})

    def write_contact(self, contact: Contact) -> None:
        """Replace the last contact, durably."""
        _write(self._contact, {"contact": asdict(contact)})

    def write_former(self, contact: Contact) -> None:
        """Note that Orthanc has another database, durably."""
        note = "Orthanc has another database than before; remove this file when that is meant, see docs/upgrade.md"
        _write(self.confirmed_by_removing, {"contact": asdict(contact), "note": note})

    def forget_former(self) -> None:
        """Note that the former database is back."""
        self.confirmed_by_removing.unlink(missing_ok=True)


def known_of(studies: Iterable[StudySummary]) -> dict[str, str]:
    """What is remembered of studies."""
    return {one.resource_id: one.last_update for one in studies}


def _contact(content: dict[str, Any]) -> Contact:
    change = content["change"]
    return Contact(int(content["last_seq"]), Change(**change) if change else None, str(content["time"]))


def _read_contact(path: Path) -> Contact | None:
    content = _read(path)
    try:
        return _contact(content["contact"]) if content else None
    except (ValueError, TypeError, KeyError):
        raise _unreadable(path) from None


def _read(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError):
        raise _unreadable(path) from None
    if not isinstance(content, dict):
        raise _unreadable(path)
    return content


def _write(path: Path, content: dict[str, Any]) -> None:
    data = (json.dumps({"format": FORMAT, **content}, indent=0) + "\n").encode()
    durable.write(path, data, path.parent, mode=0o640)


def _unreadable(path: Path) -> BaselineError:
    return BaselineError(f"{path} can't be understood; restore it from a backup, or remove it: {_REMOVED[path.name]}")
