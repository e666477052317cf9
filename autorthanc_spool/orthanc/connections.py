"""Connections for stored files: thousands of requests, each for one body.

They are the standard library's: urllib3 needs more processor time to ask for a small file than Orthanc to answer.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import weakref
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from queue import LifoQueue
from typing import cast
from urllib.parse import urlsplit

CONNECT_TIMEOUT_S = 5.0
# Orthanc itself gives up a stalled connection after 30 s (HttpRequestTimeout), with a body that is cut short.
READ_TIMEOUT_S = 60.0

# What a connection, or an answer on it, may end with.
BROKEN = (http.client.HTTPException, OSError)

# Orthanc closes a connection that idles for 1 s: what fails is asked for again, on a new one.
_RESENDS = 2


class FileConnections:
    """A fixed number of connections, kept between requests. Where all of them are lent, `open` waits for one."""

    def __init__(self, url: str, headers: Mapping[str, str], connections: int, ca_file: Path | None) -> None:
        self._headers = dict(headers)
        address = urlsplit(url)
        place = address.netloc.rpartition("@")[2]
        context = ssl.create_default_context(cafile=ca_file) if address.scheme == "https" else None
        self._idle: LifoQueue[http.client.HTTPConnection] = LifoQueue()
        for _ in range(connections):
            self._idle.put(
                http.client.HTTPSConnection(place, timeout=CONNECT_TIMEOUT_S, context=context)
                if context
                else http.client.HTTPConnection(place, timeout=CONNECT_TIMEOUT_S)
            )
        weakref.finalize(self, _close, self._idle)

    @contextmanager
    def open(self, path: str) -> Iterator[http.client.HTTPResponse]:
        """Ask for something, and lend the answer. Raises what is in BROKEN."""
        connection = self._idle.get()
        with ExitStack() as returning:
            returning.callback(self._idle.put, connection)
            # An answer that was not read to its end is in the way of the next one.
            closing = returning.enter_context(ExitStack())
            closing.callback(connection.close)
            response = self._asked(connection, path)
            # Where the server says that the connection ends with it, that one no longer closes it.
            closing.callback(response.close)
            yield response
            if response.isclosed():
                closing.pop_all()

    def _asked(self, connection: http.client.HTTPConnection, path: str) -> http.client.HTTPResponse:
        for resends in range(_RESENDS, -1, -1):
            if connection.sock is None:
                connection.connect()
                cast(socket.socket, connection.sock).settimeout(READ_TIMEOUT_S)
            try:
                connection.request("GET", path, headers=self._headers)
                return connection.getresponse()
            except BROKEN:
                connection.close()
                if not resends:
                    raise
        raise AssertionError


def _close(idle: LifoQueue[http.client.HTTPConnection]) -> None:
    while not idle.empty():
        idle.get().close()
