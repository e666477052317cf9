"""`run`: look, work, wait for the doorbell; until a signal, or, with `--once`, until there is nothing to do."""

from __future__ import annotations

import logging
import time

from autorthanc_spool.core.errors import Bug, Cause, FolderMissing, OrthancUnavailable, SpoolError, SpoolUnavailable
from autorthanc_spool.core.states import State
from autorthanc_spool.disk import durable
from autorthanc_spool.run.doorbell import Doorbell
from autorthanc_spool.run.processor import Processor
from autorthanc_spool.run.prune import prune_daily
from autorthanc_spool.run.reconcile import Sweep, reconcile
from autorthanc_spool.run.tools import Tools
from autorthanc_spool.run.troubles import SPOOL, Surroundings, Troubles

log = logging.getLogger(__name__)

ORTHANC = "Orthanc"
RECONCILIATION = "reconciliation"
PROGRAM = "the program"

# Something that came due a moment ago isn't looked for more often than this.
SHORTEST_WAIT_S = 0.5
# So many times in a row, `run --once` looks again at what another host replaced.
MOST_STALE = 20
# What markers may wait for that whoever called `run --once` has to know of.
_OUTSIDE = {Cause.AUDIT_LOG, Cause.FOLDER, Cause.OUTPUT, Cause.RULES, Cause.SPOOL}
# Pruning is due once a day; whether it is, is looked up this often.
PRUNE_INTERVAL_S = 600.0
# Reconciliation never takes more than this part of the time.
RECONCILE_SHARE = 0.01


class Runner:
    """One processor process."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._processor = Processor(tools)
        self._troubles = Troubles()
        self._surroundings = Surroundings(tools, self._troubles)
        # Reconciliation is due at the first of these times, and never before the second.
        self._next_reconcile_s = 0.0
        self._rest_until_s = 0.0
        self._next_prune_s = 0.0
        self._told: set[str] = set()
        self._waits = False
        self.failed = 0

    @property
    def waits(self) -> bool:
        """Whether something outside keeps markers waiting: the output, the spool, the audit log, a mounted folder."""
        return self._waits or bool(self._troubles.current)

    def run(self, doorbell: Doorbell) -> None:
        """Work until stopped."""
        while not self._tools.stop.is_set():
            has_more = self._pass()
            doorbell.wait(0.0 if has_more else self._pause_s())

    def run_once(self, doorbell: Doorbell) -> None:
        """Work until nothing is left to do. Raises OrthancUnavailable, SpoolUnavailable, FolderMissing."""
        self._tools.roots.check_spool(self._tools.spool.root)
        stale = 0
        while not self._tools.stop.is_set():
            try:
                if self._is_done(doorbell):
                    return
            except OSError as error:
                # On a network file system, another host has replaced what was open here: whoever looks again sees it.
                stale += durable.is_gone(error)
                if durable.is_gone(error) and stale <= MOST_STALE:
                    continue
                reason = durable.passing_reason(error)
                if reason is None:
                    raise
                raise SpoolUnavailable(f"the spool can't be used: {reason}{self._place(error)}") from error

    def _is_done(self, doorbell: Doorbell) -> bool:
        """Look at everything and work on it; tell whether nothing is left."""
        self._surroundings.look()
        self._tools.orthanc.answers()
        self._reconcile()
        if self._drain():
            return False
        if not self._tools.spool.directories.is_resting():
            self._prune()
            return True
        # A file that may still be written to is judged when it has rested.
        doorbell.wait(self._tools.spool.directories.next_due_s() or SHORTEST_WAIT_S)
        return False

    def _pass(self) -> bool:
        """Look at everything, and work on what is due; tell whether there is more to do at once."""
        try:
            return self._guarded_pass()
        except OrthancUnavailable as error:
            self._troubles.begin(ORTHANC, f"{error}; markers wait until it is back")
        except (FolderMissing, SpoolUnavailable) as error:
            self._troubles.begin(SPOOL, f"{error}; markers wait until then")
        except OSError as error:
            reason = durable.passing_reason(error) or f"{error.strerror}; fix it"
            text = f"the spool can't be worked in: {reason}{self._place(error)}; it is tried again"
            self._troubles.begin(SPOOL, text)
        except Exception as error:  # noqa: BLE001 - a mistake of ours in one place must not end the work everywhere
            bug = Bug(error)
            self._troubles.begin(PROGRAM, f"{bug}: {' < '.join(reversed(bug.traceback))}")
        return False

    def _guarded_pass(self) -> bool:
        self._surroundings.look_at_spool()
        self._surroundings.look()
        self._tools.orthanc.answers()
        if self._troubles.end(ORTHANC):
            # What was missed in the meantime is looked for now, as far as its share of the time allows.
            self._next_reconcile_s = self._rest_until_s
        try:
            self._reconcile()
            self._troubles.end(RECONCILIATION)
        except (OrthancUnavailable, SpoolUnavailable):
            raise
        except SpoolError as error:
            # Other work doesn't wait for it.
            self._troubles.begin(RECONCILIATION, f"what was missed can't be looked for: {error}; it is tried again")
        has_more = self._drain()
        self._prune()
        self._troubles.end(PROGRAM)
        return has_more

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
            self._tell(sweep)

    def _tell(self, sweep: Sweep) -> None:
        if sweep.left_alone is not None:
            more = f"; {sweep.marked} more have markers, and are worked on" if sweep.marked else ""
            text = "first contact with this Orthanc: %d studies were there before and are left alone (see `replay`)%s"
            log.info(text, sweep.left_alone, more)
        if sweep.markers:
            log.warning("%d studies were missed, and are done now: %s", len(sweep.markers), ", ".join(sweep.markers))
        for problem in set(sweep.problems) - self._told:
            log.error("%s", problem)
        self._told = set(sweep.problems)

    def _drain(self) -> bool:
        """Work on what is due; tell whether it broke off, to look at everything else, with more to do."""
        for item in self._tools.spool.recover():
            log.warning("%s was left by a process that died: it is tried again", item.name)
        enough_s = time.monotonic() + self._tools.settings.poll_interval_s
        for claim in self._tools.spool.claims():
            filed, work = self._processor.process(claim)
            self.failed += filed is not None and filed.state is State.FAILED
            self._surroundings.learn(work)
            self._waits |= any(problem.wakes_on in _OUTSIDE for problem in work.problems)
            if any(problem.wakes_on is Cause.SPOOL for problem in work.problems):
                raise SpoolUnavailable(str(work.error))
            if self._tools.stop.is_set():
                return False
            if time.monotonic() > enough_s:
                return True
        return False

    def _prune(self) -> None:
        """Remove what nobody needs any more, once a day, and say what."""
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
        if self._troubles.current:
            return poll_s
        due_s = self._tools.spool.directories.next_due_s()
        return poll_s if due_s is None else min(poll_s, max(due_s, SHORTEST_WAIT_S))
