"""How days are written in bytes: by programs in headers and names of files, and by people.

Times of day follow where a program writes both; two digits of a year count only between dots, slashes or hyphens.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

# How the names of months begin in English, German and French.
_MONTHS = (
    "jan",
    "fe[bv]",
    "ma(?:e?r|er)",
    "a[pv]r",
    "ma[iy]",
    "jui?n",
    "jui?l",
    "a(?:ug|ou)",
    "sep",
    "o[ck]t",
    "nov",
    "de[cz]",
)


def spellings(day: date) -> Iterator[bytes]:
    """Make patterns, in lower case, of a day; each begins with a letter or digit that it must have."""
    year, month, nth = f"{day.year:04}", f"{day.month:02}", f"{day.day:02}"
    months, days = sorted({month, month.lstrip("0")}), sorted({nth, nth.lstrip("0")})
    m, d = f"(?:{'|'.join(months)})", f"(?:{'|'.join(days)})"
    between, little = r"[-./\\ :_,]{1,2}", "[-_ ./]{0,2}"
    name = f"{_MONTHS[day.month - 1]}[a-z]{{0,9}}"
    clock = "(?:[0-9:. ]{0,18}(?:[a-z]{3,4} )?)"
    patterns = [f"{year}{month}{nth}", f"{nth}{month}{year}", f"{month}{nth}{year}"]
    patterns += [f"{year}{between}{m}{between}{d}(?![0-9])", f"{year}{little}{name}{little}{d}(?![0-9])"]
    patterns += [f"{name}[-_ .]{{0,2}}{d}(?:st|nd|rd|th)?[, ]{{1,2}}{clock}{year}"]
    for one in days:
        patterns += [f"{one}(?<![0-9]{one}){between}{m}{between}{year}"]
        patterns += [rf"{one}(?<![0-9]{one})(?:st|nd|rd|th|\.)?{little}{name}[-_ .,/]{{0,2}}{year}"]
    patterns += [f"{one}(?<![0-9]{one}){between}{d}{between}{year}" for one in months]
    for first, second in ((nth, month), (month, nth)):
        patterns += [f"{first}(?<![0-9.]{first})[./-]{second}[./-]{year[2:]}(?![0-9.])"]
    return (pattern.encode() for pattern in patterns)
