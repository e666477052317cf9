"""One file: the bytes of a DICOM file in, those of the anonymised one out.

Nothing here knows of Orthanc, of processes or of disks. The same file, options, key and project give the same bytes,
whenever and wherever.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from pydicom.datadict import keyword_for_tag

from autorthanc_spool.deidentify import dates
from autorthanc_spool.deidentify.added import added, computed_age
from autorthanc_spool.deidentify.container import deflated, file_meta, open_container
from autorthanc_spool.deidentify.descriptors import identifiers_of
from autorthanc_spool.deidentify.elements import tag_text
from autorthanc_spool.deidentify.facts import SERIES_INSTANCE, SOP_CLASS, SOP_INSTANCE, STUDY_INSTANCE, Facts
from autorthanc_spool.deidentify.haystack import Haystack, haystack
from autorthanc_spool.deidentify.image import Image
from autorthanc_spool.deidentify.needles import Needle, needles_of
from autorthanc_spool.deidentify.opaque import Opaque
from autorthanc_spool.deidentify.output import Output, Piece, chunks_of, size_of
from autorthanc_spool.deidentify.pixels import clean_pixels
from autorthanc_spool.deidentify.policy import Policy
from autorthanc_spool.deidentify.profile import Profile
from autorthanc_spool.deidentify.pseudonym import Patient, Pseudonymiser, is_uid, plain
from autorthanc_spool.deidentify.reader import Reader
from autorthanc_spool.deidentify.redaction import decide, redact
from autorthanc_spool.deidentify.streams import Unclear
from autorthanc_spool.deidentify.values import Subject, Values
from autorthanc_spool.deidentify.walk import Walk
from autorthanc_spool.deidentify.withhold import reason_to_withhold
from autorthanc_spool.rules.model import Keep


@dataclass(frozen=True)
class Identity:
    """What a file is called by now; by how many days its dates were moved back, None where dates are taken out.

    `issuer` is who gave the PatientID by the file itself, "" where it doesn't say; `numbers` are the file's days and
    identifiers, which no name may be made of. Both stay in this program.
    """

    pseudonym: str
    days_back: int | None
    StudyInstanceUID: str
    SeriesInstanceUID: str
    SOPInstanceUID: str
    issuer: str = field(default="", repr=False)
    numbers: frozenset[str] = field(default=frozenset(), repr=False)


@dataclass(frozen=True)
class Held:
    """A file that must be withheld, and why: words for the record, which quote nothing of the file."""

    identity: Identity
    reason: str


@dataclass(frozen=True)
class BlackedOut:
    """How many boxes were blacked out in an image, and what said where, in words for the record."""

    boxes: int = 0
    sources: tuple[str, ...] = ()


@dataclass(frozen=True)
class Deidentified:
    """An anonymised file: pieces of the file that it was made of, and new bytes between them.

    `emptied` counts the values that went because an identity was found in them, by keyword, else by tag.
    `private_removed` and `private_cleaned` count the private values that a rule calls safe and that were not, by tag
    and creator. `cut` counts what was cut off or blanked in the pixel data, by words for the record. `black` is
    what was blacked out.
    """

    identity: Identity
    pieces: list[Piece] = field(repr=False)
    emptied: Mapping[str, int] = field(default_factory=dict)
    private_removed: Mapping[str, int] = field(default_factory=dict)
    private_cleaned: Mapping[str, int] = field(default_factory=dict)
    cut: Mapping[str, int] = field(default_factory=dict)
    black: BlackedOut = BlackedOut()

    @property
    def size_bytes(self) -> int:
        """How many bytes it has."""
        return sum(map(size_of, self.pieces))

    def chunks(self, data: memoryview) -> Iterator[bytes | bytearray | memoryview]:
        """Give its bytes; `data` is the file that it was made of."""
        yield from chunks_of(self.pieces, data)

    def bytes(self, data: memoryview) -> bytes:
        """Give its bytes in one."""
        return b"".join(self.chunks(data))


class Deidentifier:
    """De-identifies files under one profile. Not for several threads at once.

    A file's patient is known by its PatientID, and by the study's `issuer` unless that is None.
    """

    def __init__(self, profile: Profile, pseudonymiser: Pseudonymiser, issuer: str | None = None) -> None:
        self._profile = profile
        self._pseudonymiser = pseudonymiser
        self._issuer = issuer
        self._policy = Policy(profile.options)

    def file(self, data: memoryview) -> Deidentified | Held:
        """De-identify one file, or say why it must be withheld.

        Raises Malformed for a file that is cut or isn't DICOM, Unsupported for one that can't be read,
        PatientNotListed when the pseudonym table lacks its patient, DetectorMissing when nothing can look for text.
        """
        syntax, buffer, start = open_container(data)
        reader = Reader(buffer)
        data_set = reader.data_set(start, syntax.encoding)
        facts = Facts(buffer, data_set)
        facts.check_identity()
        image = Image(facts, buffer, syntax)
        options = self._profile.options
        named = facts.patient()
        patient = replace(named, IssuerOfPatientID=self._issuer or "")
        identifiers = identifiers_of(buffer, data_set, options.keep)
        identity = self._identity(facts, patient, plain(named.IssuerOfPatientID), identifiers.numbers)
        reason = reason_to_withhold(facts, options)
        if reason:
            return Held(identity, reason)
        decision = decide(image, options, self._profile.regions)
        if decision.is_withheld:
            return Held(identity, decision.reason or "")

        def needles() -> frozenset[Needle]:
            return needles_of(buffer, data_set, self._policy, options.keep)

        try:
            pixels = clean_pixels(facts, syntax, buffer)
            redaction = redact(image, pixels, options, decision, needles)
        except Unclear as error:
            return Held(identity, f"{decision.reason}; {error}" if decision.reason else str(error))
        shift = dates.earlier(identity.days_back) if identity.days_back else dates.unmoved
        is_listed = self._profile.table is not None
        has_issuers = self._issuer is not None
        subject = Subject(patient, identity.pseudonym, shift, self._pseudonymiser, is_listed, has_issuers, facts.born())

        def look_for() -> Haystack:
            return haystack(needles(), self._profile.keeps(Keep.UIDS))

        opaque = Opaque(look_for, options.keep)
        values = Values(buffer, subject, identifiers, None if self._profile.keeps(Keep.UIDS) else look_for)
        instead: dict[int, bytes | Output] = {**pixels.instead, **redaction.instead}
        if redaction.count and self._profile.keeps(Keep.UIDS):
            # Sent back to its archive, it would take the place of the original.
            identity = replace(identity, SOPInstanceUID=self._pseudonymiser.uid(facts.uid(SOP_INSTANCE)))
            instead[SOP_INSTANCE] = syntax.encoding.element(SOP_INSTANCE, "UI", identity.SOPInstanceUID.encode())
        instead |= added(options, facts, identity.pseudonym, identity.StudyInstanceUID,
                         has_clean_pixels=redaction.is_clean)  # fmt: skip
        if self._profile.keeps(Keep.PATIENT_CHARACTERISTICS):
            instead |= computed_age(facts, syntax.encoding)
        walked = Walk(reader, self._policy, options.safe_private, values, opaque).data_set(data_set, instead)
        head = file_meta(values.kind(facts.text(SOP_CLASS)), identity.SOPInstanceUID, redaction.syntax or syntax)
        pieces: Iterable[Piece] = walked.pieces()
        if syntax.is_deflated:
            pieces = deflated(chunks_of(pieces, buffer))
        emptied = _named(values.emptied)
        cut = +pixels.found
        black = BlackedOut(redaction.count, redaction.sources)
        return Deidentified(identity, [head, *pieces], emptied, opaque.removed, opaque.cleaned, cut, black)

    def pseudonym(self, patient: Patient) -> str:
        """Give a patient's pseudonym: the table's, where there is one. Raises PatientNotListed."""
        if self._profile.table is not None:
            return self._profile.table.pseudonym(patient.PatientID)
        return self._pseudonymiser.pseudonym(patient)

    def new_uid(self, uid: str) -> str:
        """Give the UID that stands for one; what isn't a UID is replaced also where UIDs are kept."""
        # As in the data set: where there are several, each is one.
        return "\\".join(self._new_uid(one.strip(" \0")) for one in uid.split("\\"))

    def _new_uid(self, uid: str) -> str:
        return uid if self._profile.keeps(Keep.UIDS) and is_uid(uid) else self._pseudonymiser.uid(uid)

    def _identity(self, facts: Facts, patient: Patient, issuer: str, numbers: frozenset[str]) -> Identity:
        study, series, instance = (
            self.new_uid(facts.uid(tag)) for tag in (STUDY_INSTANCE, SERIES_INSTANCE, SOP_INSTANCE)
        )
        return Identity(self.pseudonym(patient), self._days_back(patient), study, series, instance, issuer, numbers)

    def _days_back(self, patient: Patient) -> int | None:
        if self._profile.keeps(Keep.MODIFIED_DATES):
            return self._pseudonymiser.days(patient)
        return 0 if self._profile.keeps(Keep.FULL_DATES) else None


def patient_of(data: memoryview) -> Patient:
    """Whom a file is about, as it is read for its pseudonym. Raises Malformed, Unsupported."""
    syntax, buffer, start = open_container(data)
    return Facts(buffer, Reader(buffer).data_set(start, syntax.encoding)).patient()


def _named(emptied: Mapping[int, int]) -> dict[str, int]:
    return {keyword_for_tag(tag) or tag_text(tag): count for tag, count in emptied.items()}
