"""An image of a file, and its frames, for looking at them and for changing them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

from autorthanc_spool.deidentify import fragments
from autorthanc_spool.deidentify.container import TransferSyntax
from autorthanc_spool.deidentify.decoding import Coding, Form, decoded_form, is_lossless, obstacle
from autorthanc_spool.deidentify.elements import Element
from autorthanc_spool.deidentify.facts import Facts
from autorthanc_spool.deidentify.frames import Frames
from autorthanc_spool.deidentify.layout import Layout, layout_of
from autorthanc_spool.deidentify.output import chunks_of, size_of
from autorthanc_spool.deidentify.pixels import Pixels, finder, frames_of
from autorthanc_spool.deidentify.reader import FLOAT_PIXEL_DATA, PIXEL_DATA
from autorthanc_spool.deidentify.streams import Unclear
from autorthanc_spool.deidentify.viewing import Viewing, viewing_of

FLOATS = "floating-point pixel data, which can't be looked at or changed"
NOT_RECODED = 'pixel data that are compressed with loss; "Recode": true would store them uncompressed'

# What decoded frames can be (PS3.3 section C.7.6.3.1.2).
_UNCOMPRESSED = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB", "YBR_FULL")


@dataclass(frozen=True)
class Image:
    """What a file says about itself, its bytes, and the syntax that they are in."""

    facts: Facts
    buffer: memoryview = field(repr=False)
    syntax: TransferSyntax

    @property
    def pixel_data(self) -> Element | None:
        """The element, if there is one."""
        return self.facts.element(PIXEL_DATA)

    @property
    def has_floats(self) -> bool:
        """Whether it has floating-point pixels, which nothing here reads or changes."""
        return any(self.facts.element(tag) is not None for tag in FLOAT_PIXEL_DATA)

    def layout(self) -> Layout:
        """How the samples of a frame lie there. Raises Unclear."""
        return layout_of(self.facts, self.syntax)

    def frames(self, pixels: Pixels, *, takes_lossy: bool = True) -> tuple[Frames, bool]:
        """Open the frames; those that are compressed are all decoded once, to know that they can be.

        Also returns whether something was lost when they were compressed. Raises Unclear when they can't be read, and
        without `takes_lossy` for those that lost something, before any is decoded.
        """
        layout, element = self.layout(), self.pixel_data
        assert element is not None
        if self.syntax.is_encapsulated:
            return self._compressed(layout, element, takes_lossy)
        output = pixels.instead.get(PIXEL_DATA)
        # The first piece is the element's header.
        parts = tuple(output.pieces()[1:]) if output else (slice(element.value, element.end),)
        wanted = layout.frame_bytes * layout.frames
        if not wanted <= sum(map(size_of, parts)) <= wanted + 1:
            raise Unclear("pixel data of another size than the image")
        return Frames(layout, (parts,), None, self._viewing(layout)), False

    def _viewing(self, layout: Layout) -> Viewing:
        """How it is shown. Raises Unclear for colours that nobody knows."""
        found = viewing_of(self.facts)
        if layout.photometric == "PALETTE COLOR" and found.palette is None:
            raise Unclear("colours by a palette that is missing or can't be read")
        return found

    def _compressed(self, layout: Layout, element: Element, takes_lossy: bool) -> tuple[Frames, bool]:
        if self.syntax.is_video:
            raise Unclear("video, whose frames can't be changed")
        found = obstacle(self.syntax)
        if found is not None:
            raise Unclear(found)
        if layout.high != layout.stored - 1:
            raise Unclear("compressed pixel data with a HighBit that isn't BitsStored - 1")
        read = fragments.read(self.buffer, element, frames_of(self.facts), finder(self.facts, self.syntax))
        parts_of = tuple(fragments.pieces(frame) for frame in read.frames)
        coding = Coding(self.syntax.uid, layout)
        is_lossy = not all(is_lossless(self.syntax, b"".join(chunks_of(one, self.buffer))) for one in parts_of)
        if is_lossy and not takes_lossy:
            raise Unclear(NOT_RECODED)
        forms: Counter[Form] = Counter()
        for one in parts_of:
            forms[decoded_form(b"".join(chunks_of(one, self.buffer)), coding)[1]] += 1
        if len(forms) != 1:
            raise Unclear("compressed frames that aren't all alike")
        (form,) = forms
        if form.photometric not in _UNCOMPRESSED:
            raise Unclear("compressed frames of colours that uncompressed ones can't have")
        decoded = replace(layout, photometric=form.photometric, is_planar=form.is_planar and layout.samples > 1)
        return Frames(decoded, parts_of, coding, self._viewing(layout)), is_lossy
