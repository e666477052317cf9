"""The files of `pixel_regions/` beside the rules."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path

from autorthanc_spool.core.errors import PixelRegionsInvalid
from autorthanc_spool.disk import durable
from autorthanc_spool.rules import MAX_BYTES, Problem, RuleError
from autorthanc_spool.rules.pixel_regions import FOLDER, PixelRegions, parse_regions

_SUFFIX = ".json"
_IGNORED_WORDS = ("template", "master")


@dataclass(frozen=True)
class Reading:
    """What was found in one file."""

    path: Path
    outcome: PixelRegions | RuleError


class RegionFiles:
    """The files beside the rules; one that hasn't changed is understood once."""

    def __init__(self, rules: Path) -> None:
        self._folder = rules / FOLDER
        self._readings: dict[str, tuple[bytes, PixelRegions | RuleError]] = {}

    def read(self) -> tuple[PixelRegions, ...]:
        """Read those that are active, by name. Raises PixelRegionsInvalid when one that may be active is broken."""
        found = [one.outcome for one in self.readings()]
        broken = [one for one in found if isinstance(one, RuleError) and not one.is_off]
        if broken:
            raise PixelRegionsInvalid("\n".join(map(str, broken)))
        return tuple(one for one in found if isinstance(one, PixelRegions) and one.is_active)

    def readings(self) -> list[Reading]:
        """Read all of them. Raises PixelRegionsInvalid when the folder can't be read."""
        try:
            names = sorted(path.name for path in self._folder.iterdir())
        except FileNotFoundError:
            if self._folder.is_symlink():
                # What is behind it may say that images never leave.
                raise PixelRegionsInvalid(
                    f"the folder {self._folder} is a link that leads nowhere; mount what it leads to, or delete it"
                ) from None
            return []
        except OSError as error:
            raise PixelRegionsInvalid(
                f"the folder {self._folder} can't be read ({error.strerror}); fix its owner or mode"
            ) from None
        wanted = [one for one in names if one.lower().endswith(_SUFFIX) and not one.startswith(".")]
        counted = [one for one in wanted if not any(word in one.lower() for word in _IGNORED_WORDS)]
        found = [Reading(self._folder / name, self._reading(name)) for name in counted]
        self._readings = {name: kept for name, kept in self._readings.items() if name in counted}
        return found

    def signature(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """What changes when one of the files does."""
        try:
            return tuple(sorted((path.name, durable.signature(path.stat())) for path in self._folder.iterdir()))
        except OSError:
            return ()

    def _reading(self, name: str) -> PixelRegions | RuleError:
        if not name.endswith(_SUFFIX) or not name.isprintable():
            return _error(name, "a name that doesn't end in .json, or can't be shown", "NAME.json", "rename it")
        path = self._folder / name
        try:
            # Opening a pipe would wait for somebody to write into it.
            if not stat.S_ISREG(path.stat().st_mode):
                return _error(name, "something else of this name, a folder perhaps", "a file", "delete or rename it")
            with path.open("rb") as stream:
                data = stream.read(MAX_BYTES + 1)
        except OSError as error:
            hint = "fix its owner or mode, or the disk"
            return _error(name, f"a file that can't be read ({error.strerror})", "a readable file", hint)
        before = self._readings.get(name)
        outcome = before[1] if before and before[0] == data else read_regions(name, data)
        self._readings[name] = (data, outcome)
        return outcome


def read_regions(name: str, data: bytes) -> PixelRegions | RuleError:
    """Read the content of a file."""
    try:
        return parse_regions(name.removesuffix(_SUFFIX), data)
    except RuleError as error:
        return error


def _error(name: str, found: str, expected: str, hint: str) -> RuleError:
    return RuleError(f"{FOLDER}/{name}", [Problem(0, "", found, expected, hint)])
