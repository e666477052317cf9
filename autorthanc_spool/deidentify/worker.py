"""A process that de-identifies: files come in as descriptors, what they are made into goes back.

Started by `pool` as `python -P -m autorthanc_spool.deidentify.worker FD`, with one end of a socket pair. It ends when
the other end is closed, so when its parent ends, however that happens.
"""

from __future__ import annotations

import mmap
import os
import signal
import sys
import traceback
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle

from autorthanc_spool.core.errors import PatientNotListed
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


Answer = Deidentified | Held | DeidentificationError | PatientNotListed | ProgramMistake


def serve(connection: Connection) -> None:
    """Work until the connection ends. A request is a recipe, or None for the one before, and a file's descriptor."""
    deidentifier: Deidentifier | None = None
    while True:
        try:
            recipe = connection.recv()
            descriptor = recv_handle(connection)
        except EOFError:
            return
        if recipe is not None:
            deidentifier = recipe.deidentifier()
        assert deidentifier is not None
        connection.send(_answer(deidentifier, descriptor))


def _answer(deidentifier: Deidentifier, descriptor: int) -> Answer:
    try:
        size = os.fstat(descriptor).st_size
        if size == 0:
            # Nothing can't be mapped.
            return _file(deidentifier, b"")
        with mmap.mmap(descriptor, size, prot=mmap.PROT_READ) as mapped:
            return _file(deidentifier, mapped)
    finally:
        os.close(descriptor)


def _file(deidentifier: Deidentifier, data: mmap.mmap | bytes) -> Answer:
    view = memoryview(data)
    try:
        return deidentifier.file(view)
    except (DeidentificationError, PatientNotListed) as error:
        # The frames that it came through refer to the file's memory.
        return error.with_traceback(None)
    except Exception as error:  # noqa: BLE001 - whatever it is, it concerns one file
        # The text of an unexpected exception may hold a value of the file: only its type is told, and the places.
        frames = traceback.extract_tb(error.__traceback__)
        places = [f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in frames]
        error.__traceback__ = None
        return ProgramMistake(f"{type(error).__name__} at {', '.join(places)}; please report this")
    finally:
        view.release()


if __name__ == "__main__":
    # A signal for the whole group of processes is the parent's business; this one ends with the connection.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    serve(Connection(int(sys.argv[1])))
