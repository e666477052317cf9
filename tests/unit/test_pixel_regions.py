"""Files of pixel_regions/: the shipped examples, and what editors learn of them."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from autorthanc_spool.rules import RuleError, pixel_regions

FOLDER = Path(__file__).parents[2] / "automation_scripts"
SCHEMA = FOLDER / "schema" / "pixel_regions.schema.json"
VALIDATOR = Draft7Validator(json.loads(SCHEMA.read_text()))
EXAMPLES = sorted((FOLDER / "pixel_regions").glob("*.json"))


def test_the_shipped_schema_is_the_one_that_the_rows_make() -> None:
    """`make schema` writes it."""
    assert SCHEMA.read_text() == pixel_regions.text()
    Draft7Validator.check_schema(pixel_regions.schema())


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_shipped_examples_are_valid_and_not_active(path: Path) -> None:
    found = pixel_regions.parse_regions(path.stem, path.read_bytes())
    assert not found.is_active
    assert "Example" in found.comment
    assert pixel_regions.warnings(found) == ()
    assert VALIDATOR.is_valid(json.loads(path.read_text()))


def test_every_key_is_described_to_editors_with_what_it_is_for() -> None:
    assert set(pixel_regions.schema()["properties"]) - {"$schema"} == set(pixel_regions.KEYS)
    assert [row.key for row in pixel_regions.ROWS if not row.description] == []


def test_rectangles_without_a_condition_on_the_size_are_warned_of() -> None:
    def warnings(**content: Any) -> tuple[str, ...]:
        tags = [{"TagName": "Modality", "Equals": "US"}, {"TagName": "Rows", "Equals": "480"}]
        return pixel_regions.warnings(pixel_regions.parse_regions("x", json.dumps({"Tags": tags, **content}).encode()))

    (told,) = warnings(BlackOut=[{"Left": 0, "Top": 0, "Width": 1, "Height": 1}])
    assert told.startswith("no condition on Columns")
    assert warnings(Image="clean") == ()


numbers = st.sampled_from([0, 1, 65535, 65536, -1, 0.5, "1", None, True])
areas = st.fixed_dictionaries(
    {"Left": numbers, "Top": numbers, "Width": numbers}, optional={"Height": numbers, "_n": st.just(1)}
)
contents = st.fixed_dictionaries(
    {},
    optional={
        "IsActive": st.sampled_from([True, False, "true"]),
        "Tags": st.sampled_from([[], [{"TagName": "Rows", "Equals": "1"}], [{"TagName": "Rows"}], {}]),
        "BlackOut": st.lists(areas, max_size=2),
        "KeepOnly": st.lists(areas, max_size=2),
        "Image": st.sampled_from(["clean", "withhold", "Clean", None]),
        "image": st.just("clean"),
    },
)


@settings(max_examples=300)
@given(contents)
def test_reader_and_schema_say_the_same(content: Any) -> None:
    try:
        pixel_regions.parse_regions("x", json.dumps(content).encode())
        is_taken = True
    except RuleError:
        is_taken = False
    assert VALIDATOR.is_valid(content) is is_taken
