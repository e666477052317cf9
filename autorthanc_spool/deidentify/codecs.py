"""The packages that decode and show pixels: pydicom imports whichever are installed, wanted or not."""

from __future__ import annotations

import sys
from importlib.util import find_spec

INSTALL = "pip install 'autorthanc-spool[pixels]'"
# Where one ends its process.
BREAKS_DOWN = "compressed pixel data on which the codec breaks down"

# Those of the extra `pixels` that decode, by the module that is imported and the package that holds it.
_DECODING = {"gdcm": "python-gdcm", "jpeg_ls": "pyjpegls", "openjpeg": "pylibjpeg-openjpeg", "numpy": "numpy"}

# numpy for all of them, Pillow, GDCM, the codecs of pylibjpeg, and one that people may have beside them.
PACKAGES = ("numpy", "PIL", "gdcm", "pylibjpeg", "openjpeg", "libjpeg", "rle", "jpeg_ls")


def leave_out() -> None:
    """Keep this process from importing them, which takes time and memory; before pydicom is imported.

    What never decodes a pixel goes on as if they weren't installed.
    """
    for name in PACKAGES:
        if name not in sys.modules:
            # That is how Python knows that there is no such module (its reference, section 5.3.1).
            sys.modules[name] = None  # type: ignore[assignment]


def is_there(module: str) -> bool:
    """Whether a module can be imported."""
    return find_spec(module) is not None


def missing() -> list[str]:
    """Name the packages that decode and aren't installed."""
    return [package for module, package in _DECODING.items() if not is_there(module)]
