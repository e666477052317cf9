"""New values: what a verdict makes of the value of one element."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date

from autorthanc_spool.deidentify import ages, dates, dummies, icc, text
from autorthanc_spool.deidentify.descriptors import Identifiers, Strictness, is_one_of
from autorthanc_spool.deidentify.elements import DataSet, Element
from autorthanc_spool.deidentify.haystack import Haystack, is_registered
from autorthanc_spool.deidentify.patterns import SHORTEST_NUMBER
from autorthanc_spool.deidentify.policy import Verdict
from autorthanc_spool.deidentify.pseudonym import Patient, Pseudonymiser, is_uid
from autorthanc_spool.deidentify.pseudonym_table import normalised
from autorthanc_spool.deidentify.reader import known_vr

_ISSUER_OF_PATIENT_ID = 0x00100021

# DS and IS (PS3.5 section 6.2), also longer ones, those with a comma for a point, and what programs write that have no
# number to give (-1.#IND).
_NUMBER = re.compile(
    rb"(?:[+-]?(?:(?:[0-9]{1,40}(?:[.,][0-9]{0,40})?|[.,][0-9]{1,40})(?:e[+-]?[0-9]{1,4})?"
    rb"|(?:1[.,]#)?(?:q?nan|inf(?:inity)?|ind)0*))?",
    re.IGNORECASE,
)

# How many bytes one number has.
_UNITS = {
    **dict.fromkeys(("OW", "SS", "US"), 2),
    **dict.fromkeys(("AT", "FL", "OF", "OL", "SL", "UL"), 4),
    **dict.fromkeys(("FD", "OD", "OV", "SV", "UV"), 8),
}
_SMALLEST_UNIT = 2
# What is said in so many bytes is said by many numbers, too.
_FEW_BYTES = 4

# A backslash separates the values of these, and in ASCII it is nothing else.
_OF_MANY_VALUES = frozenset({"AE", "CS", "LO", "SH", "UC"})
_ESCAPE = 0x1B

# A new value; KEEP when the element stays as it is; None when the value can't be used.
Made = bytes | Verdict | None


@dataclass(frozen=True)
class Subject:
    """Whose file it is, and what that changes.

    `is_listed` says that a table gave the pseudonym, `has_issuers` that issuers tell patients apart. `born` has the day
    of birth, also as another calendar has it.
    """

    patient: Patient
    pseudonym: str
    shift: dates.Shift
    pseudonymiser: Pseudonymiser
    is_listed: bool
    has_issuers: bool = False
    born: frozenset[date] = field(default=frozenset(), repr=False)


@dataclass(frozen=True, slots=True)
class Place:
    """One value: its bytes, its VR (UN where nobody knows it), and what holds where it is."""

    tag: int
    vr: str
    value: bytes
    character_sets: text.CharacterSets
    pseudonym: str


class Values:
    """Makes the values of one file."""

    def __init__(
        self, buffer: memoryview, subject: Subject, identifiers: Identifiers, look_for: Callable[[], Haystack] | None
    ) -> None:
        """`look_for` makes the search of UIDs that name a kind; None where all UIDs are kept."""
        self._buffer = buffer
        self._subject = subject
        self._identifiers = identifiers
        self._look_for = look_for
        # How many values of each attribute were found to hold an identity.
        self.emptied: Counter[int] = Counter()
        self.pseudonym = subject.pseudonym
        self._handlers: Mapping[Verdict, Callable[[Place], Made]] = {
            Verdict.EMPTY: lambda _: b"",
            Verdict.DUMMY: _dummy,
            Verdict.PSEUDONYM: lambda place: place.pseudonym.encode(),
            Verdict.NEW_UID: self._new_uids,
            Verdict.KIND: self._kind,
            Verdict.DATE: self._moved,
            Verdict.DATE_UNLESS_BIRTH: self._moved_unless_birth,
            Verdict.ZONE: lambda place: _kept_if(dates.readable_zone(_plain(place.value))),
            Verdict.AGE: self._age,
            Verdict.NUMBER: self._number,
            Verdict.BINARY: self._binary,
            Verdict.BINARY_NUMBERS: self._binary,
            Verdict.PROFILE: self._profile,
            Verdict.CLEAN: lambda place: self._cleaned(place, Strictness.DESCRIPTOR),
            Verdict.TEXT: lambda place: self._cleaned(place, Strictness.TEXT),
            Verdict.WORD: lambda place: self._cleaned(place, Strictness.WORD),
            Verdict.MASK: self._masked,
        }

    def make(self, verdict: Verdict, element: Element, vr: str, sets: text.CharacterSets, pseudonym: str) -> Made:
        """Make the new value of an element, or say what happens to it instead."""
        value = b"" if element.items is not None else bytes(self._buffer[element.value : element.end])
        return self._handlers[verdict](Place(element.tag, vr, value, sets, pseudonym))

    def peek(self, verdict: Verdict, element: Element, vr: str, sets: text.CharacterSets) -> Made:
        """Make a value that something else refers to; nothing is counted, as it is made again in its own place."""
        counted = self.emptied.copy()
        made = self.make(verdict, element, vr, sets, self.pseudonym)
        self.emptied = counted
        return made

    def pseudonym_in(self, item: DataSet, element: Element, sets: text.CharacterSets, otherwise: str) -> str:
        """The pseudonym of the patient whose PatientID is in an item; an item may be about somebody else."""
        PatientID = self._text(element, sets)
        if normalised(PatientID) in ("", normalised(self._subject.patient.PatientID)):
            return otherwise
        if self._subject.is_listed:
            # Nobody but the table gives pseudonyms here.
            return ""
        issuer = item.get(_ISSUER_OF_PATIENT_ID) if self._subject.has_issuers else None
        found = Patient(PatientID, self._text(issuer, sets) if issuer else "")
        return self._subject.pseudonymiser.pseudonym(found)

    def _text(self, element: Element, sets: text.CharacterSets) -> str:
        return text.decoded(bytes(self._buffer[element.value : element.end]), sets)

    def _new_uids(self, place: Place) -> Made:
        before = _plain(place.value)
        after = "\\".join(self._subject.pseudonymiser.uid(one) for one in before.split("\\"))
        return Verdict.KEEP if after == before else after.encode()

    def kind(self, uid: str) -> str:
        """Give a UID that names a kind, or a new one for it: one that isn't registered may be made of an identifier."""
        if self._look_for is None or not uid or is_registered(uid) or not self._look_for().found_in_uid(uid):
            return uid
        return self._subject.pseudonymiser.uid(uid)

    def _kind(self, place: Place) -> Made:
        before = [_stripped(one) for one in _plain(place.value).split("\\")]
        after = [self.kind(one) if is_uid(one) else self._subject.pseudonymiser.uid(one) for one in before]
        return Verdict.KEEP if after == before else "\\".join(after).encode()

    def _moved(self, place: Place) -> Made:
        before = [_stripped(one) for one in _plain(place.value).split("\\")]
        if place.vr == "TM":
            after = [dates.readable_time(one) or "" for one in before]
        elif place.vr == "DT":
            after = [dates.moved_date_time(one, self._subject.shift) or "" for one in before]
        else:
            after = [dates.moved_date(one, self._subject.shift) or "" for one in before]
        return Verdict.KEEP if after == before else "\\".join(after).encode()

    def _moved_unless_birth(self, place: Place) -> Made:
        """Move it as others; the day of birth goes, as no option keeps that."""
        if place.vr != "TM" and self._subject.born:
            ones = _plain(place.value).split("\\")
            if any(dates.days_in(_stripped(one)) & self._subject.born for one in ones):
                self.emptied[place.tag] += 1
                return None
        return self._moved(place)

    def _age(self, place: Place) -> Made:
        before = _plain(place.value)
        after = ages.capped(before)
        if after is None:
            return None
        return Verdict.KEEP if after == before else after.encode()

    def _number(self, place: Place) -> Made:
        """Keep what is a number; but no day of the file, nor a whole number (IS) that is that of an identifier."""
        values = [one.strip(b" \0") for one in place.value.split(b"\\")]
        if not all(map(_NUMBER.fullmatch, values)):
            return None
        is_whole = "IS" in (place.vr, known_vr(place.tag))
        telling = self._identifiers.numbers if is_whole else self._identifiers.days
        long = (one.decode() for one in values if len(one) > SHORTEST_NUMBER)
        return self._unless(any(is_one_of(one, telling) for one in long), place)

    def _cleaned(self, place: Place, strictness: Strictness) -> Made:
        return self._unless(self._identifiers.found_in(place.value, place.character_sets, strictness), place)

    def _binary(self, place: Place) -> Made:
        is_cut = len(place.value) % _UNITS.get(place.vr, _SMALLEST_UNIT)
        return self._unless(bool(is_cut) or self._identifiers.found_in_bytes(place.value), place)

    def _profile(self, place: Place) -> Made:
        """Blank the texts of a profile that holds an identity; if one is left, it can't be used."""
        if not self._is_in_profile(place.value):
            return Verdict.KEEP
        self.emptied[place.tag] += 1
        made = icc.blanked(place.value)
        return None if self._is_in_profile(made) else made

    def _is_in_profile(self, profile: bytes) -> bool:
        # Texts are in ASCII, or in UTF-16, where zeros are between letters.
        found_in_bytes = self._identifiers.found_in_bytes
        return found_in_bytes(profile) or found_in_bytes(profile.replace(b"\0", b""))

    def _unless(self, is_found: bool, place: Place) -> Made:
        if not is_found:
            return Verdict.KEEP
        self.emptied[place.tag] += 1
        return None

    def _masked(self, place: Place) -> Made:
        """Put dummies in place of those of an element's values that hold an identity; it may have to have values."""
        strictness = Strictness.WORD if place.vr == "CS" else Strictness.TEXT
        dummy = dummies.value(place.vr, len(place.value))
        if place.vr not in _OF_MANY_VALUES or not place.value.isascii() or _ESCAPE in place.value:
            return dummy
        before = place.value.split(b"\\")
        after = [dummy if self._identifiers.found_in(one, place.character_sets, strictness) else one for one in before]
        # What only all of them say together goes with all of them.
        return b"\\".join(after if after != before else [dummy] * len(before))


def is_a_number(vr: str, length: int) -> bool:
    """Whether a binary value of so many bytes is one number, or too short to be anything else."""
    unit = _UNITS.get(vr, _SMALLEST_UNIT)
    return length == unit or (length <= _FEW_BYTES and not length % unit)


def _dummy(place: Place) -> bytes:
    length = len(place.value)
    return dummies.value(place.vr, length - length % _UNITS.get(place.vr, 1)) if place.value else b""


def _kept_if(found: object) -> Made:
    return Verdict.KEEP if found else None


def _plain(value: bytes) -> str:
    return _stripped(value.decode("latin-1"))


def _stripped(one: str) -> str:
    return one.strip(" \0")
