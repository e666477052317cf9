"""Conditions that no valid file can pass, and destinations that nobody defines, in rules that are valid.

They are warned of, and change nothing: a file that is invalid in just this way may exist. No value is quoted.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, time, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Any, cast

from autorthanc_spool.core.dicom import Level
from autorthanc_spool.rules import located_json, terms, values
from autorthanc_spool.rules.asked import Contains, ContainsAny, Equals, Within
from autorthanc_spool.rules.located_json import Array, Node, Object
from autorthanc_spool.rules.model import Condition, Kind, Rule
from autorthanc_spool.rules.problems import Problem, nearest, one_of, quoted
from autorthanc_spool.rules.values import comparable


@dataclass(frozen=True)
class _Form:
    """What the values of a VR are made of (PS3.5 table 6.2-1), and how to write it."""

    pattern: re.Pattern[str]
    expected: str
    hint: str | None = None


_WHOLE = _Form(re.compile(r"[\d+ \\-]*"), "a whole number without a unit")
_DECIMAL = _Form(re.compile(r"[\d+.eE \\-]*"), "a number with a decimal point and without a unit")
_DATE = _Form(re.compile(r"[\d.\\]*"), "a date as files have it: YYYYMMDD", 'write "20260102", "202601" or "2026"')
_TIME = _Form(re.compile(r"[\d.\\]*"), "a time as files have it: HHMMSS", 'write "093000" or "09"')
_DATE_AND_TIME = _Form(
    re.compile(r"(?!.*\d{4}-\d\d-)[\d+.\\-]*"),
    "date and time as files have them: YYYYMMDDHHMMSS",
    'write "20260102093000" or "202601"',
)
_AGE = _Form(
    re.compile(r"\d{0,3}[DWMYdwmy]?(?:\\\d{0,3}[DWMYdwmy]?)*"),
    "an age as files have it: three digits and D, W, M or Y",
    'write "045Y"',
)
_UID = _Form(re.compile(r"[\d.\\]*"), "a UID, which is digits and dots", "write the UID in place of the name")
_NAME = _Form(re.compile(r"[^,]*"), "a name as files have it: FAMILY^GIVEN", "write ^ in place of the comma")

_FORMS: Mapping[str, _Form] = MappingProxyType(
    {"DA": _DATE, "TM": _TIME, "DT": _DATE_AND_TIME, "AS": _AGE, "UI": _UID, "PN": _NAME}
    | dict.fromkeys(("IS", "US", "SS", "UL", "SL", "UV", "SV", "US or SS"), _WHOLE)
    | dict.fromkeys(("DS", "FL", "FD"), _DECIMAL)
)

# The longest value of each VR, in characters (PS3.5 table 6.2-1); of a name, its three forms together.
_MOST_CHARACTERS = {
    "AE": 16, "AS": 4, "CS": 16, "DA": 10, "DS": 16, "DT": 26, "IS": 12, "LO": 64, "LT": 10240, "PN": 194, "SH": 16,
    "ST": 1024, "TM": 16, "UI": 64,
}  # fmt: skip
_SINGLE_VALUED = {"LT", "ST"}

# What the limits of a VR are, and how that is said.
_A_NUMBER = (Decimal, "a number")
_LIMITS: Mapping[str, tuple[type, str]] = MappingProxyType(
    {
        "DA": (date, "a date, as 2026-01-31 or -30d"),
        "TM": (time, "a time, as 09:30"),
        "AS": (Decimal, "a number of years"),
    }
    | dict.fromkeys(values.NUMBERS, _A_NUMBER)
)


def warnings(rule: Rule, data: bytes, destinations: Collection[str] | None = None) -> tuple[Problem, ...]:
    """Find what in a valid rule can't match or arrive; `data` is its file.

    `destinations` are the names of all modalities that are known; None when that isn't asked.
    """
    root = located_json.parse(data.decode())
    written = zip(rule.conditions, _items(_member(root, "Tags")), strict=False)
    found = [
        problem for index, (one, node) in enumerate(written) for problem in _of_condition(one, node, f"Tags[{index}]")
    ]
    found += _of_selection(rule, root)
    found += _of_names(rule, root)
    found += _of_modalities(rule, _items(_member(root, "Tags")))
    if destinations is not None:
        found += _of_destinations(rule, _member(root, "DestinationModality"), destinations)
    return tuple(sorted(found, key=lambda problem: problem.line))


def _of_condition(condition: Condition, node: Node, field: str) -> Iterator[Problem]:
    if condition.tag in terms.IN_NO_FILE:
        line = _member(node, "TagName").line
        expected = "a tag that is in files"
        yield Problem(line, f"{field}.TagName", "one that is only asked for in queries", expected)
        return
    for key, written, text in _texts(condition, node):
        for found, expected, hint in _faults(condition, text, is_whole=isinstance(condition.asked, Equals)):
            yield Problem(written.line, f"{field}.{key}", found, expected, hint)
            break
    if isinstance(condition.asked, Within):
        for key, found, expected, hint in _faults_of_limits(condition, condition.asked):
            yield Problem(_member(node, key).line, f"{field}.{key}", found, expected, hint)


def _texts(condition: Condition, node: Node) -> Iterator[tuple[str, Node, str]]:
    """The texts that a condition compares with: where each is written, and what it is."""
    asked = condition.asked
    if isinstance(asked, Contains):
        yield "Value", _member(node, "Value"), asked.value
    elif isinstance(asked, (ContainsAny, Equals)):
        key = "AnyOf" if isinstance(asked, ContainsAny) else "Equals"
        written = _items(_member(node, key))
        if written:
            yield from (
                (f"{key}[{index}]", one, text)
                for index, (one, text) in enumerate(zip(written, asked.texts, strict=True))
            )
        else:
            yield key, _member(node, key), asked.texts[0]


def _faults_of_limits(condition: Condition, asked: Within) -> Iterator[tuple[str, str, str, str | None]]:
    """Limits between which nothing lies, or of a kind that the values never have."""
    least, most = asked.at_least, asked.at_most
    if least and most:
        # Days before today are written as such a number; with a date beside them, that depends on today.
        is_same = isinstance(least.moment, timedelta) is isinstance(most.moment, timedelta)
        is_after = isinstance(least.moment, timedelta)
        lower, upper = (most.moment, least.moment) if is_after else (least.moment, most.moment)
        if is_same and cast("Any", lower) > cast("Any", upper):
            yield "AtMost", "less than AtLeast", "as much or more, as nothing lies between", "exchange the two"
            return
    for key, bound in (("AtLeast", least), ("AtMost", most)):
        fit = _LIMITS.get(asked.vr)
        if bound and fit and bound.kind is not fit[0]:
            yield key, f"a limit that values of {condition.tag_name} can't be compared with", fit[1], None
            return


def _faults(condition: Condition, value: str, *, is_whole: bool = False) -> Iterator[tuple[str, str, str | None]]:
    """All that is wrong with a value: found, expected, hint. The first is reported, the others follow from it."""
    from autorthanc_spool.rules import vocabulary

    vr = vocabulary.value_representation(condition.tag) or ""
    if is_whole and not value.strip():
        yield "nothing", "a value", 'an absent or empty value passes "Present": false alone'
    if not is_whole and value != value.strip():
        yield "blanks at its ends", "text that begins and ends with what is looked for", "they count: remove them"
    yield from _wildcards(condition, value)
    yield from _unknown_terms(condition.tag, value, is_whole=is_whole)
    form = _FORMS.get(vr)
    is_read = is_whole and vr in ("DA", "TM") and (values.day if vr == "DA" else values.hour)(value.strip()) is not None
    if form and not is_read and not form.pattern.fullmatch(value):
        yield "other characters than its values have", form.expected, form.hint
    elif is_whole and vr in ("DA", "TM") and not is_read:
        yield "a part of a value", "the whole of it", 'write it whole, or use "Value"'
    limit = _MOST_CHARACTERS.get(vr)
    parts = [value] if vr in _SINGLE_VALUED else value.split("\\")
    if limit and any(len(part) > limit for part in parts):
        yield f"more than {limit} characters", f"at most as many as a value of {condition.tag_name} may have", None


def _wildcards(condition: Condition, value: str) -> Iterator[tuple[str, str, str | None]]:
    if condition.tag in terms.WITH_ASTERISK:
        value = value.replace("*", "")
    for sign in "*?":
        if sign in value:
            hint = f'"{sign}" stands for itself; write what is to be found, in two conditions if something is between'
            yield f'"{sign}"', "text that the tag's value contains", hint
    if "|" in value:
        yield '"|"', "text that the tag's value contains", '"|" stands for itself; write one rule for each value'


def _unknown_terms(tag: str, value: str, *, is_whole: bool) -> Iterator[tuple[str, str, str | None]]:
    if tag == terms.MODALITIES_IN_STUDY:
        unknown = [part for part in value.split("\\") if not _fits(part, terms.MODALITIES, is_whole=is_whole)]
        if unknown:
            yield "what is not a modality", "defined terms of DICOM, as MR", _meant(unknown[0])
    elif tag == terms.MODALITY and not _fits(value, terms.MODALITIES, is_whole=is_whole):
        yield "what is not a modality", "a defined term of DICOM, as MR", _meant(value)
    elif tag in terms.VALUES and not _fits(value, terms.VALUES[tag], is_whole=is_whole):
        yield "a value that DICOM doesn't have there", one_of(terms.VALUES[tag]), None


def _fits(value: str, known: Collection[str], *, is_whole: bool = False) -> bool:
    if is_whole:
        return comparable(value).strip() in {comparable(one) for one in known}
    return any(comparable(value) in comparable(one) for one in known)


def _meant(value: str) -> str | None:
    word = value.strip().lower()
    found = terms.MEANT_MODALITIES.get(word) or nearest(word, terms.MODALITIES)
    return f"did you mean {quoted(found)}?" if found else None


def _of_modalities(rule: Rule, nodes: tuple[Node, ...]) -> Iterator[Problem]:
    """Find two modalities that one series must have; on a study, each may be that of another series."""
    asked = [
        (index, one.asked.value)
        for index, one in enumerate(rule.conditions)
        if one.tag == terms.MODALITY and isinstance(one.asked, Contains) and not one.is_negated
    ]
    if rule.check_on is not Level.SERIES or not all(_fits(value, terms.MODALITIES) for _, value in asked):
        return
    if asked and not any(all(_fits(value, [term]) for _, value in asked) for term in terms.MODALITIES):
        index = asked[-1][0]
        hint = "write one rule for each"
        line = _member(nodes[index], "Value").line
        yield Problem(line, f"Tags[{index}].Value", "another modality", "one, as a series has only one", hint)


def _of_selection(rule: Rule, root: Node) -> Iterator[Problem]:
    """Find keys that choose series and have nothing to choose from, or leave out whole studies."""
    of_series = [index for index, one in enumerate(rule.conditions) if one.of_series]
    keys = {"SameSeries": rule.same_series, "Series": rule.selects_series}
    for key, is_set in keys.items():
        line = _member(root, key).line
        if is_set and rule.check_on is Level.SERIES:
            yield Problem(line, key, "a rule on series", '"CheckOn": "Study"', "on a series it has no effect")
        elif is_set and not of_series:
            yield Problem(line, key, "no condition on a series tag", "one", "without one it has no effect")
    negated = [index for index in of_series if rule.conditions[index].inverts]
    if negated and rule.selects_series and not rule.same_series and rule.check_on is Level.STUDY:
        line = _items(_member(root, "Tags"))[negated[0]].line
        hint = 'with "SameSeries": true, only such series are left out'
        found = "a negated condition: one series that it is about leaves the whole study out"
        yield Problem(line, f"Tags[{negated[0]}]", found, '"SameSeries": true beside "Series": "matching"', hint)


def _of_names(rule: Rule, root: Node) -> Iterator[Problem]:
    """Find templates that name nothing that is published, and files that digits alone would tell apart."""
    for key, template in (("Name", rule.name_template), ("Files", rule.files)):
        if template and not rule.publishes:
            found = f"a rule that only sends ({', '.join(rule.words(Kind.SENDS))})"
            yield Problem(_member(root, key).line, key, found, "DOWNLOAD or ZIP", "without one it has no effect")
    if rule.files and not rule.files.tags.keys() - terms.STUDY_KEYWORDS - terms.WHOLE_SERIES_KEYWORDS:
        hint = "without one, only digits at the end of the name distinguish the files of a series"
        found, expected = "nothing of a single image", "{InstanceNumber}, {SOPInstanceUID} or the like"
        yield Problem(_member(root, "Files").line, "Files", found, expected, hint)


def _of_destinations(rule: Rule, node: Node, known: Collection[str]) -> Iterator[Problem]:
    listed = isinstance(node.value, Array)
    for index, one in enumerate(_items(node) if listed else (node,)):
        if isinstance(one.value, str) and one.value in rule.destination_modalities and one.value not in known:
            field = f"DestinationModality[{index}]" if listed else "DestinationModality"
            meant = nearest(one.value, known)
            hint = f"did you mean {quoted(meant)}?" if meant else "add it to ORTHANC_DICOM_MODALITIES"
            yield Problem(one.line, field, quoted(one.value), "a modality that the settings or Orthanc define", hint)


def _member(node: Node, key: str) -> Node:
    members = node.value.members if isinstance(node.value, Object) else ()
    return next((member.node for member in members if member.key == key), Node(node.line, None))


def _items(node: Node) -> tuple[Node, ...]:
    return node.value.items if isinstance(node.value, Array) else ()
