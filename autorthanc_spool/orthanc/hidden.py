"""Values that Orthanc has, and leaves out of its lists of tags: read from the stored file.

Tried on 1.10.1: ``/tags?short`` gives null for a value of more than 256 characters, whatever its VR
("TooLong"), and for what Orthanc doesn't take for text: OB, OW, UN, and all private elements of an Implicit VR file
("Null"). ``/content`` gives bytes without their VR, character set, and byte order, so the file itself is asked.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable, Mapping
from contextlib import closing, suppress
from dataclasses import replace
from typing import Any

from autorthanc_spool.core.dicom import Instance, Resource, Series
from autorthanc_spool.orthanc.answers import first_instance
from autorthanc_spool.orthanc.client import Orthanc
from autorthanc_spool.orthanc.transfer import Transfer

# Text stands before the pixels. What is longer than this before them is nothing that anybody looks for a word in.
HEAD_BYTES = 16 * 1024 * 1024

_PADDING = b" \0"
_LINE_BREAKS = str.maketrans("", "", "\t\n\f\r")


def with_hidden(orthanc: Orthanc, resource: Resource, wanted: frozenset[tuple[str, str]]) -> Resource:
    """Give series the values of their first instance that Orthanc hides; `wanted` are pairs of series ID and tag.

    What is not text, sequences for example, counts as empty. Raises InstanceError.
    """
    series = tuple(
        _with_texts(orthanc, first_instance(resource, one.resource_id), one, tags)
        if (tags := [tag for series_id, tag in sorted(wanted) if series_id == one.resource_id])
        else one
        for one in resource.series
    )
    return replace(resource, series=series)


def texts(data: bytes, tags: Iterable[str]) -> Mapping[str, str]:
    """Read tags (``gggg,eeee``) from the beginning of a DICOM file; what it hasn't, or is not text, is empty."""
    # Most runs never need it, and it takes long to import.
    from pydicom import dcmread

    numbers = {tag: int(tag.replace(",", ""), 16) for tag in tags}
    creators = [number & 0xFFFF0000 | number >> 8 & 0xFF for number in numbers.values() if number >> 16 & 1]
    found = dict.fromkeys(numbers, "")
    with warnings.catch_warnings():
        # They would show the value.
        warnings.simplefilter("ignore")
        # A file that Orthanc could read and pydicom can't has no text for us: so it was before it was asked.
        with suppress(Exception):
            asked: list[Any] = [*numbers.values(), *creators]
            dataset = dcmread(io.BytesIO(data), stop_before_pixels=True, specific_tags=asked, force=True)
            for tag, number in numbers.items():
                with suppress(Exception):
                    found[tag] = _text(dataset[number])
    return found


def _with_texts(orthanc: Orthanc, instance: Instance | None, series: Series, tags: list[str]) -> Series:
    read = texts(_head(orthanc, instance), tags) if instance else dict.fromkeys(tags, "")
    return replace(series, first_instance_tags={**(series.first_instance_tags or {}), **read})


def _head(orthanc: Orthanc, instance: Instance) -> bytes:
    # A part has no MD5 of its own, and what is exported is compared when it is fetched.
    transfer = Transfer(orthanc, instance, verify_md5=False)
    data = bytearray()
    with closing(iter(transfer)) as chunks:
        for chunk in chunks:
            data += chunk
            if len(data) >= HEAD_BYTES:
                break
    return bytes(data)


def _text(element: Any) -> str:
    value = element.value
    if isinstance(value, bytes):
        return _plain(value) if element.VR == "UN" else ""
    if value is None or element.VR == "SQ":
        return ""
    several = not isinstance(value, str) and element.VM > 1
    return "\\".join(str(one) for one in value) if several else str(value)


def _plain(value: bytes) -> str:
    """Take bytes of an unknown VR for text, if that is what they are."""
    stripped = value.rstrip(_PADDING)
    try:
        text = stripped.decode()
    except UnicodeDecodeError:
        text = stripped.decode("latin-1")
    return text if text.translate(_LINE_BREAKS).isprintable() else ""
