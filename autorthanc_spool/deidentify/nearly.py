"""Text that was read off a picture, compared with words that are known: letters may be wrong, missing or too many.

Both sides are written with one sign for those that recognisers mix up (O and 0, l, I and 1), without accents, letter
case and what isn't a letter or digit. How many other errors are allowed depends on how long the word is.
"""

from __future__ import annotations

from autorthanc_spool.deidentify.spelling import tokens

# Of pairs and single signs, what they are taken for.
_PAIRS = (("rn", "m"), ("vv", "w"))
_ALIKE = str.maketrans("oqlijsbz", "00111582")

# An error for so many characters; none in a word that is shorter than this many.
_CHARACTERS_PER_ERROR = 6
_SHORTEST_WITH_ERROR = 5


def written_alike(text: str) -> list[str]:
    """Give the words of a text, with one sign for those that look alike."""
    found = []
    for word in tokens(text):
        for pair, instead in _PAIRS:
            word = word.replace(pair, instead)
        found.append(word.translate(_ALIKE))
    return found


def errors_allowed(word: str) -> int:
    """How many signs of a word may be wrong."""
    length = len(word)
    return 0 if length < _SHORTEST_WITH_ERROR else max(length // _CHARACTERS_PER_ERROR, 1)


def is_nearly(word: str, other: str) -> bool:
    """Whether a word is another one, with no more errors than are allowed."""
    if word == other or abs(len(word) - len(other)) > errors_allowed(word):
        return word == other
    # Of numbers that are so short, each other one is another number.
    return not word.isdigit() and is_nearly_in(word, other)


def is_nearly_in(word: str, text: str) -> bool:
    """Whether a word is somewhere in a text, with no more errors than are allowed.

    Myers' bit-parallel algorithm (JACM 46:3, 1999): each sign of the text takes a few operations on whole numbers.
    """
    allowed = errors_allowed(word)
    if word in text or not allowed:
        return word in text
    size = len(word)
    top, everything = 1 << size - 1, (1 << size) - 1
    where: dict[str, int] = {}
    for number, sign in enumerate(word):
        where[sign] = where.get(sign, 0) | 1 << number
    plus, minus, errors = everything, 0, size
    for sign in text:
        equal = where.get(sign, 0)
        vertical = equal | minus
        horizontal = (((equal & plus) + plus) ^ plus) | equal
        more = minus | ~(horizontal | plus) & everything
        fewer = plus & horizontal
        if more & top:
            errors += 1
        elif fewer & top:
            errors -= 1
        if errors <= allowed:
            return True
        more, fewer = more << 1, fewer << 1
        plus = (fewer | ~(vertical | more)) & everything
        minus = more & vertical
    return False
