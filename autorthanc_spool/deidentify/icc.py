"""Texts of an ICC profile (ISO 15076-1): descriptions and copyrights, in which a name can be."""

from __future__ import annotations

import struct

_HEADER_BYTES = 128
_ENTRY = struct.Struct(">4sLL")
# textType, multiLocalizedUnicodeType, textDescriptionType; after these bytes their texts begin.
_TEXTS = {b"text": 8, b"mluc": 16, b"desc": 12}
_RECORD = struct.Struct(">4sLL")


def blanked(profile: bytes) -> bytes:
    """Blank all texts of a profile; lengths and places stay. What is not a profile stays as it is."""
    made = bytearray(profile)
    if len(profile) < _HEADER_BYTES + 4:
        return profile
    (count,) = struct.unpack_from(">L", profile, _HEADER_BYTES)
    for number in range(min(count, len(profile) // _ENTRY.size)):
        at = _HEADER_BYTES + 4 + number * _ENTRY.size
        if at + _ENTRY.size > len(profile):
            break
        _, start, size = _ENTRY.unpack_from(profile, at)
        kind = profile[start : start + 4]
        begin = start + _TEXTS.get(kind, size)
        if kind == b"mluc" and start + 16 <= len(profile):
            # A record for each language comes before the texts.
            begin += struct.unpack_from(">L", profile, start + 8)[0] * _RECORD.size
        stop = min(start + size, len(profile))
        if kind in _TEXTS and begin < stop:
            made[begin:stop] = bytes(stop - begin)
    return bytes(made)
