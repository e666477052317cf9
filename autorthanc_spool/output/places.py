"""Where is published to: the output, and the folders that rules deliver to. Each is the one that it was, or away."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from autorthanc_spool.core.errors import FolderMissing
from autorthanc_spool.disk.mounts import KnownFolders
from autorthanc_spool.output.folders import Output

ROLE = "output"


class Places:
    """Opens roots by the names that the ledger has for them: "" for the output, else a path.

    `allowed` are the folders that rules may deliver to, or below; `make` makes an Output of a root, the folder at or
    above it that the settings name, and what checks that it is the one that it was.
    """

    def __init__(
        self,
        output: Path,
        allowed: Iterable[Path],
        identities: KnownFolders,
        make: Callable[[Path, Path | None, Callable[[], None]], Output],
    ) -> None:
        self._output = output
        self._allowed = sorted(allowed, key=lambda path: len(path.parts), reverse=True)
        self._identities = identities
        self._make = make
        self._made: dict[str, Output] = {}

    def at(self, root: str) -> Output:
        """Open a root. Raises FolderMissing when it isn't the one that was used before, SpoolUnavailable."""
        opened = self._opened(root)
        opened.check()
        return opened

    def path(self, root: str) -> Path:
        """Where a root lies."""
        return Path(root) if root else self._output

    def knows(self, root: str) -> bool:
        """Whether it was used before."""
        return self._identities.knows_delivered(root) if root else self._identities.knows(ROLE)

    def used(self) -> list[str]:
        """All roots that were used before."""
        return [root for root in ("", *self._identities.delivered()) if self.knows(root)]

    def _opened(self, root: str) -> Output:
        if root not in self._made:
            path = self.path(root)
            base = next((one for one in self._allowed if path.is_relative_to(one)), None) if root else None
            if root and base is None:
                raise FolderMissing(
                    f"{root} was delivered to before, and is not below AUTORTHANC_DELIVER_ROOTS; add it there as long "
                    "as something begun in it isn't finished"
                )
            self._made[root] = self._make(path, base, partial(self._check, root))
        return self._made[root]

    def _check(self, root: str) -> None:
        if root:
            self._identities.check_delivered(root)
        else:
            self._identities.check(ROLE, self._output)
