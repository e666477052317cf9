"""JSON (RFC 8259) in which every value knows its line, repeated keys are kept, and mistakes are explained.

The standard library's parser forgets lines, drops repeated keys, takes ``NaN``, and says "Expecting value" of nearly
everything that people get wrong. What is found is described rather than quoted where it may be a value that names a
patient.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from autorthanc_spool.rules.problems import quoted

# No rule nests deeper than four levels; a limit keeps a hostile file from exhausting the stack.
MAX_DEPTH = 50

_SPACE = re.compile(r"[ \t\r\n]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_WORD = re.compile(r"(?!\d)\w+")
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*')
_SURROGATE = re.compile("[\ud800-\udfff]")

_CONSTANTS = {"true": True, "false": False, "null": None}
# Words of programming languages, which may be quoted because they are nobody's name.
_FOREIGN = {
    "True": "JSON writes true, in small letters",
    "TRUE": "JSON writes true, in small letters",
    "False": "JSON writes false, in small letters",
    "FALSE": "JSON writes false, in small letters",
    "None": "JSON writes null",
    "NaN": "JSON has no such number",
    "Infinity": "JSON has no such number",
}
_QUOTES = "'`´“”„‟«»‘’‚‛"
_INVISIBLE = {"\u00a0": "a no-break space", "\ufeff": "a byte order mark", "\u200b": "a zero-width space"}


@dataclass(frozen=True)
class Node:
    """A value and the line where it begins. None is JSON's null."""

    line: int
    value: str | bool | Number | Array | Object | None


@dataclass(frozen=True)
class Number:
    """A number as it is written; nothing here calculates."""

    text: str


@dataclass(frozen=True)
class Member:
    """A key of an object, its line, and what it names."""

    line: int
    key: str
    node: Node


@dataclass(frozen=True)
class Array:
    """The values of an array."""

    items: tuple[Node, ...]


@dataclass(frozen=True)
class Object:
    """The members of an object as they are written: a key may be there twice."""

    members: tuple[Member, ...]


class NotJSON(ValueError):
    """The text isn't JSON: where, and why."""

    def __init__(self, line: int, found: str, expected: str, hint: str | None = None) -> None:
        self.line, self.found, self.expected, self.hint = line, found, expected, hint
        super().__init__(f"line {line}: found {found}, expected {expected}")


def parse(text: str) -> Node:
    """Parse one JSON value. Raises NotJSON."""
    parser = _Parser(text)
    node = parser.value("an object, which begins with {", depth=0)
    parser.end()
    return node


class _Parser:
    """Goes through the text once; `_position` is always behind the last token, or before the next."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0
        self._line = 1
        # Where the last token ended: a missing comma is missing there, not where its absence is noticed.
        self._last_line = 1

    def value(self, expected: str, depth: int) -> Node:
        character = self._peek()
        line = self._line
        if depth > MAX_DEPTH:
            raise NotJSON(line, "too many nested brackets", f"at most {MAX_DEPTH}")
        if character == "{":
            return Node(line, self._object(depth))
        if character == "[":
            return Node(line, self._array(depth))
        if character == '"':
            return Node(line, self._string())
        if number := _NUMBER.match(self._text, self._position):
            self._advance(number.end())
            return Node(line, Number(number[0]))
        word = _WORD.match(self._text, self._position)
        if word and word[0] in _CONSTANTS:
            self._advance(word.end())
            return Node(line, _CONSTANTS[word[0]])
        raise self._unexpected(expected)

    def end(self) -> None:
        if self._peek():
            raise self._unexpected("the end of the file", "a file holds one object; is there an extra bracket?")

    def _object(self, depth: int) -> Object:
        members: list[Member] = []
        self._take("{")
        while not self._take("}"):
            self._comma_before("}", bool(members))
            if self._peek() != '"':
                raise self._unexpected("a key in double quotes")
            line, key = self._line, self._string()
            if not self._take(":"):
                raise self._unexpected('":" after the key')
            members.append(Member(line, key, self.value(f"a value for {quoted(key)}", depth + 1)))
        return Object(tuple(members))

    def _array(self, depth: int) -> Array:
        items: list[Node] = []
        self._take("[")
        while not self._take("]"):
            self._comma_before("]", bool(items))
            items.append(self.value('a value or "]"', depth + 1))
        return Array(tuple(items))

    def _comma_before(self, closing: str, is_due: bool) -> None:
        """Take the comma between two values, and see that there is a second one."""
        if not is_due:
            return
        expected = f'"," or "{closing}"'
        if not self._take(","):
            if self._peek() in ('"', "{", "["):
                found, _ = self._seen()
                raise NotJSON(self._last_line, found, expected, "is a comma missing at the end of this line?")
            raise self._unexpected(expected)
        if self._peek() == closing:
            raise NotJSON(self._last_line, f'"," before "{closing}"', f'"{closing}" alone', "remove the comma")

    def _string(self) -> str:
        begun = self._line
        body = _STRING.match(self._text, self._position)
        end = body.end() if body else self._position
        if self._text[end : end + 1] != '"':
            raise _broken_string(begun, self._text[end : end + 1])
        found: str = json.loads(self._text[self._position : end + 1])
        self._advance(end + 1)
        if _SURROGATE.search(found):
            raise NotJSON(begun, r"half of a pair of \u escapes", "both halves, or the character itself")
        return found

    def _unexpected(self, expected: str, hint: str | None = None) -> NotJSON:
        found, likely = self._seen()
        return NotJSON(self._line, found, expected, likely or hint)

    def _seen(self) -> tuple[str, str | None]:
        """Describe what comes next, with a hint where it is a well-known mistake."""
        character = self._peek()
        word = _WORD.match(self._text, self._position)
        if not character:
            return "the end of the file", "is a closing bracket missing?"
        if character in _QUOTES:
            return f"the quote {character}", 'JSON takes straight double quotes only: "'
        if character in _INVISIBLE:
            return f"{_INVISIBLE[character]}, which is invisible", "delete it"
        if word and word[0] in _FOREIGN:
            return word[0], _FOREIGN[word[0]]
        if word:
            return "a word without quotes", "keys and text are written in double quotes"
        if character in "/#":
            return f'"{character}"', 'JSON has no comments; "Comment", and keys that begin with _, are for notes'
        if character in "+-.0123456789":
            return "a number", None if self._is_number() else "JSON writes numbers as -0.5 or 12, not as +1, .5 or 012"
        names = {'"': "text in quotes", "{": "an object", "[": "an array"}
        return names.get(character, f'"{character}"' if character.isprintable() else "a control character"), None

    def _is_number(self) -> bool:
        before = self._text[max(self._position - 1, 0) : self._position]
        return bool(_NUMBER.match(self._text, self._position)) and not before.isdigit()

    def _take(self, character: str) -> bool:
        if self._peek() != character:
            return False
        self._advance(self._position + 1)
        return True

    def _peek(self) -> str:
        space = _SPACE.match(self._text, self._position)
        self._go(space.end() if space else self._position)
        return self._text[self._position : self._position + 1]

    def _advance(self, position: int) -> None:
        self._go(position)
        self._last_line = self._line

    def _go(self, position: int) -> None:
        self._line += self._text.count("\n", self._position, position)
        self._position = position


def _broken_string(line: int, character: str) -> NotJSON:
    if character == "\\":
        hint = r"a backslash itself is written twice: \\"
        return NotJSON(line, r"a single \ in text", r"one of \\ \" \/ \b \f \n \r \t \u and four hex digits", hint)
    if character in ("", "\n", "\r"):
        return NotJSON(line, "text in quotes that doesn't end on its line", "a closing double quote")
    return NotJSON(line, "a control character in text", r"an escape: \t for a tab, for instance")
