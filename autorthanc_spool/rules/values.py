"""What the values of attributes mean: text as it is compared, numbers, dates, times and names (PS3.5 section 6.2)."""

from __future__ import annotations

import re
import struct
import unicodedata
from dataclasses import dataclass
from datetime import date, time
from decimal import Decimal
from functools import cached_property

# PS3.5 section 6.2: values are padded to even length with a space, UIDs with NUL; several are joined by a backslash.
PADDING = " \0"
_PADDED_SEPARATOR = re.compile(r"[ \0]*\\[ \0]*")

NUMBERS = frozenset({"DS", "FD", "FL", "IS", "SL", "SS", "SV", "UL", "US", "US or SS", "UV"})
# Of a private element, a rule doesn't know what it is: what can be read as a number is one as well.
_UNKNOWN = frozenset({"", "UN"})
# Written in digits, and not a number.
_OF_TIME = frozenset({"DA", "DT", "TM"})
# In these a backslash is a character like any other.
_SINGLE_VALUED = frozenset({"LT", "ST", "UR", "UT"})
# PS3.5 section 6.2: an age is a number of days, weeks, months or years.
_AGE = re.compile(r"(\d{1,3})([DWMY])", re.IGNORECASE)
_UNITS_IN_A_YEAR = {"D": Decimal("365.25"), "W": Decimal("52.18"), "M": Decimal(12), "Y": Decimal(1)}

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?")
_DATE = re.compile(r"(\d{4})([-.]?)(\d\d)\2(\d\d)")
_TIME = re.compile(r"(\d\d)(?:(:?)(\d\d)(?:\2(\d\d)(?:\.(\d{1,6}))?)?)?")
_DATE_AND_TIME = re.compile(r"(\d{8})(\d{2}(?:\d\d(?:\d\d(?:\.\d{1,6})?)?)?)?(?:[+-]\d{4})?")


@dataclass(frozen=True)
class Value:
    """A value without its padding, as it is written."""

    text: str

    @cached_property
    def comparable(self) -> str:
        """As it is compared; "" where there is nothing, several empty values for example."""
        found = comparable(self.text).strip(PADDING)
        return found if found.strip("\\") else ""

    @cached_property
    def without_padding(self) -> str:
        """As it is written, but for what pads each of several values."""
        return _PADDED_SEPARATOR.sub(r"\\", self.text).strip(PADDING)

    def meanings(self, vr: str) -> tuple[frozenset[object], ...]:
        """What each of several values can be equal to; many rules ask for the same one."""
        known = self._meanings
        if vr not in known:
            known[vr] = meanings(self.comparable, vr)
        return known[vr]

    @cached_property
    def _meanings(self) -> dict[str, tuple[frozenset[object], ...]]:
        return {}


def comparable(text: str) -> str:
    """Bring text into the form in which it is compared: NFC, letter case folded, values without their padding.

    Folding can take composed characters apart, so they are composed once more.
    """
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
    return _PADDED_SEPARATOR.sub(r"\\", folded)


def parts(text: str, vr: str) -> list[str]:
    """Take several values apart; the empty ones are left out."""
    found = [text] if vr in _SINGLE_VALUED else text.split("\\")
    return [one for one in (part.strip(PADDING) for part in found) if one]


def number(text: str, vr: str = "") -> Decimal | None:
    """Read a number; one that is stored in binary as precisely as it is stored, an age in years."""
    if vr == "AS" and (age := _AGE.fullmatch(text)):
        return Decimal(age[1]) / _UNITS_IN_A_YEAR[age[2].upper()]
    if vr in _OF_TIME or not _NUMBER.fullmatch(text):
        return None
    if vr == "FD":
        return Decimal(float(text))
    if vr == "FL":
        try:
            (stored,) = struct.unpack("f", struct.pack("f", float(text)))
        except OverflowError:
            return Decimal(text)
        return Decimal(stored)
    return Decimal(text)


def day(text: str) -> date | None:
    """Read a date, as files or people write it, or that of a date and time."""
    whole = _DATE_AND_TIME.fullmatch(text)
    found = _DATE.fullmatch(whole[1] if whole else text)
    if not found:
        return None
    try:
        return date(int(found[1]), int(found[3]), int(found[4]))
    except ValueError:
        return None


def hour(text: str) -> time | None:
    """Read a time, as files or people write it, or that of a date and time."""
    whole = _DATE_AND_TIME.fullmatch(text)
    found = _TIME.fullmatch(whole[2] or "" if whole else text)
    if not found:
        return None
    try:
        return time(int(found[1]), int(found[3] or 0), int(found[4] or 0), int((found[5] or "0").ljust(6, "0")))
    except ValueError:
        return None


def meanings(text: str, vr: str) -> tuple[frozenset[object], ...]:
    """What each of several values can be equal to."""
    return tuple(same(one, vr) for one in parts(text, vr))


def same(text: str, vr: str) -> frozenset[object]:
    """Everything that a value can be equal to: its text, and what it means by its VR."""
    found: set[object] = {text}
    if vr == "PN":
        return frozenset(_name_groups(text))
    if vr in NUMBERS or vr in _UNKNOWN:
        found.add(number(text, vr))
    elif vr == "DA":
        found.add(day(text))
    elif vr == "TM":
        found.add(hour(text))
    elif vr == "DT":
        found.add((day(text), hour(text)) if _DATE_AND_TIME.fullmatch(text) and "+" not in text else None)
    return frozenset(found - {None})


def _name_groups(text: str) -> set[str]:
    """The whole name, and each of its component groups, without what is empty at the ends."""
    groups = ["^".join(part.strip(PADDING) for part in group.split("^")).rstrip("^") for group in text.split("=")]
    return {"=".join(groups).rstrip("="), *groups} - {""}
