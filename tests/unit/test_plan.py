"""The plan of a run, and the fate of a marker, decided without files, network or clock."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from autorthanc_spool.actions import WORDS
from autorthanc_spool.core.dicom import Instance, Level, Resource, Series
from autorthanc_spool.core.errors import (
    DeletionWaits,
    DestinationUnavailable,
    ForwardExpired,
    InstanceError,
    Interrupted,
    MarkerError,
    OrthancUnavailable,
    OutputUnavailable,
    ResourceMissing,
    SpoolError,
    StillArriving,
    UnknownModality,
)
from autorthanc_spool.core.marker import Marker
from autorthanc_spool.core.outcome import Problem
from autorthanc_spool.core.record import Entry, Record, Sending
from autorthanc_spool.core.states import Event
from autorthanc_spool.rules import Facts, Rule
from autorthanc_spool.run import plan
from autorthanc_spool.run.plan import Disposition

TODAY = date(2026, 1, 31)
ID = "0a4b249f-7fce45ca-4f722f72-de2a24df-92abc740"
SERIES_ID = "1a4b249f-7fce45ca-4f722f72-de2a24df-92abc740"
STABLE_AGE_S = 60
ARRIVED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
WORD = {word.word: word for word in WORDS}
DOWNLOAD = Rule("trial", Level.STUDY, is_active=True, actions=frozenset({WORD["DOWNLOAD"]}))
BOTH = replace(
    DOWNLOAD, actions=frozenset({WORD["DOWNLOAD"], WORD["FORWARD"]}), destination_modalities=("ARCHIVE", "PACS")
)


def instance(number: int, file_uuid: str = "") -> Instance:
    return Instance(f"{number:08x}{ID[8:]}", SERIES_ID, f"1.2.{number}", str(number), 1000, file_uuid or f"u{number}")


def resource(*instances: Instance, is_stable: bool = True) -> Resource:
    series = (Series(SERIES_ID, {"SeriesNumber": "1"}),)
    return Resource(Level.STUDY, ID, {}, {}, series, instances, "20260102T030405", is_stable, is_copy=False)


def marker(**fields: object) -> Marker:
    found = Marker(Level.STUDY, ID, source="lua", time="2026-01-02T03:05:06Z")
    return replace(found, **fields)  # type: ignore[arg-type]


def done(rule: Rule, content: str) -> Record:
    """The ledger after everything that the rule asks for was done."""
    entry = Entry(content, rule.fields_digest(), "published", "NAME")
    sending = Sending(content, rule.sending_digest(), outcome="forwarded")
    sendings = {rule.name: dict.fromkeys(rule.destination_modalities, sending)}
    return Record(f"study-{ID}", entries={rule.name: entry}, sendings=sendings)


def test_the_content_is_the_set_of_stored_files() -> None:
    one, two = instance(1), instance(2)
    whole = plan.content_digest(resource(one, two))
    assert plan.content_digest(resource(two, one)) == whole
    assert plan.content_digest(resource(one)) != whole
    assert plan.content_digest(resource(one, instance(2, "overwritten"))) != whole


def test_what_was_deleted_on_purpose_counts_as_there() -> None:
    one, two, three = instance(1), instance(2), instance(3)
    whole, gone = plan.content_digest(resource(one, two)), (plan.stored_file(two),)
    assert plan.content_digest(resource(one), gone) == whole
    assert plan.content_digest(resource(one, two), gone) == whole
    assert plan.content_digest(resource(one, three), gone) != whole


def test_orthanc_has_all_that_was_published_only_if_it_has_each_of_it() -> None:
    """As many others don't count; where it wasn't noted which they were, their number is what is known."""
    three = [replace(instance(number), resource_id=f"{number:08x}-00000000") for number in range(1, 4)]
    entry = Entry("", "", "published", instances=2)
    held = plan.held(resource(*three[:2]))
    assert plan.has_all(resource(*three), entry, held)
    assert plan.has_all(resource(*three[:2]), entry, held)
    assert not plan.has_all(resource(*three[1:]), entry, held)
    assert plan.has_all(resource(*three[1:]), entry, "")
    assert not plan.has_all(resource(three[0]), entry, "")


def test_what_the_ledger_has_is_unchanged_and_anything_else_is_a_job() -> None:
    study = resource(instance(1))
    content = plan.content_digest(study)
    drawn = plan.make_plan(Facts(study, TODAY), [DOWNLOAD], [], Record(f"study-{ID}"))
    assert [(job.rule, job.publishes) for job in drawn.jobs] == [(DOWNLOAD, True)]
    drawn = plan.make_plan(Facts(study, TODAY), [DOWNLOAD], [], done(DOWNLOAD, content))
    assert (drawn.jobs, drawn.unchanged) == ((), (DOWNLOAD,))
    for record in (done(DOWNLOAD, "other"), done(DOWNLOAD, content).asked_again(None)):
        assert plan.make_plan(Facts(study, TODAY), [DOWNLOAD], [], record).jobs


def test_a_new_destination_is_a_job_of_its_own() -> None:
    study = resource(instance(1))
    record = done(replace(BOTH, destination_modalities=("PACS",)), plan.content_digest(study))
    (job,) = plan.make_plan(Facts(study, TODAY), [BOTH], [], record).jobs
    assert (job.publishes, job.destinations, job.words) == (False, ("ARCHIVE",), ("FORWARD",))


def test_what_the_last_valid_version_of_a_broken_file_matches_waits() -> None:
    drawn = plan.make_plan(Facts(resource(instance(1)), TODAY), [], [DOWNLOAD], Record(f"study-{ID}"))
    assert (drawn.jobs, drawn.waiting) == ((), ("trial",))


@pytest.mark.parametrize(
    ("error", "event", "counts_attempt"),
    [
        (OrthancUnavailable("away"), Event.DEFER, False),
        (Interrupted("stopped"), Event.DEFER, False),
        (StillArriving("arriving", 7.0), Event.DEFER, False),
        (DeletionWaits("another marker waits", 7.0, "series-1"), Event.DEFER, False),
        (OutputUnavailable("full"), Event.DEFER, False),
        (DestinationUnavailable("down"), Event.DEFER, False),
        (InstanceError(ID, "cut"), Event.DEFER, True),
        (ResourceMissing("unknown"), Event.FAIL, False),
        (MarkerError("no ID"), Event.FAIL, False),
        (UnknownModality("nowhere"), Event.FAIL, False),
        (ForwardExpired("too long"), Event.FAIL, False),
    ],
)
def test_each_error_has_its_fate(error: SpoolError, event: Event, counts_attempt: bool) -> None:
    found = plan.fate(error, marker(), 1.0)
    assert (found.event, found.counts_attempt) == (event, counts_attempt)


def test_what_settles_is_looked_at_when_the_error_says() -> None:
    assert plan.fate(StillArriving("arriving", 7.0), marker(deferrals=9), 1.0).due_in_s == 7.0
    assert plan.fate(DeletionWaits("waits", 600.0, "series-1"), marker(), 1.0).due_in_s == 600.0


def test_waits_double_from_30_s_to_1_h() -> None:
    error = OutputUnavailable("full")
    waits = [plan.fate(error, marker(deferrals=number), 1.0).due_in_s for number in (0, 1, 2, 6, 7, 10_000)]
    assert waits == [30, 60, 120, 1920, 3600, 3600]
    assert plan.fate(error, marker(), 0.8).due_in_s == 24


def test_the_tenth_attempt_is_the_last() -> None:
    error = InstanceError(ID, "cut")
    assert plan.fate(error, marker(attempts=8), 1.0).event is Event.DEFER
    assert plan.fate(error, marker(attempts=9), 1.0).event is Event.FAIL


def test_any_rule_to_be_tried_again_comes_first_then_any_that_failed() -> None:
    late, soon = Disposition(Event.DEFER, False, 60.0, backs_off=True), Disposition(Event.DEFER, True, 30.0)
    failed = Disposition(Event.FAIL, False)
    assert plan.worst([]).event is Event.FINISH
    assert plan.worst([failed]).event is Event.FAIL
    assert plan.worst([failed, late, soon]) == Disposition(Event.DEFER, True, 30.0, backs_off=True)


def test_a_resource_is_settled_when_it_is_stable_and_old_enough_by_orthancs_clock() -> None:
    def check(age_s: float, by: Marker, *, is_stable: bool = True) -> None:
        now = ARRIVED + timedelta(seconds=age_s)
        plan.check_stable(resource(is_stable=is_stable), ARRIVED, now, STABLE_AGE_S, by)

    event, early = marker(), marker(time="2026-01-02T03:04:05Z")
    check(STABLE_AGE_S, early)
    # Orthanc's own event, after the last instance, says that Orthanc measured the age.
    check(1, event)
    for by in (early, replace(event, source="reconcile")):
        with pytest.raises(StillArriving, match="1 s ago"):
            check(1, by)
    with pytest.raises(StillArriving):
        check(STABLE_AGE_S, event, is_stable=False)


def test_where_the_clock_was_set_back_two_looks_with_a_stable_age_between_decide() -> None:
    before = ARRIVED - timedelta(hours=1)
    with pytest.raises(StillArriving, match="clock was set back") as caught:
        plan.check_stable(resource(), ARRIVED, before, STABLE_AGE_S, marker())
    waited = marker(error=Problem.of(caught.value))
    plan.check_stable(resource(), ARRIVED, before, STABLE_AGE_S, waited)
    assert caught.value.wait_s > STABLE_AGE_S
