"""The JSON Schema for editors and the reader of rules are made from the same rows, and say the same of any rule."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from autorthanc_spool.actions import WORDS
from autorthanc_spool.rules import RuleError, fields, options, parse_rule, schema

SHIPPED = Path(__file__).parents[2] / "automation_scripts" / "schema" / "rule.schema.json"
VALIDATOR = Draft7Validator(json.loads(SHIPPED.read_text()))


def reader_takes(content: Any) -> bool:
    try:
        parse_rule("brain", json.dumps(content).encode(), WORDS)
    except RuleError:
        return False
    return True


def test_the_shipped_schema_is_the_one_that_the_rows_make() -> None:
    """`make schema` writes it."""
    assert SHIPPED.read_text() == schema.text(WORDS)
    Draft7Validator.check_schema(schema.rule_schema(WORDS))


def test_every_key_is_described_to_editors_with_what_it_is_for() -> None:
    properties = schema.rule_schema(WORDS)["properties"]
    assert set(properties) - {"$schema"} == set(fields.KEYS)
    assert set(properties["Anonymise"]["properties"]) - {"$schema"} == set(options.ANONYMISE_KEYS)
    assert set(properties["Zip"]["properties"]) - {"$schema"} == set(options.ZIP_KEYS)
    rows = (*fields.rows(WORDS), *fields.TAG_FIELDS, *options.ANONYMISE_FIELDS, *options.ZIP_FIELDS)
    assert [row.key for row in rows if not row.description] == []


RULE: dict[str, Any] = {"CheckOn": "Study", "IsActive": True, "Tags": []}
ANONYMISED = RULE | {"Action": "ANONYMISE"}


def trial(value: str, keyword: str = "ClinicalTrialSiteID") -> dict[str, Any]:
    return ANONYMISED | {"Anonymise": {"Set": {keyword: value}}}


@pytest.mark.parametrize(
    ("content", "is_valid"),
    [
        (RULE, True),
        ([], False),
        (RULE | {"CheckOn": "study"}, True),
        (RULE | {"CheckOn": "study\n"}, False),
        (RULE | {"Action": "zip\n"}, False),
        (RULE | {"Action": ["anonymize", "ZIP"]}, True),
        (RULE | {"Action": []}, False),
        (trial("x" * 64), True),
        (trial("x" * 65), False),
        (trial("x" * 65, "ClinicalTrialProtocolEthicsCommitteeName"), False),
        (trial("x" * 65, "ReasonForVisit"), False),
        (trial(" "), False),
        (trial("x\n"), False),
        (trial("x", "ClinicalTrialSiteNam"), False),
        (trial("x", "ClinicalTrialTimePointTypeCodeSequence"), False),
        (trial("x", "_note"), True),
        (ANONYMISED | {"Anonymise": {"Keep": ["UIDs", "ModifiedDates"]}}, True),
        (ANONYMISED | {"Anonymise": {"Keep": ["FullDates", "ModifiedDates"]}}, False),
        (ANONYMISED | {"Anonymise": {"PseudonymTable": "t.csv\n"}}, False),
        (ANONYMISED | {"Anonymise": {"PseudonymTable": "t.JSON"}}, False),
        (ANONYMISED | {"Anonymise": {"Project": "a\nb"}}, False),
        (ANONYMISED | {"Anonymise": {"SafePrivate": [["A", "0019", "xx0c"]]}}, True),
        (ANONYMISED | {"Anonymise": {"SafePrivate": [["A ", "0019", "0c"]]}}, False),
        (RULE | {"Anonymise": {}}, False),
        (RULE | {"Action": "FORWARD"}, False),
        (RULE | {"Action": "FORWARD", "DestinationModality": "A\n"}, False),
        (RULE | {"DestinationModality": {"any": "thing"}}, True),
        (RULE | {"Action": "FORWARD", "DestinationModality": "A", "DeleteFromOrthanc": True}, False),
        (RULE | {"Tags": [{"TagName": "0019,10E2", "Value": ""}]}, True),
        *[
            (RULE | {"Tags": [{"TagName": "StudyDate"} | condition]}, is_valid)
            for condition, is_valid in (
                ({}, False),
                ({"Value": "x", "Equals": "x"}, False),
                ({"AtLeast": "2026-01-31", "AtMost": "-30d"}, True),
                ({"AtLeast": "09:30", "Present": True}, False),
                ({"AtLeast": "2026/01/31"}, False),
                ({"AtLeast": "30d"}, False),
                ({"AtMost": True}, False),
                ({"AnyOf": "x"}, False),
                ({"AnyOf": []}, False),
                ({"Equals": ["x", 1]}, False),
                ({"Present": "true"}, False),
                ({"Matches": "^x", "Not": True}, True),
                ({"Matches": "^x", "Not": 1}, False),
            )
        ],
        (RULE | {"Series": "Matching"}, True),
        (RULE | {"Series": "matching", "DeleteFromOrthanc": True}, False),
        (RULE | {"Series": "all", "DeleteFromOrthanc": True}, True),
        (RULE | {"Fallback": {"Not": True}}, False),
        (RULE | {"Tags": [{"TagName": "0019,10E2\n", "Value": ""}]}, False),
    ],
)
def test_reader_and_schema_say_the_same_of_what_people_write(content: Any, is_valid: bool) -> None:
    assert reader_takes(content) is is_valid
    assert VALIDATOR.is_valid(content) is is_valid


# Unknown keywords, sequences, control characters, and repeated keys are what a schema can't tell.
words = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=4)
junk = st.none() | st.booleans() | st.integers() | words | st.just([]) | st.just({}) | st.lists(words, max_size=2)


def mostly(good: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.sampled_from([good] * 30 + [junk]).flatmap(lambda chosen: chosen)


def spelled(*choices: str) -> st.SearchStrategy[str]:
    """Words as they are, in other letter cases, and nearly right."""
    changes = [
        *[str] * 20,
        *[str.lower, str.upper, str.swapcase] * 2,
        lambda word: f" {word}",
        lambda word: f"{word}\n",
    ]
    return st.tuples(st.sampled_from(choices), st.sampled_from(changes)).map(lambda pair: pair[1](pair[0]))


def objects(**keys: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    notes = {"_note": junk, "$schema": junk}
    known = st.fixed_dictionaries({}, optional={key: mostly(value) for key, value in keys.items()} | notes)
    odd = st.fixed_dictionaries({}, optional={"unknown": junk})
    rarely = st.sampled_from([st.just({})] * 30 + [odd]).flatmap(lambda chosen: chosen)
    return st.tuples(known, rarely).map(lambda pair: pair[0] | pair[1])


lengths = st.sampled_from([1, 16, 63, 64, 65, 1024, 1025])
letters = st.builds(lambda letter, length: letter * length, st.sampled_from(["x", " ", "\\", "ä", "]"]), lengths)
creators = st.sampled_from(["A B", " A", "A ", "A\\B", "ä", "", "SIEMENS MR HEADER"]) | letters
groups = st.sampled_from(["0019", "0018", "0007", "0009", "ffff", "FFFF", "00FD", "0aF1", "19", "xx19"])
elements = st.sampled_from(["0c", "0C", "xx0c", "XX0C", "100c", "c", "xX0c"])
names = st.sampled_from(["P", " ", "a b", "x.csv", "x.json", "x.JSON", ".csv", "../x.csv", "x y.csv", "x\n", "\n"])
modalities = mostly(st.sampled_from(["A", "A-1", "a b", "../x", "A\n", ""]))
actions = mostly(spelled("DOWNLOAD", "ANONYMISE", "ANONYMIZE", "ZIP", "FORWARD"))
private = st.one_of(
    objects(Creator=creators, Group=groups, Element=elements),
    st.tuples(mostly(creators), mostly(groups), mostly(elements)).map(list),
)
# A schema can't tell whether the calendar has a date, two limits are of one kind, or a pattern can be read.
LIMITS = [60, 1.5, -1, "1.5", "1e3", "+2", ".5", "5 mm", "1,5", "", "1.5\n", [], None]
conditions = objects(
    TagName=st.sampled_from(["PatientID", "0019,10E2", "0008,103e", "", "two words", "0008,103x", "(0008,103E)"]),
    Value=words,
    AnyOf=st.lists(words, max_size=2),
    Equals=words | st.lists(words, max_size=2),
    Matches=words.filter(str.isalnum),
    AtLeast=st.sampled_from(LIMITS),
    AtMost=st.sampled_from(LIMITS),
    Present=st.booleans(),
    Not=st.booleans(),
    Level=spelled("Patient", "Study", "Series", "Image"),
)
hours = st.sampled_from(
    ["20:00-06:00", "06:00-20:00", "20:00-20:00", "24:00-06:00", "6:00-8:00", "20:00", "20:00-06:00\n"]
)
trials = objects(ClinicalTrialSiteID=letters, ClinicalTrialProtocolName=letters, ReasonForVisit=letters)
OPTIONS: dict[str, st.SearchStrategy[Any]] = {
    "Keep": st.lists(mostly(spelled("UIDs", "FullDates", "ModifiedDates", "Device")), max_size=3),
    "SafePrivate": st.lists(mostly(private), max_size=2),
    "Project": names,
    "PseudonymTable": names,
    "Set": trials,
    "BurnedIn": spelled("withhold", "allow", "redact"),
    "Recode": st.booleans(),
    "Detect": spelled("check", "blackout"),
    "Structured": spelled("withhold", "clean"),
    "Issuer": spelled("ignore", "apart"),
    "Malformed": spelled("fail", "withhold"),
}
pieces = (
    "{PatientID} {StudyDate:%Y-%m} {StudyDate:%H} {StudyID:%Y} {0008,0060} {Modality} {StudyDate:} {StudyDate:a/b}",
    "{ } {} {{ / .. . a - % ä a/a/a/a/",
)
publications = st.lists(
    st.sampled_from([*" ".join(pieces).split(), " ", "\n"]),
    max_size=4,
).map("".join)
files = publications.map(lambda text: text.replace("{PatientID}", "{InstanceNumber}"))
KEYS: dict[str, st.SearchStrategy[Any]] = {
    "Name": publications,
    "Files": files,
    "CheckOn": spelled("Study", "Series"),
    "IsActive": st.booleans(),
    "Comment": words,
    "Action": actions | st.lists(actions, min_size=1, max_size=3),
    "Tags": st.lists(mostly(conditions), max_size=2),
    "DestinationModality": modalities | st.lists(modalities, max_size=2),
    "Copies": st.booleans(),
    "Anonymise": objects(**OPTIONS),
    "Zip": objects(Compression=spelled("fast", "stored")),
    "StorageCommitment": st.booleans(),
    "DeleteFromOrthanc": st.booleans(),
    "Between": hours,
    "SameSeries": st.booleans(),
    "Series": spelled("all", "matching"),
    "Fallback": st.booleans(),
    "Deliver": st.lists(st.sampled_from(["/", "mnt", ".", "..", "...", "a b", "ä", "\n", "~", "//"]), max_size=5).map(
        "".join
    ),
}
PERMITTED = RULE | {"Action": ["ANONYMISE", "ZIP", "FORWARD"], "DestinationModality": "A"}


def with_one(base: dict[str, Any], values: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """A valid object with one key as it comes: what is wrong of it is that key's fault alone."""
    return st.one_of([value.map(lambda drawn, key=key: base | {key: drawn}) for key, value in values.items()])


def test_what_is_generated_covers_all_keys() -> None:
    assert (set(KEYS), set(OPTIONS)) == (set(fields.KEYS), set(options.ANONYMISE_KEYS))


@settings(max_examples=500)
@given(with_one(PERMITTED, KEYS) | with_one(RULE, KEYS) | objects(**KEYS) | junk)
def test_reader_and_schema_say_the_same_of_any_rule(content: Any) -> None:
    assert VALIDATOR.is_valid(content) is reader_takes(content)


@settings(max_examples=500)
@given(with_one({}, OPTIONS) | objects(**OPTIONS))
def test_reader_and_schema_say_the_same_of_any_options_of_anonymise(content: Any) -> None:
    whole = ANONYMISED | {"Anonymise": content}
    assert VALIDATOR.is_valid(whole) is reader_takes(whole)


ELEMENT = {"Creator": "A", "Group": "0019", "Element": "0c"}


@settings(max_examples=300)
@given(with_one(ELEMENT, {"Creator": creators, "Group": groups, "Element": elements}), st.booleans())
def test_reader_and_schema_say_the_same_of_any_private_element(element: dict[str, Any], is_list: bool) -> None:
    content = ANONYMISED | {"Anonymise": {"SafePrivate": [[*element.values()] if is_list else element]}}
    assert VALIDATOR.is_valid(content) is reader_takes(content)


@settings(max_examples=200)
@given(st.lists(actions, min_size=1, max_size=3), *[st.booleans()] * 6)
def test_reader_and_schema_say_the_same_of_any_combination(
    asked: list[Any], anonymises: bool, packs: bool, sends: bool, commits: bool, deletes: bool, delivers: bool
) -> None:
    content = RULE | {"Action": asked, "StorageCommitment": commits, "DeleteFromOrthanc": deletes}
    content |= {"Anonymise": {}} if anonymises else {}
    content |= {"Zip": {}} if packs else {}
    content |= {"DestinationModality": "A"} if sends else {}
    content |= {"Deliver": "/mnt/share"} if delivers else {}
    assert VALIDATOR.is_valid(content) is reader_takes(content)
