"""Fetching one stored file from Orthanc, and checking that it is what Orthanc received.

Orthanc verifies nothing when it reads from its storage: a flipped bit is delivered as it is, a file that was cut is
delivered short, both with status 200.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Generator, Iterator
from http.client import HTTPResponse, IncompleteRead

from autorthanc_spool.core.dicom import Instance
from autorthanc_spool.core.errors import AnswerChanged, InstanceError
from autorthanc_spool.orthanc.answers import cause
from autorthanc_spool.orthanc.client import Orthanc
from autorthanc_spool.orthanc.connections import BROKEN

# Most files come in one piece, and all threads together need a few megabytes.
CHUNK_BYTES = 1024 * 1024

_ETAG = re.compile(r'"\d+-([0-9a-f]{32})"')


class Transfer:
    """The stored bytes of an instance, chunk by chunk; `md5` and `size_bytes` are known when they have ended.

    Raises InstanceError, at the end, when they are not what Orthanc received, as far as size and MD5 show.
    """

    def __init__(self, orthanc: Orthanc, instance: Instance, *, verify_md5: bool = True) -> None:
        self._orthanc = orthanc
        self._instance = instance
        self._verify_md5 = verify_md5
        self.expected_bytes = instance.file_size_bytes
        self.md5 = ""
        self.size_bytes = 0

    def __iter__(self) -> Generator[bytes, None, None]:
        """Fetch them, from the beginning."""
        self.size_bytes = 0
        try:
            with self._orthanc.open(self._instance) as response:
                announced = _announced_md5(response.headers.get("ETag", ""))
                if response.status == 200 and announced and not self._verify_md5:
                    # What nobody compares isn't computed: the record has what Orthanc says.
                    yield from self._counted(response)
                    self.md5 = announced
                elif response.status == 200:
                    yield from self._digested(response)
        except BROKEN as error:
            # Orthanc is gone, or only this instance is in trouble: its answer shows which.
            self._orthanc.system()
            raise InstanceError(self._instance.resource_id, f"its transfer broke off ({cause(error)})") from None
        if response.status != 200:
            self._orthanc.check_presence(response.status)
            raise InstanceError(self._instance.resource_id, _refusal(response.status))
        self._check(announced)

    def _digested(self, response: HTTPResponse) -> Iterator[bytes]:
        digest = hashlib.md5(usedforsecurity=False)
        for chunk in self._counted(response):
            digest.update(chunk)
            yield chunk
        self.md5 = digest.hexdigest()

    def _counted(self, response: HTTPResponse) -> Iterator[bytes]:
        while chunk := response.read(CHUNK_BYTES):
            self.size_bytes += len(chunk)
            self._orthanc.pulse.beat()
            yield chunk
        if response.length:
            raise IncompleteRead(b"", response.length)

    def _check(self, announced: str) -> None:
        instance = self._instance
        if self.size_bytes != instance.file_size_bytes:
            raise self._blamed(f"{self.size_bytes} bytes of {instance.file_size_bytes} arrive", "was cut")
        if self._verify_md5 and self.md5 != (announced or self._stored_md5()):
            raise self._blamed("its MD5 isn't the one that Orthanc computed on receipt", "is damaged")

    def _stored_md5(self) -> str:
        # A proxy that compresses takes the ETag away, or makes it a weak one.
        return self._orthanc.stored_md5(self._instance) or self.md5

    def _blamed(self, seen: str, fault: str) -> InstanceError | AnswerChanged:
        """Ask Orthanc about its stored file before anybody is blamed."""
        resource_id = self._instance.resource_id
        if self._orthanc.is_stored_whole(self._instance):
            return AnswerChanged(
                f"{seen}, and Orthanc says that its stored file is whole: something on the way changes it; check "
                "the proxy between here and Orthanc (a limit of size or time, a filter)",
                resource_id,
            )
        return InstanceError(resource_id, f"{seen}: its stored file {fault}")


def _announced_md5(etag: str) -> str:
    """The MD5 that comes with the file; "" where none does."""
    found = _ETAG.fullmatch(etag)
    return found[1] if found else ""


def _refusal(status: int) -> str:
    if status == 404:
        return "Orthanc no longer has it"
    return f"Orthanc answers {status}: its stored file can't be read; Orthanc's log says why"
