"""A list in JSON is read object by object, in whatever pieces it arrives."""

import json

import pytest

from autorthanc_spool.orthanc.listing import objects

LISTED = [{"ID": "a", "Series": ["1", "2"], "Tags": {"Name": "Müller, } ] ä"}}, {}, {"ID": "b", "IsStable": True}]


@pytest.mark.parametrize("indent", [None, 3])
@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_a_list_reads_the_same_in_whatever_pieces_it_arrives(size: int, indent: int | None) -> None:
    data = json.dumps(LISTED, indent=indent, ensure_ascii=False).encode() + b"\n"
    assert list(objects(data[at : at + size] for at in range(0, len(data), size))) == LISTED


def test_an_empty_list_has_no_objects() -> None:
    assert list(objects([b" [", b" ] "])) == []


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[", '[{"a": 1}', '[{"a": 1', '[{"a": 1},]', "[1]", '[{"a": 1} {"b": 2}]', "[{}] x", "[{} ", "<html>"],
)
def test_what_is_cut_or_anything_else_is_an_error(text: str) -> None:
    with pytest.raises(ValueError):
        list(objects([text.encode()]))


def test_bytes_that_are_not_utf_8_are_an_error() -> None:
    with pytest.raises(ValueError):
        list(objects([b'[{"a": "\xff"}]']))
