"""Text of data elements: from bytes, in whatever character sets a data set names (PS3.5 section 6.1)."""

from __future__ import annotations

import warnings

from pydicom.charset import convert_encodings, decode_bytes, python_encoding
from pydicom.valuerep import PN_DELIMS, TEXT_VR_DELIMS

# ISO 646, what a data set has that names no character set; Python's superset of it reads any byte.
DEFAULT = ("iso8859",)

_ESCAPE = 0x1B

_OF_DICOM = frozenset(
    one for encodings in python_encoding.values() for one in ([encodings] if isinstance(encodings, str) else encodings)
)

CharacterSets = tuple[str, ...]


def character_sets(value: bytes) -> CharacterSets:
    """Turn the value of SpecificCharacterSet into Python's names; what isn't known reads as the default."""
    names = value.decode("ascii", "replace").split("\\")
    with warnings.catch_warnings():
        # pydicom's warnings show the value.
        warnings.simplefilter("ignore")
        try:
            found = tuple(convert_encodings([name.strip(" \0") for name in names]))
        except (LookupError, ValueError):
            return DEFAULT
    # pydicom takes names of Python's as well, with which ASCII could be made to read as something else.
    return found if _OF_DICOM.issuperset(found) else DEFAULT


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
