"""Fetching one stored file from Orthanc, and checking that it is what Orthanc received.

Orthanc verifies nothing when it reads from its storage: a flipped bit is delivered as it is, a file that was cut is
delivered short, both with status 200.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager

import urllib3

from autorthanc_spool.core.dicom import Instance
from autorthanc_spool.core.errors import AnswerChanged, InstanceError
from autorthanc_spool.orthanc.answers import cause
from autorthanc_spool.orthanc.client import Orthanc

# Most files come in one piece, and all threads together need a few megabytes.
CHUNK_BYTES = 1024 * 1024

_ETAG = re.compile(r'"\d+-([0-9a-f]{32})"')


class Transfer:
    """The stored bytes of an instance, chunk by chunk; `md5` and `size_bytes` are known when they have ended.

    Raises InstanceError, at the end, when they are not what Orthanc received, as far as size and MD5 tell.
    """

    def __init__(self, orthanc: Orthanc, instance: Instance, *, verify_md5: bool = True) -> None:
        self._orthanc = orthanc
        self._instance = instance
        self._verify_md5 = verify_md5
        self.expected_bytes = instance.file_size_bytes
        self.md5 = ""
        self.size_bytes = 0

    def __iter__(self) -> Generator[bytes, None, None]:
        """Fetch them."""
        try:
            with _given_back(self._orthanc.open(self._instance)) as response:
                if response.status == 200:
                    yield from self._chunks(response)
        except urllib3.exceptions.HTTPError as error:
            # Orthanc is gone, or only this instance is in trouble: its own answer tells.
            self._orthanc.system()
            raise InstanceError(self._instance.resource_id, f"its transfer broke off ({cause(error)})") from None
        if response.status != 200:
            self._orthanc.check_presence(response.status)
            raise InstanceError(self._instance.resource_id, _refusal(response.status))
        self._check(response.headers.get("ETag", ""))

    def _chunks(self, response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
        digest = hashlib.md5(usedforsecurity=False)
        for chunk in response.stream(CHUNK_BYTES, decode_content=False):
            digest.update(chunk)
            self.size_bytes += len(chunk)
            yield chunk
        self.md5 = digest.hexdigest()

    def _check(self, etag: str) -> None:
        instance = self._instance
        if self.size_bytes != instance.file_size_bytes:
            raise self._blamed(f"{self.size_bytes} bytes of {instance.file_size_bytes} arrive", "was cut")
        if self._verify_md5 and self.md5 != self._expected_md5(etag):
            raise self._blamed("its MD5 isn't the one that Orthanc computed on receipt", "is damaged")

    def _expected_md5(self, etag: str) -> str:
        announced = _ETAG.fullmatch(etag)
        if announced:
            return announced[1]
        # A proxy that compresses takes the ETag away, or makes it a weak one.
        return self._orthanc.stored_md5(self._instance) or self.md5

    def _blamed(self, seen: str, fault: str) -> InstanceError | AnswerChanged:
        """Ask Orthanc about its stored file before anybody is blamed."""
        resource_id = self._instance.resource_id
        if self._orthanc.is_stored_whole(self._instance):
            return AnswerChanged(
                f"{seen}, and Orthanc says that its stored file is whole: something on the way changes it; look after "
                "the proxy between here and Orthanc (a limit of size or time, a filter)",
                resource_id,
            )
        return InstanceError(resource_id, f"{seen}: its stored file {fault}")


@contextmanager
def _given_back(response: urllib3.BaseHTTPResponse) -> Iterator[urllib3.BaseHTTPResponse]:
    """Close what was not read to its end, and give the connection back in any case.

    The pool holds a fixed number of connections, and waits when all are lent. `close` alone would keep this one lent
    permanently, so that after a few unreadable instances, or a few full disks, nothing more could be asked.
    """
    try:
        yield response
    finally:
        response.close()
        response.release_conn()


def _refusal(status: int) -> str:
    if status == 404:
        return "Orthanc no longer has it"
    return f"Orthanc answers {status}: its stored file can't be read; Orthanc's log says why"
