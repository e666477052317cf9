"""Text of data elements: from bytes, in whatever character sets a data set names (PS3.5 section 6.1)."""

from __future__ import annotations

import warnings

from pydicom.charset import convert_encodings, decode_bytes
from pydicom.valuerep import PN_DELIMS, TEXT_VR_DELIMS

from autorthanc_spool.deidentify.character_sets import encoding_of, known_or_default, names_of

# ISO 646, what a data set has that names no character set; Python's superset of it reads any byte.
DEFAULT = ("iso8859",)

_ESCAPE = 0x1B

CharacterSets = tuple[str, ...]


def character_sets(value: bytes) -> CharacterSets:
    """Turn the value of SpecificCharacterSet into Python's names; what isn't known reads as the default."""
    names = names_of(value)
    if len(names) == 1:
        return (encoding_of(names[0]),)
    with warnings.catch_warnings():
        # pydicom's warnings show the value.
        warnings.simplefilter("ignore")
        return tuple(convert_encodings([known_or_default(name) for name in names]))


def decoded(value: bytes, sets: CharacterSets, vr: str = "LO") -> str:
    """Decode a value, all of it; what can't be decoded is replaced, the same way each time."""
    if value.isascii() and _ESCAPE not in value:
        return value.decode("ascii")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return decode_bytes(value, sets, PN_DELIMS if vr == "PN" else TEXT_VR_DELIMS)
        except (LookupError, UnicodeError):
            return value.decode("latin-1")
