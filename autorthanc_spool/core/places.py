"""Where each file of a publication lies when a rule's `Files` says so.

All paths of one template have the same number of components, so a file never meets a folder. Files that name a folder
the same share it; one that names its series (SeriesNumber, SeriesInstanceUID) is of one series alone. Equal paths are
told apart by digits of the file's own UIDs. Letter case doesn't count, as on most shares.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterator, Mapping

from autorthanc_spool.core import naming
from autorthanc_spool.core.template import Component, Template, Value

SUFFIX = ".dcm"
_WRITTEN_SUFFIX = re.compile(r"\.*\.dcm$", re.IGNORECASE)
SERIES_INSTANCE_UID, SOP_INSTANCE_UID = "0020,000e", "0008,0018"
# A folder that names one of these is meant for one series, also where another one has the same number.
_NAMES_A_SERIES = frozenset({"SeriesNumber", "SeriesInstanceUID"})


class Places:
    """Gives one file after the other its place; the same files in the same order get the same places."""

    def __init__(self, template: Template) -> None:
        self._components = template.components
        # The tags of a file that its place is made of.
        self.tags = frozenset({*template.tags.values(), SERIES_INSTANCE_UID, SOP_INSTANCE_UID})
        self._owners: dict[str, tuple[str, str]] = {}

    def place(self, instance_id: str, series_id: str, texts: Mapping[str, str]) -> str:
        """Give a file its path below the published folder; `texts` are the values of `tags` in that file."""
        *folders, last = self._components
        path = ""
        for parts in folders:
            owner = series_id if _names_a_series(parts) else ""
            path += self._own(path, _filled(parts, texts), owner, texts.get(SERIES_INSTANCE_UID, "")) + "/"
        # Whoever writes the suffix into the template gets it once.
        stem = _WRITTEN_SUFFIX.sub("", _filled(last, texts)) or naming.UNKNOWN
        return path + self._own(path, stem, f"file {instance_id}", texts.get(SOP_INSTANCE_UID, "")) + SUFFIX

    def _own(self, folder: str, wanted: str, owner: str, uid: str) -> str:
        """The name that is wanted, or the first of its other forms that doesn't belong to somebody else."""
        for name in _forms(wanted, uid):
            found = self._owners.setdefault(_folded(folder + name), (owner, name))
            if found[0] == owner:
                # In another letter case it is the same folder.
                return found[1]
        raise AssertionError("there is always another form")


def _names_a_series(parts: Component) -> bool:
    return any(isinstance(part, Value) and part.keyword in _NAMES_A_SERIES for part in parts)


def _filled(parts: Component, texts: Mapping[str, str]) -> str:
    return naming.filled(parts, lambda wanted: texts.get(wanted.tag, ""))


def _forms(name: str, uid: str) -> Iterator[str]:
    yield name
    number = 0
    while True:
        identity = f"{uid} {number}" if number else uid
        yield naming.told_apart(name, hashlib.sha256(identity.encode(errors="surrogatepass")).hexdigest())
        number += 1


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", path.casefold())
