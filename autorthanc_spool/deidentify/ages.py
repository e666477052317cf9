"""PatientAge (VR AS, PS3.5 section 6.2): three digits and D, W, M or Y."""

from __future__ import annotations

import re
from datetime import date

# So few people are older that an age gives them away (PS3.15 section E.3.7 leaves the limit to the user).
OLDEST_YEARS = 90

_AGE = re.compile(r"\d{3}[DWMY]", re.ASCII)

# Ages are said in months up to two years, in days up to a month: what three digits hold of each.
_MONTHS_UP_TO_YEARS = 2


def capped(text: str) -> str | None:
    """Give a readable age back, at most 090Y; None for what is not an age."""
    if not _AGE.fullmatch(text):
        return None
    return f"{OLDEST_YEARS:03}Y" if text[-1] == "Y" and int(text[:3]) > OLDEST_YEARS else text


def age(born: date, on: date) -> str | None:
    """Compute an age, at most 090Y; None before birth."""
    if on < born:
        return None
    months = (on.year - born.year) * 12 + on.month - born.month - (on.day < born.day)
    if months >= 12 * _MONTHS_UP_TO_YEARS:
        return f"{min(months // 12, OLDEST_YEARS):03}Y"
    return f"{months:03}M" if months else f"{(on - born).days:03}D"
