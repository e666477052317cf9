"""What can go wrong while a file is de-identified. No text holds a value of the file."""

from __future__ import annotations

from autorthanc_spool.core.errors import Fate, SpoolError, Unavailable


class DeidentificationError(SpoolError):
    """A file can't be de-identified; a person must look at it. `instance_id` is Orthanc's, once it is known."""

    instance_id = ""


class Malformed(DeidentificationError):
    """A file is cut or isn't DICOM as PS3.5 and PS3.10 have it."""


class Unsupported(DeidentificationError):
    """A file is valid, but nothing here can take the identity out of it."""


class PatientsMixed(DeidentificationError):
    """The files of one study or series don't agree on whose they are."""


class ProgramMistake(SpoolError):
    """The program itself went wrong on a file; the text tells where."""

    instance_id = ""


class AnonymiserDied(SpoolError):
    """A process of the pool ended in the middle of its work: killed, or out of memory."""

    fate = Fate.RETRY
    instance_id = ""


class KeyUnavailable(Unavailable):
    """The pseudonym key is missing, unreadable, or another one than the records name."""


class PatientNotListed(Unavailable):
    """The patient isn't in the pseudonym table yet."""


class PseudonymTableInvalid(Unavailable):
    """The pseudonym table is missing or ambiguous; `problems` has one line for each fault, without its values."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))
