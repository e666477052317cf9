"""What would be blacked out in a file, and why, with pictures: for a person who looks, not for what leaves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from autorthanc_spool.core.counted import counted
from autorthanc_spool.deidentify.blackening import blacken, fills
from autorthanc_spool.deidentify.boxes import Box
from autorthanc_spool.deidentify.container import open_container
from autorthanc_spool.deidentify.errors import Malformed
from autorthanc_spool.deidentify.facts import Facts
from autorthanc_spool.deidentify.frames import Frames, with_least
from autorthanc_spool.deidentify.image import FLOATS, Image
from autorthanc_spool.deidentify.needles import Needle, needles_of
from autorthanc_spool.deidentify.pixels import clean_pixels
from autorthanc_spool.deidentify.policy import Policy
from autorthanc_spool.deidentify.reader import Reader
from autorthanc_spool.deidentify.redaction import Decision, Redaction, decide, redact
from autorthanc_spool.deidentify.shown import Picture, picture
from autorthanc_spool.deidentify.streams import Unclear
from autorthanc_spool.deidentify.withhold import reason_to_withhold
from autorthanc_spool.rules.model import AnonymiseOptions
from autorthanc_spool.rules.pixel_regions import PixelRegions


@dataclass(frozen=True)
class Inspection:
    """What is done with a file's pixels, in words; `frames` is None where there is nothing to see."""

    said: str
    is_withheld: bool
    boxes: tuple[tuple[Box, ...], ...] = ()
    frames: Frames | None = field(default=None, repr=False)
    buffer: memoryview = field(default=memoryview(b""), repr=False)

    def before(self, number: int) -> Picture:
        """Show a frame as it is. Raises Unclear."""
        assert self.frames is not None
        return self.frames.shown(number, self.buffer)

    def after(self, number: int) -> Picture:
        """Show a frame as it would leave. Raises Unclear."""
        assert self.frames is not None
        layout, viewing = self.frames.layout, with_least(self.frames, self.buffer)
        samples = self.frames.frame(number).stored(self.buffer)
        if self.boxes:
            blacken(samples, fills(self.boxes[number if len(self.boxes) > 1 else 0], layout, viewing))
        return picture(samples, layout, viewing)


def inspect(data: memoryview, options: AnonymiseOptions, files: Sequence[PixelRegions]) -> Inspection:
    """Decide about a file as the anonymiser does. Raises Malformed, Unsupported, DetectorMissing."""
    syntax, buffer, start = open_container(data)
    data_set = Reader(buffer).data_set(start, syntax.encoding)
    facts = Facts(buffer, data_set)
    facts.check_identity()
    image = Image(facts, buffer, syntax)
    reason = reason_to_withhold(facts, options)
    if reason is not None:
        return Inspection(f"withheld: {reason}", is_withheld=True)
    if image.pixel_data is None and not image.has_floats:
        return Inspection("leaves: it has no pixels", is_withheld=False)

    def needles() -> frozenset[Needle]:
        return needles_of(buffer, data_set, Policy(options), options.keep)

    frames = None
    decision = decide(image, options, files)
    if image.pixel_data is None:
        if decision.is_withheld or options.detect:
            return Inspection(f"withheld: {decision.reason or FLOATS}", is_withheld=True)
        return Inspection(f"leaves; no picture: {FLOATS}", is_withheld=False)
    try:
        pixels = clean_pixels(facts, syntax, buffer)
        frames, _ = image.frames(pixels)
        redaction = Redaction()
        if not decision.is_withheld:
            redaction = redact(image, pixels, options, decision, needles)
    except Unclear as error:
        if decision.is_withheld or (frames is None and not decision.boxes and not options.detect):
            return Inspection(f"{_told(decision, Redaction())}; no picture: {error}", decision.is_withheld)
        why = f"{decision.reason}; {error}" if decision.reason else str(error)
        return Inspection(f"withheld: {why}", True, (), frames, buffer)
    except Malformed as error:
        if not decision.is_withheld:
            raise
        return Inspection(f"{_told(decision, Redaction())}; no picture: {error}", is_withheld=True)
    return Inspection(_told(decision, redaction), decision.is_withheld, redaction.boxes, frames, buffer)


def _told(decision: Decision, redaction: Redaction) -> str:
    if decision.is_withheld:
        return f"withheld: {decision.reason}"
    why = f" ({decision.reason})" if decision.reason else ""
    if redaction.count:
        return f"leaves with {counted(redaction.count, 'box')} blacked out, by {' and '.join(redaction.sources)}{why}"
    return f"leaves as it is, by {' and '.join(redaction.sources)}{why}" if redaction.sources else "leaves as it is"
