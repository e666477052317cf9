"""What people are told of, decided on values."""

from dataclasses import replace

from autorthanc_spool.monitor.notice_plan import (
    BUNDLE_S,
    DESTINATION,
    MOST_WAITING,
    WAITING,
    Event,
    Found,
    Seen,
    Told,
    decide,
    delivered,
)

TO = ("command", "address 1")
NOW = "2026-11-23T21:24:59Z"
BROKEN = {"a.json": Found("1", "ResourceMissing", "study-1")}


def after(told: Told, seen: Seen, now_s: float = 0.0) -> Told:
    return decide(told, seen, now_s, NOW, TO)


def events(told: Told) -> list[tuple[str, str]]:
    return [(one.notice.event, one.notice.about) for one in told.outbox]


def test_a_trouble_is_reported_once_when_it_begins_and_once_when_it_ends() -> None:
    began = after(Told(), Seen(changes=(("Orthanc", "it is away"), ("Orthanc", "it is away"))))
    assert events(began) == [(Event.BEGAN, "Orthanc")]
    still = after(began, Seen(current=frozenset({"Orthanc"}), has_looked=True))
    assert still == began
    ended = after(still, Seen(changes=(("Orthanc", None), ("Orthanc", None)), has_looked=True))
    assert events(ended) == [(Event.BEGAN, "Orthanc"), (Event.ENDED, "Orthanc")]


def test_a_trouble_that_a_dead_process_reported_ends_when_the_next_one_looked_and_didnt_find_it() -> None:
    told = replace(after(Told(), Seen(changes=(("Orthanc", "away"),))), outbox=())
    assert events(after(told, Seen())) == []
    assert events(after(told, Seen(changes=(("Orthanc", "away"),), current=frozenset({"Orthanc"})))) == []
    assert events(after(told, Seen(has_looked=True))) == [(Event.ENDED, "Orthanc")]


def test_what_waits_and_destinations_begin_and_end_with_what_lies_in_the_spool() -> None:
    troubles = {f"{WAITING}OutputUnavailable": "2 wait", f"{DESTINATION}PACS": "1 waits"}
    began = after(Told(), Seen(waiting=troubles, has_looked=True))
    assert {about for _, about in events(began)} == set(troubles)
    assert after(began, Seen(waiting=troubles, has_looked=True)) == began
    assert after(began, Seen(has_looked=True)) == began
    ended = after(replace(began, outbox=()), Seen(waiting={}, has_looked=True))
    assert events(ended) == [(Event.ENDED, about) for about in troubles]


def test_failures_are_bundled_over_a_minute_and_reported_once() -> None:
    told = after(Told(), Seen(failed=BROKEN), now_s=1000)
    more = {**BROKEN, "b.json": Found("2", "OutputConflict", "study-2")}
    told = after(told, Seen(failed=more), now_s=1000 + BUNDLE_S - 1)
    assert told.outbox == ()
    told = after(told, Seen(failed=more), now_s=1000 + BUNDLE_S)
    (queued,) = told.outbox
    assert (queued.notice.count, queued.notice.resources) == (2, ("study-1", "study-2"))
    assert "1 × OutputConflict, 1 × ResourceMissing" in queued.notice.text
    assert after(told, Seen(failed=more), now_s=9999) == told


def test_a_failure_of_the_same_name_is_reported_again_when_it_is_another_one() -> None:
    told = after(Told(), Seen(failed=BROKEN, is_end=True))
    assert len(told.outbox) == 1
    again = after(told, Seen(failed={"a.json": Found("7", "ResourceMissing")}, is_end=True))
    assert len(again.outbox) == 2


def test_a_clock_that_is_set_back_holds_nothing_up() -> None:
    told = after(Told(), Seen(failed=BROKEN), now_s=1000)
    assert len(after(told, Seen(failed=BROKEN), now_s=10).outbox) == 1


def test_a_notice_leaves_the_outbox_when_all_have_it() -> None:
    told = after(Told(), Seen(changes=(("Orthanc", "away"),)))
    notice = told.outbox[0].notice
    told = delivered(told, notice, "command")
    assert told.outbox[0].to == ("address 1",)
    assert delivered(told, notice, "address 1").outbox == ()


def test_the_outbox_is_bounded() -> None:
    changes = tuple((f"trouble {number}", "text") for number in range(MOST_WAITING + 50))
    told = after(Told(), Seen(changes=changes))
    assert len(told.outbox) == MOST_WAITING
    assert told.outbox[-1].notice.about == f"trouble {MOST_WAITING + 49}"


def test_a_notice_is_of_single_lines_without_zero_bytes() -> None:
    found = {"a.json": Found("1", "Bug\0\ud800\nBcc: all@example.org", "study-1")}
    told = after(Told(), Seen(changes=(("the rule a\nb\0", "it is\nbroken\0"),), failed=found, is_end=True))
    broken, failed = (one.notice for one in told.outbox)
    assert (broken.about, broken.title, broken.text) == (
        r"the rule a b\x00",
        r"the rule a b\x00: trouble",
        r"it is broken\x00",
    )
    assert failed.title == r"1 failed: 1 × Bug\x00\ud800 Bcc: all@example.org"
    # What is remembered is what it is called.
    assert after(told, Seen(changes=(("the rule a\nb\0", None),))).troubles == {}
