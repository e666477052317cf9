"""Orthanc's REST API: who asks Orthanc for anything asks here.

What the answers mean is read in `answers`; stored files are fetched and checked in `transfer`, on `connections`.
Source: https://orthanc.uclouvain.be/book/users/rest.html
"""

from __future__ import annotations

import json
import logging
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from http.client import HTTPResponse
from itertools import chain
from pathlib import Path
from typing import Any, Self

import urllib3
from urllib3.util import Retry, Timeout

from autorthanc_spool.core.dicom import Instance, Level, Resource
from autorthanc_spool.core.errors import (
    AnswerChanged,
    InstanceError,
    OrthancFault,
    OrthancUnavailable,
    PasswordRefused,
    ResourceMissing,
    SettingsError,
    StillArriving,
)
from autorthanc_spool.core.pulse import Pulse, no_pulse
from autorthanc_spool.orthanc.answers import (
    Answer,
    Attachment,
    Change,
    StudySummary,
    cause,
    checked_id,
    first_instance,
    object_of,
    parse_time,
    read_attachment,
    read_changes,
    read_instance,
    read_resource,
    read_series,
    read_study_summary,
    shape,
)
from autorthanc_spool.orthanc.connections import CONNECT_TIMEOUT_S, READ_TIMEOUT_S, FileConnections
from autorthanc_spool.orthanc.listing import objects

# What is sent slower than this through Orthanc to another node counts as stuck.
SLOWEST_BYTES_S = 250_000.0

# A resource whose series change between one request and the next is read this often, then left for later.
_READINGS = 5
_CHANGING_WAIT_S = 5.0

# Its clock shows seconds. Of a hundred markers a second, not each needs to ask.
_CLOCK_KEPT_S = 1.0

# A list of studies may have a hundred megabytes.
_CHUNK_BYTES = 256 * 1024

_PATHS = {Level.STUDY: "studies", Level.SERIES: "series"}

log = logging.getLogger(__name__)


class _Resends(Retry):
    """How often a request is sent again; whoever waits is told why."""

    def increment(self, *arguments: Any, **named: Any) -> Self:
        """Count one. Raises what urllib3 raises once there were too many."""
        again = super().increment(*arguments, **named)
        if isinstance(named.get("error"), urllib3.exceptions.ReadTimeoutError):
            log.warning("Orthanc hasn't answered in time; it is asked again")
        return again


class Orthanc:
    """One Orthanc server. Safe to be shared between threads."""

    def __init__(
        self,
        url: str,
        username: str,
        password: str | None,
        *,
        ca_file: Path | None = None,
        connections: int = 4,
        pulse: Pulse | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        # Beats with each answer, and with each piece of a stored file.
        self.pulse = pulse or no_pulse()
        try:
            address = urllib3.util.parse_url(self.url)
        except urllib3.exceptions.LocationParseError:
            raise SettingsError([f"ORTHANC_URL is {url}; expected an http or https address"]) from None
        # A reverse proxy may have Orthanc below a path of its own.
        self._prefix = address.path or ""
        # The time that it gave last, and when it gave it.
        self._clock: tuple[datetime | None, float] = None, 0.0
        headers = _headers(username, password)
        self._pool = _pool(self.url, headers, connections, ca_file)
        self._files = FileConnections(self.url, headers, connections, ca_file)

    def system(self, *, read_timeout_s: float = 15.0, resends: int = 2) -> Mapping[str, Any]:
        """Ask whether Orthanc is there. Raises OrthancUnavailable, or PasswordRefused."""
        timeout = Timeout(connect=CONNECT_TIMEOUT_S, read=read_timeout_s)
        retries = _Resends(total=resends, connect=0, read=resends, redirect=0, status=0, other=0, backoff_factor=0.1)
        try:
            response = self._pool.request("GET", f"{self._prefix}/system", timeout=timeout, retries=retries)
        except urllib3.exceptions.HTTPError as error:
            raise OrthancUnavailable(
                f"Orthanc doesn't answer at {self.url} ({cause(error)}); is it running, and is ORTHANC_URL right?"
            ) from None
        self.pulse.beat()
        if response.status in (401, 403):
            raise PasswordRefused(
                f"Orthanc at {self.url} refuses the user or the password; "
                "set ORTHANC_USERNAME and ORTHANC_PASSWORD (or ORTHANC_PASSWORD_FILE) to what Orthanc knows"
            )
        if response.status != 200:
            raise OrthancUnavailable(
                f"what answers at {self.url}/system says {response.status} and isn't Orthanc; is ORTHANC_URL right, "
                "and does a proxy on the way ask for a login?"
            )
        try:
            found = object_of(_parsed(response, "/system"), "/system")
        except (AnswerChanged, OrthancFault):
            found = {}
        if "Version" not in found:
            raise self._not_orthanc("/system", response.data)
        return found

    def answers(self) -> None:
        """Ask whether it is Orthanc that is there, and for more than one address. Raises OrthancUnavailable."""
        self.system()
        try:
            self.now()
        except OrthancFault:
            raise self._not_orthanc("/tools/now", b"") from None

    def _not_orthanc(self, path: str, body: bytes) -> OrthancUnavailable:
        page = "a web page" if body.lstrip()[:1] == b"<" else "something else than Orthanc's answer"
        return OrthancUnavailable(
            f"{page} comes from {self.url}{path}: is ORTHANC_URL right, and does a proxy on the way ask for a login?"
        )

    def check_presence(self, status: int) -> None:
        """Ask whether Orthanc is there at all, after an answer of this status to something else.

        A reverse proxy answers 502 while Orthanc is away, and a password may be changed in mid-transfer. Raises
        OrthancUnavailable, or PasswordRefused.
        """
        if status != 404:
            self.system()

    def now(self) -> datetime:
        """Read Orthanc's clock (UTC)."""
        found = parse_time(self._get_text("/tools/now").strip().strip('"'))
        self._clock = found, time.monotonic()
        return found

    def about_now(self) -> datetime:
        """Orthanc's clock, read at most a second ago, and gone on since; never ahead of what it says."""
        read, answered_s = self._clock
        age_s = time.monotonic() - answered_s
        return self.now() if read is None or age_s > _CLOCK_KEPT_S else read + timedelta(seconds=age_s)

    def local_now(self) -> datetime:
        """Read Orthanc's local time, as if it were UTC."""
        return parse_time(self._get_text("/tools/now-local").strip().strip('"'))

    def resource(self, level: Level, resource_id: str) -> Resource:
        """Read a study or series without its list of instances. Raises ResourceMissing."""
        main = self._get_resource(f"/{_PATHS[level]}/{checked_id(resource_id)}", level)
        if level is Level.STUDY:
            study, series = main, self._get_list(f"/studies/{resource_id}/series", level)
        else:
            study, series = self._get_resource(f"/series/{resource_id}/study", level), [main]
        return read_resource(level, main, study, tuple(read_series(one) for one in series))

    def with_instances(self, resource: Resource) -> Resource:
        """Give the resource the list of its instances. Raises StillArriving."""
        path = f"/{_PATHS[resource.level]}/{resource.resource_id}/instances"
        for _ in range(_READINGS):
            known = {series.resource_id for series in resource.series}
            instances = tuple(read_instance(one) for one in self._get_list(path, resource.level))
            if known.issuperset(instance.series_id for instance in instances):
                return replace(resource, instances=instances)
            # A series arrived between the two requests: what is read once more is read whole.
            resource = self.resource(resource.level, resource.resource_id)
        raise StillArriving(f"the {resource.level} changes faster than it can be read", _CHANGING_WAIT_S)

    def with_first_instances(self, resource: Resource, series_ids: frozenset[str]) -> Resource:
        """Give these series the tags of their first instance: lowest InstanceNumber, then ID."""
        if not series_ids:
            return resource
        series = tuple(
            replace(one, first_instance_tags=self._first_instance_tags(resource, one.resource_id))
            if one.resource_id in series_ids
            else one
            for one in resource.series
        )
        return replace(resource, series=series)

    def with_siblings(self, resource: Resource) -> Resource:
        """Give a series the list of all series of its study."""
        study_id = self.parent_study(resource.resource_id)
        listed = self._get_list(f"/studies/{study_id}/series", Level.STUDY)
        return replace(resource, siblings=tuple(read_series(one) for one in listed))

    def parent_study(self, series_id: str) -> str:
        """Return the ID of the study that a series belongs to. Raises ResourceMissing."""
        return checked_id(self._get_resource(f"/series/{checked_id(series_id)}", Level.SERIES).get("ParentStudy"))

    def instance(self, resource_id: str) -> Instance | None:
        """Read what is stored of one instance; None when Orthanc has none."""
        found = self._get(f"/instances/{checked_id(resource_id)}")
        return None if found is None else read_instance(object_of(found, "/instances"))

    def attachment(self, instance: Instance) -> Attachment | None:
        """Ask how the file of an instance is stored; None when Orthanc has none, or doesn't know."""
        path = f"/instances/{instance.resource_id}/attachments/dicom/info"
        found = self._get(path)
        return None if found is None else read_attachment(object_of(found, path))

    def some_instances(self, number: int) -> list[str]:
        """List the IDs of a few instances."""
        found = self._get(f"/instances?since=0&limit={number}")
        return [checked_id(one) for one in found] if isinstance(found, list) else []

    def studies(self) -> list[StudySummary]:
        """List all studies, whole: paging is by offset, and skips when one is deleted meanwhile."""
        return [read_study_summary(one) for one in self._all_studies()]

    def study_resources(self) -> list[Resource]:
        """List all studies with their own tags, without their series and instances."""
        return [read_resource(Level.STUDY, one, one, ()) for one in self._all_studies()]

    def last_change(self) -> tuple[int, Change | None]:
        """Return the number of the last change, and the last one that is still listed."""
        # Beyond the end, Orthanc says where it is; `?last` gives what wasn't deleted since.
        beyond = object_of(self._get(f"/changes?since={2**62}&limit=1"), "/changes")
        listed = read_changes(self._get("/changes?last"))
        last = beyond.get("Last")
        return last if isinstance(last, int) else 0, listed[-1] if listed else None

    def change(self, seq: int) -> Change | None:
        """Read the change of this number; None when it is no longer listed."""
        listed = read_changes(self._get(f"/changes?since={seq - 1}&limit=1"))
        return next((one for one in listed if one.seq == seq), None)

    def open(self, instance: Instance) -> AbstractContextManager[HTTPResponse]:
        """Ask for the stored bytes of an instance, with Orthanc's own MD5 as its ETag. Raises what is in `BROKEN`."""
        return self._files.open(f"{self._prefix}/instances/{instance.resource_id}/attachments/dicom/data")

    def verify_stored(self, instance: Instance) -> None:
        """Have Orthanc compare a stored file with the MD5 of what it received. Raises InstanceError."""
        if self.is_stored_whole(instance) is False:
            raise InstanceError(instance.resource_id, "its stored file isn't what Orthanc received, or can't be read")

    def is_stored_whole(self, instance: Instance) -> bool | None:
        """Ask Orthanc itself whether a stored file is what it received; None where it can't tell."""
        answer = self.post(f"/instances/{instance.resource_id}/attachments/dicom/verify-md5", b"")
        if answer.status == 200:
            return True
        # Where Orthanc keeps no MD5 (StoreMD5ForAttachments false), it says the same as of a damaged file.
        return False if self.stored_md5(instance) is not None else None

    def stored_md5(self, instance: Instance) -> str | None:
        """Ask for the MD5 that Orthanc computed when it received a file; None where it keeps none."""
        response = self._request(f"/instances/{instance.resource_id}/attachments/dicom/md5")
        return None if response is None else response.data.decode("ascii", "replace").strip().lower()

    def post(self, path: str, body: bytes, *, read_timeout_s: float = READ_TIMEOUT_S) -> Answer:
        """Post something. Raises OrthancUnavailable; what Orthanc says against it is for the caller to judge."""
        return self._send("POST", path, body, read_timeout_s)

    def delete(self, path: str) -> Answer:
        """Delete something, which may be gone already."""
        return self._send("DELETE", path, None, READ_TIMEOUT_S)

    def delete_instance(self, resource_id: str) -> Answer | None:
        """Delete one instance; None when the connection broke, so that it isn't known whether that was done.

        The request is sent once: when it is sent again, another file may have taken the place of the first.
        """
        with suppress(OrthancFault):
            return self._send("DELETE", f"/instances/{checked_id(resource_id)}", None, READ_TIMEOUT_S, resends=0)
        return None

    def look(self, path: str) -> Mapping[str, Any] | None:
        """Read an object; None when Orthanc knows none."""
        found = self._get(path)
        return None if found is None else object_of(found, path)

    def listed(self, path: str) -> list[Any]:
        """Read a list; an empty one when Orthanc knows none."""
        found = self._get(path)
        if found is not None and not isinstance(found, list):
            raise OrthancFault(f"Orthanc's answer to {shape(path)} is not a list")
        return found or []

    def modalities(self) -> frozenset[str]:
        """List the names of the remote modalities that Orthanc knows."""
        names = self._get("/modalities")
        return frozenset(str(name) for name in names) if isinstance(names, list) else frozenset()

    def _send(self, method: str, path: str, body: bytes | None, read_timeout_s: float, *, resends: int = 2) -> Answer:
        timeout = Timeout(connect=CONNECT_TIMEOUT_S, read=read_timeout_s)
        # Orthanc answers when it has passed a file on; until then nobody can see whether it moves.
        self.pulse.beat(len(body or b"") / SLOWEST_BYTES_S)
        # Without naming its methods, urllib3 wouldn't send a POST again on a connection that Orthanc had closed.
        retries = _Resends(total=resends, connect=0, read=resends, redirect=0, status=0, other=0, allowed_methods=None)
        try:
            response = self._pool.request(method, f"{self._prefix}{path}", body=body, timeout=timeout, retries=retries)
        except urllib3.exceptions.HTTPError as error:
            self.system()
            raise OrthancFault(f"Orthanc answers, but not to {shape(path)} ({cause(error)})") from None
        self.pulse.beat()
        if response.status != 200:
            self.check_presence(response.status)
        return Answer(response.status, response.data)

    def _all_studies(self) -> Iterator[Mapping[str, Any]]:
        path, first = "/studies?expand", b""
        try:
            response = self._pool.request("GET", f"{self._prefix}{path}", preload_content=False)
            try:
                if response.status != 200:
                    self.check_presence(response.status)
                    raise OrthancFault(f"Orthanc answers {response.status} to {shape(path)}; its log says why")
                chunks = self._arriving(response)
                first = next(chunks, b"")
                yield from objects(chain([first], chunks))
            finally:
                # Where it wasn't read to its end, the connection is of no use to the next request.
                response.close()
        except urllib3.exceptions.HTTPError as error:
            self.system()
            raise OrthancFault(f"Orthanc answers, but not to {shape(path)} ({cause(error)})") from None
        except (ValueError, RecursionError):
            raise _changed(path, first) from None

    def _arriving(self, response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
        for chunk in response.stream(_CHUNK_BYTES):
            self.pulse.beat()
            yield chunk

    def _first_instance_tags(self, resource: Resource, series_id: str) -> Mapping[str, str | None]:
        first = first_instance(resource, series_id)
        if first is None:
            return {}
        try:
            tags = object_of(self._get(f"/instances/{first.resource_id}/tags?short"), "/tags")
        except OrthancFault as error:
            raise InstanceError(first.resource_id, str(error)) from None
        return {tag.lower(): value for tag, value in tags.items() if value is None or isinstance(value, str)}

    def _get_resource(self, path: str, level: Level) -> Mapping[str, Any]:
        found = self._get(path)
        if found is None:
            raise ResourceMissing(f"Orthanc has no such {level}; it may have been deleted there, or the ID is mistyped")
        return object_of(found, path)

    def _get_list(self, path: str, level: Level) -> list[Mapping[str, Any]]:
        found = self._get(path)
        if found is None:
            raise ResourceMissing(f"the {level} was deleted in Orthanc while it was being read")
        if not isinstance(found, list):
            raise OrthancFault(f"Orthanc's answer to {shape(path)} is not a list")
        return [object_of(one, path) for one in found]

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
            response = self._pool.request("GET", f"{self._prefix}{path}")
        except urllib3.exceptions.HTTPError as error:
            self.system()
            raise OrthancFault(f"Orthanc answers, but not to {shape(path)} ({cause(error)})") from None
        self.pulse.beat()
        if response.status == 404:
            return None
        if response.status != 200:
            self.check_presence(response.status)
            raise OrthancFault(f"Orthanc answers {response.status} to {shape(path)}; its log says why")
        return response


def _parsed(response: urllib3.BaseHTTPResponse, path: str) -> Any:
    try:
        return json.loads(response.data)
    except (ValueError, RecursionError, urllib3.exceptions.HTTPError):
        raise _changed(path, response.data) from None


def _changed(path: str, data: bytes) -> AnswerChanged:
    what = "a web page" if data.lstrip()[:1] == b"<" else "cut or changed text"
    return AnswerChanged(
        f"instead of Orthanc's answer to {shape(path)} {what} arrives: check the proxy between here and "
        "Orthanc (a login, a limit of size or time)"
    )


def _headers(username: str, password: str | None) -> dict[str, str]:
    # Up to version 1.12.1 Orthanc compresses DICOM for whoever accepts it, which is 30 times slower.
    headers = {"Accept-Encoding": "identity", "User-Agent": "autorthanc-spool"}
    if password is not None:
        # Orthanc compares UTF-8; urllib3's helper would refuse what Latin-1 lacks.
        headers["Authorization"] = "Basic " + b64encode(f"{username}:{password}".encode()).decode()
    return headers


def _pool(url: str, headers: Mapping[str, str], connections: int, ca_file: Path | None) -> urllib3.HTTPConnectionPool:
    return urllib3.connection_from_url(
        url,
        maxsize=connections,
        block=True,
        headers=headers,
        timeout=Timeout(connect=CONNECT_TIMEOUT_S, read=READ_TIMEOUT_S),
        # Orthanc closes a connection that idles for 1 s; a request on it fails and is sent once more.
        retries=_Resends(total=2, connect=0, read=2, redirect=0, status=0, other=0, backoff_factor=0.1),
        # Without TLS, the pool doesn't know this option.
        **({"ca_certs": str(ca_file)} if ca_file and url.lower().startswith("https:") else {}),
    )
