"""Text as it is compared: without accents, letter case, punctuation and the width of characters."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from contextlib import suppress

from autorthanc_spool.deidentify import text

_WITHOUT_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ø": "oe", "å": "aa", "æ": "ae", "œ": "oe"})

# Letters that have no accent to be taken away; katakana and hiragana write the same syllables.
_PLAIN = str.maketrans({"ł": "l", "đ": "d", "ð": "d", "þ": "th", "ħ": "h", "ı": "i", "ø": "o", "æ": "ae", "œ": "oe"})
_PLAIN |= {katakana: chr(katakana - 0x60) for katakana in range(0x30A1, 0x30F7)}

_TOKEN = re.compile(r"[^\W_]+")
# MRHead7 is three words: MR, Head, 7.
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_A-Za-z]+")

# In scripts without spaces, two characters say as much as six in others: Chinese, kana, Korean.
_DENSE = re.compile(r"[\u2e80-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]")

# Letters between the digits of an identifier that still belong to it.
_MOST_LETTERS_BETWEEN = 3
_WORD_BETWEEN = re.compile(rf"[^\W\d_]{{{_MOST_LETTERS_BETWEEN + 1},}}")
_NO_DIGIT = re.compile(r"[^0-9|]")


def readings(value: bytes, sets: text.CharacterSets, vr: str = "LO") -> set[str]:
    """Read a value as its character set has it, and in UTF-8: what a file names may also be a mistake."""
    found = {text.decoded(value, sets, vr)}
    if not value.isascii():
        with suppress(UnicodeDecodeError):
            found.add(value.decode())
        if any("\ufffd" in one for one in found):
            # Not in this set either; byte for byte, at least the same is found.
            found.add(value.decode("latin-1"))
    return found


def spelled(words: str) -> tuple[str, ...]:
    """Give a text as it is, and as people write it who don't find these letters on their keyboard."""
    if words.isascii():
        return (words,)
    return words, unicodedata.normalize("NFC", words).casefold().translate(_WITHOUT_UMLAUTS)


def tokens(words: str) -> list[str]:
    """Take a text apart where its punctuation does; letters and digits stay together."""
    return _TOKEN.findall(words.casefold() if words.isascii() else _plain(words).casefold().translate(_PLAIN))


def parts(words: str) -> list[str]:
    """Take a text apart also where capitals begin and digits follow letters."""
    if words.isascii():
        return [part.lower() for part in _PART.findall(words)]
    return [part.casefold().translate(_PLAIN) for part in _PART.findall(_plain(words))]


def digits(words: str) -> str:
    """Keep the digits, and a bar for each word between them: a few letters may be inside a number."""
    return _NO_DIGIT.sub("", _WORD_BETWEEN.sub("|", words))


def is_dense(word: str) -> bool:
    """Whether it is written in a script in which few characters say much."""
    return not word.isascii() and _DENSE.search(word) is not None


def _plain(words: str) -> str:
    # Marks are accents, and in some scripts vowels: both sides of a comparison do without them.
    plain = unicodedata.normalize("NFKD", words).translate(_WITHOUT_MARKS)
    # Korean syllables were taken apart by that.
    return unicodedata.normalize("NFC", plain).translate(_DIGITS)


class _Characters(dict[int, str]):
    """What is written for each character, worked out when it is met first."""

    def __init__(self, written: Callable[[str], str]) -> None:
        super().__init__()
        self._written = written

    def __missing__(self, code: int) -> str:
        return self.setdefault(code, self._written(chr(code)))


_WITHOUT_MARKS = _Characters(lambda one: "" if unicodedata.category(one)[0] == "M" else one)
_DIGITS = _Characters(lambda one: str(unicodedata.decimal(one)) if one.isdecimal() else one)
