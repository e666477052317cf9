"""Orthanc's REST API: the only speaker of HTTP.

Responses are trusted for nothing but their meaning: identifiers are checked before they come near a URL or a path, and
every file's size and MD5 are checked, because Orthanc verifies nothing when it reads from its storage.
Source: https://orthanc.uclouvain.be/book/users/rest.html
"""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import urllib3
from urllib3.util import Retry, Timeout

from autorthanc_spool.dicom import RESOURCE_ID_PATTERN, Instance, Level, Resource, Series
from autorthanc_spool.errors import (
    InstanceError,
    OrthancFault,
    OrthancUnavailable,
    PasswordRefused,
    ResourceMissing,
    StillArriving,
)

CONNECT_TIMEOUT_S = 5.0
# Orthanc itself gives up a stalled connection after 30 s (HttpRequestTimeout), with a body that is cut short.
READ_TIMEOUT_S = 60.0
# Large enough to keep up with the disk, small enough that all threads together need a few megabytes.
CHUNK_BYTES = 512 * 1024
TIME_FORMAT = "%Y%m%dT%H%M%S"

# A resource whose series change between one request and the next is read this often before it is left in peace.
_READINGS = 5
_CHANGING_WAIT_S = 5.0

_PATHS = {Level.STUDY: "studies", Level.SERIES: "series"}
# In a database that comes from an Orthanc before 0.9, LastUpdate may be missing.
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_ETAG = re.compile(r'"\d+-([0-9a-f]{32})"')


@dataclass(frozen=True)
class StudySummary:
    """A study in the list of all studies."""

    resource_id: str
    last_update: str
    is_stable: bool
    series: tuple[str, ...]
    StudyDate: str

    @property
    def last_update_time(self) -> datetime:
        """When its last instance came, by Orthanc's clock."""
        return parse_last_update(self.last_update)


@dataclass(frozen=True)
class Change:
    """One row of Orthanc's log of changes."""

    seq: int
    kind: str
    resource_id: str
    date: str


@dataclass(frozen=True)
class Answer:
    """What Orthanc says to what was sent to it."""

    status: int
    data: bytes

    def object(self) -> Mapping[str, Any]:
        """Its content, if that is an object; else an empty one."""
        try:
            content = json.loads(self.data)
        except ValueError:
            return {}
        return content if isinstance(content, dict) else {}


class Orthanc:
    """One Orthanc server. Safe to be shared between threads."""

    def __init__(
        self, url: str, username: str, password: str | None, *, ca_file: Path | None = None, connections: int = 4
    ) -> None:
        self.url = url.rstrip("/")
        # Up to version 1.12.1 Orthanc compresses DICOM for whoever accepts it, which is 30 times slower.
        headers = {"Accept-Encoding": "identity", "User-Agent": "autorthanc-spool"}
        if password is not None:
            # Orthanc compares UTF-8; urllib3's helper would refuse what Latin-1 lacks.
            headers["Authorization"] = "Basic " + b64encode(f"{username}:{password}".encode()).decode()
        self._pool = urllib3.PoolManager(
            maxsize=connections,
            block=True,
            headers=headers,
            timeout=Timeout(connect=CONNECT_TIMEOUT_S, read=READ_TIMEOUT_S),
            # Orthanc closes a connection that idles for 1 s; a request on it fails and is sent once more.
            retries=Retry(total=2, connect=0, read=2, redirect=0, status=0, other=0, backoff_factor=0.1),
            ca_certs=str(ca_file) if ca_file else None,
        )

    def system(self) -> Mapping[str, Any]:
        """Ask whether Orthanc is there. Raises OrthancUnavailable, or PasswordRefused."""
        try:
            response = self._pool.request("GET", f"{self.url}/system", timeout=Timeout(connect=5.0, read=15.0))
        except urllib3.exceptions.HTTPError as error:
            raise OrthancUnavailable(
                f"Orthanc doesn't answer at {self.url} ({_cause(error)}); is it running, and is ORTHANC_URL right?"
            ) from None
        if response.status in (401, 403):
            raise PasswordRefused(
                f"Orthanc at {self.url} refuses the user or the password; "
                "set ORTHANC_USERNAME and ORTHANC_PASSWORD (or ORTHANC_PASSWORD_FILE) to what Orthanc knows"
            )
        if response.status != 200:
            raise OrthancUnavailable(f"what answers at {self.url}/system says {response.status}; is it Orthanc?")
        return _object(_parsed(response, "/system"), "/system")

    def check_presence(self, status: int) -> None:
        """Ask whether Orthanc is there at all, after an answer of this status to something else.

        A reverse proxy answers 502 while Orthanc is away, and a password may be changed in mid-transfer. Raises
        OrthancUnavailable, or PasswordRefused.
        """
        if status != 404:
            self.system()

    def now(self) -> datetime:
        """Read Orthanc's clock (UTC)."""
        return parse_time(self._get_text("/tools/now").strip().strip('"'))

    def local_now(self) -> datetime:
        """Read Orthanc's local time, as if it were UTC."""
        return parse_time(self._get_text("/tools/now-local").strip().strip('"'))

    def resource(self, level: Level, resource_id: str) -> Resource:
        """Read a study or series without its list of instances. Raises ResourceMissing."""
        main = self._get_resource(f"/{_PATHS[level]}/{_checked(resource_id)}", level)
        if level is Level.STUDY:
            study, series = main, self._get_list(f"/studies/{resource_id}/series", level)
        else:
            study, series = self._get_resource(f"/series/{resource_id}/study", level), [main]
        return _resource(level, main, study, tuple(_series(one) for one in series))

    def with_instances(self, resource: Resource) -> Resource:
        """Give the resource the list of its instances. Raises StillArriving."""
        path = f"/{_PATHS[resource.level]}/{resource.resource_id}/instances"
        for _ in range(_READINGS):
            known = {series.resource_id for series in resource.series}
            instances = tuple(_instance(one) for one in self._get_list(path, resource.level))
            if known.issuperset(instance.series_id for instance in instances):
                return replace(resource, instances=instances)
            # A series arrived between the two requests: what is read once more is read whole.
            resource = self.resource(resource.level, resource.resource_id)
        raise StillArriving(f"the {resource.level} changes faster than it can be read", _CHANGING_WAIT_S)

    def with_first_instances(self, resource: Resource, series_ids: frozenset[str]) -> Resource:
        """Give these series the tags of their first instance: lowest InstanceNumber, then ID."""
        series = tuple(
            replace(one, first_instance_tags=self._first_instance_tags(resource, one.resource_id))
            if one.resource_id in series_ids
            else one
            for one in resource.series
        )
        return replace(resource, series=series)

    def studies(self) -> list[StudySummary]:
        """List all studies, whole: paging is by offset, and skips when one is deleted meanwhile."""
        return [_study_summary(one) for one in self._all_studies()]

    def study_resources(self) -> list[Resource]:
        """List all studies with their own tags, without their series and instances."""
        return [_resource(Level.STUDY, one, one, ()) for one in self._all_studies()]

    def last_change(self) -> tuple[int, Change | None]:
        """Tell the number of the last change, and the last one that is still listed."""
        # Beyond the end, Orthanc tells where it is; `?last` tells of what wasn't deleted since.
        beyond = _object(self._get(f"/changes?since={2**62}&limit=1"), "/changes")
        listed = _changes(self._get("/changes?last"))
        last = beyond.get("Last")
        return last if isinstance(last, int) else 0, listed[-1] if listed else None

    def change(self, seq: int) -> Change | None:
        """Read the change of this number; None when it isn't listed any more."""
        listed = _changes(self._get(f"/changes?since={seq - 1}&limit=1"))
        return next((one for one in listed if one.seq == seq), None)

    def transfer(self, instance: Instance, *, verify_md5: bool = True) -> Transfer:
        """Begin to fetch the stored bytes of an instance; nothing is asked before the first one is wanted."""
        return Transfer(self, instance, verify_md5=verify_md5)

    def open(self, instance: Instance) -> urllib3.BaseHTTPResponse:
        """Ask for the stored bytes of an instance, with Orthanc's own MD5 as its ETag."""
        path = f"/instances/{instance.resource_id}/attachments/dicom/data"
        return self._pool.request("GET", f"{self.url}{path}", preload_content=False)

    def verify_stored(self, instance: Instance) -> None:
        """Have Orthanc compare a stored file with the MD5 of what it received. Raises InstanceError."""
        path = f"/instances/{instance.resource_id}/attachments/dicom"
        answer = self.post(f"{path}/verify-md5", b"")
        # Where Orthanc keeps no MD5 (StoreMD5ForAttachments false), it says the same as of a damaged file.
        if answer.status != 200 and self._request(f"{path}/md5") is not None:
            raise InstanceError(instance.resource_id, "its stored file isn't what Orthanc received, or can't be read")

    def post(self, path: str, body: bytes, *, read_timeout_s: float = READ_TIMEOUT_S) -> Answer:
        """Post something. Raises OrthancUnavailable; what Orthanc says against it is for the caller to judge."""
        return self._send("POST", path, body, read_timeout_s)

    def delete(self, path: str) -> Answer:
        """Delete something, which may be gone already."""
        return self._send("DELETE", path, None, READ_TIMEOUT_S)

    def look(self, path: str) -> Mapping[str, Any] | None:
        """Read an object; None when Orthanc knows none."""
        found = self._get(path)
        return None if found is None else _object(found, path)

    def modalities(self) -> frozenset[str]:
        """List the names of the remote modalities that Orthanc knows."""
        names = self._get("/modalities")
        return frozenset(str(name) for name in names) if isinstance(names, list) else frozenset()

    def _send(self, method: str, path: str, body: bytes | None, read_timeout_s: float) -> Answer:
        timeout = Timeout(connect=CONNECT_TIMEOUT_S, read=read_timeout_s)
        # Without naming its methods, urllib3 wouldn't send a POST again on a connection that Orthanc had closed.
        retries = Retry(total=2, connect=0, read=2, redirect=0, status=0, other=0, allowed_methods=None)
        try:
            response = self._pool.request(method, f"{self.url}{path}", body=body, timeout=timeout, retries=retries)
        except urllib3.exceptions.HTTPError as error:
            self.system()
            raise OrthancFault(f"Orthanc answers, but not to {_shape(path)} ({_cause(error)})") from None
        if response.status != 200:
            self.check_presence(response.status)
        return Answer(response.status, response.data)

    def _all_studies(self) -> list[Mapping[str, Any]]:
        found = self._get("/studies?expand")
        if not isinstance(found, list):
            raise OrthancFault("Orthanc's answer to /studies is no list")
        return [_object(one, "/studies") for one in found]

    def _first_instance_tags(self, resource: Resource, series_id: str) -> Mapping[str, str]:
        candidates = [instance for instance in resource.instances if instance.series_id == series_id]
        if not candidates:
            return {}
        first = min(candidates, key=lambda one: (*_numeric(one.InstanceNumber), one.resource_id))
        tags = _object(self._get(f"/instances/{first.resource_id}/tags?short"), "/tags")
        return {tag.lower(): value for tag, value in tags.items() if isinstance(value, str)}

    def _get_resource(self, path: str, level: Level) -> Mapping[str, Any]:
        found = self._get(path)
        if found is None:
            raise ResourceMissing(f"Orthanc has no such {level}; it may have been deleted there, or the ID is mistyped")
        return _object(found, path)

    def _get_list(self, path: str, level: Level) -> list[Mapping[str, Any]]:
        found = self._get(path)
        if found is None:
            raise ResourceMissing(f"the {level} was deleted in Orthanc while it was being read")
        if not isinstance(found, list):
            raise OrthancFault(f"Orthanc's answer to {_shape(path)} is no list")
        return [_object(one, path) for one in found]

    def _get(self, path: str) -> Any:
        response = self._request(path)
        return None if response is None else _parsed(response, path)

    def _get_text(self, path: str) -> str:
        response = self._request(path)
        if response is None:
            raise OrthancFault(f"Orthanc knows no {path}")
        return response.data.decode()

    def _request(self, path: str) -> urllib3.BaseHTTPResponse | None:
        try:
            response = self._pool.request("GET", f"{self.url}{path}")
        except urllib3.exceptions.HTTPError as error:
            self.system()
            raise OrthancFault(f"Orthanc answers, but not to {_shape(path)} ({_cause(error)})") from None
        if response.status == 404:
            return None
        if response.status != 200:
            self.check_presence(response.status)
            raise OrthancFault(f"Orthanc answers {response.status} to {_shape(path)}; its log says why")
        return response


class Transfer:
    """The stored bytes of an instance, chunk by chunk; `md5` and `size_bytes` are known when they have ended.

    Raises InstanceError, at the end, when they are not what Orthanc received, as far as size and MD5 tell.
    """

    def __init__(self, orthanc: Orthanc, instance: Instance, *, verify_md5: bool) -> None:
        self._orthanc = orthanc
        self._instance = instance
        self._verify_md5 = verify_md5
        self.md5 = ""
        self.size_bytes = 0

    def __iter__(self) -> Iterator[bytes]:
        """Fetch them."""
        try:
            with _given_back(self._orthanc.open(self._instance)) as response:
                if response.status == 200:
                    yield from self._chunks(response)
        except urllib3.exceptions.HTTPError as error:
            # Orthanc is gone, or only this instance is in trouble: its own answer tells.
            self._orthanc.system()
            raise InstanceError(self._instance.resource_id, f"its transfer broke off ({_cause(error)})") from None
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
        instance, announced = self._instance, _ETAG.fullmatch(etag)
        if self.size_bytes != instance.file_size_bytes:
            text = f"Orthanc delivers {self.size_bytes} bytes of {instance.file_size_bytes}: its stored file was cut"
            raise InstanceError(instance.resource_id, text)
        if self._verify_md5 and announced and announced[1] != self.md5:
            text = "its MD5 isn't the one that Orthanc computed on receipt: its stored file is damaged"
            raise InstanceError(instance.resource_id, text)


@contextmanager
def _given_back(response: urllib3.BaseHTTPResponse) -> Iterator[urllib3.BaseHTTPResponse]:
    """Close what was not read to its end, and give the connection back in any case.

    The pool holds a fixed number of connections, and waits when all are lent. `close` alone would keep this one lent
    for ever, so that after a few unreadable instances, or a few full disks, nothing could be asked any more.
    """
    try:
        yield response
    finally:
        response.close()
        response.release_conn()


def parse_time(text: str) -> datetime:
    """Read a time as Orthanc writes it: UTC, ``20261124T015904``."""
    try:
        return datetime.strptime(text, TIME_FORMAT).replace(tzinfo=UTC)
    except ValueError:
        raise OrthancFault("Orthanc gives a time that can't be understood") from None


def parse_last_update(text: str) -> datetime:
    """Read when a resource was changed last; of what Orthanc doesn't say it, that is long ago."""
    return parse_time(text) if text else _LONG_AGO


def _changes(content: Any) -> list[Change]:
    rows = _object(content, "/changes").get("Changes")
    found = [_object(row, "/changes") for row in rows] if isinstance(rows, list) else []
    return [
        Change(row["Seq"], str(row.get("ChangeType")), str(row.get("ID")), str(row.get("Date")))
        for row in found
        if isinstance(row.get("Seq"), int)
    ]


def _instance(content: Mapping[str, Any]) -> Instance:
    size = content.get("FileSize")
    if not isinstance(size, int):
        raise OrthancFault("Orthanc lists an instance without its size")
    tags = _tags(content, "MainDicomTags")
    return Instance(
        resource_id=_checked(content.get("ID")),
        series_id=_checked(content.get("ParentSeries")),
        SOPInstanceUID=tags.get("SOPInstanceUID", ""),
        InstanceNumber=tags.get("InstanceNumber", ""),
        file_size_bytes=size,
        file_uuid=str(content.get("FileUuid", "")),
    )


def _study_summary(content: Mapping[str, Any]) -> StudySummary:
    series = content.get("Series")
    return StudySummary(
        resource_id=_checked(content.get("ID")),
        last_update=str(content.get("LastUpdate", "")),
        is_stable=content.get("IsStable") is True,
        series=tuple(sorted(_checked(one) for one in series)) if isinstance(series, list) else (),
        StudyDate=_tags(content, "MainDicomTags").get("StudyDate", ""),
    )


def _resource(level: Level, main: Mapping[str, Any], study: Mapping[str, Any], series: tuple[Series, ...]) -> Resource:
    return Resource(
        level=level,
        resource_id=_checked(main.get("ID")),
        patient_tags=_tags(study, "PatientMainDicomTags"),
        study_tags=_tags(study, "MainDicomTags"),
        series=series,
        instances=(),
        last_update=str(main.get("LastUpdate", "")),
        is_stable=main.get("IsStable") is True,
        is_copy=any(key in item for item in (main, study) for key in ("AnonymizedFrom", "ModifiedFrom")),
    )


def _series(content: Mapping[str, Any]) -> Series:
    return Series(
        resource_id=_checked(content.get("ID")),
        tags=_tags(content, "MainDicomTags"),
        last_update=str(content.get("LastUpdate", "")),
        is_stable=content.get("IsStable") is True,
    )


def _numeric(InstanceNumber: str) -> tuple[int, int]:
    # What is no number comes last.
    try:
        return 0, int(InstanceNumber)
    except ValueError:
        return 1, 0


def _tags(content: Mapping[str, Any], key: str) -> Mapping[str, str]:
    tags = content.get(key)
    return (
        {str(name): value for name, value in tags.items() if isinstance(value, str)} if isinstance(tags, dict) else {}
    )


def _checked(resource_id: object) -> str:
    if not isinstance(resource_id, str) or not RESOURCE_ID_PATTERN.fullmatch(resource_id):
        raise OrthancFault("Orthanc gives an ID that is none")
    return resource_id


def _parsed(response: urllib3.BaseHTTPResponse, path: str) -> Any:
    try:
        return json.loads(response.data)
    except (ValueError, RecursionError, urllib3.exceptions.HTTPError):
        raise OrthancFault(f"Orthanc's answer to {_shape(path)} is no JSON") from None


def _object(content: Any, path: str) -> Mapping[str, Any]:
    if not isinstance(content, dict):
        raise OrthancFault(f"Orthanc's answer to {_shape(path)} is no object")
    return content


def _shape(path: str) -> str:
    return RESOURCE_ID_PATTERN.sub("ID", path)


def _refusal(status: int) -> str:
    if status == 404:
        return "Orthanc has it no more"
    return f"Orthanc answers {status}: its stored file can't be read; Orthanc's log says why"


def _cause(error: Exception) -> str:
    reason = getattr(error, "reason", None) or error
    names = {
        "NewConnectionError": "connection refused or no such host",
        "NameResolutionError": "no such host",
        "ConnectTimeoutError": "no connection within 5 s",
        "ReadTimeoutError": "no answer in time",
        "ResponseError": "it redirects to another address, where the password isn't sent",
        "SSLError": "its TLS certificate isn't trusted; set AUTORTHANC_CA_FILE",
        "ProtocolError": "the connection broke",
        "IncompleteRead": "the connection broke",
    }
    return names.get(type(reason).__name__, type(reason).__name__)
