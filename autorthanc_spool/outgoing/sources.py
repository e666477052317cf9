"""What leaves: the files of a resource, under the names that they leave with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from autorthanc_spool.core import naming
from autorthanc_spool.core.dicom import Instance, Resource
from autorthanc_spool.core.errors import InstanceError
from autorthanc_spool.core.template import Template
from autorthanc_spool.orthanc.client import Orthanc
from autorthanc_spool.orthanc.hidden import with_hidden
from autorthanc_spool.orthanc.storage import Storage
from autorthanc_spool.orthanc.transfer import Transfer


class Stream(Protocol):
    """The bytes of one file; `md5` and `size_bytes` are theirs once they have ended.

    `expected_bytes` is known before: what has ended without an error has as many.
    """

    md5: str
    size_bytes: int

    @property
    def expected_bytes(self) -> int:
        """How many there will be."""

    def __iter__(self) -> Iterator[bytes]:
        """Give them, chunk by chunk."""


class Content(Protocol):
    """The files that leave. Safe to be used by several threads at once."""

    @property
    def name(self) -> str:
        """What is published is called so, unless the name belongs to another resource."""

    @property
    def identity(self) -> str:
        """Hexadecimal digits that tell it apart from others of the same name."""

    @property
    def paths(self) -> Mapping[str, tuple[str, str]]:
        """Folder and file name of each file, by the Orthanc ID of its instance."""

    def open(self, instance: Instance) -> Stream | None:
        """Begin to read one file; None for a file that is withheld.

        This, or reading, raises InstanceError when the file can't be had whole and unchanged.
        """

    def details(self) -> Mapping[str, Any]:
        """Return what the record says about the files beside their number; asked when all of them were opened.

        Raises EverythingWithheld when none of them may leave.
        """


class Originals:
    """The files as Orthanc received them."""

    def __init__(
        self,
        orthanc: Orthanc,
        resource: Resource,
        template: Template | None = None,
        *,
        verify_md5: bool,
        storage: Storage | None = None,
    ) -> None:
        self._orthanc = orthanc
        self._storage = storage
        self._verify_md5 = verify_md5
        self._resource = resource
        self.template = template
        self.identity = resource.resource_id
        self.paths: Mapping[str, tuple[str, str]] = naming.file_paths(resource.series, resource.instances)

    @cached_property
    def name(self) -> str:
        """What is published is called so; first files are asked for what Orthanc doesn't list."""
        resource = with_named_values(self._orthanc, self._resource, self.template) if self.template else self._resource
        return naming.publication_name(resource, self.template)

    def open(self, instance: Instance) -> Stream:
        """Begin to read one file: from Orthanc's storage, where it lies on this machine and has it, else by HTTP."""
        stored = self._storage.open(instance) if self._storage else None
        return stored or Transfer(self._orthanc, instance, verify_md5=self._verify_md5)

    def verify_stored(self, instances: Iterable[Instance]) -> None:
        """Have Orthanc compare its stored files with what it received. Raises InstanceError."""
        if self._verify_md5:
            for instance in instances:
                self._orthanc.verify_stored(instance)

    def details(self) -> Mapping[str, Any]:
        """Nothing more."""
        return {}


def with_named_values(orthanc: Orthanc, resource: Resource, template: Template) -> Resource:
    """Read the first file of one series after the other, until one has said each value that Orthanc doesn't list."""
    for one in naming.in_order(resource.series):
        if not naming.unanswered(resource, template):
            break
        series_id = one.resource_id
        if one.first_instance_tags is None:
            resource = orthanc.with_first_instances(resource, frozenset({series_id}))
        (read,) = (found for found in resource.series if found.resource_id == series_id)
        tags = read.first_instance_tags or {}
        asked = naming.unanswered(resource, template)
        resource = with_hidden(
            orthanc, resource, frozenset((series_id, tag) for tag in asked if tags.get(tag, "") is None)
        )
    return resource


@dataclass(frozen=True)
class Digest:
    """What is kept of a file that was read and let go."""

    size_bytes: int
    md5: str


class Proven:
    """Content whose files were all read to the end once, and may leave; read again, each must be the same.

    `digests` has those that may leave, by the Orthanc ID of their instance; the others are withheld.
    """

    def __init__(self, content: Content, digests: Mapping[str, Digest]) -> None:
        self._content = content
        self._digests = digests
        self.identity = content.identity
        self.paths = content.paths
        self.instances = len(digests)
        self.size_bytes = sum(digest.size_bytes for digest in digests.values())

    @property
    def name(self) -> str:
        """What is published would be called so."""
        return self._content.name

    def open(self, instance: Instance) -> Stream | None:
        """Begin to read one file again."""
        wanted = self._digests.get(instance.resource_id)
        stream = self._content.open(instance) if wanted else None
        return _Again(stream, wanted, instance) if stream and wanted else None

    def details(self) -> Mapping[str, Any]:
        """Return the details of the content."""
        return self._content.details()


class _Again:
    """The bytes of a file that was read before. Raises InstanceError, at the end, when they are others."""

    def __init__(self, stream: Stream, wanted: Digest, instance: Instance) -> None:
        self._stream = stream
        self._wanted = wanted
        self._instance = instance
        self.expected_bytes = wanted.size_bytes
        self.md5 = ""
        self.size_bytes = 0

    def __iter__(self) -> Iterator[bytes]:
        """Give its bytes, piece by piece."""
        yield from self._stream
        self.md5, self.size_bytes = self._stream.md5, self._stream.size_bytes
        if Digest(self.size_bytes, self.md5) != self._wanted:
            raise InstanceError(self._instance.resource_id, "read a second time, it isn't what it was the first time")
