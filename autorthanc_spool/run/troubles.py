"""What the work depends on, and what is wrong with it at the moment: spool, rules, audit log, pseudonym key, output.

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
    KeyUnavailable,
    MarkerError,
    OutputConflict,
    OutputUnavailable,
    Unavailable,
)
from autorthanc_spool.core.outcome import Outcome, Word
from autorthanc_spool.core.states import State
from autorthanc_spool.deidentify.pseudonym_table import signature
from autorthanc_spool.deidentify.region_files import RegionFiles
from autorthanc_spool.monitor.notice_plan import DESTINATION
from autorthanc_spool.monitor.observer import Observer
from autorthanc_spool.output.folders import output_name
from autorthanc_spool.rules.pixel_regions import FOLDER
from autorthanc_spool.run.first_contact import Baseline, BaselineError
from autorthanc_spool.run.plan import Work
from autorthanc_spool.run.rulebook import RuleSet
from autorthanc_spool.run.tools import Tools
from autorthanc_spool.spool.directories import Directories

log = logging.getLogger(__name__)

SPOOL = "the spool"
RULES = "the rules"
AUDIT_LOG = "the audit log"
KEY = "the pseudonym key"
DATABASE = "another database"
RECONCILIATION = "reconciliation"
FOLDER_OF_RULE = "the output's folder of the rule "

# Troubles that hold up some work and leave the rest alone.
_PARTIAL = (DESTINATION, KEY, DATABASE, RECONCILIATION, FOLDER_OF_RULE)

# What may have been fixed while no processor ran.
_OUTSIDE = set(Cause) - {Cause.DELETION}
_OF_OUTPUT = {Cause.FOLDER, Cause.OUTPUT}


@dataclass
class Troubles:
    """What is wrong at the moment outside this program: one log line when it begins, one when it ends."""

    observer: Observer
    current: dict[str, str] = field(default_factory=dict)

    @property
    def stops_work(self) -> bool:
        """Whether work or publishing stands still, and not only what some rules or studies need."""
        return any(not what.startswith(_PARTIAL) for what in self.current)

    def begin(self, what: str, text: str) -> None:
        """Note a trouble."""
        if what not in self.current:
            log.warning("%s", text)
            self.observer.trouble_began(what, text)
        self.current[what] = text

    def end(self, what: str) -> bool:
        """Note that it is over; return whether it was there."""
        if self.current.pop(what, None) is None:
            return False
        log.info("%s: all right again", what)
        self.observer.trouble_ended(what)
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
    """Looked at before each drain; learns from the outcomes of each marker."""

    def __init__(self, tools: Tools, troubles: Troubles) -> None:
        self._tools = tools
        self._troubles = troubles
        self._broken: dict[str, str] = {}
        # By root, as the ledger names them; which rule delivers to which.
        self._lacks: dict[str, _Lack] = {}
        self._roots: dict[str, str] = {}
        self._waited_for: dict[Path, object] | None = None
        # The key file, as it was when a marker had to wait for the key.
        self._refused_key: object = None
        # The folders of rules in whose place something else is.
        self._blocked: set[str] = set()
        self._hours: dict[str, str] = {}
        self._is_first = True

    def look_at_spool(self) -> None:
        """Raise when the spool isn't there, or when it was in trouble and can't be written yet."""
        spool = self._tools.spool
        self._tools.known_folders.check_spool(spool.root)
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
        self.look_at_database()

    def look_at_database(self) -> None:
        """Say that Orthanc has another database than before, until that is back, or a person confirms the new one."""
        kept = Baseline(self._tools.spool.root / "state")
        # Reconciliation says it when the file can't be understood.
        with suppress(BaselineError):
            if former := kept.former():
                self._troubles.begin(
                    DATABASE,
                    f"Orthanc at {self._tools.orthanc.url} has another database than until {former.time}; what it "
                    "doesn't have waits in deferred/. See that ORTHANC_URL is right and the former database is in its "
                    f"place; where the new one is meant, remove {kept.confirmed_by_removing}",
                )
            elif self._troubles.end(DATABASE):
                self._tools.spool.make_due({Cause.DATABASE})

    def learn(self, work: Work) -> None:
        """Take the state of the output, and of the pseudonym key, from the outcomes of a marker."""
        for rule, outcome in work.outcomes.items():
            self._learn_of_key(outcome)
            problem, root = outcome.problem, self._roots.get(rule, "")
            lack = self._lacks.get(root)
            if problem and problem.wakes_on in _OF_OUTPUT:
                self._troubles.begin(output_name(root), f"{problem.text}; what would be published waits")
                self._lacks[root] = _Lack(naming.rule_folder(rule), outcome.needed_bytes)
            elif outcome.word == Word.PUBLISHED and lack and not lack.shows:
                self._end_output_trouble(root)

    def _learn_of_key(self, outcome: Outcome) -> None:
        """Where `state/` doesn't name the key, only whoever needs it finds that it isn't the right one."""
        for one in (outcome, *outcome.forward.values()):
            if one.problem and one.problem.is_a(KeyUnavailable):
                self._begin_key_trouble(one.problem.text)
                self._refused_key = (self._waited_for or {}).get(self._tools.settings.pseudonym_key_file)

    def _look_at_rules(self) -> None:
        """Read the rules, make the folders of the active ones, and say what changed for better or worse."""
        tools = self._tools
        try:
            tools.known_folders.check("rules", tools.settings.rules_path)
            rules = tools.rulebook.read()
        except Unavailable as error:
            self._troubles.begin(RULES, f"{error}; markers wait until it is back")
            return
        if self._troubles.end(RULES):
            tools.spool.make_due({Cause.FOLDER, Cause.RULES})
        self._tell_broken(rules)
        self._wake_anonymised(rules)
        self._look_at_key(rules)
        self._wake_for_hours(rules)
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
        # A file that was changed and is still broken is said again; an editor may have written it in two steps.
        for name in sorted(name for name, text in broken.items() if text != self._broken.get(name)):
            log.error("a rule file is broken; fix it: %s", broken[name])
            if name in self._broken:
                continue
            text = f"the file of the rule {name} is broken; `autorthanc-spool check` says where"
            self._troubles.observer.trouble_began(f"the rule {name}", text)
        fixed = self._broken.keys() - broken.keys()
        for name in sorted(fixed):
            log.info("the rule %s is all right again, or gone", name)
            self._troubles.observer.trouble_ended(f"the rule {name}")
        self._broken = broken
        if fixed:
            self._tools.spool.make_due({Cause.RULE, Cause.DELETION})

    def _wake_anonymised(self, rules: RuleSet) -> None:
        """When a pseudonym table, the key, or a file of pixel regions has changed, what waits for them is due."""
        settings = self._tools.settings
        names = {rule.anonymise.pseudonym_table for rule in rules.rules if rule.anonymise}
        watched = [settings.pseudonym_key_file, *(settings.rules_path / name for name in names if name)]
        found: dict[Path, object] = {path: signature(path) for path in watched}
        if any(rule.anonymise and rule.anonymise.burned_in == "redact" for rule in rules.rules):
            found[settings.rules_path / FOLDER] = RegionFiles(settings.rules_path).signature()
        if self._waited_for not in (None, found):
            self._tools.spool.make_due({Cause.PSEUDONYMS, Cause.PIXEL_REGIONS})
        self._waited_for = found

    def _look_at_key(self, rules: RuleSet) -> None:
        """Say that what is to be anonymised has to wait for the key, before anything does, and when that is over."""
        is_needed = any(rule.is_active and rule.anonymise for rule in rules.rules)
        complaint = self._tools.anonymiser.key_complaint() if is_needed else ""
        found = (self._waited_for or {}).get(self._tools.settings.pseudonym_key_file)
        if complaint:
            self._begin_key_trouble(complaint)
        elif (not is_needed or found != self._refused_key) and self._troubles.end(KEY):
            self._tools.spool.make_due({Cause.PSEUDONYMS})

    def _begin_key_trouble(self, text: str) -> None:
        self._troubles.begin(KEY, f"{text}; what is to be anonymised waits in deferred/ until then")

    def _wake_for_hours(self, rules: RuleSet) -> None:
        """When the hours of a rule were edited, what waits for them is due."""
        found = {rule.name: str(rule.between) for rule in rules.rules}
        if any(found[name] != hours for name, hours in self._hours.items() if name in found):
            self._tools.spool.make_due({Cause.RULE})
        self._hours = found

    def _look_at_output(self, rules: RuleSet) -> None:
        self._roots = {rule.name: rule.deliver for rule in rules.rules}
        folders: dict[str, list[str]] = {"": []}
        for rule in rules.rules:
            if rule.is_active:
                folders.setdefault(rule.deliver, []).append(rule.folder)
        for root in self._lacks.keys() - folders.keys():
            # No rule delivers there now.
            self._end_output_trouble(root)
        blocked: dict[str, str] = {}
        for root, names in folders.items():
            self._look_at_root(root, names, blocked)
        for folder in self._blocked - blocked.keys():
            self._troubles.end(f"{FOLDER_OF_RULE}{folder}")
        for folder, text in blocked.items():
            more = "; then requeue what has failed because of it"
            self._troubles.begin(f"{FOLDER_OF_RULE}{folder}", f"{text}{more}")
        self._blocked = set(blocked)

    def _look_at_root(self, root: str, folders: list[str], blocked: dict[str, str]) -> None:
        """Look at a root, and at the rules' folders in it; note those where something else is, and why."""
        lack = self._lacks.get(root, _Lack("", 0))
        try:
            if folders:
                output = self._tools.places.at(root)
                for folder in folders:
                    output.prepare(folder)
                    try:
                        output.check_room(folder, lack.needed_bytes if folder == lack.folder else 0)
                    except OutputConflict as error:
                        # It is in the way of this rule alone.
                        blocked[folder] = str(error)
        except (OutputUnavailable, FolderMissing) as error:
            self._troubles.begin(output_name(root), f"{error}; what would be published waits")
            self._lacks[root] = _Lack(lack.folder, lack.needed_bytes, was_found=True)
            return
        if lack.shows:
            self._end_output_trouble(root)

    def _end_output_trouble(self, root: str) -> None:
        self._lacks.pop(root, None)
        if self._troubles.end(output_name(root)):
            self._tools.spool.make_due(_OF_OUTPUT)
