"""`run`: look, work, wait for the doorbell; until a signal, or, with `--once`, until there is nothing to do."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from pathlib import Path

from autorthanc_spool import naming
from autorthanc_spool.deidentify.pseudonym_table import signature
from autorthanc_spool.errors import (
    AuditUnavailable,
    FolderMissing,
    OrthancUnavailable,
    OutputUnavailable,
    SpoolError,
    Unavailable,
)
from autorthanc_spool.exporter import Tools
from autorthanc_spool.lifecycle import State
from autorthanc_spool.processor import Processor
from autorthanc_spool.prune import prune_daily
from autorthanc_spool.reconcile import reconcile
from autorthanc_spool.rulebook import RuleSet
from autorthanc_spool.watch import Doorbell

log = logging.getLogger(__name__)

# Something that came due a moment ago isn't looked for more often than this.
SHORTEST_WAIT_S = 0.5
# Pruning is due once a day; whether it is, is looked up this often.
PRUNE_INTERVAL_S = 600.0
# Reconciliation never takes more than this part of the time.
RECONCILE_SHARE = 0.01


@dataclass
class Troubles:
    """What is wrong at the moment outside this program: one log line when it begins, one when it ends."""

    current: dict[str, str] = field(default_factory=dict)

    def begin(self, what: str, text: str) -> None:
        """Note a trouble."""
        if what not in self.current:
            log.error("%s", text)
        self.current[what] = text

    def end(self, what: str) -> bool:
        """Note that it is over; tell whether it was there."""
        if self.current.pop(what, None) is None:
            return False
        log.info("%s: all right again", what)
        return True


class Runner:
    """One processor process."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._processor = Processor(tools)
        self._troubles = Troubles()
        self._broken: dict[str, str] = {}
        self._next_reconcile_s = 0.0
        self._waited_for: dict[Path, tuple[int, ...]] | None = None
        self._next_prune_s = 0.0
        self.failed = 0

    def run(self, doorbell: Doorbell) -> None:
        """Work until stopped."""
        while not self._tools.stop.is_set():
            self._pass()
            doorbell.wait(self._pause_s())

    def run_once(self, doorbell: Doorbell) -> None:
        """Work until nothing is left to do. Raises OrthancUnavailable."""
        while not self._tools.stop.is_set():
            self._look_at_rules()
            self._look_at_audit_log()
            self._tools.orthanc.system()
            self._reconcile(at_once=False)
            self._drain()
            if not self._tools.spool.is_resting():
                self._prune()
                return
            # A file that may still be written to is judged when it has rested.
            doorbell.wait(self._tools.spool.next_due_s() or SHORTEST_WAIT_S)

    def _pass(self) -> None:
        try:
            self._tools.roots.check("spool", self._tools.spool.root)
            self._tools.spool.lay_out(self._tools.owner)
            self._look_at_rules()
            self._look_at_audit_log()
            self._tools.orthanc.system()
            was_away = self._troubles.end("Orthanc")
            self._troubles.end("the spool")
            self._reconcile(at_once=was_away)
            self._drain()
            self._prune()
        except OrthancUnavailable as error:
            self._troubles.begin("Orthanc", f"{error}; markers wait until it is back")
        except FolderMissing as error:
            self._troubles.begin("the spool", str(error))
        except SpoolError as error:
            self._troubles.begin("Orthanc", f"{error}; it is tried again")
        except OSError as error:
            self._troubles.begin(
                "the spool", f"the spool can't be worked in: {error.strerror}; mend it, it is tried again"
            )

    def _reconcile(self, *, at_once: bool) -> None:
        """Look for what was missed; at start, when Orthanc was away, and when it is time."""
        tools, begin_s = self._tools, time.monotonic()
        if begin_s < self._next_reconcile_s and not at_once:
            return
        sweep = reconcile(tools.spool, tools.orthanc, tools.settings.stable_age_s, tools.clock())
        took_s = time.monotonic() - begin_s
        self._next_reconcile_s = begin_s + max(tools.settings.reconcile_interval_s, took_s / RECONCILE_SHARE)
        if sweep and sweep.is_first:
            log.info("first contact with Orthanc: its %d studies are left alone (`replay` is for them)", sweep.studies)
        if sweep and sweep.markers:
            log.warning("%d studies were missed, and are done now: %s", len(sweep.markers), ", ".join(sweep.markers))

    def _drain(self) -> None:
        for item in self._tools.spool.recover():
            log.warning("%s was left by a process that died: it is tried again", item.name)
        for claim in self._tools.spool.claims():
            filed = self._processor.process(claim)
            self.failed += filed is not None and filed.state is State.FAILED
            if self._tools.stop.is_set():
                return

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

    def _look_at_rules(self) -> None:
        """Read the rules, make the folders of the active ones, and say what changed for better or worse."""
        tools = self._tools
        try:
            tools.roots.check("rules", tools.settings.rules_path)
            rules = tools.rulebook.read()
        except Unavailable as error:
            self._troubles.begin("the rules", f"{error}; markers wait until it is back")
            return
        if self._troubles.end("the rules"):
            tools.spool.make_due({"FolderMissing", "Unavailable"})
        self._tell_broken(rules)
        self._wake_anonymised(rules)
        self._prepare(rules)

    def _look_at_audit_log(self) -> None:
        try:
            self._tools.audit.check()
        except AuditUnavailable as error:
            self._troubles.begin("the audit log", str(error))
            return
        if self._troubles.end("the audit log"):
            self._tools.spool.make_due({"AuditUnavailable"})

    def _tell_broken(self, rules: RuleSet) -> None:
        broken = {one.name: str(one.error) for one in rules.broken}
        for name in sorted(broken.keys() - self._broken.keys()):
            log.error("a rule file is broken, mend it: %s", broken[name])
        mended = self._broken.keys() - broken.keys()
        for name in sorted(mended):
            log.info("the rule %s is all right again, or gone", name)
        self._broken = broken
        if mended:
            self._tools.spool.make_due({"RuleUnavailable"})

    def _wake_anonymised(self, rules: RuleSet) -> None:
        """When a pseudonym table or the key has changed, what waits for them is due."""
        settings = self._tools.settings
        names = {rule.anonymise.pseudonym_table for rule in rules.rules if rule.anonymise}
        watched = [settings.pseudonym_key_file, *(settings.rules_path / name for name in names if name)]
        found = {path: signature(path) for path in watched}
        if self._waited_for not in (None, found):
            self._tools.spool.make_due({"KeyUnavailable", "PatientNotListed", "PseudonymTableInvalid"})
        self._waited_for = found

    def _prepare(self, rules: RuleSet) -> None:
        tools = self._tools
        active = [rule for rule in rules.rules if rule.is_active]
        if not active:
            return
        try:
            tools.roots.check("output", tools.settings.output_path)
            for rule in active:
                tools.output.prepare(naming.component(rule.name))
        except (OutputUnavailable, FolderMissing) as error:
            self._troubles.begin("the output", f"{error}; what would be published waits")
            return
        if self._troubles.end("the output"):
            tools.spool.make_due({"OutputUnavailable", "FolderMissing"})

    def _pause_s(self) -> float:
        poll_s = self._tools.settings.poll_interval_s
        if self._troubles.current:
            return poll_s
        due_s = self._tools.spool.next_due_s()
        return poll_s if due_s is None else min(poll_s, max(due_s, SHORTEST_WAIT_S))
