"""Others that find text in pictures, for `benchmarks.pixels`: those that are installed and fetch nothing.

Not among them: presidio-image-redactor, whose recogniser is tesseract, and which needs a language model that no package
carries; deid, whose cleaner blacks out what recipes say about devices, and finds nothing by itself.
"""

from __future__ import annotations

import io
import os
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import numpy
from PIL import Image

Boxes = list[tuple[int, int, int, int]]
Finder = Callable[[Any], Boxes]

# Letters of less than 20 pixels are too small for tesseract.
_ENLARGED = 3


def found() -> Iterator[tuple[str, Finder]]:
    """Give each by its name; boxes are top, left, bottom, right."""
    yield "tesseract", _tesseract
    yield "rapidocr's own way", _rapidocr()
    if (easy := _easyocr()) is not None:
        yield "EasyOCR", easy


def _tesseract(shown: Any) -> Boxes:
    image = Image.fromarray(shown)
    stream = io.BytesIO()
    image.resize((image.width * _ENLARGED, image.height * _ENLARGED), Image.Resampling.BICUBIC).save(stream, "PNG")
    command = ["tesseract", "stdin", "stdout", "--psm", "11", "tsv"]
    one_thread = {**os.environ, "OMP_THREAD_LIMIT": "1"}
    done = subprocess.run(command, input=stream.getvalue(), capture_output=True, check=True, env=one_thread)
    rows = [row.split("\t") for row in done.stdout.decode().splitlines()[1:]]
    # Level, page, block, paragraph, line, word, left, top, width, height, confidence, text.
    words = [[int(one) for one in row[6:10]] for row in rows if row[0] == "5" and row[11].strip()]
    return [
        (top // _ENLARGED, left // _ENLARGED, (top + height) // _ENLARGED + 1, (left + width) // _ENLARGED + 1)
        for left, top, width, height in words
    ]


def _rapidocr() -> Finder:
    from rapidocr import RapidOCR

    settings = {"Global.log_level": "error", "EngineConfig.onnxruntime.intra_op_num_threads": 1}
    engine = RapidOCR(params=settings)

    def find(shown: Any) -> Boxes:
        boxes = engine(numpy.stack([shown] * 3, axis=-1)).boxes
        return [] if boxes is None else [_around(one) for one in boxes]

    return find


def _easyocr() -> Finder | None:
    try:
        import easyocr
        import easyocr_en_models
    except ImportError:
        return None
    folder = os.path.join(os.path.dirname(easyocr_en_models.__file__), "models")  # noqa: PTH118, PTH120
    reader = easyocr.Reader(["en"], gpu=False, model_storage_directory=folder, download_enabled=False, verbose=False)
    return lambda shown: [_around(numpy.array(box)) for box, _, _ in reader.readtext(shown)]


def _around(corners: Any) -> tuple[int, int, int, int]:
    left, top = numpy.floor(corners.min(axis=0)).astype(int)
    right, bottom = numpy.ceil(corners.max(axis=0)).astype(int)
    return max(int(top), 0), max(int(left), 0), int(bottom), int(right)
