"""What is blacked out in an image, why, and the elements that are written for it.

Where to black out comes from the regions of an ultrasound image, and from the files of `pixel_regions/`; both together
where both say something. A file that says "withhold" has the last word. Only then may text detection add to it. What
neither knows, and what can't be decoded, is withheld as if there were no redaction.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace

from autorthanc_spool.deidentify import detection
from autorthanc_spool.deidentify.blackening import whole_pairs
from autorthanc_spool.deidentify.boxes import Box
from autorthanc_spool.deidentify.clues import tag_of
from autorthanc_spool.deidentify.container import EXPLICIT, TransferSyntax
from autorthanc_spool.deidentify.device_regions import boxes_of, saying
from autorthanc_spool.deidentify.elements import UNDEFINED
from autorthanc_spool.deidentify.facts import Facts
from autorthanc_spool.deidentify.frames import Frames, with_least
from autorthanc_spool.deidentify.image import FLOATS, NOT_RECODED, Image
from autorthanc_spool.deidentify.needles import Needle
from autorthanc_spool.deidentify.output import Output
from autorthanc_spool.deidentify.pixels import Pixels
from autorthanc_spool.deidentify.reader import PIXEL_DATA
from autorthanc_spool.deidentify.redacted import redacted
from autorthanc_spool.deidentify.streams import Unclear
from autorthanc_spool.deidentify.ultrasound import screen_around
from autorthanc_spool.deidentify.withhold import Withheld, is_ultrasound, may_show_a_name
from autorthanc_spool.rules.model import AnonymiseOptions
from autorthanc_spool.rules.pixel_regions import PixelRegions

REGIONS = "regions of ultrasound"

_BURNED_IN_ANNOTATION = tag_of("BurnedInAnnotation")
_DERIVATION = tag_of("DerivationDescription")
_PHOTOMETRIC = tag_of("PhotometricInterpretation")
_PLANAR = tag_of("PlanarConfiguration")
_LOSSY = tag_of("LossyImageCompression")
# Of the samples that were there before; offsets of compressed frames: ExtendedOffsetTable, -Lengths, total length; and
# the same picture once more, as the coefficients of retired groups.
_STALE = (
    *(tag_of(f"{one}ImagePixelValue") for one in ("Smallest", "Largest")),
    *(0x7FE00001, 0x7FE00002, 0x7FE00003),
    *(0x7FE00020, 0x7FE00030, 0x7FE00040),
)

# Decoded frames that all together are no larger are made at once; others one at a time, when they are wanted.
_MADE_AT_ONCE_BYTES = 32 * 2**20


@dataclass(frozen=True)
class Decision:
    """What is to be blacked out in every frame of an image, and who says so.

    `is_clean`: of what is left, it is known that it shows no name. `reason` says why the image may show one; with
    `is_withheld`, it can't leave.
    """

    boxes: tuple[Box, ...] = ()
    sources: tuple[str, ...] = ()
    reason: str | None = None
    is_clean: bool = False
    is_withheld: bool = False


@dataclass(frozen=True)
class Redaction:
    """Whole elements by tag for an image, and the syntax that they are in, None for the file's own.

    `boxes` are black: one set in every frame, or each frame has its own. They are counted as they stand there.
    """

    instead: dict[int, bytes | Output] = field(default_factory=dict, repr=False)
    syntax: TransferSyntax | None = None
    boxes: tuple[tuple[Box, ...], ...] = ()
    sources: tuple[str, ...] = ()
    is_clean: bool = False

    @property
    def count(self) -> int:
        """How many boxes are black."""
        return sum(map(len, self.boxes))


def decide(image: Image, options: AnonymiseOptions, files: Sequence[PixelRegions]) -> Decision:
    """Decide about the pixels of a file; nothing is decoded for it."""
    facts = image.facts
    if options.burned_in == "allow":
        return Decision()
    reason = may_show_a_name(facts)
    has_pixels = image.pixel_data is not None or image.has_floats
    if options.burned_in != "redact" or not has_pixels or reason == Withheld.OVERLAY:
        return Decision(reason=reason, is_withheld=reason is not None)
    said = saying(files, facts)
    refusing = next((one for one in said if one.image == "withhold"), None)
    if refusing is not None:
        return Decision(reason=f"{refusing.file} says so", is_withheld=True)
    if reason is None and not said:
        return Decision()
    if image.has_floats:
        return Decision(reason=f"{reason}; {FLOATS}" if reason else FLOATS, is_withheld=True)
    try:
        return _where(image, reason, said)
    except Unclear as error:
        is_left_to_detection = options.detect == "blackout" and not said
        why = f"{reason}; {error}" if reason else str(error)
        return Decision(reason=why, is_withheld=not is_left_to_detection)


def _where(image: Image, reason: str | None, said: Sequence[PixelRegions]) -> Decision:
    """Find where to black out. Raises Unclear when nothing says so, or what does is wrong for this image."""
    sources = [one.file for one in said]
    boxes: list[Box] = []
    # What is said to be clean needn't be understood.
    if any(one.image != "clean" for one in said):
        boxes += [box for one in said for box in boxes_of(one, image.layout())]
    if reason is not None and is_ultrasound(image.facts):
        try:
            boxes = [*screen_around(image.facts, image.buffer, image.layout()), *boxes]
            sources = [REGIONS, *sources]
        except Unclear:
            if not said:
                raise
    if not sources:
        raise Unclear("nothing says where: no file of pixel_regions/ is about such images")
    # Boxes of several sources may overlap; each counts once.
    whole = whole_pairs(boxes, image.layout()) if boxes else ()
    return Decision(tuple(dict.fromkeys(whole)), tuple(sources), reason, is_clean=True)


def redact(
    image: Image,
    pixels: Pixels,
    options: AnonymiseOptions,
    decision: Decision,
    needles: Callable[[], Collection[Needle]],
) -> Redaction:
    """Black out what was decided, and what text detection finds.

    `needles` gathers what the file says of its patient. Raises Unclear for what can't be done, DetectorMissing.
    """
    facts, boxes = image.facts, [decision.boxes]
    if image.has_floats and options.detect:
        raise Unclear(FLOATS)
    if image.pixel_data is None or not (decision.boxes or options.detect):
        return Redaction(_said_clean(facts, decision), None, (), decision.sources, decision.is_clean)
    # Where no box is known yet, nothing may have to be changed at all.
    frames, is_lossy = image.frames(pixels, takes_lossy=options.recode or not decision.boxes)
    if options.detect:
        boxes = detection.look(frames, image.buffer, needles, decision.boxes, options.detect)
    if not any(boxes):
        return Redaction(_said_clean(facts, decision), None, (), decision.sources, decision.is_clean)
    if is_lossy and not options.recode:
        raise Unclear(NOT_RECODED)
    sources = decision.sources if boxes == [decision.boxes] else (*decision.sources, detection.SOURCE)
    frames = replace(frames, viewing=with_least(frames, image.buffer))
    instead = _said_clean(facts, decision) | _elements(image, frames, boxes)
    if image.syntax.is_encapsulated:
        instead |= {_LOSSY: facts.encoding.element(_LOSSY, "CS", b"01")} if is_lossy else {}
        return Redaction(instead, EXPLICIT, tuple(boxes), sources, decision.is_clean)
    return Redaction(instead, None, tuple(boxes), sources, decision.is_clean)


def _said_clean(facts: Facts, decision: Decision) -> dict[int, bytes | Output]:
    """Say that nothing is burned in, where that is now known."""
    if not decision.is_clean:
        return {}
    return {_BURNED_IN_ANNOTATION: facts.encoding.element(_BURNED_IN_ANNOTATION, "CS", b"NO")}


def _elements(image: Image, frames: Frames, boxes: list[tuple[Box, ...]]) -> dict[int, bytes | Output]:
    """Write the pixel data, and what describes them."""
    encoding, layout, element = image.facts.encoding, frames.layout, image.pixel_data
    size = layout.frame_bytes * frames.count
    size += size % 2
    if size >= UNDEFINED:
        raise Unclear("uncompressed pixel data of 4 GiB and more")
    assert element is not None
    vr = element.vr if frames.coding is None else "OW" if layout.allocated > 8 else "OB"
    out = Output()
    out.put(encoding.header(PIXEL_DATA, vr, size))
    for made in redacted(frames, boxes):
        if made.needs_codec and size <= _MADE_AT_ONCE_BYTES:
            out.put(bytes(made.made(image.buffer)))
        else:
            out.make(made)
    text = b"Parts of the image were blacked out, as they may have shown who the patient is."
    instead: dict[int, bytes | Output] = dict.fromkeys(_STALE, b"")
    instead |= {PIXEL_DATA: out, _DERIVATION: encoding.element(_DERIVATION, "ST", text)}
    if frames.coding is not None:
        instead[_PHOTOMETRIC] = encoding.element(_PHOTOMETRIC, "CS", layout.photometric.encode())
        planar = encoding.element(_PLANAR, "US", encoding.short.pack(int(layout.is_planar)))
        instead |= {_PLANAR: planar} if layout.samples > 1 else {}
    return instead
