"""What happens to the private values that a rule calls safe: searched for the file's needles, cleaned, or removed.

The person who called them safe answers for what they mean. Whether one of them repeats the patient's name, a day or a
UID is looked at here: manufacturers copy whole headers into single values.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from autorthanc_spool.deidentify.csa import CsaCleaner, is_csa
from autorthanc_spool.deidentify.haystack import Haystack
from autorthanc_spool.rules.model import Keep


class Opaque:
    """Looks at the private values of one file, and counts what it does, by tag and creator."""

    def __init__(self, haystack: Callable[[], Haystack], keep: frozenset[Keep]) -> None:
        self._make_haystack = haystack
        self._haystack: Haystack | None = None
        self._keep = keep
        self.removed: Counter[str] = Counter()
        self.cleaned: Counter[str] = Counter()

    def looked_at(self, tag: int, creator: str, value: bytes) -> bytes | None:
        """Give the value that may stay; None where there is none."""
        if not value:
            return value
        self._haystack = self._haystack or self._make_haystack()
        name = f"({tag >> 16:04X},xx{tag & 0xFF:02X}) {creator}"
        if is_csa(value, tag, creator):
            after = CsaCleaner(self._haystack, self._keep).cleaned(value)
        else:
            after = None if self._haystack.found_in(value) else value
        if after is None:
            self.removed[name] += 1
        elif after != value:
            self.cleaned[name] += 1
        return after
