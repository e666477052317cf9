"""How the samples of an image are stored, by its attributes (PS3.3 section C.7.6.3, PS3.5 chapter 8)."""

from __future__ import annotations

from dataclasses import dataclass

from autorthanc_spool.deidentify.boxes import Box
from autorthanc_spool.deidentify.clues import tag_of
from autorthanc_spool.deidentify.container import TransferSyntax
from autorthanc_spool.deidentify.facts import Facts
from autorthanc_spool.deidentify.pixels import frames_of
from autorthanc_spool.deidentify.streams import Unclear

# What each of these is made of (PS3.3 section C.7.6.3.1.2); samples of the others, all retired, mean other things.
_SAMPLES = {
    "MONOCHROME1": 1, "MONOCHROME2": 1, "PALETTE COLOR": 1, "RGB": 3, "YBR_FULL": 3, "YBR_FULL_422": 3,
    "YBR_PARTIAL_422": 3, "YBR_RCT": 3, "YBR_ICT": 3,
}  # fmt: skip
_OF_CODECS = ("YBR_RCT", "YBR_ICT")
_SUBSAMPLED = ("YBR_FULL_422", "YBR_PARTIAL_422")
_SIZES = (8, 16, 32)


@dataclass(frozen=True)
class Layout:
    """How the samples of a frame are stored. `is_swapped`: the two bytes of each word are, samples being bytes."""

    rows: int
    columns: int
    samples: int
    photometric: str
    is_planar: bool
    allocated: int
    stored: int
    high: int
    is_signed: bool
    frames: int
    is_big: bool = False
    is_swapped: bool = False
    is_subsampled: bool = False

    @property
    def sample_bytes(self) -> int:
        """The bytes of a sample."""
        return self.allocated // 8

    @property
    def frame_bytes(self) -> int:
        """The bytes of a frame."""
        per_pixel = 2 if self.is_subsampled else self.samples
        return self.rows * self.columns * per_pixel * self.sample_bytes

    @property
    def shift(self) -> int:
        """The bits below the stored ones; none where HighBit can't be right."""
        return max(self.high + 1 - self.stored, 0) if self.high < self.allocated else 0

    @property
    def box(self) -> Box:
        """The whole image."""
        return Box(0, 0, self.rows, self.columns)

    @property
    def is_grey(self) -> bool:
        """Whether a sample is a shade of grey."""
        return self.photometric in ("MONOCHROME1", "MONOCHROME2")


def layout_of(facts: Facts, syntax: TransferSyntax) -> Layout:
    """Read how an image is stored. Raises Unclear for what nothing here can look into, and Malformed."""

    def number(keyword: str, default: int | None = None) -> int:
        found = facts.number(tag_of(keyword))
        if found is None and default is None:
            raise Unclear(f"an image without a usable {keyword}")
        return (default or 0) if found is None else found

    photometric = facts.text(tag_of("PhotometricInterpretation")).upper()
    samples, allocated = number("SamplesPerPixel", 1), number("BitsAllocated")
    if _SAMPLES.get(photometric) != samples or (photometric in _OF_CODECS and not syntax.is_encapsulated):
        raise Unclear("an image whose PhotometricInterpretation and SamplesPerPixel nothing here can look into")
    stored = number("BitsStored", allocated)
    if allocated not in _SIZES or not 0 < stored <= allocated:
        raise Unclear(f"an image of {allocated} bits a sample, of which {stored} are stored")
    rows, columns = number("Rows"), number("Columns")
    if not rows or not columns:
        raise Unclear("an image without rows or columns")
    element = facts.element(tag_of("PixelData"))
    is_subsampled = photometric in _SUBSAMPLED and not syntax.is_encapsulated
    if is_subsampled and columns % 2:
        raise Unclear("an image of half as many colours as pixels, with an odd number of columns")
    layout = Layout(
        rows=rows,
        columns=columns,
        samples=samples,
        photometric=photometric,
        is_planar=samples > 1 and number("PlanarConfiguration", 0) == 1 and not is_subsampled,
        allocated=allocated,
        stored=stored,
        high=number("HighBit", stored - 1),
        is_signed=number("PixelRepresentation", 0) == 1,
        frames=frames_of(facts),
        is_big=facts.encoding.big,
        is_swapped=facts.encoding.big and allocated == 8 and element is not None and element.vr == "OW",
        is_subsampled=is_subsampled,
    )
    if layout.is_swapped and layout.frame_bytes % 2 and layout.frames > 1:
        raise Unclear("frames of an odd number of bytes in big endian")
    return layout
