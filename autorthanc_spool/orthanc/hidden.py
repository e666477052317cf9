"""Values that Orthanc has, and leaves out of its lists of tags: read from the stored file.

Tried on 1.10.1: ``/tags?short`` gives null for a value of more than 256 characters, whatever its VR
("TooLong"), and for what Orthanc doesn't take for text: OB, OW, UN, and all private elements of an Implicit VR file
("Null"). ``/content`` gives bytes without their VR, character set, and byte order, so the file itself is asked.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import replace
from typing import Any

from autorthanc_spool.core.dicom import Instance, Resource, Series
from autorthanc_spool.orthanc.answers import first_instance
from autorthanc_spool.orthanc.client import Orthanc
from autorthanc_spool.orthanc.transfer import Transfer

# Text comes before the pixels. What is longer than this before them is nothing that anybody looks for a word in.
HEAD_BYTES = 16 * 1024 * 1024
# Most files hold all that is asked of them before this.
_FIRST_LOOK_BYTES = 64 * 1024
_BEFORE_PIXELS = 0x7FDFFFFF

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


def head_and_texts(chunks: Iterator[bytes], tags: Collection[str]) -> tuple[bytes, Mapping[str, str]]:
    """Read a DICOM file as far as these tags (``gggg,eeee``) go: what was read of it, and their text.

    What it hasn't within `HEAD_BYTES`, or is not text, is empty.
    """
    data, wanted_bytes = bytearray(), _FIRST_LOOK_BYTES
    for chunk in chunks:
        data += chunk
        if wanted_bytes <= len(data) < HEAD_BYTES:
            found, is_all = _read(bytes(data), tags)
            if is_all:
                return bytes(data), found
            wanted_bytes = 4 * len(data)
        if len(data) >= HEAD_BYTES:
            break
    return bytes(data), _read(bytes(data), tags)[0]


def _read(data: bytes, tags: Iterable[str]) -> tuple[Mapping[str, str], bool]:
    """Read tags, and return whether `data` goes beyond the last of them."""
    # Most runs never need it, and it takes long to import.
    from pydicom.filereader import read_partial

    numbers = {tag: int(tag.replace(",", ""), 16) for tag in tags}
    creators = [number & 0xFFFF0000 | number >> 8 & 0xFF for number in numbers.values() if number >> 16 & 1]
    last = min(max(numbers.values(), default=0), _BEFORE_PIXELS)
    found, is_all = dict.fromkeys(numbers, ""), False

    def is_beyond(tag: int, *_: Any) -> bool:
        nonlocal is_all
        is_all = tag > last
        return is_all

    with warnings.catch_warnings():
        # They would show the value.
        warnings.simplefilter("ignore")
        # A file that Orthanc could read and pydicom can't has no text for us: so it was before it was asked.
        with suppress(Exception):
            asked: list[Any] = [*numbers.values(), *creators]
            dataset = read_partial(io.BytesIO(data), is_beyond, force=True, specific_tags=asked)
            for tag, number in numbers.items():
                found[tag] = _text_in(dataset, number)
    return found, is_all


def _text_in(dataset: Any, number: int) -> str:
    with suppress(Exception):
        return text_of(dataset[number])
    with suppress(Exception):
        # What pydicom refuses to convert, a number with a unit for example, is taken as it is written.
        return _plain(dataset.get_item(number).value)
    return ""


def _with_texts(orthanc: Orthanc, instance: Instance | None, series: Series, tags: list[str]) -> Series:
    read = _texts_of(orthanc, instance, tags) if instance else dict.fromkeys(tags, "")
    return replace(series, first_instance_tags={**(series.first_instance_tags or {}), **read})


def _texts_of(orthanc: Orthanc, instance: Instance, tags: list[str]) -> Mapping[str, str]:
    # A part has no MD5 of its own, and what is exported is compared when it is fetched.
    transfer = Transfer(orthanc, instance, verify_md5=False)
    with closing(iter(transfer)) as chunks:
        return head_and_texts(chunks, tags)[1]


def text_of(element: Any) -> str:
    """The value of a data element of pydicom as Orthanc lists it; "" for what is not text."""
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
