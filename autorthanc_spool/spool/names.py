"""Which markers a person means: a name, or any part of one, as commands print it."""

from __future__ import annotations

from autorthanc_spool.core.errors import UsageError
from autorthanc_spool.core.states import State
from autorthanc_spool.spool.directories import Directories, Item, shown

# As many as a person compares at a glance.
_SOME = 4


class Names:
    """The names of all markers, listed once however many are looked for."""

    def __init__(self, directories: Directories) -> None:
        items = [item for state in State for item in directories.items(state)]
        self._paths = [(shown(f"{item.path.relative_to(directories.root)}"), item) for item in items]
        self._whole: dict[str, list[Item]] = {}
        for item in items:
            for name in _whole_names(item):
                self._whole.setdefault(name, []).append(item)

    def all(self, fragment: str) -> list[Item]:
        """Find the markers whose name, or path below the spool, is or else holds the fragment. Raises UsageError."""
        if not fragment.strip():
            raise UsageError("an empty name is part of every marker's; `autorthanc-spool list` shows what there is")
        wanted = shown(fragment)
        found = self._whole.get(wanted) or [item for path, item in self._paths if wanted in path]
        if not found:
            raise UsageError(
                f"no marker's name holds {fragment!r}; `autorthanc-spool list` shows what there is, and "
                "`autorthanc-spool find TEXT` looks for a patient, an accession number or an output folder"
            )
        return found

    def one(self, fragment: str) -> Item:
        """Find the one marker whose name, or path below the spool, holds the fragment. Raises UsageError."""
        found = self.all(fragment)
        if len(found) > 1:
            raise self.ambiguous(fragment, found)
        return found[0]

    def ambiguous(self, fragment: str, found: list[Item]) -> UsageError:
        """Say which markers a fragment could name."""
        places = [place for place, item in self._paths if item in found]
        more = f" and {len(found) - _SOME} more" if len(found) > _SOME else ""
        return UsageError(
            f"{fragment!r} could be any of {', '.join(places[:_SOME])}{more}; name a part that only one of them has"
        )


def _whole_names(item: Item) -> set[str]:
    names = (item.name, item.name.removesuffix(".json"), str(item.path), f"{item.state}/{item.name}")
    return {shown(name) for name in names}
