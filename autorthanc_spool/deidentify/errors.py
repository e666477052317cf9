"""What can go wrong while a file is de-identified. No text holds a value of the file."""

from __future__ import annotations

from autorthanc_spool.core.errors import Fate, SpoolError


class DeidentificationError(SpoolError):
    """A file can't be de-identified; a person must look at it."""


class Malformed(DeidentificationError):
    """A file is cut or isn't DICOM as PS3.5 and PS3.10 have it."""


class Unsupported(DeidentificationError):
    """A file is valid, but nothing here can take the identity out of it."""


class PatientsMixed(DeidentificationError):
    """The files of one study or series don't agree on whose they are."""


class ProgramMistake(SpoolError):
    """The program itself went wrong on a file; the text says where."""


class AnonymiserDied(SpoolError):
    """A process of the pool ended in the middle of its work: killed, or out of memory."""

    fate = Fate.RETRY


class CodecBrokeDown(AnonymiserDied):
    """A process that decodes pixels ended itself, twice: its codec can't go on with this file."""
