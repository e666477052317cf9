"""Pseudonyms, new UIDs and shifts of dates: each a function of the key, the project and the original.

Nothing is stored, so every process, in any order, in any year, comes to the same. With K the 32 bytes of the key,
text in UTF-8, NUL for one zero byte, and big-endian numbers:

    P              = HMAC-SHA256(K, "project" NUL project)
    patient        = "id" NUL IssuerOfPatientID NUL PatientID, or "study" NUL StudyInstanceUID where PatientID is empty
    pseudonym      = Base32 (RFC 4648) of the first 10 bytes of HMAC-SHA256(P, "pseudonym" NUL patient)
    shift in days  = 1 + (the first 8 bytes of HMAC-SHA256(P, "days" NUL patient) modulo 3650)
    new UID        = "2.25." and the decimal value of the first 16 bytes of HMAC-SHA256(P, "uid" NUL UID), in which
                     the version is set to 8 and the variant to binary 10, as in every UUID (RFC 9562 section 5.8)

PatientID and issuer are decoded by the file's character set, NUL taken out, NFC, and stripped of spaces; a UID is
stripped of spaces and NUL. IssuerOfPatientID is empty, whatever a file names, except where a rule holds patients of two
issuers apart (`issuers.py`).
"""

from __future__ import annotations

import base64
import hmac
import re
import unicodedata
from dataclasses import dataclass, field

from pydicom._uid_dict import UID_dictionary

from autorthanc_spool.deidentify.key import Key

# PS3.15 leaves the size of the shift open; ten years hide the year as well.
LONGEST_SHIFT_DAYS = 3650

# 80 bits: among ten million patients of a project, two share one with a probability of 1 in 20 billion.
PSEUDONYM_BYTES = 10

# What is remembered of one file's UIDs serves its series; more would only fill the memory.
_REMEMBERED_UIDS = 100_000

_UID = re.compile(r"[0-9.]{1,64}", re.ASCII)

_VERSION_AND_VARIANT_MASK = ~((0xF << 76) | (0x3 << 62))
_VERSION_8_AND_VARIANT = (0x8 << 76) | (0x2 << 62)


@dataclass(frozen=True)
class Patient:
    """Whom a file is about; the study counts only where there is no PatientID. Shows nothing of it."""

    PatientID: str = field(repr=False)
    IssuerOfPatientID: str = field(default="", repr=False)
    StudyInstanceUID: str = field(default="", repr=False)

    def message(self) -> bytes:
        """The bytes that stand for this patient."""
        if not plain(self.PatientID):
            return b"study\0" + plain(self.StudyInstanceUID).encode()
        return f"id\0{plain(self.IssuerOfPatientID)}\0{plain(self.PatientID)}".encode(errors="surrogatepass")


class Pseudonymiser:
    """Makes pseudonyms of one project."""

    def __init__(self, key: Key, project: str) -> None:
        self._project_key = _digest(key.secret, b"project\0" + unicodedata.normalize("NFC", project).encode())
        self._uids: dict[str, str] = {}

    def pseudonym(self, patient: Patient) -> str:
        """Make a patient's pseudonym: 16 capital letters and digits 2 to 7."""
        digest = _digest(self._project_key, b"pseudonym\0" + patient.message())
        return base64.b32encode(digest[:PSEUDONYM_BYTES]).decode()

    def days(self, patient: Patient) -> int:
        """By how many whole days a patient's dates are moved back, 1 to 3650."""
        digest = _digest(self._project_key, b"days\0" + patient.message())
        return 1 + int.from_bytes(digest[:8]) % LONGEST_SHIFT_DAYS

    def uid(self, uid: str) -> str:
        """Give the new UID for one; registered ones and the empty one stay as they are."""
        found = self._uids.get(uid)
        if found is None:
            found = self._new_uid(uid)
            if len(self._uids) >= _REMEMBERED_UIDS:
                self._uids.clear()
            self._uids[uid] = found
        return found

    def _new_uid(self, uid: str) -> str:
        original = uid.strip(" \0")
        if not original or original in UID_dictionary:
            return original
        digest = _digest(self._project_key, b"uid\0" + original.encode(errors="surrogatepass"))
        number = int.from_bytes(digest[:16]) & _VERSION_AND_VARIANT_MASK | _VERSION_8_AND_VARIANT
        return f"2.25.{number}"


def pseudonym(PatientID: str, IssuerOfPatientID: str, project: str, key: Key) -> str:
    """Make the pseudonym that a patient has in a project, to find out whose pseudonym one is."""
    return Pseudonymiser(key, project).pseudonym(Patient(PatientID, IssuerOfPatientID))


def _digest(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")


def is_uid(text: str) -> bool:
    """Whether a text is written as UIDs are (PS3.5 section 9.1); anything else may be a name."""
    return _UID.fullmatch(text) is not None


def plain(text: str) -> str:
    """Bring an identifier into the form that counts."""
    return unicodedata.normalize("NFC", text.replace("\0", "")).strip(" ")
