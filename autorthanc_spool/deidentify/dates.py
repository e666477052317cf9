"""Dates and times of DICOM (PS3.5 section 6.2): are they readable, and what are they some days earlier.

Values are text, already stripped. A function gives None for what it can't read: that may be anything, a name as well.
Ranges (``A-B``, ``A-``, ``-B``) and dates that end with the year or the month are read too; of these, the first day is
moved, and the same parts are written.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, timedelta

_DATE = re.compile(r"(?P<year>\d{4})(?:(?P<dot>\.?)(?P<month>\d{2})(?:(?P=dot)(?P<day>\d{2}))?)?", re.ASCII)
_TIME = re.compile(r"(\d{2})(?:(:?)(\d{2})(?:\2(\d{2})(?:\.\d{1,6})?)?)?", re.ASCII)
_CLOCK = re.compile(r"(\d{2})(?:(\d{2})(?:(\d{2})(?:\.\d{1,6})?)?)?", re.ASCII)
# PS3.5 section 6.2: the offset from UTC is from -1200 to +1400.
_OFFSET = r"(?P<offset>[+-](?:0\d|1[0-4])[0-5]\d)?"
_DATE_TIME = re.compile(r"(?P<date>\d{4,8})(?P<clock>(?<=\d{8})\d{2,6}(?:\.\d{1,6})?)?" + _OFFSET, re.ASCII)
_ZONE = re.compile(r"[+-](?:0\d|1[0-4])[0-5]\d", re.ASCII)

# PS3.5 table 6.2-1: a range of DT has at most 54 characters.
_LONGEST_VALUE = 54

Shift = Callable[[date], date]


def earlier(days: int) -> Shift:
    """Make the shift by some days; OverflowError where the calendar ends."""
    return lambda day: day - timedelta(days=days)


def unmoved(day: date) -> date:
    """Leave a date where it is."""
    return day


def moved_date(text: str, shift: Shift) -> str | None:
    """Move a DA."""
    return _ranged(text, lambda one: _moved_day(one, shift))


def moved_date_time(text: str, shift: Shift) -> str | None:
    """Move a DT; its time of day and offset stay."""
    return _ranged(text, lambda one: _moved_instant(one, shift))


def readable_time(text: str) -> str | None:
    """Give a TM back when it is one: whole days don't change it."""
    return _ranged(text, lambda one: one if _is_time(_TIME.fullmatch(one), (1, 3, 4)) else None)


def readable_zone(text: str) -> str | None:
    """Give a Timezone Offset From UTC back when it is one."""
    return text if _ZONE.fullmatch(text) else None


def day_of(text: str) -> date | None:
    """Read a whole date at the beginning of a DA or DT."""
    found = _DATE.match(text)
    return _day(found) if found and found["day"] else None


def days_in(text: str) -> set[date]:
    """Find the days of a DA or DT, both of a range; of a date that ends with the year or the month, the first one."""
    days: set[date] = set()

    def seen(day: date) -> date:
        days.add(day)
        return day

    moved_date(text, seen)
    moved_date_time(text, seen)
    first = day_of(text)
    return days | {first} if first else days


def _ranged(text: str, move: Callable[[str], str | None]) -> str | None:
    """Move a single value, or both ends of a range; a hyphen may also begin an offset, so each is tried."""
    if len(text) > _LONGEST_VALUE:
        return None
    whole = move(text)
    if whole is not None:
        return whole
    for hyphen in re.finditer("-", text):
        ends = [move(end) if end else "" for end in (text[: hyphen.start()], text[hyphen.end() :])]
        if any(ends) and None not in ends:
            return f"{ends[0]}-{ends[1]}"
    return None


def _moved_day(text: str, shift: Shift) -> str | None:
    found = _DATE.fullmatch(text)
    if found is None:
        return None
    day = _day(found)
    if day is None:
        return None
    try:
        return _written(shift(day), found)
    except OverflowError:
        return None


def _day(found: re.Match[str]) -> date | None:
    try:
        return date(int(found["year"]), int(found["month"] or 1), int(found["day"] or 1))
    except ValueError:
        return None


def _written(day: date, found: re.Match[str]) -> str:
    parts = [f"{day.year:04}", f"{day.month:02}" if found["month"] else "", f"{day.day:02}" if found["day"] else ""]
    return (found["dot"] or "").join(part for part in parts if part)


def _moved_instant(text: str, shift: Shift) -> str | None:
    found = _DATE_TIME.fullmatch(text)
    if found is None:
        return None
    day = _moved_day(found["date"], shift)
    clock = found["clock"] or ""
    if day is None or (clock and not _is_time(_CLOCK.fullmatch(clock), (1, 2, 3))):
        return None
    return day + clock + (found["offset"] or "")


def _is_time(found: re.Match[str] | None, groups: tuple[int, int, int]) -> bool:
    if found is None:
        return False
    hours, minutes, seconds = (int(found[group] or 0) for group in groups)
    # PS3.5 section 6.2: 60 is a leap second.
    return hours <= 23 and minutes <= 59 and seconds <= 60
