"""Regular expressions of RE2: linear in time whatever they are, and checked when the rule is read."""

from __future__ import annotations

import unicodedata
from typing import Any

# What RE2 says of a pattern, in words that say how to fix it.
_TOLD = {
    "missing )": ("a parenthesis that isn't closed", r"close it, or write \\( for the character itself"),
    "unexpected )": ("a closing parenthesis too many", r"remove it, or write \\) for the character itself"),
    "missing ]": ("a bracket that isn't closed", r"close it, or write \\[ for the character itself"),
    "trailing \\": ("a backslash at the end", r"write \\\\ for the character itself"),
    "no argument for repetition operator": ("a repetition of nothing", r"write \\* for the character, .* for any text"),
    "bad repetition operator": ("a repetition of a repetition", "write one of them"),
    "invalid repetition size": ("a repetition too large, or with its limits reversed", "write {2,10}; at most 1000"),
    "invalid perl operator": (
        "an operator that RE2 doesn't have",
        'in place of a look-around, add one with "Not": true',
    ),
    "invalid escape sequence": ("an escape that RE2 doesn't have", r"it has no back-references; the end is \\z or $"),
    "invalid character class range": ("a range that is reversed or unknown", "write [a-z]"),
    "invalid named capture group": ("a group with a wrong name", "write (…)"),
}
_OTHER = ("what RE2 can't read", "https://github.com/google/re2/wiki/Syntax has the syntax")


class NotAPattern(ValueError):
    """A pattern that RE2 can't read: at which character, counted from 1, what is found there, and what to write."""

    def __init__(self, position: int, found: str, hint: str) -> None:
        self.position, self.found, self.hint = position, found, hint
        super().__init__(f"{found} at character {position}")


def compiled(pattern: str) -> Any:
    """Compile a pattern, which is searched without regard to letter case. Raises NotAPattern."""
    normal = unicodedata.normalize("NFC", pattern)
    words = _complaint(normal)
    if words is None:
        return _compile(normal)
    kind, _, fragment = words.partition(": ")
    found, hint = _TOLD.get(kind, _OTHER)
    raise NotAPattern(_position(normal, words, kind, fragment) + 1, found, hint)


def search(pattern: Any, text: str) -> bool:
    """Whether the text has something that matches."""
    return pattern.search(unicodedata.normalize("NFC", text).encode(errors="replace")) is not None


def _compile(pattern: str) -> Any:
    # Only some rules need it.
    import re2

    options = re2.Options()
    options.case_sensitive = False
    options.log_errors = False
    return re2.compile(pattern.encode(errors="replace"), options)


def _complaint(pattern: str) -> str | None:
    import re2

    try:
        _compile(pattern)
    except re2.error as error:
        (words,) = error.args
        return words.decode(errors="replace") if isinstance(words, bytes) else str(words)
    return None


def _position(pattern: str, words: str, kind: str, fragment: str) -> int:
    """RE2 names what is wrong, not where: find the first place where it says the same."""
    if kind == "trailing \\":
        return len(pattern) - 1
    if kind == "missing ]":
        return max(pattern.rfind(fragment), 0)
    if kind in ("missing )", "unexpected )"):
        return _unbalanced(pattern, kind == "unexpected )")
    end, limit = 0, len(pattern)
    while fragment and (at := pattern.find(fragment, end)) >= 0:
        end = at + len(fragment)
        complaint = _complaint(pattern[:end])
        if complaint == words or end == limit:
            return at
    return max(pattern.find(fragment), 0)


def _unbalanced(pattern: str, is_closing: bool) -> int:
    """Find the closing parenthesis that closes nothing, or the innermost one that is never closed."""
    opened: list[int] = []
    position, in_class = 0, False
    while position < len(pattern):
        character = pattern[position]
        if character == "\\":
            position += 1
        elif in_class:
            in_class = character != "]"
        elif character == "[":
            in_class = True
            # The first bracket of a class is a character of it.
            position += pattern[position + 1 : position + 2] == "^"
            position += pattern[position + 1 : position + 2] == "]"
        elif character == "(":
            opened.append(position)
        elif character == ")":
            if not opened and is_closing:
                return position
            if opened:
                opened.pop()
        position += 1
    return opened[-1] if opened else len(pattern) - 1
