"""Anonymising, by processes that have the key and the pseudonym tables; they are started when they are first needed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from autorthanc_spool.core.dicom import Resource
from autorthanc_spool.core.pulse import Pulse
from autorthanc_spool.deidentify import models
from autorthanc_spool.deidentify.pseudonym_table import PseudonymTables
from autorthanc_spool.deidentify.region_files import RegionFiles
from autorthanc_spool.outgoing.issuers import Issuers
from autorthanc_spool.outgoing.keyring import Keyring
from autorthanc_spool.outgoing.sources import Content, Originals
from autorthanc_spool.rules import AnonymiseOptions

if TYPE_CHECKING:
    from autorthanc_spool.deidentify.pool import Pool
    from autorthanc_spool.deidentify.worker import Recipe


class Anonymiser:
    """Prepares what leaves anonymised; its processes are started when they are first needed."""

    def __init__(
        self,
        keyring: Keyring,
        tables: PseudonymTables,
        regions: RegionFiles,
        issuers: Issuers,
        pulse: Pulse | None = None,
    ) -> None:
        self._keyring = keyring
        self._tables = tables
        self._regions = regions
        self._issuers = issuers
        self._pulse = pulse
        self._pool: Pool | None = None
        self._recipe: Recipe | None = None
        # How many files are worked on at the same time: one for each core that this process may use.
        self.workers = len(os.sched_getaffinity(0))

    def content(self, originals: Originals, resource: Resource, options: AnonymiseOptions) -> Content:
        """Prepare the anonymised files of a resource; the first one is anonymised at once, to know their names.

        Raises KeyUnavailable, PseudonymTableInvalid, PixelRegionsInvalid, DetectorMissing, PatientNotListed, Malformed,
        Unsupported, InstanceError.
        """
        # These bring the DICOM dictionary along, which takes as long to import as all the rest: not where no rule
        # anonymises.
        from autorthanc_spool.deidentify.pool import Pool
        from autorthanc_spool.deidentify.profile import Profile
        from autorthanc_spool.deidentify.worker import Recipe
        from autorthanc_spool.outgoing.anonymised import Anonymised

        table = self._tables.read(options.pseudonym_table) if options.pseudonym_table else None
        regions = self._regions.read() if options.burned_in == "redact" else ()
        if options.detect:
            models.check()
        key = self._keyring.open()
        recipe = Recipe(Profile(options, table, regions), key, self._issuers.of(resource, options, key))
        # Workers keep a recipe until they are given another one.
        if self._recipe is None or recipe != self._recipe:
            self._recipe = recipe
        self._pool = self._pool or Pool(self.workers, self._pulse)
        return Anonymised(originals, resource, self._recipe, self._pool)

    def key_complaint(self, *, searches: bool = False) -> str:
        """Say why the pseudonym key can't be used, if it can't; see `Keyring.complaint`."""
        return self._keyring.complaint(searches=searches)

    def close(self) -> None:
        """End the processes."""
        if self._pool:
            self._pool.close()
