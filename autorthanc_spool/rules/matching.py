"""Why a rule matches a study or series, or doesn't.

A condition is looked up in Orthanc's tags of the patient and of the study. Orthanc has them from the file that arrived
first, a dose report perhaps: where they don't pass, and for all other tags, each series is looked at, in Orthanc's tags
of that series, else in the tags of its first instance. On a study a condition passes when any series has it.

Attributes that stand in no file (`computed`) are computed from what Orthanc lists.

`judge` says what follows from what was read, `unanswered` what has to be read before; the planner reads it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from autorthanc_spool.core.dicom import Resource, Series
from autorthanc_spool.rules import computed
from autorthanc_spool.rules.model import Condition, Rule
from autorthanc_spool.rules.questions import NONE, Answer, Found, Questions, all_of, of_first_instance, together

# PS3.5 section 6.2: values are padded to even length with a space, UIDs with NUL; several are joined by a backslash.
_PADDING = " \0"
_PADDED_SEPARATOR = re.compile(r"[ \0]*\\[ \0]*")


@dataclass(frozen=True)
class ConditionVerdict:
    """What a condition found, as written but without padding, each value once.

    `places` tells for each value where it was found first: the Orthanc ID of a series, or "" for Orthanc's own tags of
    patient and study. Where the verdict on the rule doesn't need them, first instances weren't read.
    """

    condition: Condition
    found: tuple[str, ...]
    passed: bool
    places: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """Whether a rule matches, and the first reason why not."""

    rule: Rule
    conditions: tuple[ConditionVerdict, ...]
    matches: bool
    reason: str


def judge(rule: Rule, resource: Resource) -> Verdict:
    """Tell whether a rule matches a resource. What wasn't read counts as absent: ask `unanswered` first."""
    obstacle = _obstacle(rule, resource)
    conditions = (
        ()
        if rule.check_on is not resource.level
        else tuple(_verdict(condition, resource) for condition in rule.conditions)
    )
    reason = obstacle or next(
        (
            f"Tags[{index}] ({one.condition.tag_name}) doesn't pass"
            for index, one in enumerate(conditions)
            if not one.passed
        ),
        "",
    )
    return Verdict(rule, conditions, matches=not reason, reason=reason or "matches")


def unanswered(rules: Iterable[Rule], resource: Resource) -> Questions:
    """Tell what must be read before `judge` can decide; nothing for a rule that is decided by what was read.

    An answer can raise another question: a value may be among those that Orthanc hides.
    """
    return all_of(_open(rule, resource) for rule in rules if not _obstacle(rule, resource))


def _open(rule: Rule, resource: Resource) -> Questions:
    needed = []
    for condition in rule.conditions:
        answer = _look_up(condition, resource)
        if _passed(condition, answer):
            continue
        if not answer.questions:
            # It fails for certain, and the rule with it: nothing else has to be known.
            return NONE
        needed.append(answer.questions)
    return all_of(needed)


def _obstacle(rule: Rule, resource: Resource) -> str:
    if not rule.is_active:
        return "not active"
    if rule.check_on is not resource.level:
        return "checks on series" if rule.check_on == "series" else "checks on studies"
    if resource.is_copy and not rule.copies:
        return "a copy that Orthanc made"
    return ""


def _verdict(condition: Condition, resource: Resource) -> ConditionVerdict:
    answer = _look_up(condition, resource)
    found: dict[str, str] = {}
    for one in answer.found:
        found.setdefault(one.value.strip(_PADDING), one.place)
    return ConditionVerdict(condition, tuple(found), _passed(condition, answer), tuple(found.values()))


def _look_up(condition: Condition, resource: Resource) -> Answer:
    keyword = condition.keyword or ""
    if compute := computed.ATTRIBUTES.get(keyword):
        return compute(resource)
    listed = (tags[keyword] for tags in (resource.patient_tags, resource.study_tags) if keyword in tags)
    answer = Answer(tuple(Found(value) for value in listed))
    # Orthanc's word is enough for a yes, not for a no.
    if answer.found and _passed(condition, answer):
        return answer
    return together([answer, *(_in_series(series, keyword, condition.tag) for series in resource.series)])


def _in_series(series: Series, keyword: str, tag: str) -> Answer:
    if keyword in series.tags:
        return Answer((Found(series.tags[keyword], series.resource_id),))
    return of_first_instance(series, tag)


def _passed(condition: Condition, answer: Answer) -> bool:
    wanted = comparable(condition.value)
    # All series of a study say mostly the same.
    return any(_passes(wanted, value) for value in {one.value for one in answer.found})


def _passes(wanted: str, value: str) -> bool:
    found = comparable(value).strip(_PADDING)
    # Several values that are all empty are an empty value.
    return found.strip("\\") != "" and wanted in found


def comparable(text: str) -> str:
    """Bring text into the form in which it is compared: NFC, letter case folded, values without their padding.

    Folding can take composed characters apart, so they are composed once more.
    """
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
    return _PADDED_SEPARATOR.sub(r"\\", folded)
