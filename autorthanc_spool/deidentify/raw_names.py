"""Names in bytes that the file's character set doesn't explain: the same bytes are looked for in its texts.

Many writers name no set, or another one, and write what their machine has: Shift_JIS, Big5, GBK, EUC-KR, ISO 2022 under
UTF-8. What such bytes say isn't known, and needn't be: whoever wrote the name wrote the text.
"""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise

from autorthanc_spool.deidentify import text

# Two characters of such a set. Of a Latin name, fewer than half of the letters have accents.
SHORTEST = 4

# In these, any byte is something.
_LATIN = frozenset({"iso8859", "latin_1", "iso_ir_148", *(f"iso8859_{part}" for part in (1, 2, 3, 4, 9, 15))})

# ISO 2022: characters of two bytes, each below 80, after this (JIS X 0208 and 0212, GB 2312, KS X 1001).
_TWO_BYTES = re.compile(rb"\x1b\$(?:[@AB]|\([@A-D])([^\x1b]*)")
_ESCAPE = re.compile(rb"\x1b[ -/]*[0-~]?")
_HIGH = bytes(byte | 0x80 if 0x21 <= byte <= 0x7E else byte for byte in range(256))

# In Shift_JIS, Big5 and GBK, the second byte of a character may be ^, = or a backslash.
_CHARACTERS = re.compile(rb"[\x81-\xfe][\x40-\xfe]|.", re.DOTALL)
_SEPARATORS = re.compile(rb"[\^=\\]")
# Also a space, which has two bytes in Shift_JIS, in EUC and GBK, and in Big5.
_SEPARATORS_OF_NAMES = re.compile(rb"[\^=\\ ]|\x81\x40|\xa1\xa1|\xa1\x40")
_BETWEEN = b" \0.,-_\r\n\t"
# Names that aren't divided: one or two characters are the family's, one or two the given name.
_UNDIVIDED = (6, 8)


def without_escapes(value: bytes) -> bytes:
    """Write ISO 2022 as EUC, so that a name is the same wherever escape sequences are."""
    if b"\x1b" not in value:
        return value
    return _ESCAPE.sub(b"", _TWO_BYTES.sub(lambda found: found[1].translate(_HIGH), value))


def raw_names(value: bytes, vr: str) -> frozenset[bytes]:
    """What to look for in texts without their escapes; UTF-8 is found as what it says."""
    if _is_plain(value):
        return frozenset()
    raw, is_name = without_escapes(value), vr == "PN"
    separators = _SEPARATORS_OF_NAMES if is_name else _SEPARATORS
    found: set[bytes] = set()
    for parts in (separators.split(raw), _by_characters(raw, separators)):
        names = [part.strip(_BETWEEN) for part in parts]
        found.update(names)
        if is_name:
            found.update(piece for name in names if len(name) in _UNDIVIDED for piece in (name[:4], name[2:], name[4:]))
            for one, other in pairwise(names):
                found.update((one + other, one + b" " + other, other + one, other + b" " + one))
    return frozenset(name for name in found if len(name) >= SHORTEST and _is_foreign(name))


def _by_characters(raw: bytes, separators: re.Pattern[bytes]) -> list[bytes]:
    parts = [b""]
    for found in _CHARACTERS.finditer(raw):
        if separators.fullmatch(found[0]):
            parts.append(b"")
        else:
            parts[-1] += found[0]
    return parts


def is_explained(value: bytes, sets: text.CharacterSets, vr: str = "LO") -> bool:
    """Whether it is text by its character set, or UTF-8; of others, only the bytes can be compared."""
    if _is_plain(value):
        return True
    decoded = text.decoded(value, sets, vr)
    if any(map(_is_odd, decoded)):
        return False
    return sets[0] not in _LATIN or len(sets) > 1 or not _is_foreign(without_escapes(value))


def _is_plain(value: bytes) -> bool:
    """Whether it is ASCII or UTF-8."""
    if b"\x1b" in value:
        return False
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_odd(letter: str) -> bool:
    """Whether no name has it: a control character, a sign, what couldn't be decoded."""
    return (not letter.isascii() and unicodedata.category(letter)[0] not in "LMNZ") or letter == "\x1b"


def _is_foreign(name: bytes) -> bool:
    return 2 * sum(byte >= 0x80 for byte in name) >= len(name)
