"""What a publication is called until it is one."""

import pytest

from autorthanc_spool.core.naming import component
from autorthanc_spool.output.working import gone_name, published_name, unfinished_name, working_name

NAMES = ["PAT1-Name-1", "2026/PAT1", "PAT1-1-SE1"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("takeovers", [0, 1, 12])
def test_whatever_is_unfinished_ends_so_and_says_what_it_is_of(name: str, takeovers: int) -> None:
    working = working_name(name, takeovers)
    for one in (working, gone_name(working), gone_name(f"{name}.WORKING.1")):
        assert one.endswith(".WORKING")
        assert published_name(one) == name
    assert unfinished_name(gone_name(working)) == unfinished_name(working) == working


def test_no_name_of_a_publication_is_taken_for_that_of_a_takeover() -> None:
    assert "~" not in component("PAT~1")
    assert len({working_name(name, takeovers) for name in ("P", "P-1", "P_1") for takeovers in (0, 1, 2)}) == 9
