"""What in a data set identifies: the names, identifiers, dates, places and things that its texts are searched for.

Table E.1-1 says which attributes identify. Beside them count those that the policy removes for the same reason, codes
of persons and places, and private elements that hold a name: by their VR, by pydicom's dictionary of them, or because
their text is written as names are (``Family^Given``).
"""

from __future__ import annotations

import re
from enum import IntEnum, auto
from functools import cache, lru_cache

from pydicom.datadict import private_dictionary_description, private_dictionary_VR

from autorthanc_spool.deidentify import text
from autorthanc_spool.deidentify.elements import DataSet, Element
from autorthanc_spool.deidentify.field_words import field_words
from autorthanc_spool.deidentify.policy import CHARACTER_SET
from autorthanc_spool.deidentify.reader import known_vr
from autorthanc_spool.deidentify.spelling import tokens
from autorthanc_spool.deidentify.table import Row, table
from autorthanc_spool.rules.model import Keep


class Kind(IntEnum):
    """What a value identifies; a number, as each value is hashed for each file."""

    PATIENT = auto()
    PERSON = auto()
    DATE = auto()
    IDENTIFIER = auto()
    ADDRESS = auto()
    TELEPHONE = auto()
    DEVICE = auto()
    INSTITUTION = auto()
    # Identifies nothing: the words of a device's maker and model, which its station may be named after.
    MODEL = auto()


# One value: its kind, its bytes, and how they are to be decoded.
Found = tuple[Kind, bytes, text.CharacterSets]

# Representations that an identifier has; a CS is one of a few words, and no identifier.
_TEXTS = frozenset({"LO", "LT", "SH", "ST", "UC", "UT"})

# Those of private elements that may be a name.
_MAY_NAME = _TEXTS | {"PN", "UN"}

_PATIENT_NAMES = frozenset(
    # PatientName, OtherPatientNames, PatientBirthName, PatientMotherBirthName, ResponsiblePerson
    {0x00100010, 0x00101001, 0x00101005, 0x00101060, 0x00102297}
)

# Removed although the table doesn't list them: LocalNamespaceEntityID and UniversalEntityID (who issued an identifier),
# Placer- and FillerOrderNumberProcedure, ...ImagingServiceRequestRetired, HL7InstanceIdentifier, ContactDisplayName.
_IDENTIFIERS_NOT_LISTED = frozenset(
    {0x00400031, 0x00400032, 0x00401006, 0x00401007, 0x00402006, 0x00402007, 0x0040E001, 0x0074100C}
)

# ReferringPhysicianAddress, PatientAddress, ResponsibleOrganization, PersonAddress, AddressTrial, DistributionAddress
_ADDRESSES = frozenset({0x00080092, 0x00101040, 0x00102299, 0x00401102, 0x0040A353, 0x4008011A})
_TELEPHONES = frozenset(
    # ReferringPhysicianTelephoneNumbers, PatientTelephoneNumbers, PatientTelecomInformation, PersonTelephoneNumbers
    {0x00080094, 0x00102154, 0x00102155, 0x00401103}
    # PersonTelecomInformation, OrderCallbackPhoneNumber, OrderCallbackTelecomInformation, TelephoneNumberTrial
    | {0x00401104, 0x00402010, 0x00402011, 0x0040A354}
)

# Listed ones that describe a kind or content, and identify nothing.
_TELL_OF_CONTENT = frozenset(
    # LensMake, LensModel, SourceManufacturer, DeviceDescription
    {0x0016004F, 0x00160050, 0x300A0216, 0x00500020}
    # MultiplexGroupLabel, ChannelLabel, ChannelDerivationDescription, ModifiedImageDescription
    | {0x003A0020, 0x003A0203, 0x003A020C, 0x00203406}
    # ImagePresentationComments, AcquisitionContextDescription, PatientTransportArrangements
    | {0x00284000, 0x00400556, 0x00401004}
    # ConfidentialityConstraintOnPatientDataDescription, UnformattedTextValue, TextString, Arbitrary, TextComments
    | {0x00403001, 0x00700006, 0x20300020, 0x40000010, 0x40004000}
    # TopicTitle, TopicSubject, TopicKeywords
    | {0x00880904, 0x00880906, 0x00880912}
)

# Codes in items of sequences that name persons, places and stations.
_CODES = frozenset({0x00080100, 0x00080119})
_CODE_MEANING = 0x00080104
# PersonIdentificationCodeSequence, HumanPerformerCodeSequence, VerbalSourceIdentifierCodeSequenceTrial
_CODES_OF_PERSONS = frozenset({0x00401101, 0x00404009, 0x0040A358})
# InstitutionalDepartmentTypeCodeSequence has codes of kinds.
_CODES_OF_KINDS = frozenset({0x00081041})

_KEPT = {Keep.DEVICE: Kind.DEVICE, Keep.INSTITUTION: Kind.INSTITUTION}

# Manufacturer, ManufacturerModelName
_MODELS = frozenset({0x00080070, 0x00081090})

# What pydicom's dictionary of private elements calls those that identify.
_PRIVATE_NAMES = (
    (re.compile(r"patient'?s?[ _]?(?:pre|maiden )?name|^owner$|client name", re.IGNORECASE), Kind.PATIENT),
    (re.compile(r"physician|operators?'?[ _]?name|radiologist|transcriber|person name", re.IGNORECASE), Kind.PERSON),
    (re.compile(r"patient'?s? id$|accession number", re.IGNORECASE), Kind.IDENTIFIER),
    (re.compile(r"institution(?:al)?[ _]?(?:name|address|department)", re.IGNORECASE), Kind.INSTITUTION),
    (re.compile(r"station name|serial number", re.IGNORECASE), Kind.DEVICE),
)

# PS3.5 section 6.2: a PN has at most 64 characters in each of three groups.
_LONGEST_NAME_BYTES = 192
_SHORTEST_NAME_BYTES = 4
_NAME = re.compile(rb"[^\^\\=\x00-\x1f0-9{}<>\[\]]{2,}(?:\^[^\^\\=\x00-\x1f0-9{}<>\[\]]*){1,4}[ \0]*")


def found_in(buffer: memoryview, data_set: DataSet, keep: frozenset[Keep]) -> frozenset[Found]:
    """Gather what identifies, at every level, but for devices and institutions that a rule keeps."""
    without = {kind for option, kind in _KEPT.items() if option in keep}
    found: list[Found] = []
    _gather(found, buffer, data_set, text.DEFAULT, None)
    return frozenset(one for one in found if one[0] not in without) if without else frozenset(found)


def _gather(
    found: list[Found], buffer: memoryview, data_set: DataSet, sets: text.CharacterSets, of_codes: Kind | None
) -> None:
    creators: dict[int, bytes] = {}
    for element in data_set.elements:
        tag = element.tag
        if element.items is not None:
            for item in element.items:
                _gather(found, buffer, item, sets, _of_codes(tag))
        elif tag & 0x10000:
            # Most private elements are numbers.
            if not tag & 0xFF00:
                creators[tag >> 16 << 8 | tag & 0xFF] = bytes(buffer[element.value : element.end])
            elif element.vr in _MAY_NAME:
                _private(found, buffer, element, creators.get(tag >> 8, b""), sets)
        elif (kind := _kind(tag, element.vr)) or (of_codes and (kind := _kind_of_code(tag, of_codes))):
            _put(found, kind, bytes(buffer[element.value : element.end]), sets)
        elif tag == CHARACTER_SET:
            sets = text.character_sets(bytes(buffer[element.value : element.end]))


def _put(found: list[Found], kind: Kind, value: bytes, sets: text.CharacterSets) -> None:
    if kind is Kind.DATE:
        # The day is enough, and the same in many files.
        found.extend((kind, one.strip(b" \0")[:10], text.DEFAULT) for one in value.split(b"\\") if one)
    elif value:
        found.append((kind, value, sets))


def _private(
    found: list[Found], buffer: memoryview, element: Element, creator: bytes, sets: text.CharacterSets
) -> None:
    kind = _kind_of_private(element.tag & 0xFFFF00FF, element.vr, creator)
    if kind is not None:
        _put(found, kind, bytes(buffer[element.value : element.end]), sets)
    elif _SHORTEST_NAME_BYTES <= element.end - element.value <= _LONGEST_NAME_BYTES:
        value = bytes(buffer[element.value : element.end])
        if b"^" in value and _is_name(value):
            found.append((Kind.PATIENT, value, sets))


def _is_name(value: bytes) -> bool:
    """Whether text is written as names are; with a word of the field in it, it is a protocol's (``Head^Routine``)."""
    return _NAME.fullmatch(value) is not None and field_words().isdisjoint(tokens(value.decode("latin-1")))


# Names of creators are anybody's; those of a site's devices are few.
@lru_cache(maxsize=20_000)
def _kind_of_private(tag: int, vr: str, creator: bytes) -> Kind | None:
    name = creator.decode("latin-1").strip(" \0")
    try:
        known, description = private_dictionary_VR(tag, name), private_dictionary_description(tag, name)
    except KeyError:
        known, description = "", ""
    if known in _TEXTS or known == "PN":
        for pattern, kind in _PRIVATE_NAMES:
            if pattern.search(description):
                return kind
    return Kind.PATIENT if "PN" in (vr, known) else None


@cache
def _kind(tag: int, vr: str) -> Kind | None:
    known = known_vr(tag)
    if "PN" in (vr, known):
        return Kind.PATIENT if tag in _PATIENT_NAMES else Kind.PERSON
    if vr in ("DA", "DT") or known in ("DA", "DT"):
        return Kind.DATE
    if tag in _MODELS:
        return Kind.MODEL
    if tag in _IDENTIFIERS_NOT_LISTED:
        return Kind.IDENTIFIER
    row = table().get(tag)
    if row is None or tag in _TELL_OF_CONTENT:
        return None
    kind = _kind_of_row(row)
    of_kind = _TEXTS | {"AE", "CS"} if kind is Kind.DEVICE else _TEXTS
    return kind if of_kind & {vr, known} else None


def _kind_of_row(row: Row) -> Kind | None:
    if row.describes:
        return None
    if row.tag in _ADDRESSES:
        return Kind.ADDRESS
    if row.tag in _TELEPHONES:
        return Kind.TELEPHONE
    if "retain_device" in row.options:
        return Kind.DEVICE
    return Kind.INSTITUTION if "retain_institution" in row.options else Kind.IDENTIFIER


@cache
def _of_codes(tag: int) -> Kind | None:
    """What codes in the items of a sequence identify."""
    row = table().get(tag)
    if tag in _CODES_OF_PERSONS:
        return Kind.PERSON
    if row is None or tag in _CODES_OF_KINDS:
        return None
    kind = _kind_of_row(row)
    return None if kind is Kind.IDENTIFIER else kind


def _kind_of_code(tag: int, of_codes: Kind) -> Kind | None:
    if tag in _CODES:
        return Kind.IDENTIFIER if of_codes is Kind.PERSON else of_codes
    return of_codes if tag == _CODE_MEANING else None
