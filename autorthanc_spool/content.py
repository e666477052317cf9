"""What leaves: the files of a resource, under the names that they leave with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

from autorthanc_spool import naming
from autorthanc_spool.dicom import Instance, Resource
from autorthanc_spool.orthanc import Orthanc
from autorthanc_spool.orthanc_transfer import Transfer


class Stream(Protocol):
    """The bytes of one file; `md5` and `size_bytes` are theirs once they have ended."""

    md5: str
    size_bytes: int

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
        """Begin to read one file; None for a file that is withheld, of which nothing may leave.

        This, or reading, raises InstanceError when the file can't be had whole and unchanged.
        """

    def told(self) -> Mapping[str, Any]:
        """Tell what the record says about the files beside their number; asked when all of them were opened.

        Raises EverythingWithheld when none of them may leave.
        """


class Originals:
    """The files as Orthanc received them."""

    def __init__(self, orthanc: Orthanc, resource: Resource, *, verify_md5: bool) -> None:
        self._orthanc = orthanc
        self._verify_md5 = verify_md5
        self.name = naming.publication_name(resource)
        self.identity = resource.resource_id
        self.paths: Mapping[str, tuple[str, str]] = naming.file_paths(resource.series, resource.instances)

    def open(self, instance: Instance) -> Stream:
        """Begin to read one file."""
        return Transfer(self._orthanc, instance, verify_md5=self._verify_md5)

    def verify_stored(self, instances: Iterable[Instance]) -> None:
        """Have Orthanc compare its stored files with what it received. Raises InstanceError."""
        if self._verify_md5:
            for instance in instances:
                self._orthanc.verify_stored(instance)

    def told(self) -> Mapping[str, Any]:
        """Nothing more."""
        return {}
