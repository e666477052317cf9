import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from autorthanc_spool.actions import WORDS
from autorthanc_spool.core.dicom import Level
from autorthanc_spool.rules import (
    AnonymiseOptions,
    Keep,
    PrivateElement,
    Problem,
    Rule,
    RuleError,
    ZipOptions,
    known_private,
    parse_rule,
)
from autorthanc_spool.rules.fields import KEYS, TAG_KEYS
from autorthanc_spool.rules.file import MAX_BYTES
from autorthanc_spool.rules.options import ANONYMISE_KEYS, ZIP_KEYS


def rule(*, without: str = "", **fields: Any) -> Rule:
    """A rule that asks for whatever it wants, with the keys that must be there."""
    content = {"CheckOn": "Study", "IsActive": True, "Tags": []} | fields
    content.pop(without, None)
    return parse_rule("brain", json.dumps(content).encode(), WORDS)


def problems(*, without: str = "", **fields: Any) -> list[str]:
    with pytest.raises(RuleError) as caught:
        rule(without=without, **fields)
    return [f"{problem}" for problem in caught.value.problems]


def problems_of(text: str | bytes) -> tuple[Problem, ...]:
    with pytest.raises(RuleError) as caught:
        parse_rule("brain", text.encode() if isinstance(text, str) else text, WORDS)
    return caught.value.problems


def condition(tag_name: str, value: str = "x", **more: Any) -> dict[str, Any]:
    return {"TagName": tag_name, "Value": value, **more}


BRAIN = b"""{
  "CheckOn": "Study",
  "IsActive": true,
  "Comment": "brain study, A.B.",
  "Action": ["DOWNLOAD", "ANONYMISE", "ZIP"],
  "Tags": [
    {"TagName": "StudyDescription", "Value": "brain"},
    {"TagName": "SeriesDescription", "Level": "Series", "Value": "axial t1"}
  ]
}
"""

# As its predecessor's templates look.
OLD = b"""{"CheckOn":"Series","IsActive":false,"Action":"FORWARD","DestinationModality":"PACS","Comment":"x",
"Tags":[{"TagName":"SeriesNumber","Level":"Series","Value":"999"},
{"TagName":"SeriesDescription","Level":"Series","Value":"processed"}]}"""


@pytest.mark.parametrize("level", ["", "Series", "study", "PATIENT"])
def test_a_level_that_is_empty_is_as_good_as_none_and_means_as_little_as_any(level: str) -> None:
    plain, more = condition("SeriesDescription", "t1"), condition("SeriesDescription", "t1", Level=level)
    assert rule(Tags=[more]).conditions == rule(Tags=[plain]).conditions


@pytest.mark.parametrize("level", [" ", "Instance", 1, None, []])
def test_a_level_that_is_none_of_the_three_is_a_mistake(level: object) -> None:
    assert "Level" in str(problems(Tags=[condition("SeriesDescription", "t1", Level=level)]))


def test_a_rule_is_read() -> None:
    found = parse_rule("brain", BRAIN, WORDS)
    assert (found.name, found.check_on, found.is_active, found.comment) == (
        "brain",
        Level.STUDY,
        True,
        "brain study, A.B.",
    )
    assert {*map(str, found.actions)} == {"DOWNLOAD", "ANONYMISE", "ZIP"}
    assert [(one.tag_name, one.keyword, one.tag, one.wanted["Value"]) for one in found.conditions] == [
        ("StudyDescription", "StudyDescription", "0008,1030", "brain"),
        ("SeriesDescription", "SeriesDescription", "0008,103e", "axial t1"),
    ]
    assert found.copies


def test_older_rules_are_read_unchanged() -> None:
    found = parse_rule("old", OLD, WORDS)
    assert found.check_on is Level.SERIES
    assert not found.is_active
    assert found.destination_modalities == ("PACS",)
    downloading = parse_rule("old", OLD.replace(b"FORWARD", b"DOWNLOAD"), WORDS)
    assert downloading.destination_modalities == ()


@pytest.mark.parametrize("destination", [None, "", [], 4, {}, "a b"])
def test_without_forward_nobody_looks_at_the_destination(destination: Any) -> None:
    assert rule(DestinationModality=destination).destination_modalities == ()


def test_a_rule_that_does_not_say_so_is_not_active() -> None:
    assert not rule(without="IsActive").is_active


@pytest.mark.parametrize("check_on", ["Series", "series", "SERIES"])
def test_words_are_read_in_any_letter_case(check_on: str) -> None:
    found = rule(CheckOn=check_on, Action=["download", "Zip"], Tags=[condition("PatientID", Level="pAtient")])
    assert found.check_on is Level.SERIES
    assert {*map(str, found.actions)} == {"DOWNLOAD", "ZIP"}


@pytest.mark.parametrize(
    ("written", "actions"),
    [
        ("DOWNLOAD", "DOWNLOAD"),
        ("ZIP", "DOWNLOAD ZIP"),
        ("ANONYMISE", "DOWNLOAD ANONYMISE"),
        ("ANONYMIZE", "DOWNLOAD ANONYMISE"),
        (["ZIP", "ZIP", "DOWNLOAD"], "DOWNLOAD ZIP"),
        (["ZIP", "FORWARD"], "DOWNLOAD ZIP FORWARD"),
        ("FORWARD", "FORWARD"),
        (["FORWARD", "ANONYMISE"], "FORWARD ANONYMISE"),
        (["FORWARD", "DOWNLOAD"], "FORWARD DOWNLOAD"),
    ],
)
def test_actions_imply_what_they_need(written: Any, actions: str) -> None:
    found = rule(Action=written, DestinationModality="PACS")
    assert {*map(str, found.actions)} == set(actions.split())
    assert found.publishes == ("DOWNLOAD" in actions)
    assert found.forwards == ("FORWARD" in actions)
    assert (found.anonymise is not None) == ("ANONYMISE" in actions)
    assert (found.zip is not None) == ("ZIP" in actions)


def test_without_action_a_rule_downloads() -> None:
    assert {*map(str, rule().actions)} == {"DOWNLOAD"}


def test_notes_mean_nothing() -> None:
    found = rule(
        **{"$schema": 7, "_": {"a": [1]}, "_x": None}, Tags=[condition("PatientID", _why=3)], Zip={"_": 1}, Action="ZIP"
    )
    assert found == rule(Tags=[condition("PatientID")], Action="ZIP")


@pytest.mark.parametrize(
    ("written", "keyword", "tag"),
    [
        ("SeriesDescription", "SeriesDescription", "0008,103e"),
        ("0008,103E", "SeriesDescription", "0008,103e"),
        ("0019,10E2", None, "0019,10e2"),
        ("0009,0010", None, "0009,0010"),
        ("0008,0000", None, "0008,0000"),
        ("0008,9999", None, "0008,9999"),
        ("6000,0010", None, "6000,0010"),
        ("SmallestImagePixelValue", "SmallestImagePixelValue", "0028,0106"),
        ("AcquisitionComments", "AcquisitionComments", "0018,4000"),
    ],
)
def test_a_tag_is_named_by_keyword_or_number(written: str, keyword: str | None, tag: str) -> None:
    (found,) = rule(Tags=[condition(written)]).conditions
    assert (found.tag_name, found.keyword, found.tag) == (written, keyword, tag)


@pytest.mark.parametrize(
    ("tag_name", "problem"),
    [
        ("SeriesDescripton", 'did you mean "SeriesDescription"?'),
        ("seriesdescription", 'did you mean "SeriesDescription"?'),
        ("Series Description", 'did you mean "SeriesDescription"?'),
        ("PatientsName", 'did you mean "PatientName"?'),
        ("(0008,103E)", 'did you mean "0008,103e"?'),
        ("0008103e", 'did you mean "0008,103e"?'),
        ("0x0008, 0x103e", 'did you mean "0008,103e"?'),
        ("OverlayRows", "write the one that is meant, as 6000,0010"),
        ("0008,103x", "expected a DICOM keyword or gggg,eeee"),
        ("", "expected a DICOM keyword or gggg,eeee"),
        ("x" * 5000, "expected a DICOM keyword or gggg,eeee"),
        ("PixelData", "a binary value"),
        ("7fe0,0010", "a binary value"),
        ("RequestAttributesSequence", "a sequence"),
        ("0040,0275", "a sequence"),
        ("LUTData", "a binary value"),
        ("6000,3000", "a binary value"),
        ("TransferSyntaxUID", "which Orthanc doesn't list with an image's tags"),
        ("fffe,e000", "which Orthanc doesn't list with an image's tags"),
    ],
)
def test_a_tag_that_can_not_be_asked_for_is_reported(tag_name: str, problem: str) -> None:
    (found,) = problems(Tags=[condition(tag_name)])
    assert found.startswith("Tags[0].TagName: found ")
    assert problem in found
    assert len(found) < 300


def test_a_single_backslash_that_json_reads_as_something_else_is_reported() -> None:
    text = r'{"CheckOn": "Study", "Tags": [{"TagName": "ImageType", "Value": "ORIGINAL\none"}]}'
    (problem,) = problems_of(text)
    assert problem.field == "Tags[0].Value"
    assert r"\\" in (problem.hint or "")
    assert rule(Tags=[condition("ImageComments", "two\nlines"), condition("0019,10e2", "a\tb")])


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"CheckOn": "Patient"}, 'CheckOn: found "Patient", expected "Study" or "Series"'),
        ({"CheckOn": "Studdy"}, 'did you mean "Study"?'),
        ({"CheckOn": None}, "CheckOn: found null, expected text in quotes"),
        ({"CheckOn": ["Study"]}, "CheckOn: found a list, expected text in quotes"),
        ({"IsActive": "true"}, "IsActive: found text, expected true or false; write it without quotes"),
        ({"IsActive": 1}, "IsActive: found a number, expected true or false"),
        ({"Copies": "no"}, "Copies: found text, expected true or false"),
        ({"Comment": 3}, "Comment: found a number, expected text in quotes; write it in double quotes"),
        ({"Tags": {}}, "Tags: found an object, expected a list: […]"),
        ({"Tags": ["PatientID"]}, "Tags[0]: found text, expected an object: {…}"),
        ({"Tags": [{"TagName": "PatientID"}]}, "Tags[0].Value: found nothing, expected this key"),
        ({"Tags": [{"Value": "x"}]}, "Tags[0].TagName: found nothing, expected this key"),
        ({"Tags": [condition("SeriesNumber", 999)]}, "Tags[0].Value: found a number, expected text in quotes"),
        ({"Tags": [condition("PatientID", Level="Image")]}, 'Tags[0].Level: found "Image"'),
        ({"Tags": [condition("PatientID", Valeu="x")]}, 'Tags[0].Valeu: found an unknown key, expected "TagName",'),
        ({"Action": "DOWNLOD"}, 'did you mean "DOWNLOAD"?'),
        ({"Action": "download, zip"}, 'write a list: ["DOWNLOAD", "ZIP"]'),
        ({"Action": []}, "Action: found an empty list, expected at least one entry"),
        ({"Action": ["DOWNLOAD", 1]}, "Action[1]: found a number, expected text in quotes"),
        ({"Action": None}, "Action: found null, expected text in quotes"),
        ({"isActive": True}, 'isActive: found an unknown key, expected "CheckOn"'),
        ({"Chekon": 1}, 'did you mean "CheckOn"?'),
        ({"two words\n": 1}, '"two words\\n": found an unknown key'),
        ({"Action": "FORWARD"}, "Action: found FORWARD, but no DestinationModality, expected both"),
        ({"Action": "FORWARD", "DestinationModality": []}, "DestinationModality: found an empty list"),
        ({"Action": "FORWARD", "DestinationModality": ""}, 'DestinationModality: found "", expected the name of'),
        ({"Action": "FORWARD", "DestinationModality": ["A", "../x"]}, 'DestinationModality[1]: found "../x"'),
        ({"Zip": {}}, "Zip: found it, but no ZIP in Action, expected both or neither"),
        ({"Anonymise": {}}, "Anonymise: found it, but no ANONYMISE in Action, expected both or neither"),
        ({"StorageCommitment": True}, "StorageCommitment: found it, but no FORWARD in Action"),
        (
            {"StorageCommitment": True, "Action": ["ANONYMISE", "FORWARD"], "DestinationModality": "A"},
            "StorageCommitment: found true together with ANONYMISE",
        ),
        ({"DeleteFromOrthanc": True, "Action": "ANONYMISE"}, "DeleteFromOrthanc: found true together with ANONYMISE"),
        (
            {"DeleteFromOrthanc": True, "Action": ["FORWARD"], "DestinationModality": "A"},
            "DeleteFromOrthanc: found true with FORWARD alone",
        ),
        (
            {"Action": "ZIP", "Zip": {"Compression": "best"}},
            'Zip.Compression: found "best", expected "fast" or "stored"',
        ),
        ({"Action": "ZIP", "Zip": "fast"}, "Zip: found text, expected an object: {…}"),
    ],
)
def test_a_wrong_value_is_reported_with_its_field(fields: dict[str, Any], told: str) -> None:
    (found,) = problems(**fields)
    assert told in found


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"Keep": ["Dates"]}, 'Anonymise.Keep[0]: found "Dates"'),
        ({"Keep": "UIDs"}, "Anonymise.Keep: found text, expected a list"),
        ({"Keep": ["ModifiedDates", "FullDates"]}, "Anonymise.Keep: found ModifiedDates and FullDates"),
        ({"Project": " "}, "Anonymise.Project: found"),
        ({"PseudonymTable": "../x.csv"}, "Anonymise.PseudonymTable: found"),
        ({"PseudonymTable": "x.json"}, "Anonymise.PseudonymTable: found"),
        ({"PseudonymTable": ".csv"}, "Anonymise.PseudonymTable: found"),
        (
            {"Set": {"PatientName": "x"}},
            "Anonymise.Set.PatientName: found an unknown key, expected the keyword of a Cl",
        ),
        ({"Set": {"ClinicalTrialSiteNam": "x"}}, 'did you mean "ClinicalTrialSiteName"?'),
        ({"Set": {"ClinicalTrialTimePointTypeCodeSequence": "x"}}, "an unknown key"),
        ({"Set": {"ClinicalTrialSiteID": "x" * 65}}, "expected 1 to 64 ASCII characters"),
        ({"Set": {"ClinicalTrialSiteID": "a\\b"}}, "expected 1 to 64 ASCII characters"),
        ({"SafePrivate": [["A", "0019"]]}, "Anonymise.SafePrivate[0]: found a list of 2"),
        ({"SafePrivate": [["A", "0018", "0c"]]}, 'Anonymise.SafePrivate[0][1]: found "0018", expected a private group'),
        ({"SafePrivate": [["A", "0019", "100c"]]}, 'Anonymise.SafePrivate[0][2]: found "100c"'),
        ({"SafePrivate": [{"Creator": "A", "Group": "0019"}]}, "Anonymise.SafePrivate[0].Element: found nothing"),
        (
            {"SafePrivate": [{"Creator": "", "Group": "0019", "Element": "00"}]},
            "Anonymise.SafePrivate[0].Creator: found",
        ),
        ({"BurnedIn": "Allow"}, 'did you mean "allow"?'),
        ({"BurnedIn": "redacted"}, 'did you mean "redact"?'),
        ({"Recode": True}, 'Anonymise.Recode: found true without "BurnedIn": "redact", expected false'),
        ({"Recode": True, "BurnedIn": "allow"}, 'add "BurnedIn": "redact", or remove it'),
        ({"Recode": "yes", "BurnedIn": "redact"}, "Anonymise.Recode: found text, expected true or false"),
        ({"Detect": "blackout"}, 'Anonymise.Detect: found "blackout" without "BurnedIn": "redact", expected "check"'),
        ({"Detect": "black"}, 'did you mean "blackout"?'),
        ({"Structured": "keep"}, 'expected "withhold" or "clean"'),
        ({"Issuer": "use"}, 'expected "ignore" or "apart"'),
        ({"Issuer": "apart", "PseudonymTable": "p.csv"}, 'Anonymise.Issuer: found "apart", expected no "apart" beside'),
        ({"Malformed": "skip"}, 'expected "fail" or "withhold"'),
        ({"keep": []}, "Anonymise.keep: found an unknown key"),
    ],
)
def test_a_wrong_option_of_anonymise_is_reported(options: dict[str, Any], told: str) -> None:
    (found,) = problems(Action="ANONYMISE", Anonymise=options)
    assert told in found


def test_options_are_read() -> None:
    found = rule(
        Action=["ANONYMISE", "ZIP", "FORWARD"],
        DestinationModality=["A", "B", "A"],
        Zip={"Compression": "stored"},
        Anonymise={
            "Keep": ["UIDs", "FullDates", "UIDs"],
            "SafePrivate": [["GEMS_PARM_01", "0043", "xx39"], {"Creator": "A B", "Group": "0019", "Element": "0C"}],
            "Project": "P",
            "PseudonymTable": "p.csv",
            "Set": {"ClinicalTrialSiteID": "04"},
            "BurnedIn": "allow",
            "Structured": "clean",
            "Issuer": "ignore",
            "Malformed": "withhold",
        },
    )
    assert found.destination_modalities == ("A", "B")
    assert rule(Action="FORWARD", DestinationModality="A", StorageCommitment=True).storage_commitment
    assert found.zip == ZipOptions("stored")
    assert found.anonymise == AnonymiseOptions(
        project="P",
        keep=frozenset({Keep.UIDS, Keep.FULL_DATES}),
        safe_private=(PrivateElement("A B", 0x19, 0x0C), PrivateElement("GEMS_PARM_01", 0x43, 0x39)),
        pseudonym_table="p.csv",
        fixed=(("ClinicalTrialSiteID", "04"),),
        burned_in="allow",
        structured="clean",
        malformed="withhold",
    )
    redacted = rule(
        Action="ANONYMISE", Anonymise={"BurnedIn": "redact", "Recode": True, "Detect": "blackout"}
    ).anonymise
    assert redacted == AnonymiseOptions("brain", burned_in="redact", recode=True, detect="blackout")
    checked = rule(Action="ANONYMISE", Anonymise={"Detect": "check", "Recode": False}).anonymise
    assert checked == AnonymiseOptions("brain", detect="check")
    apart = rule(Action="ANONYMISE", Anonymise={"Issuer": "apart"}).anonymise
    assert apart == AnonymiseOptions("brain", issuer="apart")


def test_the_project_is_the_rule_s_name_unless_it_says_another() -> None:
    assert rule(Action="ANONYMISE").anonymise == AnonymiseOptions("brain")
    assert rule(Action="ANONYMISE", Anonymise={"BurnedIn": "allow"}).anonymise == AnonymiseOptions(
        "brain", burned_in="allow"
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"Action": ["DOWNLOAD", "FORWARD"]},
        {"Action": ["ZIP", "FORWARD"]},
        {"Action": "FORWARD", "StorageCommitment": True},
        {"Action": "DOWNLOAD"},
    ],
)
def test_deletion_is_allowed_where_the_files_are_kept(fields: dict[str, Any]) -> None:
    assert rule(DeleteFromOrthanc=True, DestinationModality="A", **fields).delete_from_orthanc


def test_all_problems_of_a_file_are_reported_with_their_lines() -> None:
    text = """{
  "CheckOn": "Studdy",
  "IsActive": "yes",
  "Tags": [
    {"TagName": "StudyDescription", "Value": "brain"},
    {"TagName": "SeriesDescripton",
     "Value": 1}
  ],
  "CheckOn": "Study",
  "Level": "Series"
}"""
    with pytest.raises(RuleError) as caught:
        parse_rule("brain", text.encode(), WORDS)
    assert [(problem.line, problem.field) for problem in caught.value.problems] == [
        (2, "CheckOn"),
        (3, "IsActive"),
        (6, "Tags[1].TagName"),
        (7, "Tags[1].Value"),
        (9, "CheckOn"),
        (10, "Level"),
    ]
    assert str(caught.value).splitlines()[2] == (
        'brain.json:6: Tags[1].TagName: found "SeriesDescripton", expected a DICOM keyword or gggg,eeee; '
        'did you mean "SeriesDescription"?'
    )
    assert "line 2 already" in str(caught.value)


@pytest.mark.parametrize(
    ("data", "line", "told"),
    [
        (b"", 0, "an empty file"),
        (b" \n ", 0, "an empty file"),
        (b"\xef\xbb\xbf", 0, "an empty file"),
        (b'\xef\xbb\xbf{"CheckOn": "Study", "Tags": []}', 1, "a byte order mark"),
        ('{"CheckOn": "Study", "Tags": []}'.encode("utf-16"), 0, "something else than UTF-8"),
        (b'{"CheckOn": "Study",\n "Comment": "M\xfcller", "Tags": []}', 2, "the byte fc, which isn't UTF-8"),
        (b"{" + b" " * MAX_BYTES + b"}", 0, "more than 256 KiB"),
        (b"[]", 1, "a list"),
        (b"3", 1, "a number"),
        (b"null", 1, "null"),
    ],
)
def test_what_is_not_a_rule_at_all_is_reported(data: bytes, line: int, told: str) -> None:
    assert any(problem.line == line and problem.found == told for problem in problems_of(data))


def test_after_a_byte_order_mark_other_problems_are_found_too() -> None:
    assert len(problems_of(b'\xef\xbb\xbf{"CheckOn": "x", "Comment": "\xfc", "Tags": 1}')) == 4


def test_problems_quote_no_value_that_may_name_a_patient() -> None:
    texts = [
        '{"Tags": [{"TagName": "PatientName", "Value": Doe^Jane}]}',
        '{"Tags": [{"TagName": "PatientName", "Value" "Doe^Jane"}]}',
        '{"Tags": [{"TagName": "PatientName", "Value": "Doe^Jane}]}',
        '{"Tags": [{"TagName": "PatientName", "Value": ["Doe^Jane"]}]}',
        '{"Tags": [{"TagName": "PatientName", "Value": "Doe^Jane\\b"}], "CheckOn": "Study"}',
        '{"Tags": ["Doe^Jane"]}',
    ]
    for text in texts:
        assert "Doe" not in "".join(str(problem) for problem in problems_of(text))


@pytest.mark.parametrize(
    ("fields", "is_off"),
    [
        ('"IsActive": false', True),
        ('"IsActive": true', False),
        ('"_": 1', True),
        ('"IsActive": "true"', False),
        ('"IsActive": "false"', False),
        ('"IsActiv": true', False),
        ('"isactive": true', False),
        ('"IsActive": false, "IsActive": true', False),
    ],
)
def test_a_broken_file_is_off_only_if_it_says_so_clearly(fields: str, is_off: bool) -> None:
    with pytest.raises(RuleError) as caught:
        parse_rule("brain", f'{{"CheckOn": "Nothing", {fields}}}'.encode(), WORDS)
    assert caught.value.is_off is is_off


def test_a_file_that_is_not_json_does_not_say_that_it_is_off() -> None:
    for data in (b'{"IsActive": false,', b"", b"[]"):
        with pytest.raises(RuleError) as caught:
            parse_rule("brain", data, WORDS)
        assert not caught.value.is_off


def test_the_digest_changes_with_what_shapes_the_output_only() -> None:
    plain = rule().fields_digest()
    same: list[dict[str, Any]] = [
        {"Comment": "x"},
        {"IsActive": False},
        {"Tags": [condition("PatientID")]},
        {"Copies": False},
        {"CheckOn": "Series"},
        {"Action": ["download", "DOWNLOAD"]},
        {"DestinationModality": "PACS"},
        {"DeleteFromOrthanc": True},
        {"Action": ["DOWNLOAD", "FORWARD"], "DestinationModality": "A"},
        {"Action": ["DOWNLOAD", "FORWARD"], "DestinationModality": ["A", "B"]},
    ]
    assert {rule(**fields).fields_digest() for fields in same} == {plain}
    beside = {key: {"BurnedIn": "redact"} for key in ("Recode", "Detect")}
    different: list[dict[str, Any]] = [
        {},
        {"Action": "ZIP"},
        {"Action": "ZIP", "Zip": {"Compression": "stored"}},
        {"Action": "ANONYMISE"},
        *(
            {"Action": "ANONYMISE", "Anonymise": {**beside.get(key, {}), key: value}}
            for key, value in ANONYMISE_VALUES.items()
        ),
    ]
    assert len({rule(**fields).fields_digest() for fields in different}) == len(different)


def test_it_is_sent_again_when_a_change_shapes_what_is_sent_only() -> None:
    def digest(**fields: Any) -> str:
        return rule(**{"Action": "FORWARD", "DestinationModality": "A", **fields}).sending_digest()

    assert digest() == digest(DestinationModality=["A", "B"]) == digest(Action=["DOWNLOAD", "FORWARD"])
    different = [
        digest(),
        digest(StorageCommitment=True),
        digest(Action=["ANONYMISE", "FORWARD"]),
        digest(Action=["ANONYMISE", "FORWARD"], Anonymise={"Keep": ["UIDs"]}),
    ]
    assert len(set(different)) == len(different)


ANONYMISE_VALUES: dict[str, Any] = {
    "Keep": ["UIDs"],
    "SafePrivate": [["A", "0019", "0c"]],
    "Project": "P",
    "PseudonymTable": "p.csv",
    "Set": {"ClinicalTrialSiteID": "04"},
    "BurnedIn": "redact",
    "Recode": True,
    "Detect": "blackout",
    "Structured": "clean",
    "Issuer": "apart",
    "Malformed": "withhold",
}


def test_the_digest_does_not_depend_on_order_or_on_defaults_that_are_written_out() -> None:
    one = rule(
        Action=["ZIP", "ANONYMISE", "FORWARD"], DestinationModality=["A", "B"], Anonymise={"Keep": ["UIDs", "Device"]}
    )
    other = rule(
        Action=["FORWARD", "anonymize", "DOWNLOAD", "ZIP"],
        DestinationModality=["B", "A"],
        Zip={"Compression": "fast"},
        Anonymise={
            "Structured": "withhold",
            "Issuer": "ignore",
            "Malformed": "fail",
            "BurnedIn": "withhold",
            "Recode": False,
            "Keep": ["Device", "UIDs"],
            "Project": "brain",
            "Set": {},
            "SafePrivate": [],
        },
    )
    assert one.fields_digest() == other.fields_digest()


@pytest.mark.parametrize(
    ("fields", "digest"),
    [
        ({}, "325c7a488922"),
        ({"Action": "ZIP"}, "5a18beb205b1"),
        ({"Action": "ZIP", "Between": "20:00-06:00"}, "5a18beb205b1"),
        (
            {"Action": ["ANONYMISE", "FORWARD"], "DestinationModality": "A", "Anonymise": {"Keep": ["UIDs"]}},
            "989f20f077a4",
        ),
    ],
)
def test_recorded_digests_stay_valid_in_later_versions(fields: dict[str, Any], digest: str) -> None:
    """A change of these makes every site export everything again."""
    assert rule(**fields).fields_digest()[:12] == digest


KINDS = {"Value": "", "AnyOf": ["a"], "Equals": "a", "Matches": "a", "AtLeast": 1, "AtMost": 1, "Present": True}


def test_every_key_is_read() -> None:
    full = {
        "CheckOn": "Study",
        "IsActive": True,
        "Comment": "",
        "Action": ["ANONYMISE", "ZIP", "FORWARD"],
        "Tags": [{"TagName": "PatientID", "Level": "Study", "Not": False, **dict([kind])} for kind in KINDS.items()],
        "DestinationModality": "A",
        "Copies": True,
        "Anonymise": {**ANONYMISE_VALUES, "Issuer": "ignore"},
        "Zip": {"Compression": "fast"},
        "StorageCommitment": False,
        "DeleteFromOrthanc": False,
        "Deliver": "/mnt/share/trial7",
        "Name": "{PatientID}",
        "Files": "{SOPInstanceUID}",
        "Between": "20:00-06:00",
        "SameSeries": False,
        "Series": "all",
        "Fallback": False,
    }
    assert set(full) == set(KEYS)
    assert {key for one in full["Tags"] for key in one} == set(TAG_KEYS)  # type: ignore[attr-defined]
    assert set(ANONYMISE_VALUES) == set(ANONYMISE_KEYS)
    assert set(full["Zip"]) == set(ZIP_KEYS)  # type: ignore[call-overload]
    assert parse_rule("full", json.dumps(full).encode(), WORDS)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"Issuer": "apart"},
        {"Issuer": "ignore", "PseudonymTable": "p.csv"},
        {"Issuer": "apart", "PseudonymTable": "p.csv"},
        {"Issuer": "Apart"},
        {"Issuer": None},
        {"Malformed": "withhold"},
        {"Malformed": "fail"},
        {"Malformed": "allow"},
        {"Malformed": True},
    ],
    ids=str,
)
def test_the_schema_takes_the_same_options_as_the_reader(options: dict[str, Any]) -> None:
    schema = json.loads((Path(__file__).parents[2] / "automation_scripts/schema/rule.schema.json").read_text())
    content = {"CheckOn": "Study", "IsActive": True, "Action": "ANONYMISE", "Tags": [], "Anonymise": options}
    found = judged(json.dumps(content).encode())
    assert Draft7Validator(schema).is_valid(content) == isinstance(found, Rule)


def judged(data: bytes) -> Rule | RuleError:
    """Nothing but a rule or its problems comes of any file, and both can be shown."""
    try:
        found = parse_rule("brain", data, WORDS)
    except RuleError as error:
        assert error.problems
        assert str(error).encode()
        assert len(str(error).splitlines()) == len(error.problems)
        return error
    assert len(found.fields_digest()) == 64
    return found


@given(st.binary(max_size=300))
def test_any_bytes_make_a_rule_or_problems(data: bytes) -> None:
    judged(data)


words = st.sampled_from(
    [
        "Study",
        "Series",
        "DOWNLOAD",
        "ZIP",
        "FORWARD",
        "ANONYMISE",
        "PatientID",
        "PixelData",
        "0019,10e2",
        "fast",
        "UIDs",
        "",
    ]
)
names = st.sampled_from([*KEYS, *TAG_KEYS, *ANONYMISE_KEYS, *ZIP_KEYS, "Creator", "Group", "_", "$schema"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names | st.text(max_size=5), inner, max_size=6),
    max_leaves=20,
)


@settings(max_examples=150)
@given(st.dictionaries(names, values, max_size=8))
def test_any_json_makes_a_rule_or_problems(content: dict[str, Any]) -> None:
    judged(json.dumps(content).encode())
    judged(json.dumps({"CheckOn": "Study", "Tags": []} | content, ensure_ascii=False).encode(errors="surrogatepass"))


@given(st.data())
def test_any_damage_to_a_rule_is_a_rule_or_problems(data: st.DataObject) -> None:
    begin = data.draw(st.integers(0, len(BRAIN)))
    end = data.draw(st.integers(begin, len(BRAIN)))
    judged(BRAIN[:begin] + data.draw(st.binary(max_size=4)) + BRAIN[end:])


def test_every_private_element_that_is_warned_of_stands_once_and_can_be_named_in_a_rule() -> None:
    rows = {(row.creator, row.group, row.element) for row in known_private.KNOWN}
    assert len(rows) == len(known_private.KNOWN)
    for row in known_private.KNOWN:
        assert row.source
        safe = [[row.creator, f"{row.group:04x}", f"{row.element:02x}"]]
        rule = {"CheckOn": "Study", "Tags": [], "Action": "ANONYMISE", "Anonymise": {"SafePrivate": safe}}
        found = parse_rule("trial", json.dumps(rule).encode(), WORDS).anonymise
        (warning,) = known_private.warnings(found)
        assert row.creator in warning
        assert row.source in warning
    assert list(known_private.warnings(None)) == []
