"""How a number of things is written in a sentence: ``1 marker``, ``2,000 markers``."""

from __future__ import annotations

_PLURALS = {
    "study": "studies",
    "series": "series",
    "box": "boxes",
    "is": "are",
    "waits": "wait",
    "needs": "need",
    "passes": "pass",
    "matches": "match",
}


def counted(number: int, noun: str) -> str:
    """Write a number and what it counts."""
    return f"{number:,} {agreeing(number, noun)}"


def agreeing(number: int, word: str) -> str:
    """Write a noun or a verb, given as for one, as it belongs to a number."""
    return word if number == 1 else _PLURALS.get(word, f"{word}s")
