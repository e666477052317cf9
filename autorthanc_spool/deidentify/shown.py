"""A frame as a viewer shows it: grey by its window, colours by their palette, eight bits a sample.

What is shown is for eyes and for text detection; nothing of it is written into a DICOM file.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from autorthanc_spool.deidentify.layout import Layout
from autorthanc_spool.deidentify.palette import Palette
from autorthanc_spool.deidentify.viewing import Viewing

Picture = np.ndarray[Any, np.dtype[np.uint8]]


def picture(stored: bytes | bytearray, layout: Layout, viewing: Viewing) -> Picture:
    """Show the samples of one frame: H×W where it is grey, else H×W×3."""
    samples = _samples(stored, layout)
    if layout.is_grey:
        return _grey(samples[:, :, 0], layout, viewing)
    if layout.photometric == "PALETTE COLOR":
        return _coloured(samples[:, :, 0], viewing.palette)
    eight = _eight_bits(samples, layout)
    return _from_chrominance(eight, layout) if layout.photometric.startswith("YBR") else eight


def _samples(stored: bytes | bytearray, layout: Layout) -> np.ndarray[Any, Any]:
    """Give the samples by row, column and colour, as numbers."""
    kind = "i" if layout.is_signed else "u"
    flat = np.frombuffer(bytes(stored), dtype=f"{'>' if layout.is_big else '<'}{kind}{layout.sample_bytes}")
    if layout.shift:
        flat = flat >> layout.shift
    if layout.stored < layout.allocated:
        flat = _without_unused_bits(flat, layout)
    rows, columns, samples = layout.rows, layout.columns, layout.samples
    if layout.is_subsampled:
        pairs = flat.reshape(rows, columns // 2, 4)
        shades = pairs[:, :, :2].reshape(rows, columns)
        colours = np.repeat(pairs[:, :, 2:], 2, axis=1)
        return np.dstack([shades, colours])
    if layout.is_planar:
        return flat.reshape(samples, rows, columns).transpose(1, 2, 0)
    return flat.reshape(rows, columns, samples)


def _without_unused_bits(flat: np.ndarray[Any, Any], layout: Layout) -> np.ndarray[Any, Any]:
    """What is in the other bits isn't the picture."""
    used = flat.astype(np.int64) & ((1 << layout.stored) - 1)
    if layout.is_signed:
        used = np.where(used >= 1 << layout.stored - 1, used - (1 << layout.stored), used)
    return used


def _grey(samples: np.ndarray[Any, Any], layout: Layout, viewing: Viewing) -> Picture:
    low, high = _window(viewing) or _extremes(samples, viewing)
    # Where a greater sample is darker, the ends are the other way round, and so is their distance.
    distance = (high - low) or math.copysign(1e-9, viewing.slope)
    shown = np.clip((samples.astype(np.float64) - low) / distance, 0, 1) * 255
    if layout.photometric == "MONOCHROME1":
        shown = 255 - shown
    return np.asarray(np.rint(shown), dtype=np.uint8)


def _window(viewing: Viewing) -> tuple[float, float] | None:
    """The samples at the ends of the window (PS3.3 section C.11.2.1.2); None where there is none.

    Samples are compared and not what they mean: a slope or intercept may be so great or small that all mean the same.
    """
    centre, width = viewing.centre, viewing.width
    if centre is None or width is None or width < 1:
        return None
    meant = (centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2)
    low, high = ((one - viewing.intercept) / viewing.slope for one in meant)
    is_usable = math.isfinite(low) and math.isfinite(high) and (low != high or width == 1)
    return (low, high) if is_usable else None


def _extremes(samples: np.ndarray[Any, Any], viewing: Viewing) -> tuple[float, float]:
    """The least and the greatest sample, without those that stand for no picture."""
    seen = samples
    if viewing.padding is not None and (samples != viewing.padding).any():
        seen = samples[samples != viewing.padding]
    low, high = float(seen.min()), float(seen.max())
    return (low, high) if viewing.slope > 0 else (high, low)


def _coloured(samples: np.ndarray[Any, Any], palette: Palette | None) -> Picture:
    if palette is None:
        return np.asarray(np.clip(samples, 0, 255), dtype=np.uint8)
    table = np.stack([np.frombuffer(one, np.uint8) for one in (palette.red, palette.green, palette.blue)], axis=1)
    return np.asarray(table[np.clip(samples.astype(np.int64) - palette.first, 0, len(table) - 1)])


def _eight_bits(samples: np.ndarray[Any, Any], layout: Layout) -> Picture:
    bits = layout.stored
    if layout.photometric == "RGB":
        # Some writers say 16 where they use 8 or 12: all would be black, and nothing to be read.
        bits = min(bits, max(int(samples.max()).bit_length(), 8))
    scaled = samples.astype(np.int64) >> bits - 8 if bits > 8 else samples.astype(np.int64) << 8 - bits
    return np.asarray(np.clip(scaled, 0, 255), dtype=np.uint8)


def _from_chrominance(eight: Picture, layout: Layout) -> Picture:
    """Turn YCbCr into RGB (PS3.3 section C.7.6.3.1.2)."""
    shade, blue, red = (eight[:, :, number].astype(np.float64) for number in range(3))
    blue, red = blue - 128, red - 128
    if layout.photometric.startswith("YBR_PARTIAL"):
        shade, blue, red = (shade - 16) * 255 / 219, blue * 255 / 224, red * 255 / 224
    colours = (shade + 1.402 * red, shade - 0.344136 * blue - 0.714136 * red, shade + 1.772 * blue)
    return np.asarray(np.rint(np.clip(np.dstack(colours), 0, 255)), dtype=np.uint8)
