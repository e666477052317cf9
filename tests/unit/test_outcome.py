"""Outcomes and problems: frozen values that come back from a record as they were written."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autorthanc_spool.core import outcome
from autorthanc_spool.core.errors import (
    Bug,
    Cause,
    DeletionWaits,
    ForwardRefused,
    InstanceError,
    OutputUnavailable,
    StillArriving,
)
from autorthanc_spool.core.outcome import WITHHELD, Deleted, Outcome, Problem, Word

ID = "0a4b249f-7fce45ca-4f722f72-de2a24df-92abc740"
TEXT = st.text(max_size=8)
TEXTS = st.lists(TEXT, max_size=3).map(tuple)
COUNT = st.integers(0, 2**40)
EXTRA = st.dictionaries(TEXT.map(lambda key: f"x-{key}"), st.one_of(st.none(), COUNT, TEXT), max_size=2)
PROBLEMS = st.builds(Problem, TEXT, TEXT, TEXT, TEXT, TEXT, TEXTS, TEXTS, EXTRA)
RULE = "trial"
PLAIN = {
    "word": st.sampled_from(Word).map(str),
    "problem": st.none() | PROBLEMS,
    "path": TEXT,
    "since": TEXT,
    "instances": st.none() | COUNT,
    "size_bytes": st.none() | COUNT,
    "time": TEXT,
    "md5sums": TEXTS,
    "kept": TEXTS,
    "committed": st.booleans(),
    "needed_bytes": COUNT,
    "details": EXTRA,
}
OUTCOMES = st.builds(
    Outcome,
    **PLAIN,
    forward=st.dictionaries(TEXT, st.builds(Outcome, **PLAIN), max_size=2),
    deleted=st.none() | st.builds(Deleted, st.just(RULE), COUNT, COUNT, TEXT, TEXTS),
)


@given(OUTCOMES)
def test_an_outcome_comes_back_from_its_record_as_it_was(one: Outcome) -> None:
    written = json.loads(json.dumps(outcome.outcomes_content({RULE: one})))
    assert outcome.read_outcomes(written) == {RULE: one}


@given(PROBLEMS)
def test_a_problem_comes_back_from_its_record_as_it_was(one: Problem) -> None:
    assert outcome.read_problem(json.loads(json.dumps(outcome.problem_content(one)))) == one


@pytest.mark.parametrize("content", [None, [], "text", 7])
def test_what_is_not_an_object_is_neither_a_problem_nor_outcomes(content: object) -> None:
    assert outcome.read_problem(content) is None
    assert outcome.read_outcomes(content) == {}
    assert outcome.read_outcomes({"trial": content}) == {}


def test_a_problem_keeps_what_a_later_run_needs_of_its_error() -> None:
    found = Problem.of(InstanceError(ID, "it is cut"))
    assert (found.kind, found.text, found.instance) == ("InstanceError", f"instance {ID}: it is cut", ID)
    assert Problem.of(StillArriving("arriving", 1.0, "20260102T030405")).last_update == "20260102T030405"
    assert Problem.of(DeletionWaits("waits", 1.0, "series-1")).waits_for == "series-1"
    assert Problem.of(ForwardRefused("no", (ID,))).refused == (ID,)


def test_a_mistake_of_the_program_gives_its_places_and_nothing_of_its_text() -> None:
    try:
        raise ValueError("Family^Given")
    except ValueError as error:
        found = Problem.of(Bug(error))
    assert found.traceback
    assert "Family" not in json.dumps(outcome.problem_content(found))


def test_a_problem_wakes_on_what_its_error_waits_for() -> None:
    assert Problem.of(OutputUnavailable("full")).wakes_on is Cause.OUTPUT
    assert Problem.of(StillArriving("arriving", 1.0)).wakes_on is None
    assert Problem("Unavailable", "of a former version").wakes_on is Cause.RULES


def test_a_sentence_says_how_many_files_were_withheld() -> None:
    one = Outcome(Word.PUBLISHED, instances=1, details={WITHHELD: {"count": 3}})
    assert one.withheld == 3
    assert one.sentence == "published 1 of 4 files, 3 withheld"
    assert Outcome(Word.DEFERRED, instances=1, details=one.details).sentence == "deferred"
    assert Outcome(Word.PUBLISHED, instances=1, details={WITHHELD: "?"}).sentence == "published"
