"""Pixel data: as many bytes or frames as the image is said to have (PS3.5 chapter 8), and nothing beside them."""

from __future__ import annotations

import struct
from collections import Counter
from dataclasses import dataclass, field

from autorthanc_spool.deidentify import fragments, streams, unused_bits
from autorthanc_spool.deidentify.container import TransferSyntax
from autorthanc_spool.deidentify.elements import Element
from autorthanc_spool.deidentify.errors import Malformed
from autorthanc_spool.deidentify.facts import Facts
from autorthanc_spool.deidentify.output import Output
from autorthanc_spool.deidentify.reader import FLOAT_PIXEL_DATA, PIXEL_DATA
from autorthanc_spool.deidentify.streams import Unclear
from autorthanc_spool.deidentify.unused_bits import Samples

_FLOAT_PIXEL_DATA, _DOUBLE_PIXEL_DATA = FLOAT_PIXEL_DATA

_EXTENDED_OFFSETS = 0x7FE00001
_EXTENDED_LENGTHS = 0x7FE00002
_TOTAL_LENGTH = 0x7FE00003

_SAMPLES_PER_PIXEL = 0x00280002
_PHOTOMETRIC_INTERPRETATION = 0x00280004
_NUMBER_OF_FRAMES = 0x00280008
_ROWS = 0x00280010
_COLUMNS = 0x00280011
_BITS_ALLOCATED = 0x00280100
_BITS_STORED = 0x00280101
_HIGH_BIT = 0x00280102
_PIXEL_REPRESENTATION = 0x00280103
_PIXEL_PADDING_VALUE = 0x00280120
_PIXEL_DATA_PROVIDER_URL = 0x00287FE0
# MR spectroscopy has rows and columns of spectra.
_SPECTROSCOPY_DATA = 0x56000020

_INSTEAD_OF_PIXEL_DATA = (_FLOAT_PIXEL_DATA, _DOUBLE_PIXEL_DATA, _PIXEL_DATA_PROVIDER_URL, _SPECTROSCOPY_DATA)

# Chrominance that is stored for every second pixel only (PS3.3 C.7.6.3.1.2): samples per pixel on average.
_SUBSAMPLED = {"YBR_FULL_422": 2.0, "YBR_PARTIAL_422": 2.0, "YBR_PARTIAL_420": 1.5}


@dataclass(frozen=True)
class Pixels:
    """What pixel data are written as: elements by tag where they don't stay as they are, and what was cut off them."""

    instead: dict[int, Output] = field(default_factory=dict)
    found: Counter[str] = field(default_factory=Counter)


def clean_pixels(facts: Facts, syntax: TransferSyntax, buffer: memoryview) -> Pixels:
    """Find what of the pixel data is the image.

    Raises Malformed when they are cut, or don't fit what the attributes say of them, and Unclear when it isn't known
    what of them is the image.
    """
    pixels = Pixels()
    for tag, bits in ((_FLOAT_PIXEL_DATA, 32), (_DOUBLE_PIXEL_DATA, 64)):
        element = facts.element(tag)
        if element is not None:
            _cut(pixels, facts, element, bits, buffer)
    element = facts.element(PIXEL_DATA)
    if element is None:
        _check_absence(facts)
        return pixels
    if element.items is not None:
        raise Malformed("the pixel data are a sequence")
    if (element.fragments is not None) != syntax.is_encapsulated:
        wanted = "encapsulated" if syntax.is_encapsulated else "not encapsulated"
        raise Malformed(f"the pixel data should be {wanted} by the transfer syntax, but the file has it otherwise")
    if element.fragments is None:
        _cut(pixels, facts, element, _bits_allocated(facts), buffer)
        _clear(pixels, facts, element, buffer)
        return pixels
    _check_fragments(facts, element.fragments, syntax.is_video)
    if not syntax.is_video:
        _clean_frames(pixels, facts, element, syntax, buffer)
    return pixels


def _clean_frames(pixels: Pixels, facts: Facts, element: Element, syntax: TransferSyntax, buffer: memoryview) -> None:
    made = fragments.read(buffer, element, frames_of(facts), finder(facts, syntax))
    pixels.found.update(made.found)
    if made.is_whole and fragments.holds(made, buffer):
        _check_extended(pixels, facts, made)
        return
    if made.is_whole:
        pixels.found[fragments.OFFSETS] += 1
    pixels.instead[PIXEL_DATA] = fragments.write(made, element, facts.encoding)
    if facts.element(_TOTAL_LENGTH):
        # It is optional, and no longer true.
        pixels.instead[_TOTAL_LENGTH] = Output()
    _check_extended(pixels, facts, made)


def finder(facts: Facts, syntax: TransferSyntax) -> fragments.Finder:
    """What finds where a compressed frame ends."""
    if syntax.has_run_lengths:
        return streams.run_lengths
    if not (syntax.has_deflated_frames or syntax.has_plain_frames):
        return streams.picture
    pixels = _size(facts, _ROWS, "Rows") * _size(facts, _COLUMNS, "Columns")
    length = -(-pixels * (facts.number(_SAMPLES_PER_PIXEL) or 1) * _bits_allocated(facts) // 8)
    return streams.inflatable(length) if syntax.has_deflated_frames else streams.plain(length)


def _check_extended(pixels: Pixels, facts: Facts, made: fragments.Encapsulated) -> None:
    """Write the extended offset table (PS3.3 C.7.6.3.1.8) again where it isn't right; its lengths may count padding."""
    for tag, right in ((_EXTENDED_OFFSETS, made.offsets()), (_EXTENDED_LENGTHS, made.sizes())):
        element = facts.element(tag)
        if element is None:
            continue
        value = facts.value(tag)
        given = struct.unpack(f"<{len(right)}Q", value) if len(value) == 8 * len(right) else ()
        slack = 1 if tag == _EXTENDED_LENGTHS else 0
        if len(given) == len(right) and all(one in (two, two + slack) for one, two in zip(given, right, strict=True)):
            continue
        if PIXEL_DATA not in pixels.instead:
            pixels.found[fragments.OFFSETS] += 1
        out = pixels.instead[tag] = Output()
        out.put(facts.encoding.element(tag, element.vr, struct.pack(f"<{len(right)}Q", *right)))


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
    wanted = 1 if video else frames_of(facts)
    if fragments < wanted:
        raise Malformed(
            f"the pixel data have {fragments} fragments, but the image has {wanted} frames; the file is cut"
        )


def _cut(pixels: Pixels, facts: Facts, element: Element, bits: int, buffer: memoryview) -> None:
    """Cut off what follows the last frame: PS3.5 section 8.1.1 lets padding follow, and writers let pages follow."""
    length = _length(facts, element, bits)
    # In big endian, the two bytes of the last word are swapped, and the one that pads comes before the last sample.
    is_swapped = facts.encoding.big and element.vr == "OW" and length % 2 == 1
    end = element.value + length - is_swapped
    pad = buffer[end : end + length % 2]
    if element.length <= length + 1 and not any(pad):
        return
    pixels.found[streams.TRAILING] += any(pad) or streams.has_content(buffer, end + 2 * is_swapped, element.end)
    out = pixels.instead[element.tag] = Output()
    out.put(facts.encoding.header(element.tag, element.vr, length + length % 2))
    out.keep(element.value, end)
    out.put(bytes(length % 2) + bytes(buffer[end + 1 : end + 2] if is_swapped else b""))


def _clear(pixels: Pixels, facts: Facts, element: Element, buffer: memoryview) -> None:
    """Clear the bits of samples that BitsStored doesn't count. Raises Unclear where it isn't known which they are."""
    bits = _bits_allocated(facts)
    stored, high = facts.number(_BITS_STORED), facts.number(_HIGH_BIT)
    if bits not in (8, 16, 32) or stored is None or not 0 < stored < bits:
        return
    size, wanted = bits // 8, _length(facts, element, bits)
    end = element.value + wanted // size * size
    is_signed = facts.number(_PIXEL_REPRESENTATION) == 1
    samples = Samples(size, stored, is_signed, facts.encoding.big, facts.number(_PIXEL_PADDING_VALUE))
    new = unused_bits.cleared(buffer, element.value, end, samples)
    if new is None:
        return
    if high is not None and high != stored - 1:
        _check_other_bits(buffer, element.value, end, high, samples)
        return
    if wanted % 2 and facts.encoding.big:
        raise Unclear("bits outside BitsStored that aren't empty, in an odd number of samples in big endian")
    pixels.found[unused_bits.UNUSED_BITS] += 1
    out = pixels.instead[element.tag] = Output()
    out.put(facts.encoding.header(element.tag, element.vr, wanted + wanted % 2))
    out.extend(new)
    out.put(bytes(wanted % 2))


def _check_other_bits(buffer: memoryview, start: int, end: int, high: int, samples: Samples) -> None:
    """Look at the bits that HighBit says are unused; many files that have samples in the lowest bits say it wrongly."""
    low = high + 1 - samples.stored
    is_possible = low >= 0 and high < samples.size * 8
    if not is_possible or not unused_bits.is_empty(buffer, start, end, samples, ((1 << samples.stored) - 1) << low):
        raise Unclear("bits outside BitsStored that aren't empty, with a HighBit that isn't BitsStored - 1")


def _length(facts: Facts, element: Element, bits: int) -> int:
    """How many bytes of the value are the image. Raises Malformed when there are fewer."""
    count = _size(facts, _ROWS, "Rows") * _size(facts, _COLUMNS, "Columns")
    samples = facts.number(_SAMPLES_PER_PIXEL) or 1
    frames = frames_of(facts)
    stored = _SUBSAMPLED.get(facts.text(_PHOTOMETRIC_INTERPRETATION), samples)
    wanted = -(-int(count * stored * bits * frames) // 8)
    if element.length < wanted:
        raise Malformed(f"the pixel data have {element.length} bytes, but the image needs {wanted}; the file is cut")
    # There is more where each frame of single bits begins with a byte of its own, and where a writer calls subsampled
    # what isn't.
    padded = frames * -(-int(count * stored * bits) // 8)
    whole = -(-int(count * samples * bits * frames) // 8)
    return max(one for one in (wanted, padded, whole) if one <= element.length)


def _bits_allocated(facts: Facts) -> int:
    return _size(facts, _BITS_ALLOCATED, "BitsAllocated")


def frames_of(facts: Facts) -> int:
    """How many frames the image has. Raises Malformed."""
    text = facts.text(_NUMBER_OF_FRAMES)
    if not text:
        return 1
    if not text.isascii() or not text.lstrip("+").isdigit():
        raise Malformed("NumberOfFrames is not a number")
    return int(text) or 1


def _size(facts: Facts, tag: int, keyword: str) -> int:
    number = facts.number(tag)
    if number is None:
        raise Malformed(f"the file has pixel data, but no usable {keyword}")
    return number
