"""What the work stands on, and what is wrong with it at the moment: spool, rules, audit log, output.

Each trouble gets one log line when it begins and one when it ends. When it ends, the markers that it kept waiting
become due at once, whatever their back-off says.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from autorthanc_spool.core import naming
from autorthanc_spool.core.errors import (
    AuditUnavailable,
    Cause,
    FolderMissing,
    MarkerError,
    OutputUnavailable,
    Unavailable,
)
from autorthanc_spool.core.outcome import Word
from autorthanc_spool.core.states import State
from autorthanc_spool.deidentify.pseudonym_table import signature
from autorthanc_spool.run.plan import Work
from autorthanc_spool.run.rulebook import RuleSet
from autorthanc_spool.run.tools import Tools
from autorthanc_spool.spool.directories import Directories

log = logging.getLogger(__name__)

SPOOL = "the spool"
RULES = "the rules"
AUDIT_LOG = "the audit log"
OUTPUT = "the output"

# What may have been fixed while no processor ran.
_OUTSIDE = set(Cause) - {Cause.DELETION}
_OF_OUTPUT = {Cause.FOLDER, Cause.OUTPUT}


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


@dataclass
class _Lack:
    """Why nothing can be published: in which rule's folder, and how much room is wanted there.

    `was_found` says that looking at the folder shows the trouble, so that looking will show its end too. What only
    shows in writing, a quota for instance, is over when something was published.
    """

    folder: str
    needed_bytes: int
    was_found: bool = False

    @property
    def shows(self) -> bool:
        """Whether looking at the folder will show the end of it."""
        return self.was_found or self.needed_bytes > 0


def _try_reading(directories: Directories) -> None:
    """Read all that a run would. Raises OSError where the trouble goes on: it is said once, not at each look."""
    for state in (State.INCOMING, State.PROCESSING, State.DEFERRED):
        for item in directories.items(state):
            with suppress(FileNotFoundError, MarkerError):
                directories.read(item)


class Surroundings:
    """Looked at before each drain; learns from what came of each marker."""

    def __init__(self, tools: Tools, troubles: Troubles) -> None:
        self._tools = tools
        self._troubles = troubles
        self._broken: dict[str, str] = {}
        self._lack: _Lack | None = None
        self._waited_for: dict[Path, tuple[int, ...]] | None = None
        self._is_first = True

    def look_at_spool(self) -> None:
        """Raise when the spool isn't there, or when it was in trouble and can't be written yet."""
        spool = self._tools.spool
        self._tools.roots.check_spool(spool.root)
        spool.directories.lay_out(self._tools.owner)
        if SPOOL in self._troubles.current:
            spool.try_writing()
            _try_reading(spool.directories)
            # Whatever stopped the work: it can begin again.
            self._troubles.end(SPOOL)
            self._is_first = True

    def look(self) -> None:
        """Look at the rest."""
        if self._is_first:
            self._tools.spool.make_due(_OUTSIDE)
            self._is_first = False
        self._look_at_rules()
        self._look_at_audit_log()

    def learn(self, work: Work) -> None:
        """Take from what came of a marker how it stands with the output."""
        for rule, outcome in work.outcomes.items():
            problem = outcome.problem
            if problem and problem.wakes_on in _OF_OUTPUT:
                self._troubles.begin(OUTPUT, f"{problem.text}; what would be published waits")
                self._lack = _Lack(naming.rule_folder(rule), outcome.needed_bytes)
            elif outcome.word == Word.PUBLISHED and self._lack and not self._lack.shows:
                self._end_output_trouble()

    def _look_at_rules(self) -> None:
        """Read the rules, make the folders of the active ones, and say what changed for better or worse."""
        tools = self._tools
        try:
            tools.roots.check("rules", tools.settings.rules_path)
            rules = tools.rulebook.read()
        except Unavailable as error:
            self._troubles.begin(RULES, f"{error}; markers wait until it is back")
            return
        if self._troubles.end(RULES):
            tools.spool.make_due({Cause.FOLDER, Cause.RULES})
        self._tell_broken(rules)
        self._wake_anonymised(rules)
        self._look_at_output(rules)

    def _look_at_audit_log(self) -> None:
        try:
            self._tools.audit.check()
        except AuditUnavailable as error:
            self._troubles.begin(AUDIT_LOG, str(error))
            return
        if self._troubles.end(AUDIT_LOG):
            self._tools.spool.make_due({Cause.AUDIT_LOG})

    def _tell_broken(self, rules: RuleSet) -> None:
        broken = {one.name: str(one.error) for one in rules.broken}
        for name in sorted(broken.keys() - self._broken.keys()):
            log.error("a rule file is broken, fix it: %s", broken[name])
        fixed = self._broken.keys() - broken.keys()
        for name in sorted(fixed):
            log.info("the rule %s is all right again, or gone", name)
        self._broken = broken
        if fixed:
            self._tools.spool.make_due({Cause.RULE, Cause.DELETION})

    def _wake_anonymised(self, rules: RuleSet) -> None:
        """When a pseudonym table or the key has changed, what waits for them is due."""
        settings = self._tools.settings
        names = {rule.anonymise.pseudonym_table for rule in rules.rules if rule.anonymise}
        watched = [settings.pseudonym_key_file, *(settings.rules_path / name for name in names if name)]
        found = {path: signature(path) for path in watched}
        if self._waited_for not in (None, found):
            self._tools.spool.make_due({Cause.PSEUDONYMS})
        self._waited_for = found

    def _look_at_output(self, rules: RuleSet) -> None:
        tools = self._tools
        folders = [rule.folder for rule in rules.rules if rule.is_active]
        lack = self._lack or _Lack("", 0)
        try:
            if folders:
                tools.roots.check("output", tools.settings.output_path)
            for folder in folders:
                tools.output.prepare(folder)
                tools.output.check_room(folder, lack.needed_bytes if folder == lack.folder else 0)
        except (OutputUnavailable, FolderMissing) as error:
            self._troubles.begin(OUTPUT, f"{error}; what would be published waits")
            self._lack = _Lack(lack.folder, lack.needed_bytes, was_found=True)
            return
        if lack.shows:
            self._end_output_trouble()

    def _end_output_trouble(self) -> None:
        self._lack = None
        if self._troubles.end(OUTPUT):
            self._tools.spool.make_due(_OF_OUTPUT)
