"""What a data set's top level says about itself: whose it is, what it is, how large its pixels are."""

from __future__ import annotations

import re
import unicodedata
from datetime import date

from autorthanc_spool.deidentify import dates, text
from autorthanc_spool.deidentify.elements import NO_VR, DataSet, Element, tag_text
from autorthanc_spool.deidentify.errors import Malformed
from autorthanc_spool.deidentify.policy import CHARACTER_SET, PATIENT_ID
from autorthanc_spool.deidentify.pseudonym import Patient, is_uid
from autorthanc_spool.deidentify.reader import known_vr

SOP_CLASS = 0x00080016
SOP_INSTANCE = 0x00080018
STUDY_INSTANCE = 0x0020000D
SERIES_INSTANCE = 0x0020000E
_ISSUER_OF_PATIENT_ID = 0x00100021

# The attributes without which a file is not an instance of anything (PS3.4 annex B, type 1 in every image).
_IDENTITY = {
    SOP_CLASS: "SOPClassUID",
    SOP_INSTANCE: "SOPInstanceUID",
    STUDY_INSTANCE: "StudyInstanceUID",
    SERIES_INSTANCE: "SeriesInstanceUID",
}

# Of these, the VR must be known: without them, a file is not an instance, or its pixels can't be read. NumberOfFrames,
# SamplesPerPixel, PhotometricInterpretation, PlanarConfiguration, Rows, Columns, BitsAllocated, BitsStored, HighBit,
# PixelRepresentation, and pixel data.
_ESSENTIAL = (
    *_IDENTITY,
    *(0x00280000 | number for number in (0x02, 0x04, 0x06, 0x08, 0x10, 0x11, 0x100, 0x101, 0x102, 0x103)),
    *(0x7FE00008, 0x7FE00009, 0x7FE00010),
)

# PatientBirthDate, PatientBirthDateInAlternativeCalendar
_BIRTH_DATES = (0x00100030, 0x00100033)

# What describes a picture or holds one: Rows, Columns, and pixel data.
_PICTURE = (0x00280010, 0x00280011, 0x7FE00008, 0x7FE00009, 0x7FE00010)


def folded(text: str) -> str:
    """Fold text for comparing: in capitals, without accents, in the usual width."""
    # A NUL between all letters is what UTF-16 looks like where no character set says so.
    text = text.replace("\0", "").upper()
    if text.isascii():
        return text
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(one for one in decomposed if not unicodedata.combining(one)).upper()


class Facts:
    """Reads single values of the top level."""

    def __init__(self, buffer: memoryview, data_set: DataSet) -> None:
        self._buffer = buffer
        self._elements = {element.tag: element for element in data_set.elements}
        self.encoding = data_set.encoding
        self._folded: dict[int, str] = {}
        # Of elements that aren't in order, none shows that the file is there up to its tag.
        self.last_tag = data_set.elements[-1].tag if data_set.elements and not data_set.reordered else 0
        self.character_sets: text.CharacterSets = text.DEFAULT
        named = self.value(CHARACTER_SET)
        if named:
            self.character_sets = text.character_sets(named)

    def element(self, tag: int) -> Element | None:
        """Find an element."""
        return self._elements.get(tag)

    @property
    def has_picture(self) -> bool:
        """Whether there are pixels, or anything says so; raw data, registrations and annotations have none."""
        return any(tag in self._elements for tag in _PICTURE)

    def value(self, tag: int) -> bytes:
        """The bytes of a value; none when it is absent or a sequence."""
        element = self._elements.get(tag)
        if element is None or element.items is not None or element.fragments is not None:
            return b""
        return bytes(self._buffer[element.value : element.end])

    def text(self, tag: int) -> str:
        """A value as text, without padding."""
        return text.decoded(self.value(tag), self.character_sets).strip(" \0")

    def uid(self, tag: int) -> str:
        """A UID, without padding; no character set holds for it, also where something else is in its place."""
        return self.value(tag).decode("latin-1").strip(" \0")

    def words(self, tag: int) -> list[str]:
        """The values of an element as stripped text in capitals."""
        return [word.strip(" \0").upper() for word in self.text(tag).split("\\")]

    def folded(self, tag: int) -> str:
        """A value as text to compare, whatever its case, accents and width; several values are parted by ``\\``."""
        text = self._folded.get(tag)
        if text is None:
            text = self._folded[tag] = folded(self.text(tag)) if tag in self._elements else ""
        return text

    def has_text(self, tag: int) -> bool:
        """Whether there is a value that isn't all padding and separators."""
        return bool(self.value(tag).strip(b" \0\\"))

    def quantity(self, tag: int) -> float | None:
        """The first value as a number, be it binary (VR US) or text (VR DS or IS); None when it isn't one."""
        if known_vr(tag) == "US":
            return self.number(tag)
        try:
            return float(self.text(tag).split("\\")[0])
        except ValueError:
            return None

    def number(self, tag: int) -> int | None:
        """A value of VR US; None when it is absent or of another size."""
        value = self.value(tag)
        return int(self.encoding.short.unpack(value)[0]) if len(value) == 2 else None

    def patient(self) -> Patient:
        """Whom this is about."""
        return Patient(self.text(PATIENT_ID), self.text(_ISSUER_OF_PATIENT_ID), self.text(STUDY_INSTANCE))

    def born(self) -> frozenset[date]:
        """The patient's day of birth, also in another calendar, where it is written as dates are."""
        texts = [self.text(tag) for tag in _BIRTH_DATES]
        squeezed = [re.sub(r"[-./ ]", "", one) for one in texts]
        return frozenset(day for one in (*texts, *squeezed) for day in dates.days_in(one))

    def check_identity(self) -> None:
        """Raise Malformed when the file doesn't say what it is."""
        missing = [keyword for tag, keyword in _IDENTITY.items() if not self.text(tag)]
        if missing:
            raise Malformed(f"the file has no {' and no '.join(missing)}, so it is not an image or document of a study")
        if not is_uid(self.text(SOP_CLASS)):
            raise Malformed("the file's SOPClassUID is not a UID")
        for tag in _ESSENTIAL:
            element = self.element(tag)
            if element is not None and element.vr == NO_VR:
                raise Malformed(f"{tag_text(tag)}, which the file can't do without, has no known value representation")
