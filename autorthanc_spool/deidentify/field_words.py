"""Words that the field itself uses: anatomy, sequences, defined terms, vendors.

A file is full of them, whatever its patient is called, so one of them alone is nobody's name. The list leaves out
what is a common name of people as well (Dixon, Long, Small, Ward): there, a description lost is the smaller harm.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files

# Kinds that people are called like as well: they count only where a defined term or an address is meant.
_DEFINED, _ADDRESS = "defined", "address"


@cache
def field_words() -> frozenset[str]:
    """Read the words, in lower case and without accents; `field_words.json` has a source for each group."""
    return _without(_DEFINED, _ADDRESS)


@cache
def defined_terms() -> frozenset[str]:
    """Add the other words of DICOM's defined terms: where one of these is meant, they are nobody's."""
    return _without(_ADDRESS)


@cache
def address_words() -> frozenset[str]:
    """Read what many addresses have in common."""
    return frozenset(word for kind, words in _groups() if kind == _ADDRESS for word in words)


@cache
def technical_words() -> frozenset[str]:
    """Leave out particles and the shortest words of languages, which are also short names (An, Do, Van)."""
    return _without("language", _DEFINED, _ADDRESS)


def _without(*kinds: str) -> frozenset[str]:
    return frozenset(word for kind, words in _groups() if kind not in kinds for word in words)


@cache
def _groups() -> tuple[tuple[str, frozenset[str]], ...]:
    text = files("autorthanc_spool.deidentify").joinpath("field_words.json").read_text()
    return tuple((str(group["kind"]), frozenset(map(str, group["words"]))) for group in json.loads(text))
