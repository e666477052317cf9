"""Which DICOM attributes a rule can ask for. The dictionary is pydicom's (PS3.6)."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from types import ModuleType
from typing import cast

from autorthanc_spool.rules.problems import did_you_mean


def _dictionary() -> ModuleType:
    """Load pydicom's tables alone: with numpy and codecs installed, all of pydicom takes longer than the rest of us."""
    name = "pydicom._dicom_dict"
    if name in sys.modules:
        return sys.modules[name]
    package = cast(ModuleSpec, find_spec("pydicom"))
    path = cast(str, package.origin).replace("__init__", "_dicom_dict")
    spec = cast(ModuleSpec, spec_from_file_location(name, path))
    module = module_from_spec(spec)
    cast(Loader, spec.loader).exec_module(module)
    return module


# Value representation, multiplicity, name, "Retired" and keyword, by tag.
_ENTRIES = cast(Mapping[int, tuple[str, str, str, str, str]], _dictionary().DicomDictionary)
# The same of tags that are in several groups, by their mask, as "60xx0010".
_REPEATERS = cast(Mapping[str, tuple[str, str, str, str, str]], _dictionary().RepeatersDictionary)

# What Orthanc gives no text for: sequences, binary values, item delimiters.
_NO_TEXT = {"SQ", "OB", "OD", "OF", "OL", "OV", "OW", "UN", "NONE"}

# Text in which line breaks and other control characters may be (PS3.5 table 6.2-1).
_FREE_TEXT = {"LT", "ST", "UC", "UT"}

# Below are the command, the file's header and DICOMDIR, above are delimiters; none is among an image's own tags.
_FIRST_GROUP, _LAST_GROUP = 0x0008, 0xFFFC

_TAG = re.compile(r"[0-9a-fA-F]{4},[0-9a-fA-F]{4}")
_NEARLY_A_TAG = re.compile(r"\(?\s*(?:0x)?([0-9a-fA-F]{4})\s*[,.:;|\- ]?\s*(?:0x)?([0-9a-fA-F]{4})\s*\)?")

# Longest values of the trial's attributes, in characters (PS3.5 table 6.2-1).
_MAX_CHARACTERS = {"LO": 64, "ST": 1024}

# A few entries of the dictionary have no keyword.
_TAGS = {keyword: tag for tag, (*_, keyword) in _ENTRIES.items() if keyword}
KEYWORDS = frozenset(_TAGS)

TRIAL_KEYWORDS = tuple(
    keyword
    for keyword, tag in _TAGS.items()
    if keyword.startswith("ClinicalTrial") and _ENTRIES[tag][0] in _MAX_CHARACTERS
)


def find(tag_name: str) -> tuple[str | None, str] | None:
    """Find the keyword (None where it has none of its own) and ``gggg,eeee`` of an attribute; None when unknown."""
    if _TAG.fullmatch(tag_name):
        return _own_keyword(_number(tag_name)), tag_name.lower()
    if tag_name not in KEYWORDS:
        return None
    number = _TAGS[tag_name]
    return tag_name, f"{number >> 16:04x},{number & 0xFFFF:04x}"


def suggestion(tag_name: str) -> str | None:
    """Say what an unknown tag name may have been meant for."""
    if nearly := _NEARLY_A_TAG.fullmatch(tag_name):
        return f'did you mean "{nearly[1].lower()},{nearly[2].lower()}"?'
    for mask, (*_, keyword) in _REPEATERS.items():
        if keyword == tag_name:
            digits = mask.replace("x", "0")
            return f"several tags have this name; write the one that is meant, as {digits[:4]},{digits[4:]}"
    return did_you_mean(tag_name, KEYWORDS)


def why_not(tag: str) -> str | None:
    """Say what this attribute is when a rule can't ask for it; None when it can."""
    if not _FIRST_GROUP <= _number(tag) >> 16 <= _LAST_GROUP:
        return "which Orthanc doesn't list with an image's tags"
    vr = value_representation(tag)
    if vr is None or not _NO_TEXT.intersection(vr.split(" or ")):
        return None
    return "a sequence" if vr == "SQ" else "a binary value"


def is_free_text(tag: str) -> bool:
    """Whether control characters may be in its values; of an unknown attribute nobody knows."""
    vr = value_representation(tag)
    return vr is None or vr in _FREE_TEXT


def max_trial_characters(keyword: str) -> int:
    """How long a value of one of `TRIAL_KEYWORDS` may be."""
    return _MAX_CHARACTERS[_ENTRIES[_TAGS[keyword]][0]]


def value_representation(tag: str) -> str | None:
    """The VR that the dictionary gives, which may be a choice (``US or SS``); None for private and unknown ones."""
    number = _number(tag)
    entry = _ENTRIES.get(number) or _repeated(number)
    return entry[0] if entry else None


def _own_keyword(number: int) -> str | None:
    # The names of repeating groups belong to many tags: such a name says nothing about this one.
    return _ENTRIES[number][4] or None if number in _ENTRIES else None


def _repeated(number: int) -> tuple[str, ...] | None:
    digits = f"{number:08x}"
    matching = (
        entry
        for mask, entry in _REPEATERS.items()
        if all(one in ("x", digit) for one, digit in zip(mask.lower(), digits, strict=True))
    )
    return None if number >> 16 & 1 else next(matching, None)


def _number(tag: str) -> int:
    return int(tag.replace(",", ""), 16)
