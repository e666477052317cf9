"""Notices: people are told of what is wrong, once. A thread of its own looks, decides and sends; no work waits for it.

Of several processors on one spool, the one with the role ``locks/notices.lock`` sends. What was sent, and what is still
to be sent, is in ``state/notices.json``: written before a notice is sent and after it was, so that a kill in between
doubles one notice at most and forgets none. On a full disk it is kept in memory, and notices are sent all the same.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from autorthanc_spool.core.counted import agreeing, counted
from autorthanc_spool.core.errors import DestinationUnavailable, MarkerError
from autorthanc_spool.core.marker import TIME_FORMAT
from autorthanc_spool.core.states import State
from autorthanc_spool.core.template import MAX_COMPONENTS
from autorthanc_spool.monitor.health import Facts, Kind, judge
from autorthanc_spool.monitor.heartbeat import processors
from autorthanc_spool.monitor.notice_plan import (
    DESTINATION,
    WAITING,
    Found,
    Seen,
)
from autorthanc_spool.monitor.notice_target import Target
from autorthanc_spool.monitor.observer import Observer
from autorthanc_spool.monitor.outbox import Outbox
from autorthanc_spool.monitor.role import Role
from autorthanc_spool.spool.directories import Directories, Item, utc
from autorthanc_spool.spool.ledger import Ledger

log = logging.getLogger(__name__)

TICK_S = 1.0
LOOK_S = 5.0
OUTPUT_LOOK_S = 60.0
# Names of rules make no more folders than this.
DEEPEST = MAX_COMPONENTS - 1
# At a clean end; what isn't sent by then is sent by the next process.
END_S = 10.0
MOST_CHANGES = 1000


@dataclass(frozen=True)
class Watched:
    """What is looked at: 0 as `uncollected_after_s` means that the output isn't.

    `delivered` gives the names of the rules' folders in each place that rules deliver to.
    """

    spool: Path
    output: Path
    alert_age_s: float
    uncollected_after_s: float
    delivered: Callable[[], Mapping[Path, Sequence[str]]] = dict


class Notices(Observer):
    """Tells people, by all targets."""

    needs_spool = True

    def __init__(self, watched: Watched, targets: tuple[Target, ...]) -> None:
        self._watched = watched
        self._targets = targets
        self._directories = Directories(watched.spool, time.time)
        self._changes: deque[tuple[str, str | None]] = deque(maxlen=MOST_CHANGES)
        self._current: dict[str, str] = {}
        self._has_looked = False
        self._role = Role(watched.spool / "locks", "notices")
        self._tells = False
        self._outbox = Outbox(watched.spool / "state" / "notices.json", targets, time.time)
        self._next_s = {"look": 0.0, "output": 0.0}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="notices", daemon=True)

    def begin(self) -> None:
        """Start the thread."""
        self._thread.start()

    def looked(self) -> None:
        """Note that what is wrong is known."""
        self._has_looked = True

    def trouble_began(self, what: str, text: str) -> None:
        """Note it for the thread; destinations are seen in the spool, whichever processor waits for them."""
        if not what.startswith(DESTINATION):
            self._changes.append((what, text))

    def trouble_ended(self, what: str) -> None:
        """Note it for the thread."""
        if not what.startswith(DESTINATION):
            self._changes.append((what, None))

    def end(self) -> None:
        """Send what is bundled, if that takes no longer than a moment."""
        self._stop.set()
        self._thread.join(END_S)
        if self._thread.is_alive():
            for target in self._targets:
                target.stop()
        if not self._thread.is_alive():
            self._role.release()

    def _run(self) -> None:
        is_failing = is_end = False
        while not is_end:
            is_end = self._stop.wait(TICK_S)
            try:
                self._round(is_end)
                is_failing = False
            except Exception as error:  # noqa: BLE001 - whatever it is, it is tried again
                if not is_failing:
                    log.warning("notices can't be sent at the moment (%s)", type(error).__name__)
                is_failing = True

    def _round(self, is_end: bool) -> None:
        # Asked first: what is noted until then is among the changes.
        has_looked = self._has_looked
        changes = tuple(self._changes.popleft() for _ in range(len(self._changes)))
        for what, text in changes:
            if text is None:
                self._current.pop(what, None)
            else:
                self._current[what] = text
        told_before, self._tells = self._tells, self._role.hold()
        if not self._tells:
            return
        if not told_before:
            self._outbox.read()
            changes = (*self._current.items(), *changes)
        seen = self._look(changes, has_looked, is_end)
        self._outbox.add(seen)
        self._outbox.send(self._role.hold)

    def _look(self, changes: tuple[tuple[str, str | None], ...], has_looked: bool, is_end: bool) -> Seen:
        waiting = failed = uncollected = None
        # Where the spool is away or can't be read, there is nothing to see, and its trouble is among the changes.
        with suppress(OSError):
            if self._is_due("look", LOOK_S) or is_end:
                waiting, failed = self._waiting() | self._destinations() | self._processors(), self._failed()
            if self._watched.uncollected_after_s and (self._is_due("output", OUTPUT_LOOK_S) or is_end):
                uncollected = dict(self._uncollected())
        return Seen(changes, frozenset(self._current), has_looked, waiting, failed, uncollected, is_end)

    def _is_due(self, what: str, interval_s: float) -> bool:
        now_s = time.monotonic()
        if now_s < self._next_s[what]:
            return False
        self._next_s[what] = now_s + interval_s
        return True

    def _failed(self) -> dict[str, Found] | None:
        if not self._directories.of(State.FAILED).is_dir():
            return None
        found = {}
        for item in self._directories.items(State.FAILED):
            with suppress(FileNotFoundError):
                status = item.path.lstat()
                stamp = f"{status.st_ino}-{status.st_mtime_ns}"
                kind, resource = (
                    ("", "") if self._outbox.told.failed.told.get(item.name) == stamp else self._described(item)
                )
                found[item.name] = Found(stamp, kind, resource)
        return found

    def _described(self, item: Item) -> tuple[str, str]:
        try:
            marker = self._directories.read(item)
        except MarkerError:
            return MarkerError.__name__, ""
        kinds = [problem.kind for problem in marker.problems]
        return (kinds[0] if kinds else "unknown"), marker.key

    def _waiting(self) -> dict[str, str]:
        now_s, age_s = time.time(), self._watched.alert_age_s
        oldest: dict[str, float] = {}
        counts: Counter[str] = Counter()
        for state in (State.INCOMING, State.DEFERRED):
            for item in self._directories.items(state):
                with suppress(FileNotFoundError):
                    kind, since_s = self._waits(item)
                    if now_s - since_s > age_s:
                        counts[kind] += 1
                        oldest[kind] = min(since_s, oldest.get(kind, since_s))
        return {
            f"{WAITING}{kind}": f"{_they_wait(counts[kind])} for longer than {age_s:g} s ({kind}), the oldest since "
            f"{utc(oldest[kind])}; `autorthanc-spool list deferred incoming` says why"
            for kind in counts
        }

    def _destinations(self) -> dict[str, str]:
        """The destinations that markers wait for."""
        waiting: Counter[str] = Counter()
        for item in self._directories.items(State.DEFERRED):
            with suppress(FileNotFoundError, MarkerError):
                outcomes = self._directories.read(item).outcomes.values()
                sent = {name: one.problem for outcome in outcomes for name, one in outcome.forward.items()}
                waiting.update(name for name, one in sent.items() if one and one.is_a(DestinationUnavailable))
        return {
            f"{DESTINATION}{name}": f"{name} is down or hasn't confirmed yet; {_they_wait(count)} for it in deferred/"
            for name, count in waiting.items()
        }

    def _processors(self) -> dict[str, str]:
        """The processors that are stopped, hang or died, as far as one lives that can tell."""
        kinds = (Kind.SILENT, Kind.DIED)
        found = judge(Facts(processors(self._watched.spool)))
        return {one.about: str(one) for one in found if one.kind in kinds}

    def _waits(self, item: Item) -> tuple[str, float]:
        if item.state is State.INCOMING:
            # What a person moved back waits since then; only a rename renews this time.
            return "a processor", item.path.lstat().st_ctime
        try:
            marker = self._directories.read(item)
            return self._described(item)[0], datetime.strptime(marker.time, TIME_FORMAT).replace(tzinfo=UTC).timestamp()
        except (MarkerError, ValueError):
            return "unknown", item.path.lstat().st_ctime

    def _uncollected(self) -> Iterator[tuple[str, Found]]:
        yield from self._uncollected_in(self._watched.output, self._watched.output.iterdir())
        for root, names in self._watched.delivered().items():
            # A share has folders of others, too, and may be away.
            with suppress(OSError):
                yield from self._uncollected_in(root, (root / name for name in names))

    def _uncollected_in(self, root: Path, folders: Iterable[Path]) -> Iterator[tuple[str, Found]]:
        place = "" if root == self._watched.output else f"{root}/"
        for folder in folders:
            for owner, path in self._published(folder, folder) if folder.is_dir() else ():
                with suppress(FileNotFoundError):
                    status = path.lstat()
                    # Publishing is a rename, which sets this time.
                    if time.time() - status.st_ctime >= self._watched.uncollected_after_s:
                        yield f"{place}{folder.name} {owner}", Found(str(status.st_ino), folder.name, owner)

    def _published(self, rule: Path, folder: Path) -> Iterator[tuple[str, Path]]:
        """What lies in a rule's folder that the ledger knows, and in the folders that its names make."""
        ledger = Ledger(self._watched.spool / "ledger")
        for path in folder.iterdir():
            name = str(path.relative_to(rule))
            if owner := ledger.owner(rule.name, name) or ledger.owner(rule.name, name.removesuffix(".zip")):
                yield owner, path
            elif path.is_dir() and not path.is_symlink() and ".WORKING" not in name and name.count("/") < DEEPEST:
                yield from self._published(rule, path)


def _they_wait(count: int) -> str:
    return f"{counted(count, 'marker')} {agreeing(count, 'waits')}"
