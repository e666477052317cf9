"""From a resource to its plan: reads from Orthanc what the rules ask for, and no more."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date

from autorthanc_spool.core.dicom import Resource
from autorthanc_spool.core.record import Record
from autorthanc_spool.orthanc.client import Orthanc
from autorthanc_spool.orthanc.hidden import with_hidden
from autorthanc_spool.rules import Facts, Rule, Verdict, deciding_rival, judge, unanswered
from autorthanc_spool.rules.questions import Questions, all_of
from autorthanc_spool.run import plan
from autorthanc_spool.run.plan import Plan
from autorthanc_spool.run.rulebook import RuleSet


class Planner:
    """Draws plans for the rules of one moment, narrowed to those that a marker asks for (None: all).

    `today` is the day at the site, from which rules count.
    """

    def __init__(self, orthanc: Orthanc, rules: RuleSet, today: date, asked: tuple[str, ...] | None = None) -> None:
        self._orthanc = orthanc
        self._today = today
        self._chosen = plan.selected(rules.rules, asked)
        self._broken = plan.selected(_last_valid(rules), asked)
        self._rivals = tuple(rule for rule in deciding(rules) if not rule.is_fallback)

    def plan(self, resource: Resource, record: Record) -> Plan:
        """Plan the run of a resource; the plan's resource lists its instances, unless no rule has work on it."""
        rules = (*self._chosen, *self._broken)
        facts = Facts(resource, self._today)
        missing = open_questions(rules, self._rivals, facts)
        drawn = self._drawn(facts, record)
        if not missing and not (drawn.jobs or drawn.unchanged or drawn.waiting):
            return drawn
        resource = self._orthanc.with_instances(resource)
        return self._drawn(with_answers(self._orthanc, rules, Facts(resource, self._today), self._rivals), record)

    def explain(self, resource: Resource, record: Record) -> Plan:
        """Plan it, and say of each rule why it matches or not."""
        drawn = self.plan(resource, record)
        facts = Facts(drawn.resource, self._today)
        return self._drawn(facts, record, tuple(verdict_of(rule, self._rivals, facts) for rule in self._chosen))

    def _drawn(self, facts: Facts, record: Record, verdicts: tuple[Verdict, ...] = ()) -> Plan:
        return plan.make_plan(facts, self._chosen, self._broken, record, rivals=self._rivals, verdicts=verdicts)


def verdict_of(rule: Rule, rivals: Iterable[Rule], facts: Facts) -> Verdict:
    """Say why a rule matches or not, a fallback with regard to the others."""
    found = judge(rule, facts)
    rival = deciding_rival(rivals, facts)[0] if rule.is_fallback and found.matches else ""
    if not rival:
        return found
    return Verdict(rule, found.conditions, matches=False, reason=f"a fallback, and the rule {rival} matches")


def open_questions(rules: Sequence[Rule], rivals: Sequence[Rule], facts: Facts) -> Questions:
    """List what must be read to know which of the rules match; of a fallback that others rule out, nothing."""
    own = unanswered((rule for rule in rules if not rule.is_fallback), facts)
    fallbacks = [rule for rule in rules if rule.is_fallback and may_match(rule, facts)]
    if not fallbacks:
        return own
    rival, others = deciding_rival(rivals, facts)
    return own if rival else all_of([own, others, unanswered(fallbacks, facts)])


def may_match(rule: Rule, facts: Facts) -> bool:
    """Whether what was read doesn't rule it out."""
    return judge(rule, facts).matches or bool(unanswered([rule], facts))


def with_answers(orthanc: Orthanc, rules: Sequence[Rule], facts: Facts, rivals: Sequence[Rule] = ()) -> Facts:
    """Read what the rules need to know of a resource with its instances, each thing once; raises InstanceError."""
    # A value that the first answer brings may be one that Orthanc hides; there is no third round.
    while asked := open_questions(rules, rivals, facts):
        resource = orthanc.with_first_instances(facts.resource, asked.first_instances)
        resource = with_hidden(orthanc, resource, asked.hidden)
        resource = orthanc.with_siblings(resource) if asked.siblings else resource
        facts = Facts(resource, facts.today)
    return facts


def deciding(rules: RuleSet) -> list[Rule]:
    """The rules that decide what matches: of a broken file, its last valid version."""
    return [*rules.rules, *_last_valid(rules)]


def _last_valid(rules: RuleSet) -> Iterable[Rule]:
    return [broken.last_valid for broken in rules.broken if broken.last_valid]
