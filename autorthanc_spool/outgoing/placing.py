"""Opening the files of a job, each with its place in what is published.

By default the places are known before. With a rule's `Files` they are made of what each file that leaves says, so its
beginning is read first. Several threads do so, and equal paths are told apart: therefore places are given in the order
in which files are begun, and whoever was faster waits for the beginnings of those before.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from typing import Protocol

from autorthanc_spool.core.dicom import Instance
from autorthanc_spool.core.places import Places
from autorthanc_spool.orthanc.hidden import head_and_texts
from autorthanc_spool.orthanc.storage import StoredFile
from autorthanc_spool.orthanc.transfer import Transfer
from autorthanc_spool.outgoing.job import Job
from autorthanc_spool.outgoing.sources import Stream

Opened = tuple[str, Stream]


class Placing(Protocol):
    """Gives the files of a content their places."""

    def opened(self, instance: Instance) -> AbstractContextManager[Opened | None]:
        """Open a file, and return its path below the published folder; None when it is withheld."""


def placing(job: Job, order: Iterable[Instance]) -> Placing:
    """Place the files of a job; `order` is that in which they are begun."""
    return ByTemplate(job, Places(job.rule.files), order) if job.rule.files else ByUID(job)


class ByUID:
    """A folder for each series, and a file for each UID."""

    def __init__(self, job: Job) -> None:
        self._job = job

    @contextmanager
    def opened(self, instance: Instance) -> Iterator[Opened | None]:
        """Open a file."""
        self._job.check_stop()
        stream = self._job.content.open(instance)
        yield ("/".join(self._job.content.paths[instance.resource_id]), stream) if stream else None


class ByTemplate:
    """Files are called what a template makes of their values."""

    def __init__(self, job: Job, places: Places, order: Iterable[Instance]) -> None:
        self._job = job
        self._places = places
        self._turns = _Turns(one.resource_id for one in order)

    @contextmanager
    def opened(self, instance: Instance) -> Iterator[Opened | None]:
        """Open a file, read its beginning, and wait for those before it."""
        with ExitStack() as opened:
            # Nothing may fail outside of it: others wait for its end.
            with self._turns.turn(instance.resource_id) as wait:
                self._job.check_stop()
                stream = self._job.content.open(instance)
                if stream:
                    begun = opened.enter_context(closing(_Begun(stream, self._places.tags)))
                    wait()
                    path = self._places.place(instance.resource_id, instance.series_id, begun.texts)
            if stream is None:
                yield None
            else:
                # What lies on this machine is copied by the kernel, as if it hadn't been looked at.
                yield path, stream if isinstance(stream, StoredFile) else begun


class _Begun:
    """A stream whose beginning was read; `texts` are the values of some tags in it."""

    def __init__(self, stream: Stream, tags: Iterable[str]) -> None:
        self._stream = stream
        self.expected_bytes = stream.expected_bytes
        self._chunks = stream.peek() if isinstance(stream, StoredFile) else iter(stream)
        self._head, self.texts = head_and_texts(self._chunks, frozenset(tags))
        self.md5 = ""
        self.size_bytes = 0

    def __iter__(self) -> Iterator[bytes]:
        yield self._head
        self._head = b""
        yield from self._chunks
        self.md5, self.size_bytes = self._stream.md5, self._stream.size_bytes

    def let_go(self) -> None:
        """Give a connection back; what reads this begins with a new one."""
        if isinstance(self._stream, Transfer):
            self.close()
            self._head, self._chunks = b"", iter(self._stream)

    def close(self) -> None:
        """Let go of what wasn't read: a connection, for one."""
        if isinstance(self._chunks, Generator):
            self._chunks.close()


def let_go(stream: Stream) -> None:
    """Before a wait that may be long: Orthanc breaks off a transfer that stalls."""
    if isinstance(stream, _Begun):
        stream.let_go()


class _Turns:
    """Lets several threads do something one after the other, in an order that was decided beforehand."""

    def __init__(self, order: Iterable[str]) -> None:
        self._numbers = {name: number for number, name in enumerate(order)}
        self._ended: set[int] = set()
        self._first = 0
        self._changed = threading.Condition()

    @contextmanager
    def turn(self, name: str) -> Iterator[Callable[[], None]]:
        """Have a turn; call what is given to wait for it. It ends here, also where it wasn't waited for."""
        number = self._numbers[name]
        try:
            yield lambda: self._wait(number)
        finally:
            self._end(number)

    def _wait(self, number: int) -> None:
        with self._changed:
            # Whoever is first began before all others, so that nobody waits for what isn't under way.
            self._changed.wait_for(lambda: self._first == number)

    def _end(self, number: int) -> None:
        with self._changed:
            self._ended.add(number)
            while self._first in self._ended:
                self._ended.remove(self._first)
                self._first += 1
            self._changed.notify_all()
