"""`Name`: what it means, and what is said of mistakes."""

import json
from typing import Any

import pytest

from autorthanc_spool.actions import WORDS
from autorthanc_spool.core import naming
from autorthanc_spool.core.dicom import Level, Resource, Series
from autorthanc_spool.rules import Rule, RuleError, parse_rule

ID = "0a4b249f-7fce45ca-4f722f72-de2a24df-92abc740"
PATIENT = {"PatientID": "P/1", "PatientName": "Müller^Anna", "PatientBirthDate": "19700102"}
STUDY = {"StudyDate": "20260309", "StudyID": "1", "StudyDescription": "brain .WORKING"}


def rule(**keys: Any) -> Rule:
    return parse_rule("r", json.dumps({"CheckOn": "Study", "Tags": [], **keys}).encode(), WORDS)


def named(template: str, level: Level = Level.STUDY, **tags: str) -> str:
    series = tuple(Series(f"s{at}", {"Modality": one, **tags}) for at, one in enumerate(("MR", "CT", "MR")))
    chosen = series if level is Level.STUDY else series[:1]
    resource = Resource(level, ID, PATIENT, STUDY, chosen, (), "", True, False)
    return naming.publication_name(resource, rule(Name=template, CheckOn=level.capitalize()).name_template)


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("{PatientID}-{PatientName}-{StudyDate}-{Modality}", "P_1-Müller-20260309-CT-MR"),
        ("{StudyDate:%Y-%m}/{PatientID}", "2026-03/P_1"),
        ("{StudyDate:%d.%m.%y}", "09.03.26"),
        ("trial/{StudyDescription}", "trial/brain__WORKING"),
        ("{AccessionNumber}", "UNKNOWN"),
        ("..{PatientID}", "_P_1"),
        ("-{StudyID}.", "_1"),
        ("MIResearch-{StudyID}", "MIResearch_1"),
        ("a b:c/{StudyID}", "a_b_c/1"),
        ("{PatientID}.zip", "P_1_zip"),
    ],
)
def test_a_template_names_what_is_published(template: str, name: str) -> None:
    assert named(template) == name


def test_a_series_has_attributes_of_its_own_in_its_name() -> None:
    assert named("{PatientID}/{SeriesNumber}-{Modality}", Level.SERIES, SeriesNumber="7") == "P_1/7-MR"


def test_a_date_that_is_not_one_reads_as_missing() -> None:
    resource = Resource(Level.STUDY, ID, {}, {"StudyDate": "20261399"}, (), (), "", True, False)
    assert naming.publication_name(resource, rule(Name="{StudyDate:%Y}/{PatientID}").name_template) == "UNKNOWN/NOPID"


def test_only_the_last_component_is_told_apart() -> None:
    assert naming.told_apart("2026/P1", ID) == "2026/P1-0a4b249f"


def test_a_long_component_is_cut_and_the_others_stay() -> None:
    first, last = named("{StudyDate:%Y}/" + "x" * 300 + "{PatientID}").split("/")
    assert first == "2026"
    assert len(last.encode()) == naming.MAX_NAME_BYTES


def test_a_template_changes_no_digest_so_nothing_is_published_again_for_it() -> None:
    assert rule(Name="{PatientID}").fields_digest() == rule().fields_digest()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"Name": ""}, 'found "", expected names that can\'t be empty'),
        ({"Name": "{PatientID}/"}, "can't be empty"),
        ({"Name": "{PatientID}/../x"}, "nor . or .."),
        ({"Name": "/srv/{PatientID}"}, "leave the first slash out"),
        (
            {"Name": "{PatientId}"},
            'found "PatientId", expected an attribute that a name may have; did you mean "PatientID"?',
        ),
        ({"Name": "{PixelData}"}, "an attribute that a name may have"),
        ({"Name": "{PatientID"}, 'found "{" alone'),
        ({"Name": "PatientID}"}, 'found "}" alone'),
        ({"Name": "{StudyDate:%H}"}, 'found "%H", expected a format for dates'),
        ({"Name": "{PatientID:%Y}"}, "without a format, which only dates have"),
        ({"Name": "{SeriesNumber}"}, 'found "SeriesNumber", expected attributes of patients and studies'),
        ({"Name": 5}, "text in quotes"),
    ],
    ids=str,
)
def test_a_mistake_is_named_with_what_is_expected(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(RuleError) as caught:
        rule(**keys)
    assert message in str(caught.value)
    assert str(caught.value).startswith("r.json:1: ")
