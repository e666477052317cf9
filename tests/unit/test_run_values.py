"""What a run decides, on values: no Orthanc, no disk."""

from dataclasses import replace
from datetime import date

import pytest

from autorthanc_spool.actions import WORDS
from autorthanc_spool.core.dicom import Level, Resource
from autorthanc_spool.core.errors import (
    DestinationUnavailable,
    Interrupted,
    OrthancUnavailable,
    OutputUnavailable,
    ResourceMissing,
    SpoolError,
)
from autorthanc_spool.core.marker import Marker
from autorthanc_spool.core.outcome import Deleted, Outcome, Problem, Word
from autorthanc_spool.core.record import Entry, Record, Sending
from autorthanc_spool.core.states import Event
from autorthanc_spool.rules import Facts, Rule
from autorthanc_spool.run import plan, processor
from autorthanc_spool.run.plan import Disposition, PlannedJob, Work
from autorthanc_spool.run.rule_run import unchanged

TODAY = date(2026, 1, 31)
ID = "0a4b249f-7fce45ca-4f722f72-de2a24df-92abc740"
MARKER = Marker(Level.STUDY, ID, source="lua")
STUDY = Resource(Level.STUDY, ID, {}, {}, (), (), "20260102T030405", True, is_copy=False)
WORD = {word.word: word for word in WORDS}
RULE = Rule("trial", Level.STUDY, is_active=True, actions=frozenset({WORD["DOWNLOAD"]}))
SENDS = replace(RULE, actions=frozenset({WORD["FORWARD"]}), destination_modalities=("PACS",))
TIME, LATER = "2026-01-02T03:04:05Z", "2026-01-02T04:04:05Z"
PUBLISHED = Outcome(Word.PUBLISHED, path="trial/NAME", time=TIME, md5sums=("0  a",), instances=1)


def refused(name: str, error: SpoolError, marker: Marker = MARKER) -> Work:
    return plan.refused(name, error, marker, 1.0)


def test_a_rule_that_waits_decides_over_one_that_failed_and_both_are_recorded() -> None:
    found = plan.together([refused("a", ResourceMissing("gone")), refused("b", OutputUnavailable("full", 7))])
    assert found.disposition.event is Event.DEFER
    assert isinstance(found.error, OutputUnavailable)
    assert {name: one.word for name, one in found.outcomes.items()} == {"a": Word.FAILED, "b": Word.DEFERRED}
    assert found.outcomes["b"].needed_bytes == 7


def test_a_part_that_was_stopped_decides_alone() -> None:
    found = plan.together([refused("a", OutputUnavailable("full")), refused("b", OrthancUnavailable("away"))])
    assert isinstance(found.stopped, OrthancUnavailable)
    assert found.error is found.stopped
    assert found.disposition == Disposition(Event.DEFER)
    assert set(found.outcomes) == {"a", "b"}


def test_no_parts_are_a_finished_run() -> None:
    assert plan.together([]) == Work()
    assert Work().disposition.event is Event.FINISH


@pytest.mark.parametrize(("error", "stops"), [(Interrupted("stop"), True), (DestinationUnavailable("down"), False)])
def test_only_what_holds_for_every_marker_stops_the_run(error: SpoolError, stops: bool) -> None:
    assert (refused("a", error).stopped is error) is stops


def test_all_that_went_wrong_is_listed_the_runs_own_problem_first() -> None:
    failed = Outcome(Word.FAILED, Problem("Bug", "no"))
    work = Work({"a": failed, "b": PUBLISHED}, error=ResourceMissing("gone"))
    assert work.problems == (Problem("ResourceMissing", "gone"), Problem("Bug", "no"))


def test_the_words_of_a_job_are_those_of_the_actions_that_will_run() -> None:
    rule = replace(SENDS, actions=frozenset(WORD[word] for word in ("ZIP", "ANONYMISE", "FORWARD")))
    assert PlannedJob(rule, STUDY, "c", publishes=True, destinations=("PACS",)).words == ("ZIP", "ANONYMISE", "FORWARD")
    assert PlannedJob(rule, STUDY, "c", publishes=False, destinations=("PACS",)).words == ("ANONYMISE", "FORWARD")
    assert PlannedJob(rule, STUDY, "c", publishes=True).words == ("ZIP", "ANONYMISE")


def test_the_plan_names_the_first_matching_rule_that_deletes() -> None:
    deletes = replace(RULE, name="deletes", delete_from_orthanc=True)
    record = Record(MARKER.key)
    assert plan.make_plan(Facts(STUDY, TODAY), [RULE, deletes], [], record).deletes == deletes
    assert plan.make_plan(Facts(STUDY, TODAY), [RULE], [], record).deletes is None
    assert plan.make_plan(Facts(STUDY, TODAY), [RULE], [deletes], record).deletes is None


def test_a_marker_that_comes_back_keeps_what_it_published_without_the_problem() -> None:
    marker = replace(MARKER, outcomes={"trial": replace(PUBLISHED, word=Word.FAILED, problem=Problem("Bug", "no"))})
    record = Record(MARKER.key, entries={"trial": Entry("c", "f", "published", "NAME", time=TIME)})
    assert unchanged(marker, RULE, record) == PUBLISHED


def test_what_another_marker_published_since_is_unchanged_and_says_since_when() -> None:
    marker = replace(MARKER, outcomes={"trial": PUBLISHED})
    record = Record(MARKER.key, entries={"trial": Entry("c", "f", "published", "NAME", time=LATER)})
    wanted = Outcome(Word.UNCHANGED, path="trial/NAME", since=LATER)
    assert unchanged(marker, RULE, record) == wanted
    assert unchanged(MARKER, RULE, record) == wanted


def test_what_was_sent_before_is_recorded_by_destination() -> None:
    sending = Sending("c", "f", outcome="forwarded", instances=3, size_bytes=9, time=TIME)
    found = unchanged(MARKER, SENDS, Record(MARKER.key, sendings={"trial": {"PACS": sending}}))
    assert found.word == Word.UNCHANGED
    assert set(found.forward) == {"PACS"}


def test_a_deletion_is_recorded_in_the_outcome_of_its_rule_and_counted_with_the_interrupted_one() -> None:
    first, rest = Deleted("trial", 2, 20, TIME), Deleted("trial", 1, 10, LATER)
    work = processor._with_deletion(processor._with_deletion(Work({"trial": PUBLISHED}), first), rest)
    assert work.outcomes["trial"] == replace(PUBLISHED, deleted=Deleted("trial", 3, 30, LATER))
    assert processor._with_deletion(work, None) is work
    alone = processor._with_deletion(Work(), first)
    assert alone.outcomes == {"trial": Outcome(Word.UNCHANGED, deleted=first)}


def test_the_counts_of_a_marker_follow_its_filing() -> None:
    marker = replace(MARKER, attempts=2, deferrals=4)
    retried = Work({}, Disposition(Event.DEFER, counts_attempt=True, backs_off=True), ResourceMissing("gone"))
    found = processor._result(marker, retried)
    assert (found.attempts, found.deferrals, found.error) == (3, 5, Problem("ResourceMissing", "gone"))
    found = processor._result(marker, Work({"trial": PUBLISHED}))
    assert (found.attempts, found.deferrals, found.error, found.outcomes) == (2, 0, None, {"trial": PUBLISHED})
    assert processor._result(marker, Work({}, Disposition(Event.DEFER))).deferrals == 4
