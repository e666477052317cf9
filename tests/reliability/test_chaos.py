"""A short chaos run; `make chaos` is the long one."""

from pathlib import Path

import pytest

from tests.reliability.chaos import Chaos, Figures


@pytest.mark.timeout(400)
def test_nothing_is_lost_while_processor_and_orthanc_are_killed_at_random(tmp_path: Path) -> None:
    figures = Chaos(tmp_path, Figures(seed=1)).run(15)
    assert figures.studies == 15
    assert figures.processor_kills + figures.orthanc_kills >= 7
