"""Why a rule matches a study or series, or doesn't.

A condition is looked up in Orthanc's tags of the patient and of the study. Orthanc has them from the file that arrived
first, a dose report perhaps: where they don't pass, and for all other tags, each series is looked at, in Orthanc's tags
of that series, else in the tags of its first instance. On a study a condition passes when any series has it.

Tags that stand in no file (`COMPUTED`) are counted from what Orthanc lists.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from autorthanc_spool.core.dicom import Level, Resource
from autorthanc_spool.rules.model import Condition, Rule

# Attributes that a DICOM node computes when it is asked (PS3.4 section C.3.4), and on which level they are known here.
COMPUTED = {
    "ModalitiesInStudy": Level.STUDY,
    "NumberOfStudyRelatedSeries": Level.STUDY,
    "NumberOfStudyRelatedInstances": Level.STUDY,
    "NumberOfSeriesRelatedInstances": Level.SERIES,
}

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


@dataclass(frozen=True)
class _Finding:
    values: Mapping[str, str]
    passed: bool
    unread: frozenset[str]


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


def unanswered(rules: Iterable[Rule], resource: Resource, *, thorough: bool = False) -> frozenset[str]:
    """Tell of which series the first instance must be read before `judge` can decide, by their Orthanc IDs.

    A rule that main tags already exclude needs none; `thorough` asks for all that a full explanation needs.
    """
    needed: set[str] = set()
    for rule in rules:
        if rule.check_on is not resource.level or (_obstacle(rule, resource) and not thorough):
            continue
        findings = [_look_up(condition, resource) for condition in rule.conditions]
        if thorough or all(finding.passed or finding.unread for finding in findings):
            needed.update(*(finding.unread for finding in findings if thorough or not finding.passed))
    return frozenset(needed)


def _obstacle(rule: Rule, resource: Resource) -> str:
    if not rule.is_active:
        return "not active"
    if rule.check_on is not resource.level:
        return "checks on series" if rule.check_on == "series" else "checks on studies"
    if resource.is_copy and not rule.copies:
        return "a copy that Orthanc made"
    return ""


def _verdict(condition: Condition, resource: Resource) -> ConditionVerdict:
    finding = _look_up(condition, resource)
    return ConditionVerdict(condition, tuple(finding.values), finding.passed, tuple(finding.values.values()))


def _look_up(condition: Condition, resource: Resource) -> _Finding:
    if condition.keyword in COMPUTED:
        # A series without instances stands for those that weren't listed.
        unlisted = {series.resource_id for series in resource.series if not series.instances}
        return _finding(condition, [] if unlisted else _computed(condition.keyword, resource), unlisted)
    keyword, values, unread = condition.keyword or "", [], set()
    for tags in (resource.patient_tags, resource.study_tags):
        if keyword in tags:
            values.append((tags[keyword], ""))
            if _passes(condition.value, tags[keyword].strip(_PADDING)):
                return _finding(condition, values, set())
    for series in resource.series:
        if keyword in series.tags:
            values.append((series.tags[keyword], series.resource_id))
        elif series.first_instance_tags is None:
            unread.add(series.resource_id)
        elif condition.tag in series.first_instance_tags:
            values.append((series.first_instance_tags[condition.tag], series.resource_id))
    return _finding(condition, values, unread)


def _finding(condition: Condition, values: list[tuple[str, str]], unread: set[str]) -> _Finding:
    # Of a value that several have, the first place is kept.
    stripped = {value.strip(_PADDING): place for value, place in reversed(values)}
    ordered = {value: stripped[value] for value in dict.fromkeys(value.strip(_PADDING) for value, _ in values)}
    return _Finding(ordered, any(_passes(condition.value, value) for value in ordered), frozenset(unread))


def _computed(keyword: str, resource: Resource) -> list[tuple[str, str]]:
    """What a node would answer that computes these attributes; nothing on a level where it isn't known."""
    if keyword == "NumberOfSeriesRelatedInstances":
        return [(str(series.instances), series.resource_id) for series in resource.series]
    if resource.level is Level.SERIES:
        return []
    if keyword == "ModalitiesInStudy":
        modalities = dict.fromkeys(series.tags.get("Modality", "").strip(_PADDING) for series in resource.series)
        return [("\\".join(filter(None, modalities)), "")]
    counts = [series.instances for series in resource.series]
    return [(str(len(counts) if keyword == "NumberOfStudyRelatedSeries" else sum(counts)), "")]


def _passes(wanted: str, value: str) -> bool:
    found = comparable(value).strip(_PADDING)
    # Several values that are all empty are an empty value.
    return found.strip("\\") != "" and comparable(wanted) in found


def comparable(text: str) -> str:
    """Bring text into the form in which it is compared: NFC, letter case folded, values without their padding.

    Folding can take composed characters apart, so they are composed once more.
    """
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
    return _PADDED_SEPARATOR.sub(r"\\", folded)
