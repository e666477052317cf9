"""Searches bytes that nobody can read for the needles of a file, however they are written.

Letters count in either case; ASCII, the file's character sets, UTF-8, UTF-16 and UTF-32 in both byte orders are looked
at, and what is inside of gzip, zlib and Base64. All of it takes time in proportion to the bytes.

Short needles are part of too much. A number of fewer than 8 digits counts where no other digit or fraction is next to
it, a word of fewer than 6 letters where no other letter is; numbers of fewer than 4 digits and words of fewer than 4
letters don't count, but a family name beside a given name does, whatever their length.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

from pydicom._uid_dict import UID_dictionary

from autorthanc_spool.deidentify import dates, text
from autorthanc_spool.deidentify.days import spellings
from autorthanc_spool.deidentify.needles import Needle, NeedleKind
from autorthanc_spool.deidentify.packed import Unsearchable, unpacked
from autorthanc_spool.deidentify.raw_names import is_explained, raw_names, without_escapes

_SHORTEST = 4
_SURE_DIGITS = 8
_SURE_LETTERS = 6
_SURE_MIXED = 5
# A run of digits that stands for the identifier that it is part of.
_SHORTEST_RUN = 5

# What manufacturers call themselves and what they call everybody; names that are these say nothing.
COMMON_WORDS = frozenset(
    {"siemens", "philips", "general", "electric", "medical", "systems", "toshiba", "canon", "hitachi", "healthcare"}
    | {"healthineers", "varian", "elekta", "phantom", "patient", "unknown", "anonymous", "anonymized", "anonymised"}
    | {"hospital", "clinic", "klinik", "university", "universitaet", "radiology", "department", "institute"}
)

# At least six components; of fewer digits it is a version. Runs are bounded, so that none is tried twice.
_UID = re.compile(rb"[0-9](?<![0-9]{2})[0-9]{0,63}(?:\.[0-9]{1,64}){5,}")
# Those made of a UUID have three (PS3.5 annex B.2).
_UID_OF_UUID = re.compile(rb"2(?<![0-9.]2)\.25\.[0-9]{16,39}")
_SHORTEST_UID_DIGITS = 12
_REGISTERED = b"1.2.840.10008."

_ENCODINGS = ("utf-8", "latin-1", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
_UTF_32 = re.compile(rb"[ -~]\0{3}[ -~]\0{3}[ -~]")
_NULS = re.compile(rb"\0\0+")
_BETWEEN = rb"[^a-z0-9]{0,2}"
# A dot would make a fraction of them.
_BETWEEN_DIGITS = rb"[-/ _]{1,2}"
_PARTS = re.compile(rb"[a-z]+|[0-9]+")

# How many bytes binary numbers have; longer values are more than a few numbers.
_NUMBER_BYTES = (4, 8)
_LONGEST_NUMBERS = 64
_FIRST_INSTANT, _LAST_INSTANT = 0, 2**32


class Haystack:
    """Finds the needles of one file, or of a series."""

    def __init__(self, needles: frozenset[Needle], keeps_uids: bool) -> None:
        self._keeps_uids = keeps_uids
        self._days = frozenset(day for one in needles if one.kind is NeedleKind.DAY and (day := _day(one.value)))
        self._numbers: set[bytes] = set()
        self._literals: set[bytes] = set()
        self._raw: set[bytes] = set()
        patterns: set[bytes] = set()
        for one in needles:
            patterns.update(self._patterns(one))
        self._literals.update(raw.lower() for raw in self._raw)
        self._words = _compiled(patterns)
        self._dates = _compiled({pattern for day in self._days for pattern in spellings(day)})

    def _patterns(self, needle: Needle) -> Iterator[bytes]:
        if needle.kind is NeedleKind.UID:
            yield re.escape(needle.value)
        elif needle.kind is not NeedleKind.DAY:
            vr = "PN" if _is_name(needle) else "LO"
            decoded = text.decoded(needle.value, needle.character_sets, vr)
            self._literals.update(_literals(decoded, needle))
            if not is_explained(needle.value, needle.character_sets, vr):
                self._raw |= raw_names(needle.value, vr)
            plain = _plain(decoded)
            yield from _of_name(plain) if _is_name(needle) else self._of_identifier(plain)

    def _of_identifier(self, plain: bytes) -> Iterator[bytes]:
        for one in re.split(rb"[\\^\r\n;]", plain):
            parts = _PARTS.findall(one)
            joined = b"".join(parts)
            if len(joined) < _SHORTEST or all(part in _COMMON_BYTES for part in parts):
                continue
            runs = {part.lstrip(b"0") for part in parts if part.isdigit()}
            if joined.isdigit():
                number = joined.lstrip(b"0")
                runs.add(number)
                yield from [number] if len(number) >= _SHORTEST else []
                yield from [_BETWEEN_DIGITS.join(parts)] if len(parts) > 1 and len(joined) >= _SURE_LETTERS else []
            else:
                yield _BETWEEN.join([parts[0].lstrip(b"0") or parts[0], *map(_without_zeros, parts[1:])])
            long = {run for run in runs if len(run) >= _SHORTEST_RUN}
            self._numbers |= long
            yield from long

    def found_in(self, value: bytes) -> bool:
        """Whether a value holds one, or something in which it can't be searched."""
        try:
            return self._has_number(value) or any(self._found(one) for one in unpacked(value))
        except Unsearchable:
            return True

    def _found(self, content: bytes) -> bool:
        lower = content.lower()
        if any(literal in lower for literal in self._literals):
            return True
        if self._raw and b"\x1b" in content and self._has_raw(without_escapes(content)):
            return True
        if next(self.spans(lower), None):
            return True
        # Without every single NUL, ASCII is left of UTF-16 in either order; more of them end a text.
        narrowed = [_NULS.sub(b"\n", lower).replace(b"\0", b"")] if b"\0" in lower else []
        narrowed += [lower.replace(b"\0\0\0", b"")] if _UTF_32.search(lower) else []
        return any(next(self.spans(narrow), None) for narrow in narrowed)

    def _has_raw(self, content: bytes) -> bool:
        return any(raw in content for raw in self._raw)

    def spans(self, lower: bytes) -> Iterator[tuple[int, int]]:
        """Where they are in a text of one byte a letter, in lower case; pieces may overlap."""
        for found in self._dates.finditer(lower) if self._dates else ():
            yield found.span()
        yield from self._spans_of_words(lower)
        if self._keeps_uids:
            return
        yield from (found.span() for found in _UID_OF_UUID.finditer(lower))
        for found in _UID.finditer(lower):
            if not found[0].startswith(_REGISTERED) and len(found[0]) - found[0].count(b".") >= _SHORTEST_UID_DIGITS:
                yield found.span()

    def literal_spans(self, lower: bytes) -> Iterator[tuple[int, int]]:
        """Where names are that aren't ASCII."""
        for literal in self._literals:
            at = lower.find(literal)
            while at >= 0:
                yield at, at + len(literal)
                at = lower.find(literal, at + 1)

    def _spans_of_words(self, lower: bytes) -> Iterator[tuple[int, int]]:
        if self._words is None:
            return
        found = self._words.search(lower)
        while found:
            if _counts(lower, *found.span()):
                yield found.span()
            found = self._words.search(lower, found.start() + 1)

    def found_in_uid(self, uid: str) -> bool:
        """Whether digits of an identifier, or a day, are in a UID that names a kind."""
        # DICOM's own digits are nobody's.
        plain = uid.encode("latin-1", "replace").removeprefix(_REGISTERED)
        joined = plain.replace(b".", b"")
        if any(number in plain or (len(number) >= _SURE_DIGITS and number in joined) for number in self._numbers):
            return True
        return self._dates is not None and self._dates.search(plain) is not None

    def _has_number(self, value: bytes) -> bool:
        """Whether one of a few binary numbers is an identifier, a day as YYYYMMDD, or one in seconds since 1970."""
        if len(value) > _LONGEST_NUMBERS:
            return False
        words = {
            value[at : at + size]
            for size in _NUMBER_BYTES
            if len(value) % size == 0
            for at in range(0, len(value), size)
        }
        return any(self._tells(int.from_bytes(word, order)) for word in words for order in ("little", "big"))

    def _tells(self, number: int) -> bool:
        if f"{number}".encode() in self._numbers or any(f"{day:%Y%m%d}" == f"{number}" for day in self._days):
            return True
        if not _FIRST_INSTANT < number < _LAST_INSTANT:
            return False
        # The clock of a scanner is local time, or isn't.
        day = datetime.fromtimestamp(number, UTC).date()
        return not self._days.isdisjoint(day + timedelta(days=shift) for shift in (-1, 0, 1))


_COMMON_BYTES = frozenset(word.encode() for word in COMMON_WORDS)


@lru_cache(maxsize=32)
def haystack(needles: frozenset[Needle], keeps_uids: bool) -> Haystack:
    """Make the search for some needles, or take the one that the file before had made."""
    return Haystack(needles, keeps_uids)


def is_registered(uid: str) -> bool:
    """Whether PS3.6 lists a UID."""
    return uid in UID_dictionary


def _is_name(needle: Needle) -> bool:
    return needle.kind is NeedleKind.NAME


def _day(value: bytes) -> date | None:
    return dates.day_of(value.decode("latin-1"))


def _compiled(patterns: Iterable[bytes]) -> re.Pattern[bytes] | None:
    # Longer ones first: of a name and its beginning, the name is found. By their first letter, as most bytes of a
    # value begin none.
    by_letter: dict[bytes, list[bytes]] = {}
    for pattern in sorted(patterns, key=lambda one: (-len(one), one)):
        by_letter.setdefault(pattern[:1] if pattern[:1].isalnum() else b"", []).append(pattern)
    groups = [
        re.escape(letter) + b"(?:" + b"|".join(one[1:] if letter else one for one in found) + b")"
        for letter, found in by_letter.items()
    ]
    return re.compile(b"|".join(groups)) if groups else None


def _counts(lower: bytes, start: int, end: int) -> bool:
    """Whether what was found stands for itself, and isn't a part of another word or number."""
    found = lower[start:end]
    if found.isdigit():
        return len(found) >= _SURE_DIGITS or _is_whole_number(lower, start, end)
    around = lower[start - 1 : start] + lower[end : end + 1]
    if found.isalpha():
        return len(found) >= _SURE_LETTERS or not _has_letter(around)
    return len(found) >= _SURE_MIXED or not re.search(rb"[a-z0-9]", around)


def _has_letter(around: bytes) -> bool:
    return re.search(rb"[a-z]", around) is not None


def _is_whole_number(lower: bytes, start: int, end: int) -> bool:
    before = lower[max(0, start - 66) : start].rstrip(b"0")
    if before[-1:].isdigit() or lower[end : end + 1].isdigit():
        return False
    is_fraction = before[-1:] == b"." and (before[-2:-1].isdigit() or len(before) == 1)
    return not is_fraction and not (lower[end : end + 1] == b"." and lower[end + 1 : end + 2].isdigit())


def _plain(words: str) -> bytes:
    """Letters without accents, in lower case, as ASCII; what isn't Latin goes."""
    decomposed = unicodedata.normalize("NFKD", words.casefold())
    return decomposed.encode("ascii", "ignore").lower()


def _of_name(plain: bytes) -> Iterator[bytes]:
    for group in re.split(rb"[\\=]", plain):
        components = [_PARTS.findall(component) for component in group.split(b"^")]
        words = [word for component in components for word in component]
        yield from (word for word in words if len(word) >= _SHORTEST and word not in _COMMON_BYTES)
        family, given = components[0], components[1] if len(components) > 1 else []
        for one, other in ((family, given), (given, family)):
            if one and other and len(b"".join(one + other)) >= _SHORTEST:
                # Two words side by side are not an accident; without anything between them they might be.
                between = rb"[^a-z0-9]{1,3}" if len(b"".join(one + other)) < _SURE_LETTERS else rb"[^a-z0-9]{0,3}"
                yield between.join([*one, *other])


def _literals(decoded: str, needle: Needle) -> Iterator[bytes]:
    """Spell what isn't ASCII in the encodings that it may have; bytes are compared in ASCII's lower case."""
    if decoded.isascii():
        return
    for component in re.split(r"[\\=^]", decoded):
        for word in {component.strip(), *re.split(r"[\s\W]+", component)}:
            if word.isascii() or len(word) < 2:
                continue
            for spelled in {word, word.lower(), word.upper(), word.title()}:
                for encoding in {*needle.character_sets, *_ENCODINGS}:
                    yield from _encoded(spelled, encoding)


def _encoded(word: str, encoding: str) -> Iterator[bytes]:
    try:
        yield word.encode(encoding).lower()
    except (LookupError, UnicodeError):
        return


def _without_zeros(part: bytes) -> bytes:
    plain = part.lstrip(b"0")
    return b"0{0,16}" + plain if part.isdigit() and plain else part
