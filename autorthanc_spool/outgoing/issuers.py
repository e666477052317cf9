"""Who gave a PatientID, and where that counts for the pseudonym.

Many modalities name no IssuerOfPatientID, so one patient comes with it and without. So it plays no part, and one
PatientID is one patient, as in Orthanc itself, with two exceptions:

- A rule says ``"Issuer": "apart"``, for an Orthanc that holds patients of several hospitals.
- The ledger names the pseudonym that the patient has with the issuer: versions before this one let it count. A patient
  keeps the pseudonym that was published.

What counts is the issuer of the study: it is that of all its files, also of those that name none.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from autorthanc_spool.core.dicom import Level, Resource
from autorthanc_spool.core.errors import SpoolError
from autorthanc_spool.core.outcome import PSEUDONYM, PSEUDONYM_KEY
from autorthanc_spool.deidentify.errors import PatientsMixed
from autorthanc_spool.orthanc.client import Orthanc
from autorthanc_spool.rules import AnonymiseOptions
from autorthanc_spool.spool.ledger import Ledger

if TYPE_CHECKING:
    from autorthanc_spool.deidentify.key import Key

_ISSUER_OF_PATIENT_ID = "0010,0021"


class Issuers:
    """Finds which issuer counts for a study."""

    def __init__(self, orthanc: Orthanc, ledger: Ledger) -> None:
        self._orthanc = orthanc
        self._ledger = ledger
        # Pseudonyms that the ledger names, by the id of their key; read when a study first names an issuer.
        self._published: dict[str, set[str]] = {}

    def of(self, resource: Resource, options: AnonymiseOptions, key: Key) -> str | None:
        """Find the issuer that counts for a resource's study, "" where it names none; None where none counts."""
        from autorthanc_spool.deidentify.pseudonym import Patient, Pseudonymiser, plain

        PatientID = plain(resource.patient_tags.get("PatientID", ""))
        if options.pseudonym_table or not PatientID:
            return None
        pseudonymiser = Pseudonymiser(key, options.project)
        if options.issuer == "apart":
            issuer = self._only(self._study(resource))
            self._published.get(key.id, set()).add(pseudonymiser.pseudonym(Patient(PatientID, issuer)))
            return issuer
        named = {plain(issuer) for issuer in issuers_of_series(self._orthanc, self._study(resource))}
        if len(named) != 1:
            # Two issuers in one study are a contradiction, which its files will show.
            return None
        issuer = named.pop()
        is_former = pseudonymiser.pseudonym(Patient(PatientID, issuer)) in self._published_with(key)
        return issuer if is_former else None

    def _only(self, study: Resource) -> str:
        """The one issuer that a study names, "" without any. Raises PatientsMixed."""
        from autorthanc_spool.deidentify.pseudonym import plain

        named = {plain(issuer) for issuer in issuers_of_series(self._orthanc, study)}
        if len(named) > 1:
            raise PatientsMixed(
                "the series don't agree on whose they are: they name different issuers (IssuerOfPatientID); "
                "fix them in Orthanc"
            )
        return named.pop() if named else plain(next(issuers_of_files(self._orthanc, study), ""))

    def _study(self, resource: Resource) -> Resource:
        if resource.level is Level.STUDY:
            return resource
        study = self._orthanc.resource(Level.STUDY, self._orthanc.parent_study(resource.resource_id))
        return self._orthanc.with_instances(study)

    def _published_with(self, key: Key) -> set[str]:
        if key.id not in self._published:
            self._published[key.id] = set(self._read(key.id))
        return self._published[key.id]

    def _read(self, key_id: str) -> Iterator[str]:
        for one in self._ledger.keys():  # noqa: SIM118 - a ledger is not a dictionary
            # The run of its own marker says what is wrong with a record.
            with suppress(SpoolError):
                record = self._ledger.read(one)
                for entry in record.entries.values():
                    if entry.details.get(PSEUDONYM_KEY) == key_id:
                        # Versions that didn't write it here began the published name with it.
                        yield entry.name.partition("-")[0]
                for details in record.details():
                    if details.get(PSEUDONYM_KEY) == key_id and PSEUDONYM in details:
                        yield str(details[PSEUDONYM])


def issuers_of_series(orthanc: Orthanc, study: Resource) -> Iterator[str]:
    """Give the issuers that one file of each of a study's series names: the first one by Orthanc's ID."""
    first: dict[str, str] = {}
    for instance in study.instances:
        first[instance.series_id] = min(instance.resource_id, first.get(instance.series_id, instance.resource_id))
    for resource_id in first.values():
        yield from _named_in(orthanc, resource_id)


def issuers_of_files(orthanc: Orthanc, study: Resource) -> Iterator[str]:
    """Give the issuers that a study's files name, one request for each file."""
    for instance in study.instances:
        yield from _named_in(orthanc, instance.resource_id)


def _named_in(orthanc: Orthanc, instance_id: str) -> Iterator[str]:
    tags = orthanc.look(f"/instances/{instance_id}/tags?short") or {}
    issuer = tags.get(_ISSUER_OF_PATIENT_ID)
    if isinstance(issuer, str) and issuer.strip(" \0"):
        yield issuer
