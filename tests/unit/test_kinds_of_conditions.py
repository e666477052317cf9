"""What each kind of condition asks: truth tables over what a tag holds, and over the series of a study."""

import json
import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autorthanc_spool.actions import WORDS
from autorthanc_spool.core.dicom import Instance, Level, Resource, Series
from autorthanc_spool.core.record import Record
from autorthanc_spool.rules import Facts, Rule, RuleError, hopeless, judge, matches, parse_rule, unanswered
from autorthanc_spool.rules.questions import NONE, Questions
from autorthanc_spool.run import plan

TODAY = date(2026, 1, 31)
A, B = (f"{letter}a4b249f-7fce45ca-4f722f72-de2a24df-92abc740" for letter in "ab")
DOCS = Path(__file__).parents[2] / "docs" / "rules.md"


def rule(*tags: dict[str, Any], name: str = "trial", **keys: Any) -> Rule:
    content = {"CheckOn": "Study", "IsActive": True, "Tags": list(tags)} | keys
    return parse_rule(name, json.dumps(content).encode(), WORDS)


def problem(**condition: Any) -> str:
    with pytest.raises(RuleError) as caught:
        rule({"TagName": "StudyDescription"} | condition)
    return str(caught.value)


def study(*series: dict[str, str | None], level: Level = Level.STUDY, **own: str) -> Resource:
    """A study (or its first series) whose series have these tags, in Orthanc's lists or (`gggg,eeee`) in the file."""
    found = tuple(
        Series(
            series_id,
            {key: value for key, value in tags.items() if "," not in key and value is not None},
            {key: value for key, value in tags.items() if "," in key},
            instances=10,
        )
        for series_id, tags in zip((A, B), series, strict=False)
    )
    instances = tuple(Instance(one.resource_id, one.resource_id, "1.2", "1", 10, "u") for one in found)
    return Resource(level, A, {}, own, found, instances, "", is_stable=True, is_copy=False)


def passes(wanted: Rule, resource: Resource) -> bool:
    facts = Facts(resource, TODAY)
    assert unanswered([wanted], facts) == NONE
    assert judge(wanted, facts).matches is matches(wanted, facts)
    return matches(wanted, facts)


# What a tag may hold: absent, empty, one value, another, several with the wanted one.
HELD: dict[str, tuple[str | None, str, str, str, str]] = {
    "ImageType": (None, "", "PRIMARY", "DERIVED", "ORIGINAL\\PRIMARY"),
    "SliceThickness": (None, "", "1.50", "5", "5\\1.5"),
    "SeriesDate": (None, "", "20260115", "20251231", "20251231\\20260115"),
    "SeriesTime": (None, "", "093000", "200000", "200000\\0930"),
}
KINDS: list[tuple[str, dict[str, Any]]] = [
    ("ImageType", {"Value": "primary"}),
    ("ImageType", {"AnyOf": ["prim", "axial"]}),
    ("ImageType", {"Equals": "primary"}),
    ("ImageType", {"Equals": ["AXIAL", "PRIMARY"]}),
    ("ImageType", {"Matches": r"\bprim.ry$"}),
    ("SliceThickness", {"Value": "1.5"}),
    ("SliceThickness", {"Equals": "1.5"}),
    ("SliceThickness", {"AtMost": 2}),
    ("SliceThickness", {"AtLeast": "1", "AtMost": "2"}),
    ("SeriesDate", {"Equals": "2026-01-15"}),
    ("SeriesDate", {"AtLeast": "2026-01-15"}),
    ("SeriesDate", {"AtLeast": "-30d"}),
    ("SeriesTime", {"Equals": "09:30"}),
    ("SeriesTime", {"AtMost": "12:00"}),
]
IDS = [f"{name} {json.dumps(kind)}" for name, kind in KINDS]
TABLE = (False, False, True, False, True)


@pytest.mark.parametrize("level", list(Level))
@pytest.mark.parametrize(("name", "kind"), KINDS, ids=IDS)
def test_one_value_or_one_of_several_passes_and_nothing_else_does(
    name: str, kind: dict[str, Any], level: Level
) -> None:
    plain, negated = (rule({"TagName": name, **kind, **more}, CheckOn=level) for more in ({}, {"Not": True}))
    resources = [study({name: held}, level=level) for held in HELD[name]]
    assert tuple(passes(plain, one) for one in resources) == TABLE
    assert tuple(passes(negated, one) for one in resources) == tuple(not one for one in TABLE)


@pytest.mark.parametrize("level", list(Level))
def test_present_is_any_value_and_its_opposite_absent_or_empty(level: Level) -> None:
    held = [study({"ImageType": one}, level=level) for one in (*HELD["ImageType"], "\\")]
    table = [False, False, True, True, True, False]
    for is_there in (True, False):
        for is_negated in (True, False):
            wanted = rule({"TagName": "ImageType", "Present": is_there, "Not": is_negated}, CheckOn=level)
            assert [passes(wanted, one) for one in held] == [one is (is_there is not is_negated) for one in table]


@pytest.mark.parametrize(("name", "kind"), KINDS, ids=IDS)
def test_of_several_series_one_must_pass_and_of_a_negated_condition_none(name: str, kind: dict[str, Any]) -> None:
    _, empty, wanted, other, _ = HELD[name]
    plain, negated = (rule({"TagName": name, **kind, **more}) for more in ({}, {"Not": True}))
    both, neither = study({name: other}, {name: wanted}), study({name: other}, {name: empty})
    assert (passes(plain, both), passes(negated, both)) == (True, False)
    assert (passes(plain, neither), passes(negated, neither)) == (False, True)


@pytest.mark.parametrize(("name", "kind"), KINDS, ids=IDS)
def test_with_same_series_one_series_must_pass_all_of_them(name: str, kind: dict[str, Any]) -> None:
    _, _, wanted, other, _ = HELD[name]
    modality = {"TagName": "Modality", "Equals": "MR"}
    plain, negated = (
        rule(modality, {"TagName": name, **kind, **more}, SameSeries=True) for more in ({}, {"Not": True})
    )
    split = study({"Modality": "MR", name: other}, {"Modality": "CT", name: wanted})
    same = study({"Modality": "MR", name: wanted}, {"Modality": "CT", name: other})
    assert passes(rule(modality, {"TagName": name, **kind}), split)
    assert (passes(plain, split), passes(plain, same)) == (False, True)
    assert (passes(negated, split), passes(negated, same)) == (True, False)
    assert "no single series" in judge(plain, Facts(split, TODAY)).reason


def test_with_same_series_conditions_on_the_study_are_asked_of_the_study() -> None:
    wanted = rule(
        {"TagName": "StudyDescription", "Equals": "brain"}, {"TagName": "Modality", "Equals": "MR"}, SameSeries=True
    )
    assert passes(wanted, study({"Modality": "MR"}, {"Modality": "SR"}, StudyDescription="brain"))
    other = study({"Modality": "MR"}, {"Modality": "SR", "0008,1030": "brain"}, StudyDescription="dose")
    assert passes(wanted, other)


@pytest.mark.parametrize(
    ("tag_name", "wanted", "found", "is_equal"),
    [
        ("SliceThickness", "1.5", "1.50 ", True),
        ("SliceThickness", "1e1", "10", True),
        ("SliceThickness", "1.5", "15", False),
        ("SeriesNumber", "3", "+003", True),
        ("Rows", "512", "512", True),
        ("PixelSpacing", "0.5\\0.50", "0.50\\0.5", True),
        ("PixelSpacing", "0.5\\0.6", "0.6\\0.5", False),
        ("DistanceSourceToDetector", "nan", "nan", True),
        ("EchoTrainLength", "1", "1\\2", True),
        ("StudyDate", "20260102", "2026.01.02", True),
        ("StudyDate", "2026-01-02", "20260103", False),
        ("StudyTime", "0930", "093000.000000", True),
        ("StudyTime", "09:30", "0931", False),
        ("AcquisitionDateTime", "202601020930", "20260102093000", True),
        ("PatientName", "doe^jane", "Doe^Jane^^^", True),
        ("PatientName", "Doe^Jane^^", "Doe^Jane=山田^太郎", True),
        ("PatientName", "山田^太郎", "Doe^Jane=山田^太郎=やまだ^たろう", True),
        ("PatientName", "Doe^Jane=山田^太郎", "Doe^Jane=山田^太郎==", True),
        ("PatientName", "Doe^Jane=山田^太郎", "Doe^Jane", False),
        ("PatientName", "Doe", "Doe^Jane", False),
        ("PatientID", "1001", "11001", False),
        ("PatientID", "0100", "100", False),
        ("StudyDescription", "GRO\u0308SSE", "größe", True),
        ("ImageComments", "a", "a\\b", False),
        ("StudyDescription", "", "x", False),
        # What a private element is, no rule knows.
        ("0019,10e3", "1.5", "1.50 ", True),
        ("0019,10e3", "1.5", "1.51", False),
        ("0019,10e3", "a1", "A1", True),
    ],
)
def test_equal_is_what_means_the_same(tag_name: str, wanted: str, found: str, is_equal: bool) -> None:
    asked = rule({"TagName": tag_name, "Equals": wanted})
    tag = asked.conditions[0].tag
    assert passes(asked, study({tag: found})) is is_equal


@pytest.mark.parametrize(
    ("tag_name", "limits", "found", "lies"),
    [
        ("SliceThickness", {"AtLeast": 1, "AtMost": 2}, "0.5\\5", False),
        ("SliceThickness", {"AtLeast": "1"}, "thick", False),
        ("SliceThickness", {"AtLeast": -1}, "-0.5", True),
        ("SliceThickness", {"AtMost": "1e0"}, "1.0", True),
        ("SeriesDescription", {"AtLeast": 2}, "10", True),
        ("PatientAge", {"AtLeast": 18}, "018Y", True),
        ("PatientAge", {"AtLeast": 18}, "200M", False),
        ("StudyDate", {"AtLeast": "-30d"}, "20260101", True),
        ("StudyDate", {"AtLeast": "-30d"}, "20251231", False),
        ("StudyDate", {"AtLeast": "2026-01-01", "AtMost": "-1d"}, "20260130", True),
        ("StudyDate", {"AtLeast": "2026-01-01", "AtMost": "-1d"}, "20260131", False),
        ("StudyDate", {"AtLeast": "2026-01-01"}, "20261301", False),
        ("StudyDate", {"AtLeast": 5}, "20260101", False),
        ("AcquisitionDateTime", {"AtMost": "2026-01-02"}, "20260102235959.5+0100", True),
        ("AcquisitionDateTime", {"AtLeast": "20:00"}, "20260102235959", True),
        ("AcquisitionDateTime", {"AtLeast": "20:00"}, "20260102", False),
        ("StudyTime", {"AtMost": "09:30"}, "093000.000001", False),
        ("0019,100c", {"AtLeast": 500}, "1000", True),
    ],
)
def test_between_limits_lies_what_means_so(tag_name: str, limits: dict[str, Any], found: str, lies: bool) -> None:
    asked = rule({"TagName": tag_name, **limits})
    assert passes(asked, study({asked.conditions[0].tag: found})) is lies
    assert (
        passes(rule({"TagName": tag_name, **limits, "Not": True}), study({asked.conditions[0].tag: found})) is not lies
    )


@pytest.mark.parametrize(
    ("pattern", "position", "told"),
    [
        ("T1 (axial", 4, "a parenthesis that isn't closed"),
        ("axial)", 6, "a closing parenthesis too many"),
        (r"a\(b[c", 5, "a bracket that isn't closed"),
        (r"[()]*(", 6, "a parenthesis that isn't closed"),
        ("T1\\", 3, "a backslash at the end"),
        ("*T1", 1, "a repetition of nothing"),
        ("größe**", 6, "a repetition of a repetition"),
        ("a{2}b{2000}", 6, "a repetition too large"),
        ("T1(?!post)", 3, "an operator that RE2 doesn't have"),
        (r"(a)\1", 4, "an escape that RE2 doesn't have"),
        (r"\\1\1", 4, "an escape that RE2 doesn't have"),
        ("[a-z][z-a]", 7, "a range that is reversed"),
    ],
)
def test_a_pattern_that_cannot_be_read_is_reported_with_the_place_of_the_mistake(
    pattern: str, position: int, told: str
) -> None:
    found = problem(Matches=pattern)
    assert found.startswith(f"trial.json:1: Tags[0].Matches: found at character {position} of the pattern {told}")


def test_a_pattern_sees_several_values_without_what_pads_them() -> None:
    asked = rule({"TagName": "ImageType", "Matches": r"^original\\primary\\axial$"})
    assert passes(asked, study({"0008,0008": "ORIGINAL \\PRIMARY \\AXIAL"}))


@given(st.text(max_size=30))
def test_any_pattern_is_read_or_reported_without_being_quoted(pattern: str) -> None:
    try:
        matches(rule({"TagName": "SeriesDescription", "Matches": pattern}), Facts(study({"0008,103e": "x"}), TODAY))
    except RuleError as error:
        (one,) = error.problems
        place = re.match(r"at character (\d+) ", one.found)
        assert place
        assert 1 <= int(place[1]) <= len(pattern) * 2 + 1


def test_a_pattern_takes_linear_time_whatever_it_is() -> None:
    wanted = rule({"TagName": "ImageComments", "Matches": "(a*)*(a|aa)*b$"})
    assert not passes(wanted, study({"0020,4000": "a" * 100_000}))


@pytest.mark.parametrize(
    ("condition", "told"),
    [
        ({}, 'Tags[0].Value: found nothing, expected this key, which must be there; or one of "AnyOf"'),
        ({"Value": "a", "Equals": "b"}, 'Tags[0].Equals: found "Value" and "Equals", expected one of them'),
        ({"Present": True, "AtMost": 1}, 'found "AtLeast" and "Present"'.replace("AtLeast", "AtMost")),
        ({"AnyOf": []}, "Tags[0].AnyOf: found an empty list, expected at least one text"),
        ({"Equals": []}, "Tags[0].Equals: found an empty list"),
        ({"AnyOf": "a"}, "Tags[0].AnyOf: found text, expected a list"),
        ({"Equals": 1.5}, "found a number, expected text in quotes"),
        ({"AnyOf": [1]}, "Tags[0].AnyOf[0]: found a number, expected text in quotes"),
        ({"AtLeast": "30d"}, 'did you mean "-30d"?'),
        ({"AtLeast": "-30 days"}, 'did you mean "-30d"?'),
        ({"AtLeast": "-2w"}, 'did you mean "-14d"?'),
        ({"AtLeast": "31.01.2026"}, 'write year, month and day as "2026-01-31"'),
        ({"AtLeast": "2026-02-30"}, "the calendar has no such day"),
        ({"AtLeast": "5 mm"}, "write the number without a unit"),
        ({"AtLeast": "1,5"}, "write a point in place of the comma"),
        ({"AtLeast": True}, "Tags[0].AtLeast: found true, expected a number, a date"),
        ({"AtLeast": "9:30"}, 'write "09:30"'),
        ({"AtLeast": 1, "AtMost": "2026-01-01"}, "Tags[0].AtMost: found a limit of another kind"),
        ({"Present": "true"}, "write it without quotes"),
        ({"Value": "a", "Not": "true"}, "Tags[0].Not: found text, expected true or false"),
        ({"Equal": "a"}, 'did you mean "Equals"?'),
        ({"Equals": "a\nb"}, "a control character"),
    ],
)
def test_what_is_wrong_is_reported_with_what_to_write(condition: dict[str, Any], told: str) -> None:
    assert told in problem(**condition)


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"Fallback": {"Not": True}}, "Fallback: found an object, expected true or false"),
        ({"Fallback": True, "Not": True}, "Not: found an unknown key"),
        ({"Series": "some"}, 'Series: found "some", expected "all" or "matching"'),
        ({"Series": "matchin"}, 'did you mean "matching"?'),
        ({"SameSeries": "yes"}, "SameSeries: found text, expected true or false"),
        ({"Series": "matching", "DeleteFromOrthanc": True}, "would be gone without having been exported"),
    ],
)
def test_what_is_wrong_with_the_selection_is_reported(keys: dict[str, Any], told: str) -> None:
    with pytest.raises(RuleError, match=re.escape(told)):
        rule(**keys)


MR = {"TagName": "Modality", "Equals": "MR"}
NO_LOCALISER = {"TagName": "ImageType", "Value": "LOCALIZER", "Not": True}


def test_of_matching_series_those_leave_that_pass_all_conditions_on_series() -> None:
    wanted = rule(MR, NO_LOCALISER, {"TagName": "StudyDescription", "Value": "x"}, SameSeries=True, Series="matching")
    found = study(
        {"Modality": "MR", "ImageType": "A"}, {"Modality": "MR", "ImageType": "LOCALIZER"}, StudyDescription="x"
    )
    (job,) = plan.make_plan(Facts(found, TODAY), [wanted], [], Record("study-x")).jobs
    assert [one.resource_id for one in job.resource.series] == [A]
    assert [one.series_id for one in job.resource.instances] == [A]
    assert job.read == found
    assert judge(wanted, Facts(found, TODAY)).series == (A,)
    # Without SameSeries, the study is judged as usual, and a localiser leaves it out.
    assert not passes(rule(MR, NO_LOCALISER, Series="matching"), found)
    assert not passes(rule(MR, {"TagName": "ImageType", "Value": "PRIMARY"}, Series="matching"), found)


def test_a_change_of_what_selects_series_is_done_again_and_no_other_change_of_conditions() -> None:
    one, other = (rule(MR, {"TagName": "ImageType", "Value": value}) for value in "ab")
    assert one.fields_digest() == other.fields_digest() == rule(SameSeries=True, Fallback=True).fields_digest()
    one, other = (rule(MR, {"TagName": "ImageType", "Value": value}, Series="matching") for value in "ab")
    assert len({one.fields_digest(), other.fields_digest(), rule(MR).fields_digest()}) == 3
    assert one.sending_digest() != other.sending_digest()


def jobs(
    rules: list[Rule], resource: Resource, broken: list[Rule] | None = None, rivals: list[Rule] | None = None
) -> list[str]:
    drawn = plan.make_plan(Facts(resource, TODAY), rules, broken or [], Record("study-x"), rivals=rivals or [])
    return [*(job.rule.name for job in drawn.jobs), *drawn.waiting]


def test_a_fallback_is_asked_only_where_no_other_rule_matches() -> None:
    mr, rest, off = rule(MR, name="mr"), rule(Fallback=True, name="rest"), rule(IsActive=False, name="off")
    series = rule(CheckOn="Series", name="series")
    every = [mr, off, rest, series]
    assert jobs(every, study({"Modality": "MR"})) == ["mr"]
    assert jobs(every, study({"Modality": "CT"})) == ["rest"]
    # Another fallback is no rival; a broken file's last valid version is, and so is a rule that a marker leaves out.
    assert jobs([rest, rule(Fallback=True, name="rest2")], study({"Modality": "CT"})) == ["rest", "rest2"]
    assert jobs([rest], study({"Modality": "MR"}), broken=[mr]) == ["mr"]
    assert jobs([rest], study({"Modality": "MR"}), rivals=[mr]) == []


def unread(*series: dict[str, str], **own: str) -> Facts:
    found = tuple(Series(one, tags, instances=1) for one, tags in zip((A, B), series, strict=False))
    return Facts(Resource(Level.STUDY, A, {}, own, found, (), "", is_stable=True, is_copy=False), TODAY)


@pytest.mark.parametrize(
    ("wanted", "asked"),
    [
        # The plain condition is a yes by Orthanc's tags: the negated one is a no.
        (rule({"TagName": "StudyDescription", "Value": "phantom", "Not": True}), []),
        (rule({"TagName": "StudyDescription", "Value": "brain", "Not": True}), [A, B]),
        (
            rule(
                {"TagName": "StudyDescription", "Value": "brain", "Not": True}, {"TagName": "Modality", "Value": "CT"}
            ),
            [],
        ),
        (rule({"TagName": "Modality", "Equals": "SR", "Not": True}), []),
        (rule({"TagName": "Modality", "Equals": "CT", "Not": True}), []),
        (rule({"TagName": "AccessionNumber", "Present": False}), [A, B]),
        (rule({"TagName": "StudyDescription", "Present": False}), []),
        (rule(MR, {"TagName": "DeviceSerialNumber", "Equals": "1"}, SameSeries=True), [A]),
        (rule(MR, {"TagName": "DeviceSerialNumber", "Equals": "1"}, Series="matching"), [A, B]),
        (
            rule({"TagName": "Modality", "Equals": "CT"}, {"TagName": "SliceThickness", "AtMost": 1}, SameSeries=True),
            [],
        ),
    ],
)
def test_no_more_files_are_asked_than_the_answer_needs(wanted: Rule, asked: list[str]) -> None:
    facts = unread({"Modality": "MR"}, {"Modality": "SR"}, StudyDescription="phantom")
    assert unanswered([wanted], facts) == Questions(first_instances=frozenset(asked))


@pytest.mark.parametrize(
    ("wanted", "passed"),
    [
        ({"TagName": "NumberOfStudyRelatedInstances", "AtLeast": 20}, True),
        ({"TagName": "NumberOfStudyRelatedInstances", "AtLeast": 21}, False),
        ({"TagName": "NumberOfSeriesRelatedInstances", "Equals": "10"}, True),
        ({"TagName": "ModalitiesInStudy", "Equals": "SR"}, True),
        ({"TagName": "ModalitiesInStudy", "Equals": "SR", "Not": True}, False),
        ({"TagName": "ModalitiesInStudy", "Matches": "^MR"}, True),
        ({"TagName": "NumberOfStudyRelatedSeries", "AnyOf": ["1", "2"]}, True),
    ],
)
def test_computed_tags_work_with_every_kind(wanted: dict[str, Any], passed: bool) -> None:
    assert passes(rule(wanted), study({"Modality": "MR"}, {"Modality": "SR"})) is passed


def warned(*tags: dict[str, Any], **keys: Any) -> list[str]:
    content = json.dumps({"CheckOn": "Study", "IsActive": True, "Tags": list(tags)} | keys, indent=1).encode()
    return [str(one) for one in hopeless.warnings(parse_rule("trial", content, WORDS), content)]


@pytest.mark.parametrize(
    ("condition", "told"),
    [
        ({"TagName": "Modality", "Equals": "MRI"}, 'did you mean "MR"?'),
        ({"TagName": "Modality", "Equals": "M"}, "what is not a modality"),
        ({"TagName": "Modality", "AnyOf": ["CT", "MRI"]}, "Tags[0].AnyOf[1]: found what is not a modality"),
        ({"TagName": "Modality", "Equals": "MRI", "Not": True}, "what is not a modality"),
        ({"TagName": "SliceThickness", "AtLeast": 3, "AtMost": 1}, "Tags[0].AtMost: found less than AtLeast"),
        ({"TagName": "StudyDate", "AtLeast": "-1d", "AtMost": "-30d"}, "found less than AtLeast"),
        ({"TagName": "StudyDate", "AtLeast": 5}, "expected a date"),
        ({"TagName": "Rows", "AtLeast": "2026-01-01"}, "expected a number"),
        ({"TagName": "StudyDate", "Equals": "202601"}, "a part of a value"),
        ({"TagName": "StudyDescription", "Equals": ""}, "expected a value"),
        ({"TagName": "PatientSex", "Equals": ["F", "W"]}, "Tags[0].Equals[1]"),
        ({"TagName": "RetrieveAETitle", "Present": True}, "only asked for in queries"),
    ],
)
def test_what_cannot_pass_is_warned_of(condition: dict[str, Any], told: str) -> None:
    (found,) = warned(condition)
    assert told in found


@pytest.mark.parametrize("condition", [{"TagName": name, **kind} for name, kind in KINDS], ids=IDS)
def test_what_can_pass_is_not_warned_of(condition: dict[str, Any]) -> None:
    assert warned(condition, {"TagName": "StudyDate", "AtLeast": "-30d", "AtMost": "-1d"}) == []


def test_a_selection_without_effect_is_warned_of() -> None:
    assert "on a series it has no effect" in warned(MR, CheckOn="Series", SameSeries=True)[0]
    assert "no condition on a series tag" in warned(Series="matching")[0]
    assert '"SameSeries": true' in warned(MR, NO_LOCALISER, Series="matching")[0]
    assert warned(MR, NO_LOCALISER, Series="matching", SameSeries=True) == []


SECTION = DOCS.read_text().split("### Examples")[1].split("## Action")[0]
EXAMPLES = [parse_rule("example", one.encode(), WORDS) for one in re.findall(r"```json\n(.*?)```", SECTION, re.DOTALL)]


def thin(**tags: Any) -> dict[str, str | None]:
    return {"Modality": "CT", "0018,0050": "1.0", **tags}


T1: dict[str, str | None] = {"SeriesDescription": "axial T1", "0018,1000": "40123", "ImageType": "ORIGINAL\\PRIMARY"}
LOCALISER = T1 | {"ImageType": "ORIGINAL\\PRIMARY\\LOCALIZER"}


def counted(resource: Resource, instances: int) -> Resource:
    (one,) = resource.series
    return Resource(**{**vars(resource), "series": (Series(**{**vars(one), "instances": instances}),)})


@pytest.mark.parametrize(
    ("number", "taken", "not_taken"),
    [
        (
            0,
            [study(LOCALISER, T1, StudyDescription="Trial 7")],
            [
                study(T1 | {"0018,1000": "40124"}, LOCALISER, StudyDescription="trial 7"),
                study(LOCALISER, StudyDescription="trial 7"),
                study(T1, StudyDescription="trial 8"),
            ],
        ),
        (
            1,
            [counted(study(thin(), level=Level.SERIES), 60)],
            [
                counted(study(thin(), level=Level.SERIES), 59),
                counted(study(thin(**{"0018,0050": "5"}), level=Level.SERIES), 60),
                counted(study(thin(Modality="MR"), level=Level.SERIES), 60),
            ],
        ),
        (
            2,
            [study({}, StudyDescription="brain", PatientID="1"), study({})],
            [
                study({"0008,1030": "Phantom"}, StudyDescription="brain"),
                study({}, StudyDescription="QA daily"),
                study({}, PatientID="PHANTOM-3"),
            ],
        ),
        (
            3,
            [study({}, InstitutionName="North Hospital", StudyDate="20260115")],
            [
                study({}, InstitutionName="North Hospital", StudyDate="20260114"),
                study({}, InstitutionName="North Hospital 2", StudyDate="20260115"),
                study({}, StudyDate="20260115"),
            ],
        ),
    ],
)
def test_the_examples_of_the_docs_take_what_they_say_and_nothing_else(
    number: int, taken: list[Resource], not_taken: list[Resource]
) -> None:
    wanted = EXAMPLES[number]
    assert [passes(wanted, one) for one in taken] == [True] * len(taken)
    assert [passes(wanted, one) for one in not_taken] == [False] * len(not_taken)


def test_the_first_example_exports_the_t1_series_alone() -> None:
    assert judge(EXAMPLES[0], Facts(study(LOCALISER, T1, StudyDescription="trial 7"), TODAY)).series == (B,)


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        *[
            ({key: True}, f'{key}: found an unknown key, expected "CheckOn"')
            for key in ("Not", "Value", "AnyOf", "Equals", "Matches", "AtLeast", "AtMost", "Present", "Level")
        ],
        ({"Not": True}, 'it belongs in a condition: "Tags": [{"TagName": …, "Not": …}]'),
        ({"Equal": "x"}, 'it belongs in a condition: "Tags": [{"TagName": …, "Equals": …}]'),
        ({"TagName": "PatientID"}, 'it belongs in a condition: "Tags": [{"TagName": …, "Value": …}]'),
        ({"Fallback": True, "Not": True}, "it belongs in a condition"),
        ({"Fallbak": True}, 'did you mean "Fallback"?'),
        ({"Tags": [MR | {"SameSeries": True}]}, 'Tags[0].SameSeries: found an unknown key, expected "TagName"'),
        ({"Tags": [MR | {"Fallback": True}]}, 'it belongs in the rule itself, beside "Tags"'),
        ({"Tags": [MR | {"fallback": True}]}, 'it belongs in the rule itself, beside "Tags"'),
        ({"Tags": [MR | {"Noot": True}]}, 'did you mean "Not"?'),
    ],
    ids=str,
)
def test_a_key_at_the_wrong_place_is_reported_with_where_it_belongs(keys: dict[str, Any], told: str) -> None:
    with pytest.raises(RuleError, match=re.escape(told)):
        rule(**keys)


BAD_INPUT: dict[str, tuple[str, str]] = {
    # What is wrong, in line 6 of the file: how it begins, and what it says of how to fix it.
    '"Tags": [{"TagName": "PatientID", "Matches": "a("}]': ("Tags[0].Matches: found at character 2", "close it"),
    '"Tags": [{"TagName": "PatientID", "AtLeast": "much"}]': ("Tags[0].AtLeast: found text", "a number, a date (YYYY"),
    '"Tags": [{"TagName": "PatientID", "Value": "a", "AnyOf": ["b"]}]': ('Tags[0].AnyOf: found "Value" and', "one of"),
    '"Tags": [{"TagName": "PatientID", "AnyOf": []}]': ("Tags[0].AnyOf: found an empty list", "at least one text"),
    '"Tags": [], "Fallback": {"Not": true}': ("Fallback: found an object", "expected true or false"),
    '"Tags": [], "Fallback": true, "Not": true': ("Not: found an unknown key", "it belongs in a condition"),
    '"Tags": [], "Name": "{PatinetID}"': ('Name: found "PatinetID"', 'did you mean "PatientID"?'),
    '"Tags": [], "Name": "{PatientID}/ "': ('Name: found "{PatientID}/ "', "names that can't be empty"),
    '"Tags": [], "Name": "/srv/{PatientID}"': ('Name: found "/srv/{PatientID}"', "leave the first slash out"),
    '"Tags": [], "Name": "../{PatientID}"': ('Name: found "../{PatientID}"', "nor . or .."),
    '"Tags": [], "Files": "{InstnaceNumber}"': ('Files: found "InstnaceNumber"', 'did you mean "InstanceNumber"?'),
    '"Tags": [], "Files": "//{InstanceNumber}"': ('Files: found "//{InstanceNumber}"', "leave the first slash out"),
    '"Tags": [], "Files": "a/../{InstanceNumber}"': ('Files: found "a/../{InstanceNumber}"', "nor . or .."),
    '"Tags": [{"TagNam": "PatientID", "Value": "a"}]': (
        "Tags[0].TagNam: found an unknown key",
        'did you mean "TagName"?',
    ),
    '"Tags": [], "Serie": "matching"': ("Serie: found an unknown key", 'did you mean "Series"?'),
}


@pytest.mark.parametrize("written", BAD_INPUT)
def test_bad_input_is_reported_with_its_line_what_was_found_and_how_it_is_right(written: str) -> None:
    text = f'{{\n  "CheckOn": "Study",\n  "IsActive": true,\n\n  "_note": "",\n  {written}\n}}\n'
    with pytest.raises(RuleError) as caught:
        parse_rule("trial", text.encode(), WORDS)
    found, expected = BAD_INPUT[written]
    assert [str(caught.value).startswith(f"trial.json:6: {found}"), expected in str(caught.value)] == [True, True]
