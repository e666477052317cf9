"""What a condition finds, and what must be read to know: truth tables on values."""

from dataclasses import replace
from datetime import date

import pytest

from autorthanc_spool import rules
from autorthanc_spool.core.dicom import Level, Resource, Series
from autorthanc_spool.rules import Condition, Facts, Rule, Verdict
from autorthanc_spool.rules.asked import Contains
from autorthanc_spool.rules.questions import NONE, Questions
from autorthanc_spool.rules.vocabulary import find

STUDY_ID, SR, MR = (f"{digit}a4b249f-7fce45ca-4f722f72-de2a24df-92abc740" for digit in "012")


def rule(*conditions: tuple[str, str], check_on: Level = Level.STUDY, **fields: bool) -> Rule:
    return replace(
        Rule("trial", check_on, is_active=True),
        conditions=tuple(map(condition, *zip(*conditions, strict=True))),
        **fields,
    )


def condition(tag_name: str, value: str) -> Condition:
    found = find(tag_name)
    assert found
    return Condition(tag_name, *found, Contains(value))


def judge(wanted: Rule, resource: Resource) -> Verdict:
    return rules.judge(wanted, Facts(resource, date(2026, 1, 31)))


def unanswered(wanted: list[Rule], resource: Resource) -> Questions:
    return rules.unanswered(wanted, Facts(resource, date(2026, 1, 31)))


def study(*, read: bool = True, hidden: bool = False, **study_tags: str) -> Resource:
    """A study whose dose report came first; the first images are read, or not."""
    report: dict[str, str | None] = {"0008,1030": "Dose report", "0010,0040": "O", "0008,0016": "1.2.67"}
    image: dict[str, str | None] = {"0008,1030": "brain", "0010,0040": "F", "0008,0016": "1.2.4"}
    image["0020,4000"] = None if hidden else "TRIAL-7"
    series = (
        Series(SR, {"Modality": "SR", "SeriesDescription": "Dose report"}, report if read else None, instances=1),
        Series(MR, {"Modality": "MR", "SeriesDescription": "axial"}, image if read else None, instances=120),
    )
    tags = {"StudyDescription": "Dose report"} | study_tags
    return Resource(Level.STUDY, STUDY_ID, {"PatientSex": "O"}, tags, series, (), "", is_stable=True, is_copy=False)


def one_series(number: int, **fields: bool) -> Resource:
    whole = study(**fields)
    return replace(whole, level=Level.SERIES, resource_id=(SR, MR)[number], series=(whole.series[number],))


@pytest.mark.parametrize(
    ("tag_name", "value", "passes"),
    [
        # Orthanc's word, of the first file.
        ("StudyDescription", "dose", True),
        ("PatientSex", "O", True),
        # The word of another file.
        ("StudyDescription", "brain", True),
        ("0008,1030", "BRAIN", True),
        ("PatientSex", "F", True),
        # Nobody's word.
        ("StudyDescription", "knee", False),
        ("PatientSex", "M", False),
        ("PatientComments", "", False),
    ],
)
def test_a_patient_or_study_tag_counts_if_any_series_has_it(tag_name: str, value: str, passes: bool) -> None:
    assert judge(rule((tag_name, value)), study()).matches is passes


def test_where_a_value_was_found_is_said() -> None:
    (found,) = judge(rule(("StudyDescription", "brain")), study()).conditions
    assert (found.found, found.places) == (("Dose report", "brain"), ("", MR))
    (found,) = judge(rule(("StudyDescription", "dose")), study()).conditions
    assert (found.found, found.places) == (("Dose report",), ("",))
    (found,) = judge(rule(("Modality", "R")), study()).conditions
    assert (found.found, found.places) == (("SR", "MR"), (SR, MR))


@pytest.mark.parametrize(
    ("conditions", "asked"),
    [
        ([("StudyDescription", "dose")], []),
        ([("StudyDescription", "brain")], [SR, MR]),
        ([("0008,1030", "brain")], [SR, MR]),
        ([("StudyDescription", "brain"), ("Modality", "CT")], []),
        ([("Modality", "CT"), ("StudyDescription", "brain")], []),
        ([("StudyDescription", "brain"), ("Modality", "MR")], [SR, MR]),
        ([("StudyDescription", "dose"), ("DeviceSerialNumber", "1")], [SR, MR]),
        ([("SeriesDescription", "axial")], []),
        ([("SeriesDescription", "sagittal")], []),
        ([("ModalitiesInStudy", "MR")], []),
        ([("ModalitiesInStudy", "PT"), ("StudyDescription", "brain")], []),
        ([("SOPClassesInStudy", "1.2.4")], [SR, MR]),
    ],
)
def test_files_are_asked_only_where_the_answer_needs_them(conditions: list[tuple[str, str]], asked: list[str]) -> None:
    assert unanswered([rule(*conditions)], study(read=False)) == Questions(first_instances=frozenset(asked))
    assert unanswered([rule(*conditions)], study()) == NONE


def test_what_several_rules_need_is_asked_once() -> None:
    wanted = [rule(("StudyDescription", "brain")), rule(("PatientSex", "F")), rule(("DeviceSerialNumber", "1"))]
    assert unanswered(wanted, study(read=False)) == Questions(first_instances=frozenset({SR, MR}))


@pytest.mark.parametrize("fields", [{"is_active": False}, {"check_on": Level.SERIES}])
def test_a_rule_that_cannot_match_asks_nothing(fields: dict[str, bool]) -> None:
    assert not unanswered([replace(rule(("StudyDescription", "brain")), **fields)], study(read=False))  # type: ignore[arg-type]


def test_of_a_copy_that_is_left_out_nothing_is_asked() -> None:
    copy = replace(study(read=False), is_copy=True)
    assert not unanswered([rule(("StudyDescription", "brain"), copies=False)], copy)


def test_a_hidden_value_is_asked_for_where_it_decides() -> None:
    asked = Questions(hidden=frozenset({(MR, "0020,4000")}))
    wanted = rule(("ImageComments", "TRIAL-7"))
    assert unanswered([wanted], study(hidden=True)) == asked
    assert not judge(wanted, study(hidden=True)).matches
    assert judge(wanted, study()).matches
    assert not unanswered([rule(("ImageComments", "TRIAL-7"), ("Modality", "CT"))], study(hidden=True))
    assert not unanswered([rule(("StudyDescription", "brain"))], study(hidden=True))


@pytest.mark.parametrize(
    ("number", "value", "passes"),
    [(0, "dose", True), (1, "brain", True), (0, "brain", False), (1, "knee", False), (1, "dose", True)],
)
def test_a_series_is_judged_by_its_own_files_and_orthanc_s_word(number: int, value: str, passes: bool) -> None:
    wanted = rule(("StudyDescription", value), check_on=Level.SERIES)
    assert judge(wanted, one_series(number)).matches is passes


@pytest.mark.parametrize(
    ("keyword", "value", "other"),
    [
        ("ModalitiesInStudy", "SR\\MR", "CT"),
        ("NumberOfStudyRelatedSeries", "2", "3"),
        ("NumberOfStudyRelatedInstances", "121", "120"),
        ("NumberOfSeriesRelatedInstances", "120", "121"),
        ("SOPClassesInStudy", "1.2.67", "1.2.8"),
    ],
)
def test_what_is_in_no_file_is_computed(keyword: str, value: str, other: str) -> None:
    assert judge(rule((keyword, value)), study()).matches
    assert not judge(rule((keyword, other)), study()).matches


def test_on_a_series_the_study_s_computed_tags_count() -> None:
    wanted = rule(("NumberOfStudyRelatedInstances", "121"), check_on=Level.SERIES)
    series = one_series(1)
    assert unanswered([wanted], series) == Questions(siblings=True)
    whole = replace(series, siblings=study().series)
    assert judge(wanted, whole).matches
    assert not unanswered([wanted], whole)
    own = rule(("NumberOfSeriesRelatedInstances", "120"), check_on=Level.SERIES)
    assert judge(own, series).matches
    assert not unanswered([own], series)
