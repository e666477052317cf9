"""What tesseract reads of a page: a second recogniser, which shares nothing with the one that blacks text out."""

from __future__ import annotations

import io
import os
import re
import subprocess
from typing import Any

import numpy
import pydicom
from PIL import Image

from tests.helpers.pages import Page

# Letters of less than 20 pixels are too small for tesseract.
_ENLARGED = 3
_SHORTEST = 4


def picture(data: bytes) -> numpy.ndarray[Any, Any]:
    """Show a file as its window says."""
    image = pydicom.dcmread(io.BytesIO(data))
    values = image.pixel_array.astype("float64")
    if "WindowWidth" in image:
        low, width = image.WindowCenter - image.WindowWidth / 2, image.WindowWidth
        values = (values - low) / width * 255
    shown = numpy.clip(numpy.rint(values), 0, 255).astype("uint8")
    return 255 - shown if image.PhotometricInterpretation == "MONOCHROME1" else shown


def tesseract(shown: numpy.ndarray[Any, Any], *, rotated: bool = False) -> str:
    """Read all that can be read of a picture; of one with rotated text, turned either way."""
    return "\n".join(_tesseract(numpy.rot90(shown, turns)) for turns in ((1, 3) if rotated else (0,)))


def _tesseract(shown: numpy.ndarray[Any, Any]) -> str:
    image = Image.fromarray(numpy.ascontiguousarray(shown))
    size = (image.width * _ENLARGED, image.height * _ENLARGED)
    stream = io.BytesIO()
    image.resize(size, Image.Resampling.BICUBIC).save(stream, "PNG", compress_level=1)
    # 11: sparse text, in no order.
    command = ["tesseract", "stdin", "stdout", "--psm", "11"]
    one_thread = {**os.environ, "OMP_THREAD_LIMIT": "1"}
    done = subprocess.run(command, input=stream.getvalue(), capture_output=True, check=True, env=one_thread)
    return done.stdout.decode()


def readable(page: Page, text: str) -> list[str]:
    """Name the texts of a page that are in what was read: its kinds."""
    # In speckle, tesseract sees letters: four of them in a row, across its words, are nobody's name.
    joined, words_read = _plain(text), [_plain(word) for word in text.split()]
    found = []
    for item in page.items:
        words = [_plain(word) for word in re.split(r"[\s^,]+", item.text)]
        whole = _plain(item.text.removeprefix("ID").removeprefix("DOB"))
        parts = [word for word in words if item.kind == "name" and len(word) >= _SHORTEST]
        if whole in joined or any(part in read for part in parts for read in words_read):
            found.append(item.kind)
    return found


def _plain(text: str) -> str:
    return re.sub(r"[\W_]", "", text).casefold()
