"""Signs of life: whoever moves bytes or files reports it; whoever watches sees for how long nobody has."""

from __future__ import annotations

from collections.abc import Callable


class Pulse:
    """When something moved last, by a clock that is never set. Safe to be used by several threads at once."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        # One value, so that a reader in another thread never sees half of it.
        self._last = (clock(), 0.0)

    def beat(self, patience_s: float = 0.0) -> None:
        """Say that something moves; `patience_s` announces how long the next step may rightly be silent."""
        self._last = (self._clock(), patience_s)

    @property
    def last(self) -> tuple[float, float]:
        """When something moved, by the clock, and for how long the step that followed may be silent."""
        return self._last


def no_pulse() -> Pulse:
    """A pulse that nobody watches."""
    return Pulse(lambda: 0.0)
