"""Pages: images with a patient's name, ID and dates in their pixels, and where these are.

Everything is drawn from a seed: the same seed, the same page. Sizes are those of fonts, in pixels, as programs have
them: capitals are 0.7 of it high, small letters 0.5. Contrast is the ratio of luminances that WCAG defines, between 1
and 21; nineteen of twenty pixels below the text are at least so far from it.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import numpy
import pydicom
from PIL import Image, ImageDraw, ImageFont

from tests.helpers import datasets

FOLDER_OF_FONTS = Path("/usr/share/fonts/truetype")
# From Debian's fonts-dejavu-core, fonts-liberation, fonts-freefont-ttf and fonts-noto-core.
FONTS = (
    *("dejavu/DejaVuSans.ttf", "dejavu/DejaVuSans-Bold.ttf", "dejavu/DejaVuSansMono.ttf", "dejavu/DejaVuSerif.ttf"),
    *("liberation/LiberationSans-Regular.ttf", "liberation/LiberationSans-Bold.ttf"),
    *("liberation/LiberationMono-Regular.ttf", "liberation/LiberationSerif-Regular.ttf"),
    *("freefont/FreeSans.ttf", "freefont/FreeMonoBold.ttf"),
    *("noto/NotoSans-Regular.ttf", "noto/NotoSerif-Regular.ttf"),
)
SIZES_PX = (6, 8, 10, 12, 16, 20, 28, 40)
CONTRASTS = (1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0)

_FAMILY = (
    *("Mueller", "Schmidt", "Kowalska", "Nguyen", "O'Brien", "Garcia", "Petrov", "Tanaka", "Lindqvist", "Abebe"),
    *("Dubois", "Rossi", "Silva", "Haddad", "Novak", "Jansen", "Oyelaran", "Kaya", "Virtanen", "Walker"),
)
_GIVEN = (
    *("Anna", "John", "Maria", "Peter", "Yuki", "Fatima", "Lars", "Chloe", "Ivan", "Amara", "Paulo", "Ingrid"),
    *("Kenji", "Rosa", "David", "Helen"),
)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

# Of an opaque stroke; what is fainter is its soft edge.
_INK = 0.35
# What a device that writes on black draws below its text.
_STRIP = 0.0


@dataclass(frozen=True)
class Person:
    """Whom a page shows, as its header has it."""

    family: str
    given: str
    patient_id: str
    accession: str
    birth: date
    study: date


@dataclass(frozen=True)
class Item:
    """A text in the pixels: what it says and what it is, where it is, and which pixels there are its strokes."""

    text: str
    kind: str
    rows: slice
    columns: slice
    ink: numpy.ndarray[Any, Any] = field(repr=False)


@dataclass(frozen=True)
class Page:
    """An image, its window (center and width; None: it has none), and what is written in it."""

    person: Person
    stored: numpy.ndarray[Any, Any] = field(repr=False)
    bits: int
    photometric: str
    window: tuple[float, float] | None
    items: tuple[Item, ...]
    background: str
    size_px: int
    contrast: float
    rotated: bool


def page(
    seed: int,
    *,
    size_px: int | None = None,
    contrast: float | None = None,
    background: str | None = None,
    rotated: bool | None = None,
    side: int | None = None,
) -> Page:
    """Draw the page of a seed; what is given is not left to chance."""
    dice = numpy.random.default_rng(seed)
    person = _person(dice)
    size = size_px or int(dice.choice(SIZES_PX))
    ratio = contrast or float(dice.choice(CONTRASTS))
    turned = bool(dice.random() < 0.15) if rotated is None else rotated
    kind = background or str(dice.choice(kinds()))
    grey = _background(kind, dice, side)
    if size >= 28 and not side:
        grey = _at_least(grey, 512)
    items = _write(grey, person, size, ratio, turned, dice)
    return _stored(grey, person, items, kind, size, ratio, turned, dice)


def clean(seed: int, kind: str) -> Page:
    """Make an image without any text."""
    dice = numpy.random.default_rng(seed)
    grey = _background(kind, dice)
    return _stored(grey, _person(dice), (), kind, 0, 0.0, False, dice)


def _person(dice: numpy.random.Generator) -> Person:
    digits = "".join(str(one) for one in dice.integers(0, 10, 8))
    birth = date(int(dice.integers(1925, 2015)), int(dice.integers(1, 13)), int(dice.integers(1, 29)))
    study = date(int(dice.integers(2016, 2027)), int(dice.integers(1, 13)), int(dice.integers(1, 29)))
    prefix = str(dice.choice(["", "", "MRN", "P"]))
    accession = f"ACC{int(dice.integers(100000, 999999))}"
    return Person(str(dice.choice(_FAMILY)), str(dice.choice(_GIVEN)), prefix + digits, accession, birth, study)


def dataset(one: Page, **keywords: Any) -> bytes:
    """Make a file of a page."""
    person = one.person
    data: dict[str, Any] = {
        "PatientName": f"{person.family}^{person.given}",
        "PatientID": person.patient_id,
        "AccessionNumber": person.accession,
        "PatientBirthDate": f"{person.birth:%Y%m%d}",
        "StudyDate": f"{person.study:%Y%m%d}",
        "SeriesDate": f"{person.study:%Y%m%d}",
        "Rows": one.stored.shape[0],
        "Columns": one.stored.shape[1],
        "PhotometricInterpretation": one.photometric,
        "BitsAllocated": 8 * one.stored.itemsize,
        "BitsStored": one.bits,
        "HighBit": one.bits - 1,
        "RescaleIntercept": "0",
        "PixelData": one.stored.tobytes() + b"\0" * (one.stored.nbytes % 2),
    }
    if one.window:
        data |= {"WindowCenter": one.window[0], "WindowWidth": one.window[1]}
    return datasets.make_instance(person.patient_id, **(data | keywords))


# What is below the text.


@cache
def _real(kind: str) -> tuple[numpy.ndarray[Any, Any], ...]:
    """Real images as grey of 0 to 255, from pydicom's package and, where it is installed, from that of its data."""
    folders = [Path(pydicom.__file__).parent / "data" / "test_files"]
    try:
        import data_store
    except ImportError:
        pass
    else:
        folders.append(Path(data_store.__file__).parent / "data")
    found = []
    for name in _REAL[kind]:
        path = next((folder / name for folder in folders if (folder / name).exists()), None)
        if path is not None:
            found.extend(_read(path))
    return tuple(found)


# Of an ultrasound image, its middle has no text of its own.
_REAL = {
    "CT": ("CT_small.dcm", "693_UNCI.dcm", "explicit_VR-UN.dcm", "bad_sequence.dcm", "J2K_pixelrep_mismatch.dcm"),
    "MR": ("MR_small.dcm", "MR2_UNCI.dcm", "MR-SIEMENS-DICOM-WithOverlays.dcm", "emri_small.dcm"),
    "CR": ("RG1_UNCI.dcm", "RG3_UNCI.dcm"),
    "US": ("US1_UNCI.dcm",),
}
_MIDDLE = {"US1_UNCI.dcm": (90, 310, 130, 560)}


def _read(path: Path) -> Iterable[numpy.ndarray[Any, Any]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = pydicom.dcmread(path)
        pixels = numpy.asarray(pydicom.pixels.pixel_array(data), "float32")
    samples = 3 if data.SamplesPerPixel == 3 else 1
    frames = pixels.reshape(-1, data.Rows, data.Columns, samples).mean(axis=-1)
    for frame in frames:
        if path.name in _MIDDLE:
            top, bottom, left, right = _MIDDLE[path.name]
            frame = frame[top:bottom, left:right]
        low, high = numpy.percentile(frame, (0.5, 99.5))
        grey = numpy.clip((frame - low) / max(high - low, 1) * 255, 0, 255)
        yield 255 - grey if data.PhotometricInterpretation == "MONOCHROME1" else grey


@cache
def kinds() -> tuple[str, ...]:
    """Name the backgrounds: synthetic ones, and of real ones those that are there."""
    return ("black", "body", "noise", "radiograph", "fan", *(f"real {kind}" for kind in _REAL if _real(kind)))


def _background(kind: str, dice: numpy.random.Generator, wanted: int | None = None) -> numpy.ndarray[Any, Any]:
    if kind.startswith("real "):
        return _varied(_real(kind.removeprefix("real ")), dice, wanted)
    side = wanted or int(dice.choice([384, 512, 512, 512, 640]))
    y, x = numpy.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j].astype("float32")
    if kind == "black":
        return numpy.full((side, side), float(dice.choice([0, 0, 8, 30])), "float32")
    if kind == "noise":
        return numpy.clip(dice.normal(dice.uniform(20, 120), dice.uniform(4, 25), (side, side)), 0, 255).astype("f4")
    if kind == "radiograph":
        grey = (
            60 + 140 * (0.5 + 0.5 * numpy.sin(x * dice.uniform(2, 5) + y * dice.uniform(1, 4))) + 8 * _grain(dice, side)
        )
        return numpy.clip(grey, 0, 255).astype("float32")
    if kind == "fan":
        angle, radius = numpy.arctan2(x, y + 1.05), numpy.hypot(x, y + 1.05)
        inside = (abs(angle) < 0.6) & (radius > 0.2) & (radius < 1.9)
        speckle = dice.rayleigh(45, (side, side)) * (1.2 - 0.5 * radius)
        return numpy.where(inside, numpy.clip(speckle, 0, 255), 0).astype("float32")
    return _body(x, y, side, dice)


def _body(x: Any, y: Any, side: int, dice: numpy.random.Generator) -> numpy.ndarray[Any, Any]:
    """Draw ellipses within ellipses, with grain: what a slice of a trunk or head looks like to a detector."""
    grey = numpy.zeros((side, side), "float32")
    a, b = dice.uniform(0.55, 0.95), dice.uniform(0.5, 0.9)
    grey[(x / a) ** 2 + (y / b) ** 2 < 1] = dice.uniform(60, 140)
    for _ in range(int(dice.integers(6, 30))):
        cx, cy = dice.uniform(-0.5, 0.5, 2)
        rx, ry = dice.uniform(0.02, 0.3, 2)
        inside = ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 < 1
        grey[inside & (grey > 0)] = dice.uniform(10, 240)
    return numpy.clip(grey + dice.uniform(1, 8) * _grain(dice, side), 0, 255).astype("float32")


def _grain(dice: numpy.random.Generator, side: int) -> numpy.ndarray[Any, Any]:
    return dice.normal(0, 1, (side, side)).astype("float32")


def _varied(
    images: Sequence[numpy.ndarray[Any, Any]], dice: numpy.random.Generator, wanted: int | None
) -> numpy.ndarray[Any, Any]:
    """Cut, turn, stretch and window a real image as others of its kind would be."""
    image = images[int(dice.integers(len(images)))]
    rows, columns = image.shape
    if min(rows, columns) >= 300:
        share = dice.uniform(0.6, 1)
        height, width = int(rows * share), int(columns * share)
        top, left = int(dice.integers(rows - height + 1)), int(dice.integers(columns - width + 1))
        image = image[top : top + height, left : left + width]
    side = wanted or int(dice.choice([384, 512, 512, 640]))
    scale = side / max(image.shape)
    size = (max(round(image.shape[1] * scale), 256), max(round(image.shape[0] * scale), 256))
    image = numpy.asarray(Image.fromarray(image.astype("float32")).resize(size, Image.Resampling.BICUBIC))
    image = numpy.rot90(image, int(dice.integers(4)))
    if dice.random() < 0.5:
        image = image[:, ::-1]
    gain, offset = dice.uniform(0.7, 1.5), dice.uniform(-30, 30)
    return numpy.clip(image * gain + offset, 0, 255).astype("float32").copy()


def _at_least(grey: numpy.ndarray[Any, Any], side: int) -> numpy.ndarray[Any, Any]:
    height, width = (max(one, side) for one in grey.shape)
    if (height, width) == grey.shape:
        return grey
    return numpy.asarray(Image.fromarray(grey).resize((width, height), Image.Resampling.BICUBIC)).copy()


# What is written.


def texts(person: Person, dice: numpy.random.Generator) -> list[tuple[str, str]]:
    """Write what a header says, as devices do: the kind of each text, and the text."""
    family, given = person.family, person.given
    name = dice.choice(
        [
            f"{family.upper()}^{given.upper()}",
            f"{family}, {given}",
            f"{given} {family}",
            f"{family.upper()} {given.upper()}",
        ]
    )
    identifier = dice.choice([person.patient_id, f"ID: {person.patient_id}", f"ID {person.patient_id}"])
    label = str(dice.choice(["", "", "DOB ", "*"]))
    found = [("name", str(name)), ("id", str(identifier)), ("birth", label + _day(person.birth, dice))]
    found.append(("study", _day(person.study, dice)))
    if dice.random() < 0.4:
        found.append(("accession", person.accession))
    return found


def _day(day: date, dice: numpy.random.Generator) -> str:
    month = _MONTHS[day.month - 1]
    forms = (f"{day:%Y-%m-%d}", f"{day:%d.%m.%Y}", f"{day:%m/%d/%Y}", f"{day:%d/%m/%Y}", f"{day:%Y%m%d}")
    return str(dice.choice([*forms, f"{day.day:02} {month} {day.year}", f"{month} {day.day}, {day.year}"]))


def _write(
    grey: numpy.ndarray[Any, Any], person: Person, size: int, ratio: float, turned: bool, dice: numpy.random.Generator
) -> tuple[Item, ...]:
    font = ImageFont.truetype(str(FOLDER_OF_FONTS / str(dice.choice(FONTS))), size)
    is_soft = bool(dice.random() < 0.6)
    quarter = int(dice.choice([1, 3])) if turned else 0
    taken = numpy.zeros(grey.shape, bool)
    items = []
    for kind, text in texts(person, dice):
        alpha = numpy.rot90(_drawn(text, font, is_soft), quarter)
        place = _place(alpha.shape, taken, dice)
        if place is None:
            continue
        rows, columns = place
        taken[max(rows.start - 4, 0) : rows.stop + 4, max(columns.start - 4, 0) : columns.stop + 4] = True
        below = grey[rows, columns]
        tone = _tone(below, ratio, dice)
        if tone is None:
            below[:] = _STRIP
            tone = _tone(below, ratio, dice)
            assert tone is not None
        below += alpha * (tone - below)
        items.append(Item(text, kind, rows, columns, alpha > _INK))
    return tuple(items)


def _drawn(text: str, font: ImageFont.FreeTypeFont, is_soft: bool) -> numpy.ndarray[Any, Any]:
    left, top, right, bottom = font.getbbox(text)
    image = Image.new("L", (int(right - left) + 2, int(bottom - top) + 2))
    draw = ImageDraw.Draw(image)
    draw.fontmode = "L" if is_soft else "1"
    draw.text((1 - left, 1 - top), text, fill=255, font=font)
    return numpy.asarray(image, "float32") / 255


def _place(
    shape: tuple[int, int], taken: numpy.ndarray[Any, Any], dice: numpy.random.Generator
) -> tuple[slice, slice] | None:
    """Find a free place: half of the time at an edge, as most devices do."""
    free = [have - need for have, need in zip(taken.shape, shape, strict=True)]
    if min(free) < 0:
        return None
    for _ in range(60):
        top, left = (int(dice.integers(0, one + 1)) for one in free)
        if dice.random() < 0.5:
            gap = int(dice.choice([0, 1, 2, 4, 10]))
            left = int(dice.choice([min(gap, free[1]), max(free[1] - gap, 0)]))
        if dice.random() < 0.3:
            top = int(dice.choice([0, free[0]]))
        rows, columns = slice(top, top + shape[0]), slice(left, left + shape[1])
        if not taken[rows, columns].any():
            return rows, columns
    return None


def _luminance(grey: float) -> float:
    level = grey / 255
    return level / 12.92 if level <= 0.04045 else float(((level + 0.055) / 1.055) ** 2.4)


def _level(luminance: float) -> float | None:
    if not 0 <= luminance <= 1:
        return None
    level = 12.92 * luminance if luminance <= 0.0031308 else 1.055 * luminance ** (1 / 2.4) - 0.055
    return float(level * 255)


def _tone(below: numpy.ndarray[Any, Any], ratio: float, dice: numpy.random.Generator) -> float | None:
    """The grey of a text that stands out by a ratio, brighter or darker; None where there is none."""
    dark, bright = (_luminance(float(one)) + 0.05 for one in numpy.percentile(below, (5, 95)))
    tones = [_level(bright * ratio - 0.05), _level(dark / ratio - 0.05)]
    possible = [one for one in tones if one is not None]
    return possible[int(dice.integers(len(possible)))] if possible else None


# How it is stored.


def _stored(
    grey: numpy.ndarray[Any, Any],
    person: Person,
    items: tuple[Item, ...],
    background: str,
    size: int,
    ratio: float,
    turned: bool,
    dice: numpy.random.Generator,
) -> Page:
    bits = int(dice.choice([8, 12, 16]))
    photometric = str(dice.choice(["MONOCHROME2", "MONOCHROME2", "MONOCHROME1"]))
    shown = 255 - grey if photometric == "MONOCHROME1" else grey
    window = None
    if bits == 8:
        stored = numpy.rint(shown).astype("uint8")
    else:
        top = 2**bits - 1
        width = int(dice.integers(255, top // 2))
        low = int(dice.integers(0, top - width))
        stored = numpy.rint(low + shown / 255 * width).astype("uint16")
        window = (low + width / 2, float(width))
    return Page(person, stored, bits, photometric, window, items, background, size, ratio, turned)
