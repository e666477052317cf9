import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autorthanc_spool.core import marker
from autorthanc_spool.core.dicom import Level
from autorthanc_spool.core.errors import MarkerError
from autorthanc_spool.core.outcome import Problem
from autorthanc_spool.core.states import State

ID = "0a4b249f-7fce45ca-4f722f72-de2a24df-92abc740"
OTHER_ID = "1a4b249f-7fce45ca-4f722f72-de2a24df-92abc741"
FROM_LUA = (
    f'{{"format": 1, "event": "StableStudy", "level": "Study", "id": "{ID}", "source": "lua", '
    '"time": "2026-11-23T21:24:59Z"}'
).encode()

NO = Problem("Bug", "no")


def test_what_lua_writes_is_read() -> None:
    found = marker.parse(f"20261123T212459Z-study-{ID}.json", FROM_LUA)
    assert (found.level, found.resource_id, found.source) == (Level.STUDY, ID, "lua")
    assert not found.asks_again


@pytest.mark.parametrize(
    "name",
    [
        f"study-{ID}.json",
        f"20261123T212459Z-study-{ID}.json",
        f"study-{ID}.2.json",
        f"my study-{ID} please.json",
    ],
)
def test_an_empty_file_named_by_level_and_id_is_a_whole_marker(name: str) -> None:
    found = marker.parse(name, b"")
    assert (found.level, found.resource_id) == (Level.STUDY, ID)
    assert found.asks_again


def test_a_series_is_named_likewise() -> None:
    assert marker.parse(f"series-{ID}.json", b"\n").level is Level.SERIES


def test_what_the_content_says_goes_before_the_name() -> None:
    found = marker.parse(f"study-{ID}.json", json.dumps({"level": "Series", "id": OTHER_ID}).encode())
    assert found.key == f"series-{OTHER_ID}"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"{", "line 1, column 2"),
        (b"[]", "not an object"),
        (b"\xff\xfe", "can't be decoded"),
        (b'{"level": "study"}', '"id"'),
        (b"{}", '"level"'),
        (b'{"level": "patient", "id": "x"}', 'expected "study" or "series"'),
        (b'{"level": "study", "id": "../../etc/passwd"}', "five groups"),
        (b'{"level": "study", "id": 7}', "five groups"),
        (b'{"format": 9, "level": "study", "id": "' + ID.encode() + b'"}', "format 1"),
        (b'{"level": "study", "id": "' + ID.encode() + b'", "rules": 5}', "list of rule names"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_what_is_not_a_marker_is_refused_with_the_reason(data: bytes, says: str) -> None:
    with pytest.raises(MarkerError, match=says.replace("[", r"\[")):
        marker.parse("x.json", data)


def test_unknown_keys_are_kept() -> None:
    found = marker.parse("x.json", json.dumps({"level": "study", "id": ID, "note": "mine"}).encode())
    assert json.loads(marker.dump(found))["note"] == "mine"


@pytest.mark.parametrize(
    ("content", "again"),
    [
        ({"source": "lua"}, False),
        ({"source": "reconcile"}, False),
        ({"source": "replay"}, False),
        ({"source": "cli"}, True),
        ({"source": "another"}, True),
        ({}, True),
        ({"source": "lua", "filed": {"path": f"done/2026-11-23/{ID}.json"}}, True),
        ({"source": "cli", "filed": {"path": f"failed/{ID}.json"}}, False),
        ({"source": "cli", "filed": {"path": f"deferred/{ID}.json"}}, False),
    ],
)
def test_again_is_asked_by_people_and_by_what_comes_back_from_done(content: dict[str, object], again: bool) -> None:
    found = marker.parse("x.json", json.dumps({"level": "study", "id": ID, **content}).encode())
    assert found.asks_again is again


def test_a_marker_covers_what_asks_for_no_more() -> None:
    everything = marker.parse(f"study-{ID}.json", b"")
    some = marker.parse(f"study-{ID}.json", b'{"rules": ["a", "b"]}')
    one = marker.parse(f"study-{ID}.json", b'{"rules": ["a"]}')
    assert everything.covers(some)
    assert some.covers(one)
    assert not one.covers(some)
    assert not some.covers(everything)
    assert not everything.covers(marker.parse(f"study-{OTHER_ID}.json", b""))


def test_a_new_marker_is_named_by_time_level_and_id() -> None:
    made = marker.new(Level.STUDY, ID, "cli", datetime(2026, 11, 23, 21, 24, 59, tzinfo=UTC))
    assert marker.file_name(made) == f"20261123T212459Z-study-{ID}.json"
    assert json.loads(marker.dump(made)) == {
        "format": 1,
        "event": "StableStudy",
        "level": "Study",
        "id": ID,
        "source": "cli",
        "time": "2026-11-23T21:24:59Z",
    }


@given(st.binary(max_size=200))
def test_whatever_a_file_holds_it_is_a_marker_or_an_error(data: bytes) -> None:
    try:
        found = marker.parse("anything.json", data)
    except MarkerError as error:
        rejected = json.loads(marker.Rejected(data, error).dump({"path": "failed/anything.json"}) or b"")
        assert rejected["error"]["text"] == str(error)
    else:
        assert marker.parse("anything.json", marker.dump(found)).key == found.key


@pytest.mark.parametrize("data", [b"not JSON", b"[1]", b"\xff"])
def test_what_is_put_back_without_being_fixed_keeps_its_first_reason(data: bytes) -> None:
    with pytest.raises(MarkerError) as first:
        marker.parse("anything.json", data)
    record = marker.Rejected(data, first.value).dump({"path": "failed/anything.json"})
    assert record is not None
    with pytest.raises(MarkerError) as second:
        marker.parse("anything.json", record)
    assert str(second.value) == str(first.value)
    fixed = json.dumps({**json.loads(record), "level": "study", "id": ID}).encode()
    assert marker.parse("anything.json", fixed).resource_id == ID


def test_the_record_comes_back_as_it_was_written() -> None:
    found = marker.parse(f"study-{ID}.json", FROM_LUA)
    filed = marker.parse(
        "x.json",
        marker.dump(
            marker.Marker(
                found.level,
                found.resource_id,
                attempts=3,
                deaths=1,
                error=Problem("Bug", "no"),
                filed={"path": "failed/x"},
            )
        ),
    )
    assert (filed.attempts, filed.deaths, filed.error, filed.last_state) == (3, 1, NO, State.FAILED)
