"""What happens to an attribute, by its tag and value representation, under one profile.

Table E.1-1 decides about what it lists. It doesn't list everything: attributes that aren't listed stay, except those
that DICOM doesn't know and those that can hold a name, an instant, an address or other opaque content.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from typing import NamedTuple

from pydicom.datadict import keyword_for_tag

from autorthanc_spool.deidentify.concepts import MEASURED_VALUE, NUMERIC_VALUE, OTHER_NUMBERS, About
from autorthanc_spool.deidentify.reader import known_vr
from autorthanc_spool.deidentify.table import Code, Row, table
from autorthanc_spool.rules.model import AnonymiseOptions, Keep


class Verdict(Enum):
    """What is done with one element."""

    KEEP = auto()
    REMOVE = auto()
    EMPTY = auto()
    DUMMY = auto()
    PSEUDONYM = auto()
    NEW_UID = auto()
    DATE = auto()
    DATE_UNLESS_BIRTH = auto()
    ZONE = auto()
    AGE = auto()
    KIND = auto()
    NUMBER = auto()
    BINARY = auto()
    BINARY_NUMBERS = auto()
    PROFILE = auto()
    CLEAN = auto()
    TEXT = auto()
    WORD = auto()
    MASK = auto()
    WALK = auto()
    WALK_CLEANING = auto()
    REFERENCES = auto()


class Decision(NamedTuple):
    """A verdict, and the one that holds where the value turns out to be unreadable or to hold an identity."""

    verdict: Verdict
    otherwise: Verdict = Verdict.REMOVE


KEEP = Decision(Verdict.KEEP)
REMOVE = Decision(Verdict.REMOVE)

CHARACTER_SET = 0x00080005
TIMEZONE = 0x00080201
REFERENCED_STUDY = 0x00081110
PATIENT_NAME = 0x00100010
PATIENT_ID = 0x00100020
TEXT_VALUE = 0x0040A160
_ICC_PROFILE = 0x00282000

_INSTANTS = frozenset({"DA", "DT", "TM"})

# Listed instants that can mean anything: DateTime and Date of content items, SelectorDAValue, SelectorDTValue.
_ANY_INSTANT = frozenset({0x0040A120, 0x0040A121, 0x00720061, 0x00720063})

# What a content item can hold about its patient, and what is left of it where it goes. MeasuredValueSequence may be
# empty (PS3.3 table C.18.1-1), which is better than a wrong number; the others may not.
_CONTENT: Mapping[int, Verdict] = {
    0x0040A120: Verdict.DUMMY,  # DateTime
    0x0040A121: Verdict.DUMMY,  # Date
    0x0040A122: Verdict.DUMMY,  # Time
    TEXT_VALUE: Verdict.DUMMY,
    0x0040A168: Verdict.DUMMY,  # ConceptCodeSequence
    MEASURED_VALUE: Verdict.EMPTY,
    NUMERIC_VALUE: Verdict.DUMMY,
    **dict.fromkeys(OTHER_NUMBERS, Verdict.REMOVE),
}

# What an identity can be written into in words. CS, AS, DS and IS are narrower.
_TEXTS = frozenset({"LO", "LT", "SH", "ST", "UC", "UT"})
_NUMBERS = frozenset({"DS", "IS"})
_BINARY_NUMBERS = frozenset({"AT", "FD", "FL", "OD", "OF", "OL", "OV", "OW", "SL", "SS", "SV", "UL", "US", "UV"})

# Bytes that nobody can look into.
_OPAQUE = frozenset({"OB", "UN"})

# Unlisted attributes of VR OB that are data of an image or a waveform.
_OPAQUE_DATA = frozenset(
    {"WaveformData", "ChannelMinimumValue", "ChannelMaximumValue", "WaveformPaddingValue"}
    | {"FillPattern", "WeightingLookupTableData"}
)
# Numbers in one run of bytes, in which, or behind which, words can be.
_RUNS = frozenset({"OD", "OF", "OL", "OV", "OW"})
# What is in them is looked at where pixels are.
_PIXELS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})

# Sequences of references (ReferencedPerformedProcedureStepSequence), whose new UIDs make a dummy that is still right.
_REFERENCES = frozenset({0x00081111})

# Attributes that the table doesn't list although they can identify, each for its reason.
_NOT_LISTED = frozenset(
    {
        # PatientBirthDateInAlternativeCalendar, PatientDeathDateInAlternativeCalendar
        0x00100033,
        0x00100034,
        # Orders and reports in the hospital's systems: Placer- and FillerOrderNumberProcedure, …ImagingServiceRequest-
        # Retired, HL7InstanceIdentifier
        0x00401006,
        0x00401007,
        0x00402006,
        0x00402007,
        0x0040E001,
        # Who gave numbers that are gone: IssuerOfAccessionNumberSequence, IssuerOfPatientIDQualifiersSequence,
        # OrderPlacer- and OrderFillerIdentifierSequence
        0x00080051,
        0x00100024,
        0x00400026,
        0x00400027,
        # CommentsOnTheScheduledProcedureStep, CommentsOnPatientPerformanceOfVisualField
        0x00400400,
        0x00240044,
        # ContactDisplayName
        0x0074100C,
        # EncryptedAttributesSequence (the original, for those who hold its key), MACParametersSequence (of signatures
        # that no longer hold)
        0x04000500,
        0x4FFE0001,
        # LengthToEnd, of a file that has another length now
        0x00080001,
        # PrivateDataElementCharacteristicsSequence names private elements that are gone.
        0x00080300,
    }
)

# Of attributes with an address as value, those that name a code and no place.
_HARMLESS_ADDRESSES = frozenset({"CodingSchemeURL", "URNCodeValue"})

# Unlisted UIDs that name a kind and no thing. Beside the registered ones there are private ones, of manufacturers.
_KINDS = frozenset({"CodingSchemeUID", "ContextUID", "MappingResourceUID", "CreatorVersionUID"})
_KINDS_BY_PART = ("SOPClass", "TransferSyntaxUID")


class Policy:
    """Decides by tag and VR; decisions are remembered, as files of a study ask the same again and again."""

    def __init__(self, options: AnonymiseOptions) -> None:
        self._options = options
        self._dates = bool({Keep.MODIFIED_DATES, Keep.FULL_DATES} & options.keep)
        self._decisions: dict[tuple[int, str], Decision] = {}
        self._cleaning: dict[tuple[int, str], Decision] = {}

    def decide(self, tag: int, vr: str) -> Decision:
        """Decide about an element of an even group; `vr` is the file's, SQ for what was read as a sequence."""
        found = self._decisions.get((tag, vr))
        if found is None:
            found = self._decisions[tag, vr] = self._decide(tag, vr)
        return found

    def decide_cleaning(self, tag: int, vr: str) -> Decision:
        """Decide about an element inside a sequence that is cleaned: there, all words are looked at."""
        found = self._cleaning.get((tag, vr))
        if found is None:
            found = self._cleaning[tag, vr] = self._decide_cleaning(tag, vr)
        return found

    @property
    def keeps_characteristics(self) -> bool:
        """Whether age, sex, size and the like stay."""
        return Keep.PATIENT_CHARACTERISTICS in self._options.keep

    def decide_about(self, about: About, tag: int, vr: str) -> Decision | None:
        """Decide about an element of an item that says something about its patient; None where it is as elsewhere."""
        verdict = _CONTENT.get(tag)
        if verdict is None or (vr == "SQ") != (known_vr(tag) == "SQ"):
            return None
        if about is About.BIRTH or not self.keeps_characteristics:
            return Decision(verdict)
        # An age in words can't be capped.
        return Decision(verdict) if about is About.AGE and tag == TEXT_VALUE else None

    def _decide(self, tag: int, vr: str) -> Decision:
        known = known_vr(tag)
        if vr != "UN" or known is None or known == "SQ":
            return self._decide_known(tag, vr)
        # Whoever wrote the file didn't know the attribute; the dictionary does, but for choices that the file has made.
        decision = self._decide_known(tag, known if len(known) == 2 else vr)
        is_kept = decision.verdict in (Verdict.KEEP, Verdict.BINARY_NUMBERS)
        return Decision(Verdict.BINARY, Verdict.DUMMY) if is_kept and _is_binary(known) else decision

    def _decide_known(self, tag: int, vr: str) -> Decision:
        if not _is_image_group(tag):
            return REMOVE
        if tag in (PATIENT_NAME, PATIENT_ID):
            return REMOVE if vr == "SQ" else Decision(Verdict.PSEUDONYM)
        row = table().get(tag)
        return self._unlisted(tag, vr) if row is None else self._listed(row, vr)

    def _decide_cleaning(self, tag: int, vr: str) -> Decision:
        decision = self.decide(tag, vr)
        if tag == TEXT_VALUE:
            keeps_words = Keep.DESCRIPTORS in self._options.keep
            return Decision(Verdict.CLEAN, Verdict.DUMMY) if keeps_words else Decision(Verdict.DUMMY)
        if decision.verdict is Verdict.TEXT:
            return Decision(Verdict.CLEAN, Verdict.DUMMY)
        return Decision(Verdict.WALK_CLEANING) if decision.verdict is Verdict.WALK else decision

    def _listed(self, row: Row, vr: str) -> Decision:
        code = row.code(self._options)
        basic = self._of_code(row, row.basic, vr)
        if code is row.basic:
            return basic
        if row.vr is None and vr == "UN":
            # An option can't be followed where it isn't known what the value is.
            return basic
        return self._of_code(row, code, vr, basic.verdict)

    def _of_code(self, row: Row, code: Code, vr: str, basic: Verdict = Verdict.REMOVE) -> Decision:
        if code is Code.REMOVE:
            return REMOVE
        if code is Code.EMPTY:
            return Decision(Verdict.EMPTY)
        if row.vr is not None and (row.vr == "SQ") != (vr == "SQ"):
            # A sequence in the table and none in the file, or the other way round: it isn't what the table speaks of.
            return REMOVE
        if vr == "SQ":
            return _of_sequence(row.tag, code)
        if code is Code.REPLACE_UIDS or (code is Code.DUMMY and row.vr == "UI"):
            return Decision(Verdict.NEW_UID)
        if code is Code.DUMMY:
            return Decision(Verdict.DUMMY)
        return _kept_or_cleaned(row, code, vr, basic)

    def _unlisted(self, tag: int, vr: str) -> Decision:
        known = known_vr(tag)
        if known is None or tag in _NOT_LISTED:
            return REMOVE
        if (known == "SQ") != (vr == "SQ") or "PN" in (known, vr):
            return REMOVE
        if vr == "SQ":
            return Decision(Verdict.WALK)
        if known in _INSTANTS or vr in _INSTANTS:
            return Decision(Verdict.DATE_UNLESS_BIRTH, Verdict.EMPTY) if self._dates else REMOVE
        if "UI" in (known, vr):
            return self._of_uids(_is_kind(tag))
        if "UR" in (known, vr):
            return Decision(Verdict.TEXT) if keyword_for_tag(tag) in _HARMLESS_ADDRESSES else REMOVE
        return _of_content(tag, known, vr)

    def _of_uids(self, is_kind: bool = False) -> Decision:
        return Decision(Verdict.KIND if is_kind or Keep.UIDS in self._options.keep else Verdict.NEW_UID)

    def decide_private(self, vr: str) -> Decision:
        """Decide about a private element that the rule calls safe; names, instants and UIDs are as elsewhere."""
        if vr == "SQ":
            return Decision(Verdict.WALK)
        if vr == "PN":
            return REMOVE
        if vr in _INSTANTS:
            return Decision(Verdict.DATE_UNLESS_BIRTH, Verdict.EMPTY) if self._dates else REMOVE
        if vr == "UI":
            return self._of_uids()
        # What isn't known is searched for names like text; the person who called it safe answers for the rest.
        return Decision(Verdict.TEXT) if vr in _TEXTS | {"UN", "UR", "AE", "CS"} else KEEP


def _of_content(tag: int, known: str, vr: str) -> Decision:
    """Decide about an unlisted value that is neither a name nor an instant nor a UID."""
    if known in _NUMBERS:
        return Decision(Verdict.NUMBER, Verdict.EMPTY)
    if not {"AE", *_TEXTS}.isdisjoint((vr, known)):
        return Decision(Verdict.TEXT, Verdict.MASK)
    if "CS" in (vr, known):
        return Decision(Verdict.WORD, Verdict.MASK)
    if vr in _NUMBERS:
        return Decision(Verdict.NUMBER, Verdict.EMPTY)
    if vr == "UN" and _is_binary(known):
        return KEEP
    if tag == _ICC_PROFILE:
        return Decision(Verdict.PROFILE)
    if tag in _PIXELS:
        return KEEP
    if vr in _RUNS or keyword_for_tag(tag) in _OPAQUE_DATA:
        return Decision(Verdict.BINARY)
    if vr in _OPAQUE:
        return REMOVE
    return Decision(Verdict.AGE, Verdict.EMPTY) if vr == "AS" else Decision(Verdict.BINARY_NUMBERS, Verdict.DUMMY)


def _is_binary(known: str) -> bool:
    """Whether a VR of the dictionary, or each of a choice, is of binary numbers."""
    return _BINARY_NUMBERS.issuperset(known.split(" or "))


def _of_sequence(tag: int, code: Code) -> Decision:
    if code is Code.CLEAN:
        return Decision(Verdict.WALK_CLEANING)
    if code is Code.DUMMY:
        return Decision(Verdict.REFERENCES if tag in _REFERENCES else Verdict.DUMMY)
    # To keep a sequence is to clean what is in it (PS3.15 section E.1.1).
    return Decision(Verdict.WALK)


def _kept_or_cleaned(row: Row, code: Code, vr: str, basic: Verdict) -> Decision:
    kind = row.vr or vr
    if row.tag == TIMEZONE:
        return Decision(Verdict.ZONE, basic)
    if row.tag in _ANY_INSTANT:
        return Decision(Verdict.DATE_UNLESS_BIRTH, basic)
    if kind in _INSTANTS:
        return Decision(Verdict.DATE, Verdict.EMPTY)
    if kind == "AS":
        return Decision(Verdict.AGE, basic)
    if code is Code.KEEP:
        if kind in _NUMBERS:
            return Decision(Verdict.NUMBER, basic)
        if "retain_patient_chars" in row.options and kind in _TEXTS | {"AE", "CS", "UR"}:
            # What the patient is like is said in few words, and a name isn't one of them.
            return Decision(Verdict.WORD if kind == "CS" else Verdict.TEXT, basic)
        if kind in _BINARY_NUMBERS:
            return Decision(Verdict.BINARY_NUMBERS, basic)
        return Decision(Verdict.KIND) if kind == "UI" else KEEP
    # Binary values can't be looked into.
    return Decision(Verdict.CLEAN, basic) if kind in _TEXTS | {"AE", "CS"} else Decision(basic)


def _is_image_group(tag: int) -> bool:
    """Whether the group belongs into an image.

    Not commands, file meta information and directories, nor curves, overlays and their like of the past in 7Fxx, nor
    the passengers of security screening (4010), nor the length of any group.
    """
    group = tag >> 16
    if group < 0x0008 or group == 0x4010 or tag & 0xFFFF == 0:
        return False
    return group & 0xFF00 not in (0x5000, 0x6000, 0x7F00) or group == 0x7FE0


def _is_kind(tag: int) -> bool:
    keyword = keyword_for_tag(tag)
    return keyword in _KINDS or any(part in keyword for part in _KINDS_BY_PART)
