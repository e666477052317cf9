"""Why a rule matches a study or series, or doesn't.

A condition is looked up in Orthanc's tags of the patient and of the study. Orthanc has them from the file that arrived
first, a dose report perhaps: where they don't pass, and for all other tags, each series is looked at, in Orthanc's tags
of that series, else in the tags of its first instance. On a study a condition passes when any series has it, and a
negated one when none has; with `same_series`, one series has to pass all conditions on series tags by itself.

Attributes that are in no file (`computed`) are computed from what Orthanc lists.

Everything has three answers: yes, no, and None for what can't be said before more was read. `judge` says what follows
from what was read, `unanswered` what has to be read before; the planner reads it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from autorthanc_spool.core.dicom import Resource
from autorthanc_spool.rules import computed
from autorthanc_spool.rules.model import Condition, Rule
from autorthanc_spool.rules.questions import NONE, Answer, Found, Questions, all_of, of_first_instance
from autorthanc_spool.rules.values import PADDING, Value


@dataclass(frozen=True)
class ConditionVerdict:
    """What a condition found, as written but without padding, each value once.

    `places` says for each value where it was found first: the Orthanc ID of a series, or "" for Orthanc's own tags of
    patient and study. Where the verdict on the rule doesn't need them, first instances weren't read. `series` are those
    that pass the condition by themselves; empty for a condition on patient and study.
    """

    condition: Condition
    found: tuple[str, ...]
    passed: bool
    places: tuple[str, ...] = ()
    series: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """Whether a rule matches, and the first reason why not; `series` are those that leave."""

    rule: Rule
    conditions: tuple[ConditionVerdict, ...]
    matches: bool
    reason: str
    series: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Known:
    """What is known of one attribute: Orthanc's own word, and what each series says."""

    own: tuple[Value, ...]
    series: dict[str, tuple[Value, ...]]
    values: tuple[Value, ...]
    questions: dict[str, Questions]
    found: tuple[Found, ...]


class Facts:
    """What is known of a resource on a day; each attribute is looked up once, however many conditions ask for it."""

    def __init__(self, resource: Resource, today: date) -> None:
        self.resource = resource
        self.today = today
        self.series_ids = tuple(one.resource_id for one in resource.series)
        self._known: dict[str, _Known] = {}
        # By the identity of a rule, which is kept with its answer: comparing rules takes longer than asking them.
        self._decided: dict[int, tuple[Rule, _Answer]] = {}
        self._unread = {one: Questions(frozenset({one})) for one in self.series_ids}
        self.all_files = Questions(frozenset(self.series_ids))
        self._open: set[str] = set()

    def decided(self, rule: Rule) -> _Answer:
        """Whether a rule matches, and what must be read to know; nothing where something fails for certain."""
        found = self._decided.get(id(rule))
        if found is None:
            found = self._decided[id(rule)] = rule, _decide(rule, self)
        return found[1]

    def is_open(self, rule: Rule) -> bool:
        """Whether nothing was read by which a condition could fail, other than what Orthanc always lists."""
        if not rule.asks_files_only:
            return False
        if not rule.tags_of_files <= self._open:
            # What several rules ask for is looked at once.
            for one in rule.cheapest_first:
                if one.tag in rule.tags_of_files and self.known(one).questions != self._unread:
                    return False
            self._open |= rule.tags_of_files
        return True

    def known(self, condition: Condition) -> _Known:
        """What is known of the attribute that a condition asks for."""
        found = self._known.get(condition.tag)
        if found is None:
            found = self._known[condition.tag] = self._look_up(condition.keyword or "", condition.tag)
        return found

    def _look_up(self, keyword: str, tag: str) -> _Known:
        resource = self.resource
        if compute := computed.ATTRIBUTES.get(keyword):
            return _sorted(compute(resource), self.series_ids)
        listed = [tags[keyword] for tags in (resource.patient_tags, resource.study_tags) if keyword in tags]
        answers = [Answer(tuple(Found(value) for value in listed))]
        for one in resource.series:
            is_listed = keyword in one.tags
            answers.append(
                Answer((Found(one.tags[keyword], one.resource_id),)) if is_listed else of_first_instance(one, tag)
            )
        found = tuple(value for answer in answers for value in answer.found)
        questions = {one: answer.questions for one, answer in zip(self.series_ids, answers[1:], strict=True)}
        return _placed(found, questions)

    def plain(self, condition: Condition) -> bool | None:
        """Whether a value passes the condition before it is negated."""
        # With many rules, half of the time is spent here.
        known = self._known.get(condition.tag) or self.known(condition)
        passes, today = condition.asked.passes, self.today
        # Orthanc's word is enough for a yes, not for a no.
        for value in known.values:
            if passes(value, today):
                return True
        return None if known.questions else False

    def passed(self, condition: Condition) -> bool | None:
        """Whether the resource passes a condition."""
        plain = self.plain(condition)
        return plain if plain is None or not condition.inverts else not plain

    def passed_by(self, condition: Condition, series_id: str) -> bool | None:
        """Whether one series passes a condition by itself."""
        known = self.known(condition)
        if any(condition.asked.passes(value, self.today) for value in known.series.get(series_id, ())):
            return not condition.inverts
        return None if known.questions.get(series_id) else condition.inverts

    def passes_all(self, rule: Rule, series_id: str) -> bool | None:
        """Whether one series passes all conditions on series tags by itself."""
        answers = [self.passed_by(one, series_id) for one in rule.conditions if one.of_series]
        return False if False in answers else None if None in answers else True

    def open_questions(self, conditions: Iterable[Condition], series_ids: Iterable[str]) -> Questions:
        """What must be read of these series to know all about these conditions."""
        wanted, asked = set(series_ids) | {""}, []
        for one in conditions:
            questions = self.known(one).questions
            asked += [questions[series_id] for series_id in wanted & questions.keys()]
        return all_of(asked)


def _sorted(answer: Answer, series_ids: tuple[str, ...]) -> _Known:
    """What was computed; what must be read for it is asked for whatever series is meant."""
    is_open = bool(answer.questions)
    return _placed(
        answer.found, {"": answer.questions, **dict.fromkeys(series_ids if is_open else (), answer.questions)}
    )


def _placed(found: tuple[Found, ...], questions: dict[str, Questions]) -> _Known:
    own: dict[str, Value] = {}
    series: dict[str, tuple[Value, ...]] = {}
    # All series of a study say mostly the same.
    values: dict[str, Value] = {}
    for one in found:
        value = values.setdefault(one.value, Value(one.value.strip(PADDING)))
        if not value.comparable:
            continue
        if one.place:
            series[one.place] = (*series.get(one.place, ()), value)
        else:
            own[one.value] = value
    distinct = dict.fromkeys([*own.values(), *(value for one in series.values() for value in one)])
    return _Known(tuple(own.values()), series, tuple(distinct), {key: q for key, q in questions.items() if q}, found)


def obstacle(rule: Rule, resource: Resource) -> str:
    """Why a rule can't match, whatever its conditions say; "" when it can."""
    if not rule.is_active:
        return "not active"
    if rule.check_on is not resource.level:
        return "checks on series" if rule.check_on == "series" else "checks on studies"
    if resource.is_copy and not rule.copies:
        return "a copy that Orthanc made"
    return ""


def matches(rule: Rule, facts: Facts) -> bool:
    """Whether a rule matches. What wasn't read counts as absent: ask `unanswered` first."""
    return facts.decided(rule)[0] is True


def judge(rule: Rule, facts: Facts) -> Verdict:
    """Decide whether a rule matches a resource, and why."""
    why_not = obstacle(rule, facts.resource)
    is_asked = rule.check_on is facts.resource.level
    conditions = tuple(_verdict(one, facts) for one in rule.conditions) if is_asked else ()
    answer = facts.decided(rule)[0]
    if not why_not and answer is not True:
        alone = [index for index, one in enumerate(rule.conditions) if not (rule.same_series and one.of_series)]
        failed = [index for index in alone if facts.passed(rule.conditions[index]) is False]
        failed += [index for index in alone if is_asked and not conditions[index].passed]
        if failed:
            why_not = f"Tags[{failed[0]}] ({rule.conditions[failed[0]].tag_name}) doesn't pass"
        else:
            why_not = "no single series passes all conditions on series tags"
    going = leaving(rule, facts) if not why_not else ()
    return Verdict(rule, conditions, matches=not why_not, reason=why_not or "matches", series=going)


def leaving(rule: Rule, facts: Facts) -> tuple[str, ...]:
    """The series that leave under a rule that matches."""
    if not rule.selects_series:
        return facts.series_ids
    return tuple(one for one in facts.series_ids if facts.passes_all(rule, one))


def unanswered(rules: Iterable[Rule], facts: Facts) -> Questions:
    """List what must be read before `judge` can decide; nothing for a rule that is decided by what was read.

    An answer can raise another question: a value may be among those that Orthanc hides.
    """
    return all_of(facts.decided(rule)[1] for rule in rules)


_Answer = tuple[bool | None, Questions]
_NO: _Answer = (False, NONE)


def _decide(rule: Rule, facts: Facts) -> _Answer:
    if obstacle(rule, facts.resource):
        return _NO
    unknown = []
    for condition in rule.cheapest_first:
        if rule.same_series and condition.of_series:
            continue
        passed = facts.passed(condition)
        if passed is False:
            return _NO
        if passed is None:
            unknown.append(condition)
            if len(unknown) == 1 and condition.tag in rule.tags_of_files and facts.is_open(rule):
                # None of the others can fail before the same files are read.
                return None, facts.all_files
    questions = facts.open_questions(unknown, facts.series_ids) if unknown else NONE
    if not rule.same_series and not rule.selects_series:
        return (None if unknown else True), questions
    answers = {one: facts.passes_all(rule, one) for one in facts.series_ids}
    undecided = [one for one, answer in answers.items() if answer is None]
    is_there = True in answers.values()
    if not is_there and not undecided:
        return _NO
    if undecided and (rule.selects_series or not is_there):
        of_series = [one for one in rule.conditions if one.of_series]
        questions = all_of([questions, facts.open_questions(of_series, undecided)])
    return (True if is_there and not questions else None), questions


def _verdict(condition: Condition, facts: Facts) -> ConditionVerdict:
    known = facts.known(condition)
    found: dict[str, str] = {}
    for one in known.found:
        found.setdefault(one.value.strip(PADDING), one.place)
    plain = facts.plain(condition) is True
    if plain and known.own and any(condition.asked.passes(value, facts.today) for value in known.own):
        # Orthanc's word was enough: the files weren't looked at for this.
        found = {value: place for value, place in found.items() if not place}
    own = () if not condition.of_series else tuple(one for one in facts.series_ids if facts.passed_by(condition, one))
    return ConditionVerdict(condition, tuple(found), facts.passed(condition) is True, tuple(found.values()), own)


def deciding_rival(rivals: Iterable[Rule], facts: Facts) -> tuple[str, Questions]:
    """The name of a rule that keeps fallbacks from being asked, or what must be read to know whether there is one."""
    questions = []
    for rule in rivals:
        answer, asked = facts.decided(rule)
        if answer is True:
            return rule.name, NONE
        questions.append(asked)
    return "", all_of(questions)
