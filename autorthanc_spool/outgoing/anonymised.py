"""The anonymised files of a resource: the content of rules with ANONYMISE.

An original is held in memory while it is worked on, never on a disk. Names are made of the pseudonym and new UIDs.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import re
import threading
import weakref
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from autorthanc_spool.core import naming
from autorthanc_spool.core.dicom import Instance, Level, Resource
from autorthanc_spool.core.errors import EverythingWithheld, ResourceMissing
from autorthanc_spool.core.outcome import (
    BLACKED_OUT,
    CUT,
    EMPTIED,
    PRIVATE_CLEANED,
    PRIVATE_REMOVED,
    PSEUDONYM,
    PSEUDONYM_KEY,
    WITHHELD,
)
from autorthanc_spool.deidentify import dates
from autorthanc_spool.deidentify.added import study_id
from autorthanc_spool.deidentify.descriptors import is_one_of
from autorthanc_spool.deidentify.errors import (
    AnonymiserDied,
    DeidentificationError,
    Malformed,
    PatientsMixed,
    ProgramMistake,
    Unsupported,
)
from autorthanc_spool.deidentify.file import Deidentified, Held, Identity
from autorthanc_spool.deidentify.output import Made
from autorthanc_spool.deidentify.pool import Pool
from autorthanc_spool.deidentify.worker import Recipe
from autorthanc_spool.orthanc.hidden import head_and_texts
from autorthanc_spool.outgoing.sources import Originals

# Small enough to be written while the next one is digested.
CHUNK_BYTES = 1024 * 1024


class Anonymised:
    """The files as they leave anonymised."""

    def __init__(self, originals: Originals, resource: Resource, recipe: Recipe, pool: Pool) -> None:
        if not resource.instances:
            raise ResourceMissing(f"the {resource.level} no longer has instances")
        self._originals = originals
        self._recipe = recipe
        self._pool = pool
        self._count = len(resource.instances)
        self._lock = threading.Lock()
        self._withheld: dict[str, str] = {}
        self._counted: dict[str, Deidentified] = {}
        self._unreadable: dict[str, str] = {}
        # Of a series, the issuer may be named in another one of its study.
        self._issuer = recipe.issuer or ""
        self._first: dict[str, _Made] = {}
        self._identity = self._identify(resource)
        renamed = _renamed(resource, self._identity, recipe)
        self.name = naming.publication_name(self._with_published_values(renamed), originals.template)
        self.identity = hashlib.sha256(_uid_of(renamed).encode()).hexdigest()
        self.paths: Mapping[str, tuple[str, str]] = naming.file_paths(renamed.series, renamed.instances)

    def _with_published_values(self, renamed: Resource) -> Resource:
        """Add what else a name may be made of, as the first published file has it; nothing of the originals."""
        wanted = self._originals.template.tags if self._originals.template else {}
        streams = [made.stream(self._pool) for made in self._first.values() if made.memory]
        if not wanted or not streams:
            return renamed
        texts = head_and_texts(iter(streams[0]), wanted.values())[1]
        found = {keyword: texts[tag] for keyword, tag in wanted.items() if texts[tag]}
        if renamed.level is Level.SERIES:
            series = replace(renamed.series[0], tags={**found, **renamed.series[0].tags})
            renamed = replace(renamed, series=(series,))
        return replace(renamed, study_tags={**found, **renamed.study_tags, **renamed.patient_tags})

    def open(self, instance: Instance) -> AnonymisedStream | None:
        """Begin to read one file; None when it is withheld."""
        with self._lock:
            if instance.resource_id in self._unreadable:
                return None
            made = self._first.pop(instance.resource_id, None)
        made = made or self._make(instance)
        if made is None:
            return None
        self._check(made.result.identity, instance)
        if isinstance(made.result, Held):
            with self._lock:
                self._withheld[instance.resource_id] = str(made.result.reason)
            return None
        with self._lock:
            # By file, as one may be asked for again.
            self._counted[instance.resource_id] = made.result
        return made.stream(self._pool)

    def details(self) -> Mapping[str, Any]:
        """Return whose pseudonym it is made with, what is withheld and why, and what was emptied and cut off."""
        with self._lock:
            withheld = {**self._withheld, **self._unreadable}
            counted = list(self._counted.values())
        details = {PSEUDONYM: self._identity.pseudonym, **self._details(withheld)}
        emptied = _total(one.emptied for one in counted)
        if emptied:
            details[EMPTIED] = {"count": emptied.total(), "attributes": dict(sorted(emptied.items()))}
        removed = _total(one.private_removed for one in counted)
        cleaned = _total(one.private_cleaned for one in counted)
        details |= {PRIVATE_REMOVED: dict(sorted(removed.items()))} if removed else {}
        details |= {PRIVATE_CLEANED: dict(sorted(cleaned.items()))} if cleaned else {}
        cut = _total(one.cut for one in counted)
        if cut:
            details[CUT] = {"count": cut.total(), "kinds": dict(sorted(cut.items()))}
        details |= _blacked_out(counted)
        if len(withheld) == self._count:
            raise self._everything_withheld(details)
        return details

    def _details(self, withheld: Mapping[str, str]) -> dict[str, Any]:
        details: dict[str, Any] = {PSEUDONYM_KEY: self._recipe.key.id}
        if withheld:
            details[WITHHELD] = {"count": len(withheld), "instances": dict(sorted(withheld.items()))}
        return details

    def _everything_withheld(self, details: dict[str, Any]) -> EverythingWithheld:
        text = f"none of the {self._count} files may leave, as none can be anonymised with certainty; the record"
        if len(self._unreadable) == self._count:
            return EverythingWithheld(f"{text} lists what is wrong with each", details)
        if self._recipe.profile.options.burned_in == "redact":
            hint = "lists why. A file in pixel_regions/ can say what is clean in such images (docs/anonymise.md)"
            return EverythingWithheld(f"{text} {hint}", details)
        hint = 'lists why. "BurnedIn": "allow" or "Structured": "clean" in the rule would let some of them out'
        return EverythingWithheld(f"{text} {hint}", details)

    def _identify(self, resource: Resource) -> Identity:
        """Anonymise the first file, by Orthanc's ID, of those that can be read: the names are made of what it says.

        A template's are made of what is published: for these, files are gone through as far as to the first such one.
        """
        identity: Identity | None = None
        for instance in sorted(resource.instances, key=lambda one: one.resource_id):
            made = self._make(instance)
            if made is None:
                continue
            self._first[instance.resource_id] = made
            identity = identity or made.result.identity
            if made.memory or not self._originals.template:
                return identity
        if identity:
            return identity
        raise self._everything_withheld(self._details(self._unreadable))

    def _make(self, instance: Instance) -> _Made | None:
        """Anonymise one file; None when it can't be read, and is withheld for that."""
        memory = _Memory()
        for chunk in self._originals.open(instance):
            memory.write(chunk)
        try:
            result = self._pool.deidentify(self._recipe, memory.descriptor)
            return _Made(memory if isinstance(result, Deidentified) else None, result)
        except (DeidentificationError, ProgramMistake, AnonymiserDied) as error:
            is_unreadable = isinstance(error, (Malformed, Unsupported))
            if is_unreadable and self._recipe.profile.options.malformed == "withhold":
                with self._lock:
                    self._unreadable[instance.resource_id] = str(error)
                return None
            error.instance_id = instance.resource_id
            raise

    def _check(self, identity: Identity, instance: Instance) -> None:
        """A study with two pseudonyms would be published under one of them, and so one with two shifts of dates."""
        if _of_study(identity) != _of_study(self._identity):
            raise _mixed(instance, "PatientID or StudyInstanceUID differs from that of the first file")
        if self._recipe.profile.table is not None or not identity.issuer:
            return
        with self._lock:
            self._issuer = self._issuer or identity.issuer
        if identity.issuer != self._issuer:
            raise _mixed(instance, "two of them name different issuers (IssuerOfPatientID)")


class AnonymisedStream:
    """The bytes of one anonymised file; `md5` and `size_bytes` are theirs once they have ended."""

    def __init__(self, memory: _Memory, result: Deidentified, pool: Pool) -> None:
        self._memory = memory
        self._result = result
        self._pool = pool
        self.expected_bytes = result.size_bytes
        self.md5 = ""
        self.size_bytes = 0

    def __iter__(self) -> Iterator[bytes]:
        """Give its bytes, piece by piece."""
        digest = hashlib.md5(usedforsecurity=False)
        for chunk in self._chunks():
            digest.update(chunk)
            self.size_bytes += len(chunk)
            yield chunk
        self.md5 = digest.hexdigest()

    def _chunks(self) -> Iterator[bytes]:
        for piece in self._result.pieces:
            if isinstance(piece, slice):
                yield from self._memory.read(piece)
            elif isinstance(piece, bytes):
                yield piece
            elif piece.needs_codec:
                yield from _cut(self._pool.made(piece, self._memory.descriptor))
            else:
                yield from _cut(self._memory.made(piece))


def _cut(made: bytes | bytearray) -> Iterator[bytes]:
    """Give it piece by piece; all of it once more would be too much."""
    for at in range(0, len(made), CHUNK_BYTES):
        yield bytes(made[at : at + CHUNK_BYTES])


class _Memory:
    """An original, in memory that another process can be shown, and in no file system."""

    def __init__(self) -> None:
        self.descriptor = os.memfd_create("dicom", os.MFD_CLOEXEC)
        weakref.finalize(self, os.close, self.descriptor)

    def write(self, data: bytes) -> None:
        """Add to it."""
        view = memoryview(data)
        while view:
            view = view[os.write(self.descriptor, view) :]

    def read(self, piece: slice) -> Iterator[bytes]:
        """Give a piece of it."""
        for at in range(piece.start, piece.stop, CHUNK_BYTES):
            yield os.pread(self.descriptor, min(CHUNK_BYTES, piece.stop - at), at)

    def made(self, piece: Made) -> bytes | bytearray:
        """Give what is made of it."""
        size = os.fstat(self.descriptor).st_size
        with mmap.mmap(self.descriptor, size, prot=mmap.PROT_READ) as mapped, memoryview(mapped) as view:
            return piece.made(view)


@dataclass(frozen=True)
class _Made:
    """What was made of an original, and the original where pieces of it leave."""

    memory: _Memory | None
    result: Deidentified | Held

    def stream(self, pool: Pool) -> AnonymisedStream:
        """The bytes of a file that leaves; some pieces of it may have to be made by `pool`."""
        assert self.memory
        assert isinstance(self.result, Deidentified)
        return AnonymisedStream(self.memory, self.result, pool)


def _mixed(instance: Instance, how: str) -> PatientsMixed:
    error = PatientsMixed(f"the files don't agree on whose they are: {how}; fix them in Orthanc")
    error.instance_id = instance.resource_id
    return error


def _total(counts: Iterable[Mapping[str, int]]) -> Counter[str]:
    return sum(map(Counter, counts), Counter[str]())


def _blacked_out(counted: Iterable[Deidentified]) -> dict[str, Any]:
    """How many boxes in how many files are black, and what said where; nothing where none was asked."""
    asked = [one.black for one in counted if one.black.sources]
    if not asked:
        return {}
    sources = Counter(source for one in asked for source in one.sources)
    files, boxes = sum(one.boxes > 0 for one in asked), sum(one.boxes for one in asked)
    return {BLACKED_OUT: {"files": files, "boxes": boxes, "by": dict(sorted(sources.items()))}}


def _of_study(identity: Identity) -> tuple[str, int | None, str]:
    """What all files of a study have in common."""
    return identity.pseudonym, identity.days_back, identity.StudyInstanceUID


def _renamed(resource: Resource, identity: Identity, recipe: Recipe) -> Resource:
    """The resource as it is called by now: what names are made of is replaced, anything else is taken away."""
    new_uid = recipe.deidentifier().new_uid
    series = tuple(
        replace(
            one,
            tags={
                "SeriesNumber": _number(one.tags.get("SeriesNumber", ""), identity.numbers),
                "SeriesDate": _date(one.tags.get("SeriesDate", ""), identity.days_back),
                "SeriesInstanceUID": new_uid(one.tags.get("SeriesInstanceUID", "")),
            },
            first_instance_tags=None,
        )
        for one in resource.series
    )
    return replace(
        resource,
        patient_tags={"PatientID": identity.pseudonym, "PatientName": identity.pseudonym},
        study_tags={
            "StudyID": study_id(identity.StudyInstanceUID),
            "StudyInstanceUID": identity.StudyInstanceUID,
        },
        series=series,
        instances=tuple(replace(one, SOPInstanceUID=new_uid(one.SOPInstanceUID)) for one in resource.instances),
    )


def _uid_of(renamed: Resource) -> str:
    if renamed.level is Level.SERIES:
        return renamed.series[0].tags["SeriesInstanceUID"]
    return renamed.study_tags["StudyInstanceUID"]


def _number(text: str, telling: frozenset[str]) -> str:
    # A tag of VR IS may hold anything in a file that somebody made, also the patient's own number.
    is_number = re.fullmatch(r" *[+-]?\d{1,11} *", text, re.ASCII) is not None
    return text if is_number and not is_one_of(text, telling) else ""


def _date(text: str, days_back: int | None) -> str:
    if days_back is None:
        return ""
    return dates.moved_date(text.strip(), dates.earlier(days_back)) or ""
