"""A long list in JSON, read object by object while it arrives: a large archive's list of studies would fill memory."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable, Iterator
from typing import Any

_BLANKS = " \t\r\n"


def objects(chunks: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """Give the objects of a list. Raises ValueError when it is anything else, or is cut."""
    text = _Text(chunks)
    text.expect("[")
    if text.peek() != "]":
        yield text.object()
    while text.peek() == ",":
        text.expect(",")
        yield text.object()
    text.expect("]")
    if text.peek():
        raise ValueError("something follows the list")


class _Text:
    """What has arrived and wasn't read yet."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._decode = codecs.getincrementaldecoder("utf-8")().decode
        self._parse = json.JSONDecoder().raw_decode
        self._text = ""
        self._place = 0

    def peek(self) -> str:
        """Give the next character that isn't blank; "" at the end."""
        while True:
            while self._place < len(self._text) and self._text[self._place] in _BLANKS:
                self._place += 1
            if self._place < len(self._text):
                return self._text[self._place]
            if not self._more():
                return ""

    def expect(self, character: str) -> None:
        """Read one character."""
        if self.peek() != character:
            raise ValueError(f"{character} is missing")
        self._place += 1

    def object(self) -> dict[str, Any]:
        """Read one object."""
        if self.peek() != "{":
            raise ValueError("an object is missing")
        while True:
            try:
                found, self._place = self._parse(self._text, self._place)
            except ValueError:
                # The rest of it may be on its way.
                if not self._more():
                    raise
            else:
                return dict(found)

    def _more(self) -> bool:
        chunk = next(self._chunks, None)
        self._text = self._text[self._place :] + self._decode(chunk or b"", final=chunk is None)
        self._place = 0
        return chunk is not None
