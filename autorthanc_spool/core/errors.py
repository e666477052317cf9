"""Everything that can go wrong, and what happens then.

::

    SpoolError
    ├── UsageError                a command was called wrongly                          exit 2
    │   └── SettingsError         a variable has no usable value                        exit 2
    ├── RuleError                 a rule file is invalid: all its problems              exit 1
    ├── RulesInvalid              `check` found invalid rule files                      exit 1
    ├── MarkerError               a marker names nothing that can be worked on          failed/
    ├── MarkerTaken               a person took the marker away                         left alone
    ├── ClaimLost                 another process took the work over                    left alone
    ├── WorkerDied                the process that worked on the marker died            deferred/, due now
    ├── Interrupted               the processor was asked to stop                       deferred/, due now
    ├── StillArriving             the resource is not complete yet                      deferred/, no attempt
    ├── DeletionWaits             all is exported, but isn't deleted from Orthanc yet    deferred/, no attempt
    ├── OutsideHours              the rule runs at other hours                          deferred/, no attempt
    ├── Unavailable               something outside is down or full                     deferred/, no attempt
    │   ├── OutputUnavailable     the output is full, read-only or unmounted
    │   ├── SpoolUnavailable      the spool is full or read-only
    │   ├── AuditUnavailable      the audit log can't be written
    │   ├── FolderMissing         a mounted folder isn't the one that it was
    │   ├── AnswerChanged         what arrives isn't what Orthanc sent
    │   ├── AnotherDatabase       Orthanc lacks the resource, and has another database than before
    │   ├── DestinationUnavailable  a destination of FORWARD is down, or hasn't confirmed yet
    │   ├── RuleUnavailable       the rule file is broken at the moment
    │   ├── RulesUnavailable      the folder of rules can't be read
    │   ├── KeyUnavailable        the pseudonym key is missing, or another one
    │   ├── PatientNotListed      the patient isn't in the pseudonym table
    │   ├── PseudonymTableInvalid the pseudonym table is missing or ambiguous
    │   ├── PixelRegionsInvalid   a file of pixel_regions/ is broken
    │   ├── DetectorMissing       a rule has Detect, and nothing is installed that finds text
    │   └── OrthancUnavailable    Orthanc doesn't answer                                nothing is claimed, exit 75
    │       └── PasswordRefused   Orthanc refuses the user or the password              nothing is claimed, exit 2
    ├── OrthancFault              Orthanc answers, but with an error                    deferred/, attempt counted
    │   └── InstanceError         one instance can't be read or is not what it was      deferred/, attempt counted
    ├── EverythingWithheld        no file of the resource may leave anonymised          failed/
    ├── ForwardRefused            a destination answers, but doesn't take everything     deferred/, attempt counted
    ├── ForwardExpired            a destination was down for too long                   failed/
    ├── UnknownModality           Orthanc knows no such destination                     failed/
    ├── ArchiveDamaged            an archive isn't what was put into it                 deferred/, attempt counted
    ├── ResourceMissing           Orthanc has no such study or series                   failed/
    ├── OutputConflict            something that isn't ours is in the way               failed/
    ├── LedgerError               a record of the ledger can't be understood            failed/
    ├── BaselineError             what is known of Orthanc can't be read                reconciliation waits
    └── Bug                       a mistake in this program                             failed/, with its traceback

    and, in `deidentify.errors`:

    SpoolError
    ├── DeidentificationError     a file can't be anonymised                            failed/
    │   ├── Malformed             it is cut, or isn't DICOM
    │   ├── Unsupported           nothing here can take the identity out of it
    │   └── PatientsMixed         the files don't agree on whose they are
    ├── ProgramMistake            the program went wrong on a file                      failed/
    └── AnonymiserDied            a process of the pool died                            deferred/, attempt counted
        └── CodecBrokeDown        a codec ended it; the file is withheld

``plan.fate`` reads ``fate``, whoever wakes deferred markers reads ``wakes_on``, the command line reads ``exit_code``;
who has to tell one kind from another asks for the class itself, never for its name. A text says what happened and how
to fix it, and holds no patient's name or ID.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping
from enum import Enum, StrEnum
from types import MappingProxyType
from typing import Any


class Fate(Enum):
    """What happens to a marker whose job ended with an error."""

    FAIL = "a person is needed"
    RETRY = "try again, at most ten times"
    WAIT = "try again until the cause is gone"
    WAIT_FOR_REST = "try again when the resource, or what else is done with it, has come to rest"
    RESUME = "go on as soon as possible"
    LEAVE = "the marker is no longer ours"

    @property
    def ends_waiting(self) -> bool:
        """Whether an error of this fate says that what was waited for is there."""
        return self in (Fate.FAIL, Fate.RETRY)


class Cause(StrEnum):
    """What a deferred marker waits for, where its end can be seen."""

    FOLDER = "a mounted folder"
    OUTPUT = "the output"
    SPOOL = "the spool"
    RULES = "the folder of rules"
    RULE = "a rule file"
    AUDIT_LOG = "the audit log"
    PSEUDONYMS = "the pseudonym key or table"
    PIXEL_REGIONS = "a file of pixel regions"
    DELETION = "a deletion from Orthanc"
    DATABASE = "another database of Orthanc"


class SpoolError(Exception):
    """Base of all errors that this package raises on purpose.

    `wakes_on` is what a marker with this error waits for. `details` go into the record of the rule's work. The
    others are what a record keeps of an error, where it has them (`core.outcome.Problem`). `says_unreadable` means that
    the resource can't be read from Orthanc at all.
    """

    fate = Fate.FAIL
    wakes_on: Cause | None = None
    exit_code = 1
    says_unreadable = False
    details: Mapping[str, Any] = MappingProxyType({})
    instance_id = ""
    last_update = ""
    waits_for = ""
    needed_bytes = 0
    traceback: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()


class UsageError(SpoolError):
    """A command was called wrongly."""

    exit_code = 2


class SettingsError(UsageError):
    """One or more settings have no usable value."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


class RulesInvalid(SpoolError):
    """`check` found invalid rule files."""


class MarkerError(SpoolError):
    """A marker names nothing that can be worked on."""


class MarkerTaken(SpoolError):
    """A person moved or removed the marker while it was being worked on."""

    fate = Fate.LEAVE


class ClaimLost(SpoolError):
    """The lock was lost while the file system was away: another process may have taken the work over."""

    fate = Fate.LEAVE


class WorkerDied(SpoolError):
    """The process that worked on the marker died; nobody raises it, recovery writes it down."""

    fate = Fate.RESUME


class Interrupted(SpoolError):
    """The processor was asked to stop in the middle of a job."""

    fate = Fate.RESUME


class StillArriving(SpoolError):
    """The resource isn't complete yet, or changed while it was being read."""

    fate = Fate.WAIT_FOR_REST

    def __init__(self, text: str, wait_s: float, last_update: str = "") -> None:
        self.wait_s = wait_s
        self.last_update = last_update
        super().__init__(text)


class OutsideHours(SpoolError):
    """The rule runs only in hours that haven't begun yet."""

    fate = Fate.WAIT_FOR_REST
    wakes_on = Cause.RULE

    def __init__(self, text: str, wait_s: float) -> None:
        self.wait_s = wait_s
        super().__init__(text)


class DeletionWaits(SpoolError):
    """Everything was exported, but somebody may still need it in Orthanc: `waits_for` is the key of a resource."""

    fate = Fate.WAIT_FOR_REST
    wakes_on = Cause.DELETION

    def __init__(self, text: str, wait_s: float, waits_for: str) -> None:
        self.wait_s = wait_s
        self.waits_for = waits_for
        super().__init__(f"it is exported, and not yet deleted from Orthanc: {text}")


class Unavailable(SpoolError):
    """Something outside this program is down, full or missing, and will be back."""

    fate = Fate.WAIT


class OutputUnavailable(Unavailable):
    """The output can't be written: full, read-only or not mounted. `needed_bytes` would do, where that is known."""

    wakes_on = Cause.OUTPUT

    def __init__(self, text: str, needed_bytes: int = 0) -> None:
        self.needed_bytes = needed_bytes
        super().__init__(text)


class SpoolUnavailable(Unavailable):
    """The spool can't be written: full or read-only."""

    wakes_on = Cause.SPOOL


class AuditUnavailable(Unavailable):
    """The audit log can't be written, so nothing may leave."""

    wakes_on = Cause.AUDIT_LOG


class FolderMissing(Unavailable):
    """A folder isn't the one that it was: unmounted or replaced."""

    wakes_on = Cause.FOLDER


class AnswerChanged(Unavailable):
    """What arrives isn't what Orthanc sent: something on the way cuts, replaces or changes it."""

    def __init__(self, text: str, instance_id: str = "") -> None:
        self.instance_id = instance_id
        super().__init__(text)


class AnotherDatabase(Unavailable):
    """Orthanc has no such study or series, and another database than before: the former one may have it."""

    wakes_on = Cause.DATABASE


class DestinationUnavailable(Unavailable):
    """A destination of FORWARD is down, or hasn't confirmed yet."""


class RuleUnavailable(Unavailable):
    """The rule file is broken at the moment; its last valid version says that it would match."""

    wakes_on = Cause.RULE


class RulesUnavailable(Unavailable):
    """The folder of rules can't be read."""

    wakes_on = Cause.RULES


class KeyUnavailable(Unavailable):
    """The pseudonym key is missing, unreadable, or another one than the records name."""

    wakes_on = Cause.PSEUDONYMS


class PatientNotListed(Unavailable):
    """The patient isn't in the pseudonym table yet."""

    wakes_on = Cause.PSEUDONYMS


class PseudonymTableInvalid(Unavailable):
    """The pseudonym table is missing or ambiguous; `problems` has one line for each fault, without its values."""

    wakes_on = Cause.PSEUDONYMS

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


class PixelRegionsInvalid(Unavailable):
    """A file of pixel regions is broken, so that nobody knows which images it is about."""

    wakes_on = Cause.PIXEL_REGIONS


class DetectorMissing(Unavailable):
    """A rule asks for text detection, and what finds text isn't installed here, or isn't what was measured."""


class OrthancUnavailable(Unavailable):
    """Orthanc doesn't answer."""

    fate = Fate.RESUME
    exit_code = 75


class PasswordRefused(OrthancUnavailable):
    """Orthanc refuses the user or the password."""

    exit_code = 2


class OrthancFault(SpoolError):
    """Orthanc answers, but with an error or with something that can't be understood."""

    fate = Fate.RETRY
    says_unreadable = True


class InstanceError(OrthancFault):
    """One instance can't be read, or isn't what Orthanc's list says."""

    def __init__(self, instance_id: str, text: str) -> None:
        self.instance_id = instance_id
        super().__init__(text)


class EverythingWithheld(SpoolError):
    """No file may leave, because none can be anonymised with certainty; `details` name each file and say why."""

    def __init__(self, text: str, details: Mapping[str, Any]) -> None:
        self.details = details
        super().__init__(text)


class ForwardRefused(SpoolError):
    """A destination answers, but doesn't take everything: `refused` are Orthanc's IDs of what it didn't take.

    `reason` is what was answered, without what the text says around it.
    """

    fate = Fate.RETRY

    def __init__(self, text: str, refused: tuple[str, ...] = (), *, reason: str = "") -> None:
        self.refused = refused
        self.reason = reason
        super().__init__(text)


class ForwardExpired(SpoolError):
    """A destination was down for longer than AUTORTHANC_FORWARD_EXPIRY."""


class UnknownModality(SpoolError):
    """Orthanc knows no modality of the name that the rule sends to."""


class ArchiveDamaged(SpoolError):
    """An archive reads back differently from how it was written."""

    fate = Fate.RETRY


class ResourceMissing(SpoolError):
    """Orthanc has no such study or series."""


class OutputConflict(SpoolError):
    """Something that isn't ours is where we must write."""


class Bug(SpoolError):
    """A mistake in this program."""

    says_unreadable = True

    def __init__(self, error: Exception) -> None:
        # The text of an unexpected exception may hold anything, a path with a patient's name for instance: only its
        # type is kept, with the places that it came through.
        frames = traceback.extract_tb(error.__traceback__)
        self.traceback = tuple(
            f"{frame.filename.rpartition('/')[2]}:{frame.lineno} in {frame.name}" for frame in frames
        )
        reason = f" ({error.strerror})" if isinstance(error, OSError) else ""
        super().__init__(
            f"{type(error).__name__}{reason}: this is a mistake in the program; please report it with this traceback"
        )


def _kinds(error: type[SpoolError]) -> Iterator[type[SpoolError]]:
    yield error
    for kind in error.__subclasses__():
        yield from _kinds(kind)


# What markers wait for, by the name of the error's class that their records keep.
WAKES_ON: Mapping[str, Cause] = MappingProxyType(
    # What version 0.1 called RulesUnavailable.
    {"Unavailable": Cause.RULES} | {kind.__name__: kind.wakes_on for kind in _kinds(SpoolError) if kind.wakes_on}
)
