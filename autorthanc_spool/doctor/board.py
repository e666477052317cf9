"""The board on which hosts that are examined together leave messages for one another: one small file for each of them.

Each replaces its own file and reads those of the others, so all that is relied on is that another host sees at some
time what one host renames into place. Each newcomer looks who else is still writing. When nobody new has come for a
while, the first by name writes the roster, and all follow it.
"""

from __future__ import annotations

import json
import re
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from autorthanc_spool.core.errors import SpoolUnavailable
from autorthanc_spool.disk import durable

# Longer than any step of the others takes.
PATIENCE_S = 120.0
# Hosts that one command starts come within so long after one another.
SETTLE_S = 2.0
POLL_S = 0.1
# No examination takes so long.
LEFT_S = 3600.0

Words = dict[str, Any]


class Alone(Exception):
    """Nobody else came."""


class Silent(Exception):
    """Another host doesn't answer."""


class Board:
    """The board as one process sees it."""

    def __init__(self, folder: Path, host: str, pid: int) -> None:
        self.name = f"{re.sub(r'[^A-Za-z0-9_-]', '_', host)}-{pid}"
        self.folder = folder
        self.said: Words = {"beat": 0}
        with durable.passing_trouble(SpoolUnavailable, "the spool"):
            folder.mkdir(mode=0o770, exist_ok=True)

    def say(self, **words: Any) -> None:
        """Add to what this host said."""
        self.said |= words
        self.said["beat"] += 1
        with durable.passing_trouble(SpoolUnavailable, "the spool"):
            # The others may have removed the folder when they left.
            self.folder.mkdir(mode=0o770, exist_ok=True)
            durable.show(self.folder / f"{self.name}.json", json.dumps(self.said).encode(), 0o660)

    def heard(self) -> dict[str, Words]:
        """Read what everybody said, this host too."""
        found = {}
        for path in self.folder.glob("[!.]*.json"):
            # It may go while we look; what can't be read now is read the next time.
            with suppress(OSError, ValueError):
                found[path.stem] = json.loads(path.read_bytes())
        return found

    def meet(self, hosts: int, wait_s: float) -> list[str]:
        """Wait until so many are there, and agree on who takes part. Raises Alone, Silent."""
        end_s = time.monotonic() + wait_s
        first: dict[str, int] = {}
        alive: set[str] = set()
        settled_s = 0.0
        while time.monotonic() < end_s:
            self.say()
            heard = {name: said for name, said in self.heard().items() if name != self.name}
            # A file that is no longer written was left by one that was killed.
            new = {name for name, said in heard.items() if said["beat"] != first.setdefault(name, said["beat"])}
            if not new <= alive:
                alive |= new
                settled_s = time.monotonic() + SETTLE_S
            roster = self._roster([heard[name] for name in alive & heard.keys()])
            is_first = all(self.name < name for name in alive)
            if not roster and is_first and 1 + len(alive) >= hosts and time.monotonic() > settled_s:
                roster = sorted({self.name, *alive})
            if roster:
                self.say(roster=roster)
                return roster
            time.sleep(POLL_S)
        came = f"{1 + len(alive)} of {hosts} hosts came" if alive else "no other host came"
        raise Alone(f"{came} within {wait_s:g} s; or this spool isn't the same folder there")

    def _roster(self, heard: list[Words]) -> list[str]:
        rosters = [list(map(str, said["roster"])) for said in heard if "roster" in said]
        ours = [roster for roster in rosters if self.name in roster]
        if rosters and not ours:
            raise Silent("other hosts are being examined already, without this one")
        return ours[0] if ours else []

    def wait_for(self, names: list[str], key: str) -> dict[str, Words]:
        """Wait until each of them said it; give what everybody said. Raises Silent."""
        end_s = time.monotonic() + PATIENCE_S
        while True:
            heard = self.heard()
            missing = [name for name in names if key not in heard.get(name, {})]
            if not missing:
                return {name: heard[name] for name in names}
            if time.monotonic() > end_s:
                raise Silent(f"nothing was heard of {', '.join(missing)} for {PATIENCE_S:g} s")
            time.sleep(POLL_S)

    def leave(self, roster: list[str]) -> None:
        """Wait until all others are through, as they still read what this host said."""
        self.say(through=True)
        end_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < end_s:
            heard = self.heard()
            # Who is no longer there was through.
            if all(heard[name].get("through") for name in roster if name in heard):
                return
            time.sleep(POLL_S)

    def clear(self) -> None:
        """Remove what this host put there, and what one that was killed left."""
        with suppress(OSError):
            for path in list(self.folder.iterdir()):
                if f"{self.name}." in path.name or path.lstat().st_ctime < time.time() - LEFT_S:
                    path.unlink(missing_ok=True)
            # The last one to leave removes the folder.
            self.folder.rmdir()
