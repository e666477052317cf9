"""Codecs that end their process: tried in another one first, by commands that must go on after any file."""

from __future__ import annotations

import os
import resource

from autorthanc_spool.deidentify.codecs import BREAKS_DOWN
from autorthanc_spool.deidentify.container import open_container
from autorthanc_spool.deidentify.errors import Malformed
from autorthanc_spool.deidentify.facts import Facts
from autorthanc_spool.deidentify.image import Image
from autorthanc_spool.deidentify.pixels import clean_pixels
from autorthanc_spool.deidentify.reader import Reader


def check_codec(data: memoryview) -> None:
    """Decode the frames of a file in a process that may end over it. Raises Malformed when it does.

    Whatever else is wrong with the file is said by who looks at it next.
    """
    child = os.fork()
    if child:
        if os.WIFSIGNALED(os.waitpid(child, 0)[1]):
            raise Malformed(f"{BREAKS_DOWN}; it is withheld where it must be decoded")
        return
    try:
        # A codec in C says on its own why it ends, and leaves a core.
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        _decode(data)
    finally:
        os._exit(0)


def _decode(data: memoryview) -> None:
    syntax, buffer, start = open_container(data)
    facts = Facts(buffer, Reader(buffer).data_set(start, syntax.encoding))
    image = Image(facts, buffer, syntax)
    if syntax.is_encapsulated and image.pixel_data is not None:
        image.frames(clean_pixels(facts, syntax, buffer))
