"""What of a person's address and telephone number says where they live and how to reach them, without the rest of it.

A street counts with its number, a postcode and a long word alone; words that many addresses have (``Street``) count
beside a number. A telephone number also counts without its country.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import takewhile

from autorthanc_spool.deidentify.field_words import address_words, field_words
from autorthanc_spool.deidentify.spelling import tokens

# Shorter ones are found only beside a number.
_LONG = 6
_SHORTEST_NAME_OF_STREET = 3
_SURE_NAME_OF_STREET = 4
_MOST_WORDS = 4

_BEGINNING, _END = r"(?<![^\W_])", r"(?![^\W_])"

_NUMBER_OF_HOUSE = re.compile(r"\d{1,5}[a-z]?")

# By country: Great Britain, Canada, Netherlands, Ireland; others have digits, in one piece or two.
_POSTCODE = re.compile(
    r"\b(?:[a-z]{1,2}\d[a-z\d]? ?\d[a-z]{2}|[a-z]\d[a-z][ -]?\d[a-z]\d|\d{4} ?[a-z]{2}|[a-z]\d[\dw] ?[a-z\d]{4}"
    r"|\d{5}(?:-\d{3,4})?|\d{6}|\d{3} \d{2,3}|\d{2}-\d{3}|\d{3}-\d{4}|\d{4}-\d{3})\b",
    re.IGNORECASE | re.ASCII,
)

_TELEPHONE = re.compile(r"(?:\+ ?|\b)\(?\d(?:[ ()./-]{0,3}\d){5,16}", re.ASCII)
# What a number has in its own country alone is often in brackets: +49 (0)30.
_TRUNK = re.compile(r"\(0\)")
# ITU-T E.164 assigns codes of countries: of one digit 1 and 7, of two those below, of three all others.
_COUNTRY = re.compile(
    r"[17]|2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]|\d{3}",
    re.ASCII,
)
_SHORTEST_TELEPHONE = 6
# A number without its area, which nobody writes in the same town.
_DIGITS_OF_LINE = 7
_SHORTEST_WITH_AREA = 9


def lines(address: str) -> list[str]:
    """Take an address apart into its lines."""
    return [line for line in re.split(r"[\\^,;\r\n\f]", address) if line.strip()]


def telling_words(address: str) -> set[str]:
    """The words that say where it is; streets also as they are shortened."""
    words = {word for word in tokens(address) if len(word) >= _LONG and _tells(word)}
    return words | {word.removesuffix("asse") for word in words if word.endswith("strasse")}


def is_telling(line: str) -> bool:
    """Whether there is more in a line than what many addresses have."""
    return any(map(_tells, tokens(line)))


def postcodes(address: str) -> set[str]:
    """Make patterns of the postcodes."""
    return {_BEGINNING + " ?".join(tokens(found)) + _END for found in _POSTCODE.findall(address)}


def streets(line: str) -> Iterator[str]:
    """Make patterns of each number with the words after and before it."""
    words = tokens(line)
    for at, number in enumerate(words):
        if _NUMBER_OF_HOUSE.fullmatch(number):
            after = list(takewhile(str.isalpha, words[at + 1 :]))[:_MOST_WORDS]
            before = list(takewhile(str.isalpha, reversed(words[:at])))[:_MOST_WORDS]
            if name := _name(after):
                yield f"{_BEGINNING}{number} ?{name}"
            found = _until_telling(before)
            if len("".join(found)) < _SURE_NAME_OF_STREET:
                found = before[: len(found) + 1]
            if len(name := _written(found[::-1])) >= _SURE_NAME_OF_STREET:
                yield f"{_BEGINNING}{name} ?{number}{_END}"


def national_numbers(value: str) -> set[str]:
    """Telephone numbers without their country and the zeros before, and without their area."""
    found = set()
    for written in _TELEPHONE.findall(value):
        plain = re.sub(r"\D", "", _TRUNK.sub("", written))
        if written.startswith("+") or plain.startswith("00"):
            plain = plain.lstrip("0")
            country = _COUNTRY.match(plain)
            plain = plain[country.end() :] if country else plain
        plain = plain.lstrip("0")
        if len(plain) >= _SHORTEST_TELEPHONE:
            found.add(plain)
        if len(plain) >= _SHORTEST_WITH_AREA and plain[-_DIGITS_OF_LINE] != "0":
            found.add(plain[-_DIGITS_OF_LINE:])
    return found


def _tells(word: str) -> bool:
    is_word = len(word) >= _SHORTEST_NAME_OF_STREET and word.isalpha()
    return is_word and word not in address_words() and word not in field_words()


def _until_telling(words: list[str]) -> list[str]:
    """The words up to the first that tells something; none where there is only one, and it tells nothing."""
    for count, word in enumerate(words, 1):
        if _tells(word):
            return words[:count]
    return words if len(words) > 1 else []


def _name(words: list[str]) -> str:
    """Make the pattern of a street's name; of a short one with the first letter of what follows: Lane may be Ln."""
    found = _until_telling(words)
    name, rest = _written(found), words[len(found) :]
    if not name:
        return ""
    return f"{name} {rest[0][0]}" if len(name) < _LONG and rest else name + _END


def _written(words: list[str]) -> str:
    name = " ".join(words)
    return name.replace("strasse", "str(?:asse)?") if len(name) >= _SHORTEST_NAME_OF_STREET else ""
