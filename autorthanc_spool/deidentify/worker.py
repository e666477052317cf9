"""What a process does that de-identifies: files come in as descriptors, what they are made into goes back."""

from __future__ import annotations

import mmap
import os
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle

from autorthanc_spool.core.errors import DetectorMissing, PatientNotListed
from autorthanc_spool.deidentify.errors import DeidentificationError, ProgramMistake
from autorthanc_spool.deidentify.file import Deidentified, Deidentifier, Held
from autorthanc_spool.deidentify.key import Key
from autorthanc_spool.deidentify.profile import Profile
from autorthanc_spool.deidentify.pseudonym import Pseudonymiser


@dataclass(frozen=True)
class Recipe:
    """How files are to be de-identified, until another recipe comes.

    `issuer` is the study's IssuerOfPatientID ("" where it names none), None where issuers play no part.
    """

    profile: Profile
    key: Key
    issuer: str | None = field(default=None, repr=False)

    def deidentifier(self) -> Deidentifier:
        """Make what does it."""
        pseudonymiser = Pseudonymiser(self.key, self.profile.options.project)
        return Deidentifier(self.profile, pseudonymiser, self.issuer)

    def without_pixels(self) -> Recipe:
        """The same for a file whose pixels can't be looked into: what it would be called, and no more."""
        options = replace(self.profile.options, burned_in="withhold", recode=False, detect=None)
        return replace(self, profile=Profile(options, self.profile.table))


Answer = (
    Deidentified
    | Held
    | bytes
    | bytearray
    | DeidentificationError
    | PatientNotListed
    | DetectorMissing
    | ProgramMistake
)


def serve(connection: Connection) -> None:
    """Work until the connection ends.

    A request is a recipe and a file's descriptor: the recipe is None for the one before, or a part of an answer that is
    to be made of that file.
    """
    deidentifier: Deidentifier | None = None
    while True:
        try:
            asked = connection.recv()
            descriptor = recv_handle(connection)
        except EOFError:
            return
        if isinstance(asked, Recipe):
            deidentifier = asked.deidentifier()
        if asked is None or isinstance(asked, Recipe):
            assert deidentifier is not None
            connection.send(_answer(deidentifier.file, descriptor))
        else:
            connection.send(_answer(asked.made, descriptor))


def _answer(work: Callable[[memoryview], Answer], descriptor: int) -> Answer:
    try:
        size = os.fstat(descriptor).st_size
        if size == 0:
            # Nothing can't be mapped.
            return _made(work, b"")
        with mmap.mmap(descriptor, size, prot=mmap.PROT_READ) as mapped:
            return _made(work, mapped)
    finally:
        os.close(descriptor)


def _made(work: Callable[[memoryview], Answer], data: mmap.mmap | bytes) -> Answer:
    view = memoryview(data)
    try:
        return work(view)
    except (DeidentificationError, PatientNotListed, DetectorMissing) as error:
        # The frames that it came through refer to the file's memory.
        return error.with_traceback(None)
    except Exception as error:  # noqa: BLE001 - whatever it is, it concerns one file
        # The text of an unexpected exception may hold a value of the file: only its type and the places are given.
        frames = traceback.extract_tb(error.__traceback__)
        places = [f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in frames]
        error.__traceback__ = None
        return ProgramMistake(f"{type(error).__name__} at {', '.join(places)}; please report this")
    finally:
        view.release()
