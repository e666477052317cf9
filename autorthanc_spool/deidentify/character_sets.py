"""Names of character sets: the defined terms of PS3.3 section C.12.1.1.2, and what writers put in their place.

A name that is misspelt, or is that of another standard for the same bytes, is corrected, so that text stays readable.
Not every set has a term: text in EUC-KR, Big5 or KOI8-R without escape sequences can't be named in DICOM.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from pydicom.charset import python_encoding

# By the number of registration (ISO 2375): alone "ISO_IR 100", beside others "ISO 2022 IR 100".
_SINGLE_BYTE: Final = frozenset(
    {"6", "13", "100", "101", "109", "110", "126", "127", "138", "144", "148", "166", "203"}
)
# Only with escape sequences: Chinese, Japanese, Korean, supplementary kanji.
_MULTI_BYTE: Final = frozenset({"58", "87", "149", "159"})
_UTF_8: Final = "192"

DEFINED_TERMS: Final = (
    frozenset(f"ISO_IR {number}" for number in (*_SINGLE_BYTE, _UTF_8))
    | frozenset(f"ISO 2022 IR {number}" for number in _SINGLE_BYTE | _MULTI_BYTE)
    | {"GB18030", "GBK"}
)

# What pydicom 3.0 doesn't know yet: Latin-9, of DICOM 2022.
_NEWER: Final[Mapping[str, str]] = {"ISO_IR 203": "iso8859_15", "ISO 2022 IR 203": "iso8859_15"}

# Other standards' names without their punctuation, and the term for the same bytes. GB2312 without escape sequences is
# a part of GB18030; of Windows-1252, all letters but those at 80 to 9F are those of ISO 8859-1.
_OTHER_NAMES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("ASCII", "USASCII", "ISO646", "ISO646US"), "6"),
    **dict.fromkeys(("SHIFTJIS", "SHIFTJISX0213", "SJIS", "CP932", "MS932", "WINDOWS31J", "JISX0201"), "13"),
    **dict.fromkeys(("LATIN1", "ISOLATIN1", "ISO88591", "88591", "CP1252", "WINDOWS1252"), "100"),
    **dict.fromkeys(("LATIN2", "ISOLATIN2", "ISO88592", "88592"), "101"),
    **dict.fromkeys(("LATIN3", "ISOLATIN3", "ISO88593", "88593"), "109"),
    **dict.fromkeys(("LATIN4", "ISOLATIN4", "ISO88594", "88594"), "110"),
    **dict.fromkeys(("CYRILLIC", "ISO88595", "88595"), "144"),
    **dict.fromkeys(("ARABIC", "ISO88596", "88596"), "127"),
    **dict.fromkeys(("GREEK", "ISO88597", "88597"), "126"),
    **dict.fromkeys(("HEBREW", "ISO88598", "88598"), "138"),
    **dict.fromkeys(("LATIN5", "ISOLATIN5", "ISO88599", "88599"), "148"),
    **dict.fromkeys(("THAI", "TIS620", "ISO885911", "885911"), "166"),
    **dict.fromkeys(("LATIN9", "ISO885915", "885915"), "203"),
    "ISO2022JP": "87",
    **dict.fromkeys(("UTF8", "UTF8BOM", "UNICODE", "UNICODE11UTF8", "ISO10646", "CP65001"), _UTF_8),
    **dict.fromkeys(("GB18030", "GB180302000", "GB2312", "GB231280", "EUCCN"), "GB18030"),
    **dict.fromkeys(("GBK", "ISO2022GBK", "CP936", "MS936", "WINDOWS936"), "GBK"),
}

_NAME: Final = re.compile(r"[A-Za-z0-9 _./:-]+")
_PUNCTUATION: Final = str.maketrans("", "", " _./:-")
_REGISTERED: Final = re.compile(r"(?:ISO)?(?:(?P<extends>2022)(?:IR)?|IR)0*(?P<number>\d{1,3})")

_ESCAPE = 0x1B
_CONTROLS = re.compile("[\x80-\x9f]")
_KATAKANA = re.compile(rb"[\0-\x7f\xa1-\xdf]*")


def names_of(value: bytes) -> list[str]:
    """The names in a value of SpecificCharacterSet."""
    return [name.strip(" \0") for name in value.decode("ascii", "replace").split("\\")]


def corrected(names: list[str]) -> list[str] | None:
    """Give the defined terms for these names; None where one of them names nothing that DICOM knows."""
    if all(name in DEFINED_TERMS or not name for name in names):
        return names
    terms = [_term(name, is_alone=len(names) == 1) for name in names]
    return None if None in terms else [term for term in terms if term is not None]


def encoding_of(name: str) -> str:
    """Python's name for a character set; that of the default for what isn't known."""
    term = known_or_default(name, is_alone=True)
    return _NEWER.get(term) or str(python_encoding[term])


def known_or_default(name: str, *, is_alone: bool = False) -> str:
    """The defined term for a name; the default for what isn't known."""
    return _term(name, is_alone=is_alone) or ""


def fits(term: str, values: Iterable[bytes]) -> bool:
    """Whether texts can be in a character set that is used alone: whether its corrected name is right."""
    is_extension = term.removeprefix("ISO 2022 IR ") in _MULTI_BYTE
    for value in values:
        if value.isascii() and not is_extension:
            continue
        if is_extension:
            if not value.isascii() and _ESCAPE not in value:
                return False
        elif not _decodes(value, term):
            return False
    return True


def _decodes(value: bytes, term: str) -> bool:
    if term.endswith("IR 6"):
        return False
    if term.endswith("IR 13"):
        # Python has no codec for this half of Shift_JIS.
        return _KATAKANA.fullmatch(value) is not None
    try:
        return not _CONTROLS.search(value.decode(encoding_of(term)))
    except UnicodeDecodeError:
        return False


def _term(name: str, *, is_alone: bool) -> str | None:
    """The defined term for one name."""
    if name in DEFINED_TERMS or not name:
        return name
    if not _NAME.fullmatch(name):
        return None
    key = name.upper().translate(_PUNCTUATION)
    found = _REGISTERED.fullmatch(key)
    number = found["number"] if found else _OTHER_NAMES.get(key)
    if number in _SINGLE_BYTE:
        extends = not is_alone or (found is not None and found["extends"] is not None)
        return f"ISO 2022 IR {number}" if extends else f"ISO_IR {number}"
    if number in _MULTI_BYTE:
        return f"ISO 2022 IR {number}"
    if number == _UTF_8:
        return f"ISO_IR {number}"
    return number if number in DEFINED_TERMS else None
