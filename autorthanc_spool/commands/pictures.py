"""Pictures of images before and after, for `pixels` and `preview`; needs the extra `pixels`."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageDraw

from autorthanc_spool.core.errors import UsageError
from autorthanc_spool.deidentify.inspection import Inspection
from autorthanc_spool.deidentify.shown import Picture
from autorthanc_spool.disk import mounts

_GAP_PX = 8
# A colour that is in no image, beside black and white ones.
_BETWEEN = (90, 60, 120)
_THUMBNAIL_PX = 240
_MOST_BYTES_OF_NAME = 200


def side_by_side(inspection: Inspection, number: int) -> Image.Image:
    """Show a frame as it is, and as it would leave; nothing on the right where it is withheld."""
    left = _image(inspection.before(number))
    both = Image.new("RGB", (2 * left.width + _GAP_PX, left.height), _BETWEEN)
    both.paste(left, (0, 0))
    at = left.width + _GAP_PX
    if inspection.is_withheld:
        ImageDraw.Draw(both).text((at + _GAP_PX, _GAP_PX), "this file is withheld", fill="white")
    else:
        both.paste(_image(inspection.after(number)), (at, 0))
    return both


def thumbnail(inspection: Inspection) -> str:
    """Show the middle frame as it would leave, small, as a PNG in Base64."""
    assert inspection.frames is not None
    image = _image(inspection.after(inspection.frames.count // 2))
    image.thumbnail((_THUMBNAIL_PX, _THUMBNAIL_PX))
    out = io.BytesIO()
    image.save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode()


def _image(shown: Picture) -> Image.Image:
    return Image.fromarray(shown).convert("RGB")


class PictureFolder:
    """Where the PNGs go; nothing there is replaced."""

    def __init__(self, folder: Path, output: Path) -> None:
        self._folder = folder
        if mounts.real(folder).is_relative_to(mounts.real(output)):
            raise UsageError(f"--out {folder}: that is in the output, where pipelines look; name another folder")
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise UsageError(f"--out {folder}: it can't be made: {error.strerror}") from None

    def add(self, path: Path, inspection: Inspection) -> Iterator[Path]:
        """Write the first, the middle and the last frame of an image, and give the files' names."""
        frames = inspection.frames
        if frames is None:
            return
        for number in sorted({0, frames.count // 2, frames.count - 1}):
            suffix = f".{number + 1}" if frames.count > 1 else ""
            # A name may have 255 bytes, with what is put behind it.
            stem = os.fsdecode(os.fsencode(path.stem)[:_MOST_BYTES_OF_NAME])
            target = self._free(f"{stem}{suffix}")
            side_by_side(inspection, number).save(target)
            yield target

    def _free(self, name: str) -> Path:
        candidates = (f"{name}{more}.png" for more in ("", *(f"-{number}" for number in range(2, 100_000))))
        return next(path for path in map(self._folder.joinpath, candidates) if not os.path.lexists(path))
