"""From a resource to its plan: reads from Orthanc what the rules ask for, and no more."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from autorthanc_spool.core.dicom import Resource
from autorthanc_spool.core.record import Record
from autorthanc_spool.orthanc.client import Orthanc
from autorthanc_spool.orthanc.hidden import with_hidden
from autorthanc_spool.rules import Rule, unanswered
from autorthanc_spool.run import plan
from autorthanc_spool.run.plan import Plan
from autorthanc_spool.run.rulebook import RuleSet


class Planner:
    """Draws plans for the rules of one moment, narrowed to those that a marker asks for (None: all)."""

    def __init__(self, orthanc: Orthanc, rules: RuleSet, asked: tuple[str, ...] | None = None) -> None:
        self._orthanc = orthanc
        self._chosen = plan.selected(rules.rules, asked)
        self._broken = plan.selected(_last_valid(rules), asked)

    def plan(self, resource: Resource, record: Record) -> Plan:
        """Plan the run of a resource; the plan's has its instances, if there is anything to say about them."""
        rules = (*self._chosen, *self._broken)
        missing = unanswered(rules, resource)
        drawn = plan.make_plan(resource, self._chosen, self._broken, record)
        if not missing and not (drawn.jobs or drawn.unchanged or drawn.waiting):
            return drawn
        resource = with_answers(self._orthanc, rules, self._orthanc.with_instances(resource))
        return plan.make_plan(resource, self._chosen, self._broken, record)


def with_answers(orthanc: Orthanc, rules: Sequence[Rule], resource: Resource) -> Resource:
    """Read what the rules need to know of a resource with its instances, each thing once; raises InstanceError."""
    # A value that the first answer brings may be one that Orthanc hides; there is no third round.
    while asked := unanswered(rules, resource):
        resource = orthanc.with_first_instances(resource, asked.first_instances)
        resource = with_hidden(orthanc, resource, asked.hidden)
        resource = orthanc.with_siblings(resource) if asked.siblings else resource
    return resource


def deciding(rules: RuleSet) -> list[Rule]:
    """The rules that decide what matches: of a broken file, its last valid version."""
    return [*rules.rules, *_last_valid(rules)]


def _last_valid(rules: RuleSet) -> Iterable[Rule]:
    return [broken.last_valid for broken in rules.broken if broken.last_valid]
