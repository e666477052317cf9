"""Who has this pseudonym: for those who hold the key.

A pseudonym can't be computed backwards. So the pseudonyms of those whose it may be are compared with it, one after
the other: the rule's table first, then the patients in Orthanc, or those of a file.

Orthanc lists some PatientIDs otherwise than they are read here, where bytes aren't in the character set that the file
names, or a NUL is among them. So where nobody is found among what it lists, files are read, one of each study.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from autorthanc_spool.core.counted import counted
from autorthanc_spool.core.dicom import Resource
from autorthanc_spool.core.errors import InstanceError, ResourceMissing, SpoolError, UsageError
from autorthanc_spool.deidentify.errors import DeidentificationError
from autorthanc_spool.deidentify.file import patient_of
from autorthanc_spool.deidentify.key import Key
from autorthanc_spool.deidentify.pseudonym import Patient, Pseudonymiser, plain
from autorthanc_spool.deidentify.pseudonym_table import PseudonymTables
from autorthanc_spool.orthanc.client import Orthanc
from autorthanc_spool.orthanc.transfer import Transfer
from autorthanc_spool.outgoing.issuers import issuers_of_files, issuers_of_series
from autorthanc_spool.outgoing.keyring import Keyring
from autorthanc_spool.rules import AnonymiseOptions
from autorthanc_spool.run.rulebook import RuleSet
from autorthanc_spool.run.tools import Tools


def reidentify(
    tools: Tools,
    options: AnonymiseOptions,
    pseudonym: str,
    file: Path | None,
    say: Callable[[str], None] = lambda _: None,
) -> Patient:
    """Find the patient of a pseudonym under a rule's options; `file` holds candidates, else Orthanc is asked.

    `say` is given a sentence about what takes long.
    Raises SpoolError when it is nobody's, KeyUnavailable, PseudonymTableInvalid, OrthancUnavailable.
    """
    name = options.pseudonym_table
    table = PseudonymTables(tools.settings.rules_path).read(name) if name else None
    for PatientID in table.patients(pseudonym.strip()) if table else ():
        return Patient(PatientID)
    key = Keyring(tools.settings.pseudonym_key_file, tools.spool).recorded()
    candidates = _of_file(file) if file else _in_orthanc(tools.orthanc, say, is_apart=options.issuer == "apart")
    is_wanted = _is_of(pseudonym, key, options.project)
    found = next(filter(is_wanted, candidates), None)
    if found is None:
        where = "in the file" if file else "in Orthanc"
        raise SpoolError(
            f"nobody {where} has this pseudonym in the project {options.project!r}; is it the right rule, "
            "and is the patient among those who were looked at (--candidates FILE)?"
        )
    return found


def options_of(rules: RuleSet, name: str) -> AnonymiseOptions:
    """How a rule anonymises, whether it is active or not; where its file is broken, its last valid version counts."""
    found = [rule for rule in rules.rules if rule.name == name]
    found += [one.last_valid for one in rules.broken if one.name == name and one.last_valid]
    if not found:
        raise UsageError(f"there is no rule {name}; `autorthanc-spool status` lists them")
    options = found[0].anonymise
    if options is None:
        raise UsageError(f"the rule {name} doesn't anonymise, so it gives nobody a pseudonym")
    return options


def _is_of(pseudonym: str, key: Key, project: str) -> Callable[[Patient], bool]:
    # Computed ones consist of capitals and digits, however they were copied.
    wanted, pseudonymiser = pseudonym.strip().upper(), Pseudonymiser(key, project)
    return lambda patient: pseudonymiser.pseudonym(patient) == wanted


def _of_file(path: Path) -> Iterator[Patient]:
    """Read candidates: one PatientID a line, the issuer after a tab."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise UsageError(f"--candidates {path}: it can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"--candidates {path}: it isn't text in UTF-8; save it as UTF-8") from None
    for line in lines:
        PatientID, _, issuer = line.partition("\t")
        if PatientID.strip():
            yield Patient(unicodedata.normalize("NFC", PatientID))
            yield Patient(unicodedata.normalize("NFC", PatientID), issuer)


def _in_orthanc(orthanc: Orthanc, say: Callable[[str], None], *, is_apart: bool) -> Iterator[Patient]:
    """All patients in Orthanc: by their IDs alone first, as issuers rarely count, and have to be read from files."""
    orthanc.system()
    studies = orthanc.study_resources()
    for study in studies:
        yield _patient(study)
    for every_file in (False, True) if is_apart else (False,):
        for study in studies:
            yield from _with_issuers(orthanc, study, every_file=every_file)
    if studies:
        say(
            "nobody has it by what Orthanc lists, which reads some PatientIDs otherwise than this program; now a file "
            f"of each study is read, {counted(len(studies), 'study')}"
        )
    # Those of other characters than ASCII are the likely ones.
    for study in sorted(studies, key=lambda one: one.patient_tags.get("PatientID", "").isascii()):
        yield from _as_read_here(orthanc, study)


def _as_read_here(orthanc: Orthanc, study: Resource) -> Iterator[Patient]:
    """The patient of a study by its smallest file that can be read."""
    try:
        whole = orthanc.with_instances(orthanc.resource(study.level, study.resource_id))
    except ResourceMissing:
        # It was deleted since the list was made.
        return
    for instance in sorted(whole.instances, key=lambda one: one.file_size_bytes):
        try:
            read = patient_of(memoryview(b"".join(Transfer(orthanc, instance))))
        except (DeidentificationError, InstanceError):
            continue
        patient = replace(read, PatientID=plain(read.PatientID))
        yield replace(patient, IssuerOfPatientID="")
        yield patient
        return


def _with_issuers(orthanc: Orthanc, study: Resource, *, every_file: bool) -> Iterator[Patient]:
    try:
        whole = orthanc.with_instances(orthanc.resource(study.level, study.resource_id))
        for issuer in (issuers_of_files if every_file else issuers_of_series)(orthanc, whole):
            yield replace(_patient(study), IssuerOfPatientID=issuer)
    except ResourceMissing:
        # It was deleted since the list was made.
        return


def _patient(study: Resource) -> Patient:
    return Patient(study.patient_tags.get("PatientID", ""), "", study.study_tags.get("StudyInstanceUID", ""))
