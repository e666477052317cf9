"""Text in pixels: what a rule with `Detect` does about it.

Each frame is looked at, and of a frame that resembles the one before only the part in which it differs: what a device
writes stays where it is while the picture moves. What is found in one frame is blacked out in all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Literal

from autorthanc_spool.deidentify import models
from autorthanc_spool.deidentify.boxes import Box
from autorthanc_spool.deidentify.frames import Frames
from autorthanc_spool.deidentify.needles import Needle
from autorthanc_spool.deidentify.shown_identity import Identity
from autorthanc_spool.deidentify.streams import Unclear

if TYPE_CHECKING:
    import numpy as np

    from autorthanc_spool.deidentify.detector import Detector
    from autorthanc_spool.deidentify.shown import Picture

SOURCE = "text detection"
SHOWS_PATIENT = "the image shows the patient"
CANT_BE_READ = "the image shows text in a script that can't be read, as the patient's name is"

# Beside what a window shows, so much of what it hides, below and above: nobody knows with which window text was meant
# to be read.
_HIDDEN = 0.3
# Around the part of a frame that differs, so that a line of text isn't cut.
_MARGIN_PX = 48


def look(
    frames: Frames,
    buffer: memoryview,
    needles: Callable[[], Collection[Needle]],
    boxes: tuple[Box, ...],
    mode: Literal["check", "blackout"],
) -> list[tuple[Box, ...]]:
    """Give the boxes to black out in every frame: `boxes`, and with "blackout" those of text that isn't in them.

    `needles` gathers what the file says of its patient. Raises Unclear when the image shows it, DetectorMissing when
    nobody can look.
    """
    detector = _detector()
    if mode == "check":
        identity = Identity(needles())
        is_readable = identity.is_written_in(models.SCRIPTS)
        for part, place in _parts(frames, buffer, boxes):
            shown = detector.found(part)
            if identity.is_shown_by(one.text for one in shown):
                raise Unclear(SHOWS_PATIENT)
            if not is_readable and detector.shows_unknown_letters(shown, place):
                raise Unclear(CANT_BE_READ)
        return [boxes]
    found: set[Box] = set()
    for part, place in _parts(frames, buffer, boxes):
        texts = detector.boxes_of_text(part, has_text=bool(found))
        found.update(box.moved(place.top, place.left) for box, _ in texts)
    return [(*boxes, *sorted(box for box in found if not any(box.within(one) for one in boxes)))]


@cache
def _detector() -> Detector:
    models.check()
    from autorthanc_spool.deidentify.detector import Detector

    return Detector()


def _parts(frames: Frames, buffer: memoryview, boxes: tuple[Box, ...]) -> Iterator[tuple[Picture, Box]]:
    """Give what has to be looked at, and where in the image it is, with what is going to be black already black."""
    before: Picture | None = None
    for number in range(frames.count):
        shown = _picture(frames, number, buffer)
        for box in boxes:
            shown[box.top : box.bottom, box.left : box.right] = 0
        place = frames.layout.box if before is None else _difference(shown, before)
        before = shown
        if not place.is_empty:
            yield shown[place.top : place.bottom, place.left : place.right], place


def _picture(frames: Frames, number: int, buffer: memoryview) -> Picture:
    shown = frames.shown(number, buffer)
    if not frames.layout.is_grey or frames.viewing.width is None:
        return shown.copy()
    everything = replace(frames, viewing=replace(frames.viewing, centre=None, width=None)).shown(number, buffer)
    return ((1 - _HIDDEN) * shown + _HIDDEN * everything).astype("float32")


def _difference(shown: np.ndarray, before: np.ndarray) -> Box:
    """The part of a frame that isn't as in the one before."""
    differs = (shown != before).reshape(*shown.shape[:2], -1).any(axis=2)
    rows, columns = differs.any(axis=1).nonzero()[0], differs.any(axis=0).nonzero()[0]
    if not len(rows):
        return Box(0, 0, 0, 0)
    found = Box(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)
    return found.grown(_MARGIN_PX).clipped(Box(0, 0, *shown.shape[:2]))
