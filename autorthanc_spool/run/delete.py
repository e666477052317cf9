"""DeleteFromOrthanc: the last step of a run takes from Orthanc what was exported, once it is no longer needed there.

*When.* Nothing is left to do for the *family*, the study and all its series: it is stable, no other marker of it waits,
failed or is on hold, and no rule would have work on it. This is judged while the locks of the whole family are held.

*What.* The stored files whose export the ledger holds, and nothing else: each is looked at once more before it goes.
Orthanc can't be asked to delete a file only if it is still the same; what replaces one in the milliseconds between the
two requests goes with it.

*What a crash can't break.* Before the first file goes, the ledger knows of all of them (`Record.gone`), so that what is
left of the study is never taken for something new and published in the place of the whole; and it knows the outputs
that hold them (`Record.sealed`), which are never replaced from then on. The records of the others are written first,
then that of the run, with the `deletion`. It leaves the record in the same write that owes the line to the audit log,
when all is done, or when whoever comes after a crash has looked what is gone. The rest goes only if all of the above
still holds: rules, markers and files may be others by then.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from itertools import takewhile
from typing import Any

from autorthanc_spool.core import naming
from autorthanc_spool.core.dicom import Instance, Level, Resource, resource_key
from autorthanc_spool.core.errors import (
    DeletionWaits,
    Interrupted,
    MarkerError,
    OrthancFault,
    StillArriving,
)
from autorthanc_spool.core.marker import new as new_marker
from autorthanc_spool.core.outcome import Deleted
from autorthanc_spool.core.record import Deletion, Record
from autorthanc_spool.core.states import State
from autorthanc_spool.disk.locks import ResourceLock
from autorthanc_spool.orthanc.answers import instance_order, parse_last_update
from autorthanc_spool.rules import Rule
from autorthanc_spool.run import plan
from autorthanc_spool.run.planner import Planner, deciding
from autorthanc_spool.run.rulebook import RuleSet
from autorthanc_spool.run.tools import Tools
from autorthanc_spool.spool import audit
from autorthanc_spool.spool.directories import Item
from autorthanc_spool.spool.ledger import HeldRecord
from autorthanc_spool.spool.spool import Claim

log = logging.getLogger(__name__)

# Another marker of the family is about to be worked on.
SOON_S = 5.0
# A person is waited for; when the marker that is in the way succeeds, this one is woken before.
LATER_S = 600.0
_IN_THE_WAY = {
    State.INCOMING: SOON_S, State.PROCESSING: SOON_S, State.DEFERRED: SOON_S, State.FAILED: LATER_S,
    State.HOLD: LATER_S,
}  # fmt: skip
_TRIES = 3


class _Family:
    """A study and its series, all locked: the records of all, by key."""

    def __init__(self, claim: Claim) -> None:
        self.claim = claim
        self.records = {claim.marker.key: claim.record}
        self._locks: list[ResourceLock] = []

    def add(self, key: str, lock: ResourceLock, record: HeldRecord) -> None:
        """Add one more."""
        self.records[key] = record
        self._locks.append(lock)

    def check(self) -> None:
        """Make sure, before something is deleted, that all of it is still ours. Raises ClaimLost, MarkerTaken."""
        self.claim.check()
        for lock in self._locks:
            lock.check()


class Deleter:
    """Deletes, under the locks of a study and all its series."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._ledger = tools.spool.ledger

    def delete(self, claim: Claim, rule: Rule, resource: Resource) -> Deleted:
        """Delete what the rule exported of the resource. Raises DeletionWaits, StillArriving, OrthancFault."""
        orthanc = self._tools.orthanc
        is_study = resource.level is Level.STUDY
        study_id = resource.resource_id if is_study else orthanc.parent_study(resource.resource_id)
        keys = _keys(orthanc.resource(Level.STUDY, study_id))
        family = _Family(claim)
        with ExitStack() as locks:
            for key in sorted(keys - {claim.marker.key}):
                lock = self._tools.spool.try_lock(key)
                if lock is None:
                    raise DeletionWaits(f"{key} of the same study is being worked on", self._soon_s(), key)
                locks.callback(lock.release)
                family.add(key, lock, HeldRecord(self._ledger, key, lock.check))
            study = orthanc.with_instances(orthanc.resource(Level.STUDY, study_id))
            if _keys(study) != keys:
                raise StillArriving("the study changed after it was exported", SOON_S)
            self._check_markers(claim, keys)
            self._check_done(family, rule, study, self._rules_now(rule))
            return self._begin(family, rule, resource, study)

    def recover(self, record: HeldRecord) -> Deleted | None:
        """Note what is gone of a deletion that was interrupted; whether the rest goes is decided again."""
        deletion = record.now.deletion
        if deletion is None:
            return None
        # They went in this order, so what is there is followed by none that this deleted.
        gone = list(takewhile(lambda file: not self._is_there(file), deletion.files))
        return self._conclude(record, deletion, gone)

    def _rules_now(self, rule: Rule) -> RuleSet:
        """Read the rules once more: they may have been edited while the rule exported, for hours perhaps."""
        rules = self._tools.rulebook.read()
        if rule not in rules.rules:
            raise StillArriving(f"the rule {rule.name} was edited after it had exported", self._soon_s())
        return rules

    def _soon_s(self) -> float:
        # Two processes that were in each other's way mustn't come back at the same moment.
        return SOON_S * self._tools.jitter()

    def _check_markers(self, claim: Claim, keys: frozenset[str]) -> None:
        """Raise DeletionWaits when another marker of the family may still have work, or has failed."""
        served = {claim.item.path, *(companion.path for companion in claim.companions)}
        for state, wait_s in _IN_THE_WAY.items():
            for item in self._tools.spool.directories.waiting(keys, state):
                if item.path not in served and not self._waits_like_this(item):
                    advice = "; fix the cause and requeue it, or delete it" if state is State.FAILED else ""
                    key = self._tools.spool.directories.key_of(item)
                    raise DeletionWaits(f"{state}/{item.name} has to succeed first{advice}", wait_s, key)

    def _waits_like_this(self, item: Item) -> bool:
        """Whether a marker has succeeded, and waits for the deletion alone."""
        with suppress(FileNotFoundError, MarkerError):
            problems = self._tools.spool.directories.read(item).problems
            return item.state is State.DEFERRED and bool(problems) and all(one.is_a(DeletionWaits) for one in problems)
        return False

    def _check_done(self, family: _Family, rule: Rule, study: Resource, rules: RuleSet) -> None:
        """Raise DeletionWaits when a rule would have work on the study or one of its series."""
        tools, marker = self._tools, family.claim.marker
        # What Orthanc measured itself is the age of the marker's own resource.
        by = marker if marker.level is Level.STUDY else replace(marker, source="")
        last_update = parse_last_update(study.last_update)
        plan.check_stable(study, last_update, tools.orthanc.now(), tools.settings.stable_age_s, by)
        planner = Planner(tools.orthanc, rules, tools.today())
        for member in self._members(study, rules):
            key = member.key
            record = family.records[key].now
            drawn = planner.plan(member, record)
            left = sorted({job.rule.name for job in drawn.jobs}.union(drawn.waiting))
            if left:
                text = (
                    f"the rule {left[0]} has work on {key} that isn't done; `autorthanc-spool explain` says more, and "
                    f"where no marker of it is left, `autorthanc-spool replay {left[0]}` writes one"
                )
                # What came up for the marker's own resource meanwhile, its next run does, unless it is narrowed.
                is_own = key == marker.key and marker.rules is None
                raise DeletionWaits(text, self._soon_s() if is_own else LATER_S, key)
            if record.intent or record.working:
                # Its marker is gone too, or it would be in the way: only a run of its own clears this away.
                tools.spool.directories.put(new_marker(member.level, member.resource_id, "reconcile", tools.clock()))
                raise DeletionWaits(f"what a process that died left of {key} is cleared away first", SOON_S, key)
            if key == marker.key and not (rule in drawn.unchanged and _is_kept(rule, record)):
                raise StillArriving(f"the {member.level} changed after it was exported", SOON_S)

    def _members(self, study: Resource, rules: RuleSet) -> Iterator[Resource]:
        yield study
        if plan.concerns(deciding(rules), Level.SERIES):
            for series in study.series:
                yield self._tools.orthanc.resource(Level.SERIES, series.resource_id)

    def _begin(self, family: _Family, rule: Rule, resource: Resource, study: Resource) -> Deleted:
        """Note durably what is about to go, and what holds it; then do it."""
        self._tools.audit.check()
        family.check()
        is_whole = resource.level is Level.STUDY
        doomed = [one for one in study.instances if is_whole or one.series_id == resource.resource_id]
        by_key: dict[str, set[str]] = {}
        for one in doomed:
            for key in (resource_key(Level.SERIES, one.series_id), study.key):
                by_key.setdefault(key, set()).add(plan.stored_file(one))
        own = family.claim.marker.key
        records = {key: self._with_gone(family.records[key].now, files) for key, files in by_key.items()}
        if len(doomed) < len(study.instances):
            records[study.key] = replace(records[study.key], deleted="")
        for key in sorted(records.keys() - {own}):
            family.records[key].write(records[key])
        owes = self._tools.audit.deleted(resource, rule.name)
        deletion = Deletion(
            rule.name, tuple(map(plan.stored_file, sorted(doomed, key=_last_first, reverse=True))), owes
        )
        family.claim.record.write(replace(records[own], deletion=deletion))
        return self._carry_out(family, deletion)

    def _with_gone(self, record: Record, files: set[str]) -> Record:
        outputs = {f"{naming.rule_folder(rule)}/{entry.name}" for rule, entry in record.entries.items() if entry.name}
        return replace(
            record,
            gone=tuple(sorted(files.union(record.gone))),
            sealed=tuple(sorted(outputs.union(record.sealed))),
            deleted=self._tools.now(),
        )

    def _carry_out(self, family: _Family, deletion: Deletion) -> Deleted:
        gone: list[str] = []
        for file in deletion.files:
            if self._tools.stop.is_set():
                raise Interrupted("the processor was stopped while it deleted from Orthanc")
            if self._remove(file, family):
                gone.append(file)
        deleted = self._conclude(family.claim.record, deletion, gone)
        kept = tuple(sorted(map(_id_of, set(deletion.files).difference(gone))))
        if kept:
            log.warning(
                "%s: %d instance(s) stay in Orthanc, replaced since the export", family.claim.marker.key, len(kept)
            )
        return replace(deleted, kept=kept)

    def _remove(self, file: str, family: _Family) -> bool:
        """Delete a stored file; False when something else has taken its place."""
        for _ in range(_TRIES):
            found = self._tools.orthanc.instance(_id_of(file))
            if found is None or plan.stored_file(found) != file:
                return found is None
            family.check()
            answer = self._tools.orthanc.delete_instance(_id_of(file))
            if answer is not None and answer.status in (200, 404):
                return True
            if answer is not None:
                raise OrthancFault(
                    f"Orthanc answers {answer.status} when it is asked to delete an instance; may its user "
                    "(ORTHANC_USERNAME) do that? Its log says why"
                )
        raise OrthancFault("Orthanc answers, but not when it is asked to delete an instance; its log may say why")

    def _is_there(self, file: str) -> bool:
        found = self._tools.orthanc.instance(_id_of(file))
        return found is not None and plan.stored_file(found) == file

    def _conclude(self, record: HeldRecord, deletion: Deletion, gone: list[str]) -> Deleted:
        deleted = Deleted(deletion.rule, len(gone), sum(map(_size_of, gone)), self._tools.now())
        line = audit.completed(deletion.owes, deleted, len(deletion.files)) if gone else {}
        record.write(replace(record.now, deletion=None).owing(line))
        log.info("%s: %d instance(s) deleted from Orthanc for the rule %s", record.now.key, len(gone), deletion.rule)
        return deleted


def _is_kept(rule: Rule, record: Record) -> bool:
    """Whether what the rule exported is kept elsewhere: FORWARD alone needs the word of each destination."""
    sent = [record.sending(rule.name, name) for name in rule.destination_modalities]
    return rule.publishes or all(one is not None and one.committed for one in sent)


def _keys(study: Resource) -> frozenset[str]:
    return frozenset({study.key, *(resource_key(Level.SERIES, one.resource_id) for one in study.series)})


def _last_first(instance: Instance) -> tuple[Any, ...]:
    # Rules look at the first instance of a series: it goes last, so that what a crash leaves still matches them.
    return (*instance_order(instance.InstanceNumber), instance.resource_id)


def _id_of(file: str) -> str:
    return file.split(" ")[0]


def _size_of(file: str) -> int:
    return int(file.split(" ")[1])
