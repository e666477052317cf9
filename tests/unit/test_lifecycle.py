import itertools

import pytest

from autorthanc_spool.core.states import TRANSITIONS, Event, State, target

LEGAL = {
    "incoming claim processing",
    "deferred claim processing",
    "incoming reject failed",
    "deferred reject failed",
    "processing reject failed",
    "incoming supersede done",
    "deferred supersede done",
    "processing finish done",
    "processing defer deferred",
    "processing fail failed",
    "done requeue incoming",
    "failed requeue incoming",
    "deferred requeue incoming",
    "hold requeue incoming",
    "hold release incoming",
    "incoming hold hold",
    "processing hold hold",
    "deferred hold hold",
    "failed hold hold",
    "done hold hold",
}


@pytest.mark.parametrize(("state", "event"), list(itertools.product(State, Event)))
def test_every_pair_is_legal_or_not_as_written_here(state: State, event: Event) -> None:
    legal = [line.split()[2] for line in LEGAL if line.startswith(f"{state} {event} ")]
    found = target(state, event)
    assert ([str(found)] if found else []) == legal


def test_there_are_as_many_transitions_as_written_here() -> None:
    assert len(TRANSITIONS) == len(LEGAL)
