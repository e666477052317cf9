"""The vocabulary of rules is pydicom's dictionary, read without the rest of pydicom."""

import pytest
from pydicom import datadict

from autorthanc_spool.rules import vocabulary

OVERLAYS = [0x60000010 + 0x20000 * number for number in range(16)]


def test_each_keyword_of_pydicom_has_its_tag() -> None:
    keywords = {keyword: tag for keyword, tag in datadict.keyword_dict.items() if keyword}
    assert set(keywords) == vocabulary.KEYWORDS
    assert [name for name, tag in keywords.items() if vocabulary.find(name) != (name, written(tag))] == []


def test_each_tag_has_the_value_representation_that_pydicom_gives() -> None:
    tags = [*datadict.keyword_dict.values(), *OVERLAYS]
    assert [
        hex(tag) for tag in tags if vocabulary.value_representation(written(tag)) != datadict.dictionary_VR(tag)
    ] == []


@pytest.mark.parametrize("tag", [0x00091001, 0x60010010, 0x00189999, 0xFFFFFFFF])
def test_what_pydicom_does_not_know_has_none(tag: int) -> None:
    with pytest.raises(KeyError):
        datadict.dictionary_VR(tag)
    assert vocabulary.value_representation(written(tag)) is None


def test_the_name_of_a_repeating_group_is_not_a_tags_own() -> None:
    assert [vocabulary.find(written(tag)) for tag in OVERLAYS] == [(None, written(tag)) for tag in OVERLAYS]


def written(tag: int) -> str:
    return f"{tag >> 16:04x},{tag & 0xFFFF:04x}"
