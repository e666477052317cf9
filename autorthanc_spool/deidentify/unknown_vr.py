"""Elements whose value representation isn't one of DICOM's: ``??``, ``us``, blanks, two NULs, one of a later edition.

PS3.5 section 7.1.2 has lengths of 16 bits for a list of representations, and of 32 bits for all others. Writers that
get the representation wrong keep to neither, so both are tried: the length is the one after which the data set goes on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from autorthanc_spool.deidentify.elements import (
    ITEM,
    ITEM_END,
    LONG_VRS,
    SEQUENCE_END,
    UNDEFINED,
    VR_OF_BYTES,
    Encoding,
    tag_text,
)
from autorthanc_spool.deidentify.errors import Malformed

# What a writer may have put in the place of a VR. Anything else is damage, or an element in implicit VR.
_WRITTEN = re.compile(rb"[ -~]{2}|\0\0")

# Below are commands, file meta information and directories: zeros between two data sets, for instance.
_FIRST_GROUP = 0x0008

# Elements of known VR one after the other: by then, a wrong length would have shown.
_CONVINCING = 8

# Only a file made for it has more places at which it could go on.
_MOST_PLACES = 256

# Where a value begins, and its length.
Form = tuple[int, int]


def unknown_form(buffer: memoryview, at: int, end: int, encoding: Encoding) -> Form:
    """Find where the value of the element at `at` begins, and its length. Raises Malformed where that isn't certain."""
    group, number, name, _ = encoding.short_header.unpack_from(buffer, at)
    tag = group << 16 | number
    where = f"{tag_text(tag)} at byte {at} has no known value representation"
    if group < _FIRST_GROUP or not _WRITTEN.fullmatch(name):
        raise Malformed(where)
    ahead = Ahead(buffer, end, encoding)
    # Two forms that end at the same place make no difference.
    found = {_end(form): form for form in ahead.forms(at) if ahead.goes_on(_end(form), tag, in_order=False)}
    if len(found) > 1:
        found = {place: form for place, form in found.items() if ahead.goes_on(place, tag, in_order=True)}
    if len(found) != 1:
        raise Malformed(f"{where}, and its length isn't certain")
    return found.popitem()[1]


def _end(form: Form) -> int:
    value, length = form
    return UNDEFINED if length == UNDEFINED else value + length


class Ahead:
    """Looks ahead in a data set or item that ends at `end`, or at a delimiter before."""

    def __init__(self, buffer: memoryview, end: int, encoding: Encoding) -> None:
        self._buffer = buffer
        self._end = end
        self._encoding = encoding

    def forms(self, at: int) -> Iterator[Form]:
        """Give what the header of unknown VR at `at` may say, as far as it fits."""
        _, _, _, length = self._encoding.short_header.unpack_from(self._buffer, at)
        if at + 8 + length <= self._end:
            yield at + 8, length
        if self._end - at >= 12:
            (length,) = self._encoding.long.unpack_from(self._buffer, at + 8)
            if at + 12 + length <= self._end or (length == UNDEFINED and self._has_items(at + 12)):
                yield at + 12, length

    def goes_on(self, at: int, before: int, *, in_order: bool) -> bool:
        """Whether elements follow at `at`, or the end; `in_order` asks for tags that ascend from `before` on."""
        waiting, seen = [(at, before, 0)], set[int]()
        while waiting and len(seen) < _MOST_PLACES:
            at, before, known = waiting.pop()
            if at in seen:
                continue
            seen.add(at)
            if at == UNDEFINED or known == _CONVINCING or self._is_end(at):
                return True
            following = self._following(at)
            if following is not None and (following > before or not in_order):
                is_known = self._vr(at) is not None
                waiting += [(_end(form), following, known + is_known) for form in self._forms_of_any(at)]
        return bool(waiting)

    def _following(self, at: int) -> int | None:
        """The tag of the element at `at`; None where there is none."""
        if self._end - at < 8:
            return None
        group, number, _, _ = self._encoding.short_header.unpack_from(self._buffer, at)
        return group << 16 | number if group >= _FIRST_GROUP and group != 0xFFFE else None

    def _vr(self, at: int) -> str | None:
        return VR_OF_BYTES.get(bytes(self._buffer[at + 4 : at + 6]))

    def _forms_of_any(self, at: int) -> list[Form]:
        vr = self._vr(at)
        if vr is None:
            return list(self.forms(at)) if _WRITTEN.fullmatch(self._buffer[at + 4 : at + 6]) else []
        # Of the two forms, a known VR has one.
        value = at + 12 if vr in LONG_VRS else at + 8
        return [form for form in self.forms(at) if form[0] == value]

    def _is_end(self, at: int) -> bool:
        if at == self._end:
            return True
        rest = self._buffer[at : self._end]
        if len(rest) >= 8 and self._header(at) == (ITEM_END, 0):
            return True
        # Zeros to the end of a sector follow some data sets.
        return rest[0] == 0 and not any(rest[:8]) and not bytes(rest).strip(b"\0")

    def _has_items(self, at: int) -> bool:
        return self._end - at >= 8 and self._header(at)[0] in (ITEM, SEQUENCE_END)

    def _header(self, at: int) -> tuple[int, int]:
        group, number, length = self._encoding.plain_header.unpack_from(self._buffer, at)
        return group << 16 | number, length
