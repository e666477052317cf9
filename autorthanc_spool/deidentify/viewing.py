"""What an image says of how it is shown."""

from __future__ import annotations

import math
from dataclasses import dataclass

from autorthanc_spool.deidentify.clues import tag_of
from autorthanc_spool.deidentify.facts import Facts
from autorthanc_spool.deidentify.palette import Palette, palette_of


@dataclass(frozen=True)
class Viewing:
    """How a viewer shows the samples of an image.

    `centre` and `width` are the window, in units after `slope` and `intercept`; without one, the least sample that is
    there is black and the greatest white. `smallest` is what the file says of its least sample.
    """

    slope: float = 1.0
    intercept: float = 0.0
    centre: float | None = None
    width: float | None = None
    padding: int | None = None
    smallest: int | None = None
    palette: Palette | None = None

    def end_of_window(self, *, is_upper: bool) -> float | None:
        """The sample at an end of the window; None where there is no window, or none that can be computed with."""
        if self.centre is None or self.width is None:
            return None
        shown = self.centre + (0.5 if is_upper else -0.5) * self.width
        found = (shown - self.intercept) / self.slope
        return found if math.isfinite(found) else None


def viewing_of(facts: Facts) -> Viewing:
    """Read how an image is shown."""

    def number(keyword: str) -> float | None:
        found = facts.quantity(tag_of(keyword))
        return found if found is not None and math.isfinite(found) else None

    slope = number("RescaleSlope")
    is_signed = facts.number(tag_of("PixelRepresentation")) == 1

    def sample(keyword: str) -> int | None:
        found = facts.number(tag_of(keyword))
        return found - 0x10000 if found is not None and is_signed and found > 0x7FFF else found

    return Viewing(
        slope=slope or 1.0,
        intercept=number("RescaleIntercept") or 0.0,
        centre=number("WindowCenter"),
        width=number("WindowWidth"),
        padding=sample("PixelPaddingValue"),
        smallest=sample("SmallestImagePixelValue"),
        palette=palette_of(facts),
    )
