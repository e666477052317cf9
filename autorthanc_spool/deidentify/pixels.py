"""Are the pixel data whole: as many bytes or fragments as the image is said to have (PS3.5 chapter 8)."""

from __future__ import annotations

from autorthanc_spool.deidentify.elements import Element
from autorthanc_spool.deidentify.errors import Malformed
from autorthanc_spool.deidentify.facts import Facts
from autorthanc_spool.deidentify.reader import PIXEL_DATA

_FLOAT_PIXEL_DATA = 0x7FE00008
_DOUBLE_PIXEL_DATA = 0x7FE00009

_SAMPLES_PER_PIXEL = 0x00280002
_PHOTOMETRIC_INTERPRETATION = 0x00280004
_NUMBER_OF_FRAMES = 0x00280008
_ROWS = 0x00280010
_COLUMNS = 0x00280011
_BITS_ALLOCATED = 0x00280100
_PIXEL_DATA_PROVIDER_URL = 0x00287FE0
# MR spectroscopy has rows and columns of spectra.
_SPECTROSCOPY_DATA = 0x56000020

_INSTEAD_OF_PIXEL_DATA = (_FLOAT_PIXEL_DATA, _DOUBLE_PIXEL_DATA, _PIXEL_DATA_PROVIDER_URL, _SPECTROSCOPY_DATA)

# Chrominance that is stored for every second pixel only (PS3.3 C.7.6.3.1.2): samples per pixel on average.
_SUBSAMPLED = {"YBR_FULL_422": 2.0, "YBR_PARTIAL_422": 2.0, "YBR_PARTIAL_420": 1.5}


def check_pixels(facts: Facts, encapsulated: bool, video: bool, buffer: memoryview) -> None:
    """Raise Malformed when pixel data are cut, or don't fit what the attributes say of them."""
    for tag, bits in ((_FLOAT_PIXEL_DATA, 32), (_DOUBLE_PIXEL_DATA, 64)):
        element = facts.element(tag)
        if element is not None:
            _check_length(facts, element, bits, buffer)
    element = facts.element(PIXEL_DATA)
    if element is None:
        _check_absence(facts)
        return
    if element.items is not None:
        raise Malformed("the pixel data are a sequence")
    if (element.fragments is not None) != encapsulated:
        wanted = "encapsulated" if encapsulated else "not encapsulated"
        raise Malformed(f"the pixel data should be {wanted} by the transfer syntax, but the file has it otherwise")
    if element.fragments is not None:
        _check_fragments(facts, element.fragments, video)
    else:
        _check_length(facts, element, _bits_allocated(facts), buffer)


def _check_absence(facts: Facts) -> None:
    """What describes pixels has them (PS3.3 C.7.6.3, type 1C), or was cut before them.

    A cut takes the tail of a file, so what has anything behind the place of the pixels has never had any. And what
    doesn't describe pixels is taken for what it is: Orthanc takes files without, and not every one was cut.
    """
    describes_pixels = any(facts.element(tag) for tag in (_ROWS, _COLUMNS, _BITS_ALLOCATED))
    has_others = any(facts.element(tag) for tag in _INSTEAD_OF_PIXEL_DATA)
    if describes_pixels and not has_others and facts.last_tag < PIXEL_DATA:
        raise Malformed("the file describes pixels, but has none, and nothing after them; the file is cut")


def _check_fragments(facts: Facts, fragments: int, video: bool) -> None:
    # One fragment of a video may hold all of it.
    wanted = 1 if video else _frames(facts)
    if fragments < wanted:
        raise Malformed(
            f"the pixel data have {fragments} fragments, but the image has {wanted} frames; the file is cut"
        )


def _check_length(facts: Facts, element: Element, bits: int, buffer: memoryview) -> None:
    pixels = _size(facts, _ROWS, "Rows") * _size(facts, _COLUMNS, "Columns")
    samples = facts.number(_SAMPLES_PER_PIXEL) or 1
    frames = _frames(facts)
    stored = _SUBSAMPLED.get(facts.text(_PHOTOMETRIC_INTERPRETATION), samples)
    wanted = -(-int(pixels * stored * bits * frames) // 8)
    if element.length < wanted:
        raise Malformed(f"the pixel data have {element.length} bytes, but the image needs {wanted}; the file is cut")
    # There is more where each frame of single bits begins with a byte of its own, and where a writer calls subsampled
    # what isn't.
    padded = frames * -(-int(pixels * stored * bits) // 8)
    whole = -(-int(pixels * samples * bits * frames) // 8)
    end = element.value + max(wanted, padded, whole if element.length >= whole else 0)
    if element.end - end > 1 and bytes(buffer[end : element.end]).strip(b"\0"):
        raise Malformed(f"after the {wanted} bytes that the image needs, the pixel data go on with something else")


def _bits_allocated(facts: Facts) -> int:
    return _size(facts, _BITS_ALLOCATED, "BitsAllocated")


def _frames(facts: Facts) -> int:
    text = facts.text(_NUMBER_OF_FRAMES)
    if not text:
        return 1
    if not text.isascii() or not text.lstrip("+").isdigit():
        raise Malformed("NumberOfFrames is no number")
    return int(text) or 1


def _size(facts: Facts, tag: int, keyword: str) -> int:
    number = facts.number(tag)
    if number is None:
        raise Malformed(f"the file has pixel data, but no usable {keyword}")
    return number
