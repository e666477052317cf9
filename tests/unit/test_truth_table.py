"""The truth table of docs/rules.md, row by row, for every kind of condition."""

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from autorthanc_spool.actions import WORDS
from autorthanc_spool.core.dicom import Level, Resource, Series
from autorthanc_spool.rules import Facts, judge, matches, parse_rule, unanswered

TODAY = date(2026, 1, 31)
DOCS = Path(__file__).parents[2] / "docs" / "rules.md"

# Of a tag of series, of study, or of patient: a value that is asked for, and another one.
HELD = {
    "ImageType": ("PRIMARY", "DERIVED"),
    "SliceThickness": ("1.50", "5"),
    "SeriesDate": ("20260115", "20251231"),
    "SeriesTime": ("093000", "200000"),
    "OperatorsName": ("Doe^Jane", "Roe^Jane"),
    "StudyDescription": ("Brain", "knee"),
    "PatientAge": ("018Y", "017Y"),
}
KINDS: list[tuple[str, dict[str, Any]]] = [
    ("ImageType", {"Value": "prim"}),
    ("ImageType", {"AnyOf": ["axial", "prim"]}),
    ("ImageType", {"Equals": "primary"}),
    ("ImageType", {"Equals": ["AXIAL", "PRIMARY"]}),
    ("ImageType", {"Matches": r"\bprim.ry\b"}),
    ("SliceThickness", {"Value": "1.5"}),
    ("SliceThickness", {"Equals": "1.5"}),
    ("SliceThickness", {"AtMost": 2}),
    ("SliceThickness", {"AtLeast": "1", "AtMost": "2"}),
    ("SeriesDate", {"Equals": "2026-01-15"}),
    ("SeriesDate", {"AtLeast": "2026-01-15"}),
    ("SeriesDate", {"AtLeast": "-30d", "AtMost": "-1d"}),
    ("SeriesTime", {"Equals": "09:30"}),
    ("SeriesTime", {"AtMost": "12:00"}),
    ("OperatorsName", {"Equals": "doe^jane"}),
    ("StudyDescription", {"Value": "brain"}),
    ("StudyDescription", {"Equals": "brain"}),
    ("PatientAge", {"AtLeast": 18}),
]
OF_STUDY = ("StudyDescription", "PatientAge")

MR, CT = {"Modality": "MR"}, {"Modality": "CT"}


def tag_of(name: str) -> str:
    return condition_of(name, {"Present": True}).conditions[0].tag


def condition_of(name: str, kind: dict[str, Any], level: Level = Level.STUDY, *, same_series: bool = False) -> Any:
    tags = [{"TagName": name, **kind}, *([{"TagName": "Modality", "Equals": "MR"}] if same_series else [])]
    content = {"CheckOn": level, "IsActive": True, "Tags": tags, "SameSeries": same_series}
    return parse_rule("r", json.dumps(content).encode(), WORDS)


def resource(level: Level, name: str, *held: str | None, own: str | None = None) -> Resource:
    """A study whose series hold these (None: absent), or its first series; `own` is Orthanc's word for the study."""
    tag = tag_of(name)
    series = tuple(
        Series(f"s{at}", (MR, CT)[at % 2], {} if value is None else {tag: value}, instances=1)
        for at, value in enumerate(held)
    )
    study = {} if own is None else {name: own}
    whole = Resource(Level.STUDY, "s", {}, study, series, (), "", is_stable=True, is_copy=False)
    if level is Level.STUDY:
        return whole
    return Resource(level, "s0", {}, study, series[:1], (), "", is_stable=True, is_copy=False, siblings=series)


Maker = Callable[[Level, str, str, str], Resource | None]


def either(*held: Callable[[str, str], str | None], own: Callable[[str, str], str] | None = None) -> Maker:
    """A row that is so of a study and of a series."""
    return lambda level, name, wanted, other: resource(
        level, name, *(one(wanted, other) for one in held), own=own(wanted, other) if own else None
    )


def only(asked: Level, maker: Maker) -> Maker:
    return lambda level, name, wanted, other: maker(level, name, wanted, other) if level is asked else None


def absent(wanted: str, other: str) -> str | None:
    return None


def empty(wanted: str, other: str) -> str:
    return ""


def it(wanted: str, other: str) -> str:
    return wanted


def another(wanted: str, other: str) -> str:
    return other


def several(wanted: str, other: str) -> str:
    return f"{other}\\{wanted}"


def several_others(wanted: str, other: str) -> str:
    return f"{other}\\{other}"


STUDY, SERIES = Level.STUDY, Level.SERIES
SAME = "on a study with `SameSeries`: "
ROWS: dict[str, Maker] = {
    "is absent": either(absent),
    "is empty": either(empty),
    "has the one value that is asked for": either(it),
    "has another value": either(another),
    "has several values, one of them asked for": either(several),
    "has several values, none of them asked for": either(several_others),
    "on a study: one series has it, the next another value": only(STUDY, either(it, another)),
    "on a study: one series has it, the next none": only(STUDY, either(absent, it)),
    "on a study: no series has it, one another value": only(STUDY, either(absent, another)),
    "on a study: no series has any value": only(STUDY, either(absent, empty)),
    "on a study, a patient or study tag: Orthanc has another value, a series' first image has it": only(
        STUDY, either(another, it, own=another)
    ),
    SAME + "the series that passes the other conditions has it": only(STUDY, either(it, another)),
    SAME + "that series has another value, the next one has it": only(STUDY, either(another, it)),
    SAME + "that series has none, the next one has it": only(STUDY, either(absent, it)),
    "on a series: another series of the study has it": only(SERIES, either(absent, it)),
    "on a series: its study's or its patient's tag has it": only(SERIES, either(absent, absent, own=it)),
}


def documented() -> dict[str, tuple[bool, ...]]:
    """The rows of the table: plain, negated, present, not present."""
    text = DOCS.read_text().split("**What passes.**")[1].split("`SameSeries` and `Series` concern")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    return {row[0]: tuple(cell == "passes" for cell in row[1:]) for row in rows[2:]}


def test_every_row_of_the_table_is_tried() -> None:
    assert [*documented()] == [*ROWS]


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize(("name", "kind"), KINDS, ids=lambda one: json.dumps(one))
def test_what_the_table_says_is_so(row: str, name: str, kind: dict[str, Any]) -> None:
    is_same = row.startswith(SAME)
    if is_same and name in OF_STUDY:
        # It concerns tags of series.
        return
    wanted, other = HELD[name]
    asked = (kind, {**kind, "Not": True}, {"Present": True}, {"Present": False})
    opposite = (
        {"Present": False, "Not": True},
        {"Present": True, "Not": True},
        {"Value": ""},
        {"Value": "", "Not": True},
    )
    for level in Level:
        found = ROWS[row](level, name, wanted, other)
        if found is None:
            continue
        facts = Facts(found, TODAY)
        expected = documented()[row]
        for one, passes in (*zip(asked, expected, strict=True), *zip(opposite, expected[2:] * 2, strict=True)):
            rule = condition_of(name, one, level, same_series=is_same)
            assert not unanswered([rule], facts)
            assert matches(rule, facts) is judge(rule, facts).matches is passes, (level, one)


def test_the_table_covers_every_kind() -> None:
    from autorthanc_spool.rules import kinds

    assert {key for _, kind in KINDS for key in kind} | {"Present"} == {field.key for field in kinds.FIELDS}
