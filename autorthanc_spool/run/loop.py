"""`run`: look, work, wait for the doorbell; until a signal, or, with `--once`, until there is nothing to do."""

from __future__ import annotations

import logging
import math
import time

from autorthanc_spool.core.counted import counted
from autorthanc_spool.core.errors import (
    Bug,
    Cause,
    ClaimLost,
    FolderMissing,
    OrthancUnavailable,
    SpoolError,
    SpoolUnavailable,
)
from autorthanc_spool.core.states import State
from autorthanc_spool.disk import durable
from autorthanc_spool.monitor import pause
from autorthanc_spool.monitor.observer import FiledMarker, Observer
from autorthanc_spool.run import announce
from autorthanc_spool.run.destinations import Destinations
from autorthanc_spool.run.doorbell import Doorbell
from autorthanc_spool.run.processor import Processor
from autorthanc_spool.run.prune import prune_daily
from autorthanc_spool.run.reconcile import Sweep, reconcile
from autorthanc_spool.run.tools import Tools
from autorthanc_spool.run.troubles import RECONCILIATION, SPOOL, Surroundings, Troubles
from autorthanc_spool.spool.directories import shown
from autorthanc_spool.spool.spool import Claim

log = logging.getLogger(__name__)

ORTHANC = "Orthanc"
PROGRAM = "the program"

# Something that came due a moment ago isn't looked for more often than this.
SHORTEST_WAIT_S = 0.5
# So many times in a row, what another machine replaced is looked at again, before it counts as trouble.
MOST_STALE = 20
# What markers may wait for that whoever called `run --once` has to know of.
_OUTSIDE = {Cause.AUDIT_LOG, Cause.DATABASE, Cause.FOLDER, Cause.OUTPUT, Cause.RULES, Cause.SPOOL}
# Pruning is due once a day; whether it is, is looked up this often.
PRUNE_INTERVAL_S = 600.0
# Reconciliation never takes more than this part of the time.
RECONCILE_SHARE = 0.01


class Runner:
    """One processor process."""

    def __init__(self, tools: Tools, observer: Observer | None = None) -> None:
        self._tools = tools
        self._processor = Processor(tools)
        self._observer = observer or Observer()
        self._troubles = Troubles(self._observer)
        self._surroundings = Surroundings(tools, self._troubles)
        self._destinations = Destinations(tools.spool, self._troubles)
        # Reconciliation is due at the first of these times, and never before the second.
        self._next_reconcile_s = 0.0
        self._rest_until_s = 0.0
        self._next_prune_s = 0.0
        self._worked_s = 0.0
        self._reported: set[str] = set()
        self._is_paused = False
        self._waits = False
        self._stale = 0
        self.failed = 0

    @property
    def waits(self) -> bool:
        """Whether something outside keeps markers waiting: the output, the spool, the audit log, a mounted folder."""
        return self._waits or self._is_paused or self._troubles.stops_work

    def run(self, doorbell: Doorbell, idle_exit_s: float | None = None) -> None:
        """Work until stopped, or until nothing came for so long."""
        self._worked_s = time.monotonic()
        while not self._tools.stop.is_set():
            has_more = self._pass()
            left_s = math.inf if idle_exit_s is None else self._idle_left_s(idle_exit_s)
            if left_s <= 0:
                log.info("nothing came for %g s: the processor ends", idle_exit_s)
                return
            doorbell.wait(0.0 if has_more else min(self._pause_s(), left_s))

    def _idle_left_s(self, idle_exit_s: float) -> float:
        try:
            waits = bool(self._tools.spool.directories.names(State.INCOMING))
        except OSError:
            waits = True
        if waits:
            # Something came, or may have come, and can't be worked on at the moment.
            self._worked_s = time.monotonic()
        return self._worked_s + idle_exit_s - time.monotonic()

    def run_once(self, doorbell: Doorbell) -> None:
        """Work until nothing is left to do. Raises OrthancUnavailable, SpoolUnavailable, FolderMissing."""
        self._tools.known_folders.check_spool(self._tools.spool.root)
        while not self._tools.stop.is_set():
            try:
                if self._is_done(doorbell):
                    return
            except ClaimLost:
                # What was lost is others' work now.
                continue
            except OSError as error:
                if self._looks_again(error):
                    continue
                reason = durable.passing_reason(error)
                if reason is None:
                    raise
                raise SpoolUnavailable(f"the spool can't be used: {reason}{self._place(error)}") from error

    def _is_done(self, doorbell: Doorbell) -> bool:
        """Look at everything and work on it; return whether nothing is left."""
        self._surroundings.look()
        self._destinations.look()
        self._tools.orthanc.answers()
        self._reconcile()
        if self._drain():
            self._stale = 0
            return False
        if not self._tools.spool.directories.is_resting():
            self._prune()
            return True
        # A file that may still be written to is judged when it has rested.
        doorbell.wait(self._tools.spool.directories.next_due_s() or SHORTEST_WAIT_S)
        return False

    def _pass(self) -> bool:
        """Look at everything, and work on what is due; return whether there is more to do at once."""
        try:
            return self._guarded_pass()
        except OrthancUnavailable as error:
            self._troubles.begin(ORTHANC, f"{error} (markers wait until it is back)")
        except (FolderMissing, SpoolUnavailable) as error:
            self._troubles.begin(SPOOL, f"{error}; markers wait until then")
        except ClaimLost as error:
            log.warning("%s: what was done under it is left to whoever has it now", error)
        except OSError as error:
            if self._looks_again(error):
                return True
            reason = durable.passing_reason(error) or f"{error.strerror}; fix it"
            text = f"the spool can't be used: {reason}{self._place(error)}; it is tried again"
            self._troubles.begin(SPOOL, text)
        except Exception as error:  # noqa: BLE001 - a mistake of ours in one place must not end the work everywhere
            bug = Bug(error)
            self._troubles.begin(PROGRAM, f"{bug}: {' < '.join(reversed(bug.traceback))}")
        return False

    def _guarded_pass(self) -> bool:
        self._tools.pulse.beat()
        self._surroundings.look_at_spool()
        self._surroundings.look()
        self._destinations.look()
        self._tools.orthanc.answers()
        if self._troubles.end(ORTHANC):
            # What was missed in the meantime is looked for now, as far as its share of the time allows.
            self._next_reconcile_s = self._rest_until_s
        try:
            self._reconcile()
        except (OrthancUnavailable, SpoolUnavailable):
            raise
        except SpoolError as error:
            # Other work doesn't wait for it.
            self._troubles.begin(RECONCILIATION, f"what was missed can't be looked for: {error}; it is tried again")
        has_more = self._drain()
        self._prune()
        self._troubles.end(PROGRAM)
        self._stale = 0
        return has_more

    def _looks_again(self, error: OSError) -> bool:
        """Whether another machine has replaced what was open here: whoever looks again sees what is there now."""
        self._stale += durable.is_gone(error)
        return durable.is_gone(error) and self._stale <= MOST_STALE

    def _place(self, error: OSError) -> str:
        # Paths below the spool hold no patient's name; others may.
        name, root = str(error.filename or ""), str(self._tools.spool.root)
        return f" ({name.removeprefix(root).lstrip('/')})" if name.startswith(f"{root}/") else ""

    def _reconcile(self) -> None:
        """Look for what was missed; at start, when Orthanc was away, and when it is time."""
        tools, begin_s = self._tools, time.monotonic()
        if begin_s < self._next_reconcile_s:
            return
        try:
            sweep = reconcile(tools.spool, tools.orthanc, tools.settings.stable_age_s, tools.clock())
        finally:
            took_s = time.monotonic() - begin_s
            self._rest_until_s = begin_s + took_s / RECONCILE_SHARE
            self._next_reconcile_s = max(begin_s + tools.settings.reconcile_interval_s, self._rest_until_s)
        if sweep:
            # Where it wasn't time yet, or another process does it, nothing is known of an end.
            self._troubles.end(RECONCILIATION)
            self._tell(sweep)
            # What it found out about the database is said before the work begins.
            self._surroundings.look_at_database()

    def _tell(self, sweep: Sweep) -> None:
        if sweep.left_alone is not None:
            alone = f"what was there before is left alone ({counted(sweep.left_alone, 'study')}; see `replay`)"
            more = f"; what has a marker is worked on ({counted(sweep.marked, 'study')})" if sweep.marked else ""
            log.info("first contact with this Orthanc: %s%s", alone, more)
        if sweep.markers:
            log.warning("%s missed, and done now: %s", counted(len(sweep.markers), "study"), ", ".join(sweep.markers))
        for problem in set(sweep.problems) - self._reported:
            log.error("%s", problem)
        self._reported = set(sweep.problems)

    def _drain(self) -> bool:
        """Work on what is due; return whether it broke off, to look at everything else, with more to do."""
        for item in self._tools.spool.recover():
            log.warning("%s was left by a process that died: it is tried again", shown(item.name))
        announce.recover(self._tools)
        self._observer.looked()
        if self._pauses():
            return False
        try:
            return self._work_through()
        finally:
            self._tools.spool.sync()

    def _work_through(self) -> bool:
        enough_s = time.monotonic() + self._tools.settings.poll_interval_s
        for claim in self._tools.spool.claims(self._processor.idle):
            if claim.is_idle:
                self._pass_over(claim)
            else:
                self._work(claim)
            # Asked before the next claim, which the generator makes when it goes on.
            if self._tools.stop.is_set() or self._pauses():
                return False
            if time.monotonic() > enough_s:
                return True
        return False

    def _work(self, claim: Claim) -> None:
        self._observer.claimed(claim)
        begin_s = time.monotonic()
        filed, work = self._processor.process(claim)
        self._worked_s = time.monotonic()
        took_s = self._worked_s - begin_s
        self._observer.filed(FiledMarker(claim, filed, work.outcomes, work.error, took_s))
        self.failed += filed is not None and filed.state is State.FAILED
        self._surroundings.learn(work)
        self._destinations.learn(work)
        self._waits |= any(problem.wakes_on in _OUTSIDE for problem in work.problems)
        if isinstance(work.stopped, OrthancUnavailable):
            raise work.stopped
        if any(problem.wakes_on is Cause.SPOOL for problem in work.problems):
            raise SpoolUnavailable(str(work.error))

    def _pass_over(self, claim: Claim) -> None:
        if self._processor.pass_over(claim):
            self._observer.passed_over(claim)
        self._worked_s = time.monotonic()

    def _pauses(self) -> bool:
        """Whether a person wants nothing to be claimed; say so once, and once when it is over."""
        found = pause.read(self._tools.spool.root)
        if found and not self._is_paused:
            reason = f": {found.reason}" if found.reason else ""
            log.warning("paused%s; nothing is claimed until `autorthanc-spool resume`", reason)
        elif self._is_paused and not found:
            log.info("the pause is over: work goes on")
        self._is_paused = found is not None
        return self._is_paused

    def _prune(self) -> None:
        """Remove what is no longer needed, once a day, and say what."""
        now_s = time.monotonic()
        if now_s < self._next_prune_s:
            return
        self._next_prune_s = now_s + PRUNE_INTERVAL_S
        pruned = prune_daily(self._tools)
        for removed in pruned.removed if pruned else ():
            log.info("removed %d %s: %s", removed.number, removed.what, removed.where)
        for sentence in pruned.left if pruned else ():
            log.warning("%s", sentence)

    def _pause_s(self) -> float:
        poll_s = self._tools.settings.poll_interval_s
        if self._troubles.stops_work or self._is_paused:
            return poll_s
        try:
            due_s = self._tools.spool.directories.next_due_s()
        except OSError:
            # The next look says what is wrong.
            return SHORTEST_WAIT_S
        return poll_s if due_s is None else min(poll_s, max(due_s, SHORTEST_WAIT_S))
