from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from autorthanc_spool.actions import WORDS
from autorthanc_spool.rules import RuleError, hours, parse_rule

ZURICH = ZoneInfo("Europe/Zurich")


def opens(text: str, local: str, fold: int = 0) -> str:
    now = datetime.fromisoformat(local).replace(tzinfo=ZURICH, fold=fold).astimezone(UTC)
    begin = now + timedelta(seconds=hours.parse(text).wait_s(now, ZURICH))
    return begin.astimezone(ZURICH).strftime("%Y-%m-%d %H:%M %Z")


@pytest.mark.parametrize(
    ("text", "local", "expected"),
    [
        ("20:00-06:00", "2026-01-10 20:00", "2026-01-10 20:00 CET"),
        ("20:00-06:00", "2026-01-10 05:59", "2026-01-10 05:59 CET"),
        ("20:00-06:00", "2026-01-10 06:00", "2026-01-10 20:00 CET"),
        ("20:00-06:00", "2026-01-10 19:59:30", "2026-01-10 20:00 CET"),
        ("08:00-09:00", "2026-01-10 09:00", "2026-01-11 08:00 CET"),
        # An hour is missing in that night.
        ("20:00-06:00", "2026-03-29 07:00", "2026-03-29 20:00 CEST"),
        ("02:30-05:00", "2026-03-29 01:00", "2026-03-29 03:00 CEST"),
        ("02:10-02:50", "2026-03-29 01:00", "2026-03-30 02:10 CEST"),
        # An hour comes twice in this one.
        ("04:00-05:00", "2026-10-25 01:00", "2026-10-25 04:00 CET"),
        ("02:10-02:20", "2026-10-25 02:30", "2026-10-25 02:10 CET"),
    ],
)
def test_hours_begin_when_the_clock_on_the_wall_says_so(text: str, local: str, expected: str) -> None:
    assert opens(text, local) == expected


@pytest.mark.parametrize("text", ["20:00-20:00", "24:00-06:00", "8:00-9:00", "20:00", "20.00-06.00", ""])
def test_what_is_not_hours_is_refused_with_its_line(text: str) -> None:
    data = f'{{"CheckOn": "Study", "Tags": [],\n"Between": "{text}"}}'.encode()
    with pytest.raises(RuleError, match=r'brain.json:2: Between: found ".*", expected two different times of day'):
        parse_rule("brain", data, WORDS)
