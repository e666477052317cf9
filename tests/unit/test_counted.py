"""Numbers in sentences."""

from __future__ import annotations

import pytest

from autorthanc_spool.core.counted import agreeing, counted


@pytest.mark.parametrize(
    ("number", "noun", "says"),
    [
        (0, "marker", "0 markers"),
        (1, "marker", "1 marker"),
        (2000, "study", "2,000 studies"),
        (1, "series", "1 series"),
        (2, "series", "2 series"),
    ],
)
def test_a_number_is_written_with_what_it_counts(number: int, noun: str, says: str) -> None:
    assert counted(number, noun) == says


def test_the_verb_goes_with_the_number() -> None:
    assert agreeing(1, "waits") == "waits"
    assert agreeing(2, "waits") == "wait"
