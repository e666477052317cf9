"""Compressed frames: which are decoded without loss, by what, and into what.

The codecs are packages of the extra `pixels`, called through pydicom, one for each family of transfer syntaxes, so that
the same file always gives the same samples. They are imported when a frame is decoded, and not before.
"""

from __future__ import annotations

import logging
import warnings
import zlib
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

from autorthanc_spool.deidentify import codecs
from autorthanc_spool.deidentify.container import TransferSyntax
from autorthanc_spool.deidentify.layout import Layout
from autorthanc_spool.deidentify.streams import Unclear

if TYPE_CHECKING:
    from pydicom.pixels.decoders.base import Decoder

_FAMILY = "1.2.840.10008.1.2.4."
_RUN_LENGTHS = "1.2.840.10008.1.2.5"
# Process 14 of JPEG, JPEG-LS, JPEG 2000 and HTJ2K in their lossless syntaxes; of the next ones, each frame says it.
_LOSSLESS = frozenset({_RUN_LENGTHS, *(f"{_FAMILY}{number}" for number in (57, 70, 80, 90, 201, 202))})
_PERHAPS_LOSSLESS = frozenset({f"{_FAMILY}91", f"{_FAMILY}203"})
_LOSSY = frozenset({f"{_FAMILY}{number}" for number in (50, 51, 81)})
# Colours that were stored for every second pixel are stretched to all of them, and were coarser before.
_STRETCHED = frozenset({f"{_FAMILY}{number}" for number in (50, 51)})

# By transfer syntax, the name that pydicom gives a codec, and its package.
_JPEG = ("gdcm", "gdcm")
# GDCM aborts the process on some JPEG-LS streams.
_JPEG_LS = ("pyjpegls", "jpeg_ls")
_JPEG_2000 = ("pylibjpeg", "openjpeg")
_CODECS = {
    **{f"{_FAMILY}{number}": _JPEG for number in (50, 51, 57, 70)},
    **{f"{_FAMILY}{number}": _JPEG_LS for number in (80, 81)},
    **{f"{_FAMILY}{number}": _JPEG_2000 for number in (90, 91, 201, 202, 203)},
    _RUN_LENGTHS: ("pydicom", "pydicom"),
}

# Markers of a JPEG 2000 codestream: coding style, by default and of one component; the first tile ends its header.
_COD, _COC, _SOT = 0xFF52, 0xFF53, 0xFF90
_REVERSIBLE = 1
# Baseline, extended, and lossless by Huffman codes.
_FRAMES_OF_JPEG = (0xC0, 0xC1, 0xC2, 0xC3)


@dataclass(frozen=True)
class Coding:
    """How frames are compressed, and what the file says must come of one."""

    syntax: str
    layout: Layout


@dataclass(frozen=True)
class Form:
    """What a codec made of a frame."""

    photometric: str
    is_planar: bool


def is_lossless(syntax: TransferSyntax, frame: bytes) -> bool:
    """Whether nothing was lost when a frame was compressed."""
    if syntax.has_deflated_frames or syntax.has_plain_frames or syntax.uid in _LOSSLESS:
        return True
    return syntax.uid in _PERHAPS_LOSSLESS and _is_reversible(frame)


def obstacle(syntax: TransferSyntax) -> str | None:
    """Say why nothing here decodes a transfer syntax, or None."""
    if syntax.has_deflated_frames or syntax.has_plain_frames:
        return None
    if syntax.uid not in _CODECS:
        return "pixel data in a transfer syntax that nothing here decodes"
    if not codecs.is_there(_CODECS[syntax.uid][1]):
        return f"compressed pixel data, and nothing installed to decode them: {codecs.INSTALL}"
    return None


def decoded(data: bytes, coding: Coding) -> bytearray:
    """Decode one frame. Raises Unclear."""
    return decoded_form(data, coding)[0]


def decoded_form(data: bytes, coding: Coding) -> tuple[bytearray, Form]:
    """Decode one frame, and say what it was made into. Raises Unclear."""
    syntax, layout = TransferSyntax(coding.syntax), coding.layout
    if syntax.has_plain_frames:
        return _sized(data, layout), Form(layout.photometric, layout.is_planar)
    if syntax.has_deflated_frames:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        return _sized(inflater.decompress(data, layout.frame_bytes), layout), Form(layout.photometric, layout.is_planar)
    frame, made = _by_codec(data, coding.syntax, layout)
    if made["bits_allocated"] != layout.allocated:
        frame = _widened(frame, int(made["bits_allocated"]), layout)
    photometric = str(made["photometric_interpretation"])
    # Samples that were stored for every second pixel have been stretched.
    form = Form(photometric.replace("_422", ""), made.get("planar_configuration") == 1)
    frame = _sized(frame, layout)
    if form.is_planar and layout.samples > 1 and not layout.is_planar:
        frame, form = _by_pixel(frame, layout), replace(form, is_planar=False)
    if form.photometric == "YBR_FULL" and coding.syntax in _STRETCHED and layout.allocated == 8:
        frame, form = _rgb(frame, layout), replace(form, photometric="RGB")
    return frame, form


def _by_pixel(planes: bytearray, layout: Layout) -> bytearray:
    """Put the colours of a pixel side by side, as the header has it; some classes allow nothing else."""
    size, count = layout.sample_bytes, layout.samples
    plane, out = len(planes) // count, bytearray(len(planes))
    for number in range(count):
        for place in range(size):
            start = number * plane
            out[number * size + place :: count * size] = planes[start + place : start + plane : size]
    return out


def _rgb(frame: bytearray, layout: Layout) -> bytearray:
    """Turn YCbCr into RGB, as decoders of JPEG do; ultrasound may not have the former uncompressed (C.8.5.6.1.2)."""
    import numpy as np
    from pydicom.pixels.processing import convert_color_space

    pixels = np.frombuffer(frame, dtype=np.uint8).reshape(layout.rows, layout.columns, layout.samples)
    return bytearray(convert_color_space(pixels, "YBR_FULL", "RGB").tobytes())


def _by_codec(data: bytes, syntax: str, layout: Layout) -> tuple[bytearray, dict[str, str | int]]:
    from pydicom.encaps import encapsulate
    from pydicom.pixels.utils import get_j2k_parameters

    codec = _CODECS[syntax][0]
    stored = layout.stored
    if codec == _JPEG[0]:
        # GDCM decodes by the precision that it is given, and aborts the process where that isn't the stream's.
        stored = _precision(data)
        if not stored <= layout.allocated:
            raise Unclear("a compressed frame of another precision than the header says")
    if codec == _JPEG_2000[0] and get_j2k_parameters(data).get("is_signed", layout.is_signed) != layout.is_signed:
        raise Unclear("a compressed frame whose samples are signed, and said not to be, or the other way round")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            frame, made = _decoder(syntax).as_buffer(
                encapsulate([data], has_bot=False),
                index=0,
                decoding_plugin=codec,
                number_of_frames=1,
                rows=layout.rows,
                columns=layout.columns,
                samples_per_pixel=layout.samples,
                photometric_interpretation=layout.photometric,
                # Whatever the header says of it: codecs give pixel by pixel, and those that don't say so.
                planar_configuration=0,
                bits_allocated=layout.allocated,
                bits_stored=stored,
                pixel_representation=int(layout.is_signed),
                pixel_keyword="PixelData",
            )
        except Exception as error:  # noqa: BLE001 - codecs raise anything, and texts may quote the file
            raise Unclear(f"a compressed frame that can't be decoded ({type(error).__name__})") from None
    return bytearray(frame), made


@cache
def _decoder(syntax: str) -> Decoder:
    from pydicom.pixels.decoders.base import get_decoder

    # What a codec says of a broken frame is reported by us.
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    if _CODECS[syntax] == _JPEG:
        import gdcm

        for quieten in (gdcm.Trace.WarningOff, gdcm.Trace.ErrorOff, gdcm.Trace.DebugOff):
            quieten()
    return get_decoder(syntax)


def _widened(frame: bytearray, bits: int, layout: Layout) -> bytearray:
    """Store samples in as many bytes as the header says; a codec takes as few as it can."""
    size, wanted = bits // 8, layout.allocated // 8
    if size > wanted or layout.is_signed:
        raise Unclear("a compressed frame of another precision than the header says")
    out = bytearray(len(frame) // size * wanted)
    for place in range(size):
        out[place::wanted] = frame[place::size]
    return out


def _sized(frame: bytes | bytearray, layout: Layout) -> bytearray:
    if not layout.frame_bytes <= len(frame) <= layout.frame_bytes + 1:
        raise Unclear("a compressed frame that doesn't have the size of the image")
    return bytearray(frame[: layout.frame_bytes])


def _precision(stream: bytes) -> int:
    """The bits of a sample in a JPEG stream (ISO/IEC 10918-1 section B.2.2). Raises Unclear."""
    at = 2
    while at + 5 <= len(stream) and stream[at] == 0xFF:
        if stream[at + 1] in _FRAMES_OF_JPEG:
            return stream[at + 4]
        at += 2 + int.from_bytes(stream[at + 2 : at + 4], "big") if stream[at + 1] != 0xFF else 1
    raise Unclear("a JPEG stream without a frame")


def _is_reversible(codestream: bytes) -> bool:
    """Whether a JPEG 2000 codestream was made by the reversible transform (ISO/IEC 15444-1, table A.20)."""
    at = codestream.find(b"\xff\x4f\xff\x51") + 2
    styles = []
    while 2 <= at <= len(codestream) - 4:
        marker, length = (
            int.from_bytes(codestream[at : at + 2], "big"),
            int.from_bytes(codestream[at + 2 : at + 4], "big"),
        )
        if marker == _SOT:
            break
        if marker == _COD:
            styles.append(codestream[at + 13])
        if marker == _COC:
            return False
        at += 2 + length
    return styles == [_REVERSIBLE]
