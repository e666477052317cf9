"""A network between the processor and Orthanc that can be made bad: it stalls, cuts, delays, or answers for Orthanc.

It passes bytes, and looks no further than at the first line of a request, to know which requests a fault is for.
Every request gets a connection of its own on the way to Orthanc, so each can be treated by itself.
"""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType

CHUNK_BYTES = 16 * 1024


@dataclass
class Fault:
    """What happens to the requests whose first line matches `pattern`; the first `times` of them (None: all).

    `answer` is sent instead of Orthanc's, `cut_after` closes the connection after so many bytes of Orthanc's answer,
    `stall_after` sends so many and then nothing more, until the fault is healed; `drip` sends so many bytes
    a second from then on instead.
    """

    pattern: str
    answer: bytes | None = None
    cut_after: int | None = None
    stall_after: int | None = None
    drip: int = 0
    times: int | None = None
    # Called once, when the fault strikes.
    action: Callable[[], object] | None = None
    hits: int = 0
    healed: threading.Event = field(default_factory=threading.Event)

    def strikes(self, first_line: str) -> bool:
        if self.healed.is_set() or not re.search(self.pattern, first_line):
            return False
        if self.times is not None and self.hits >= self.times:
            return False
        self.hits += 1
        return True


def status(code: int, body: bytes = b"oops") -> bytes:
    """A whole answer with this status."""
    head = f"HTTP/1.1 {code} Test\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


class Proxy:
    """Listens on 127.0.0.1 while it is entered."""

    def __init__(self, target_port: int) -> None:
        self._target = ("127.0.0.1", target_port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._faults: list[Fault] = []
        self._threads: list[threading.Thread] = []
        self._open: set[socket.socket] = set()
        self._guard = threading.Lock()
        self._is_closing = threading.Event()
        self.requests: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Proxy:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_closing.set()
        self.heal()
        self._listener.shutdown(socket.SHUT_RDWR)
        with self._guard:
            for connection in self._open:
                _hang_up(connection)
        for thread in self._threads:
            thread.join(30)
        self._listener.close()

    def add(self, fault: Fault) -> Fault:
        self._faults.append(fault)
        return fault

    def heal(self) -> None:
        """End all faults; what was stalled goes on."""
        for fault in self._faults:
            fault.healed.set()

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._is_closing.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with self._guard:
            self._open.add(client)
        try:
            with client:
                self._pass(client)
        except OSError:
            return
        finally:
            with self._guard:
                self._open.discard(client)

    def _pass(self, client: socket.socket) -> None:
        head = _read_head(client)
        if not head:
            return
        first_line = head.split(b"\r\n", 1)[0].decode("latin-1")
        self.requests.append(first_line)
        fault = next((one for one in self._faults if one.strikes(first_line)), None)
        if fault and fault.action:
            fault.action()
        if fault and fault.answer is not None:
            client.sendall(fault.answer)
            return
        with socket.create_connection(self._target, timeout=60) as server:
            # One request a connection: so that each is looked at.
            server.sendall(
                re.sub(rb"(?i)\r\nConnection:[^\r]*", b"", head).replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
            )
            self._answer(server, client, fault)

    def _answer(self, server: socket.socket, client: socket.socket, fault: Fault | None) -> None:
        limit = None if fault is None else fault.cut_after if fault.cut_after is not None else fault.stall_after
        sent = 0
        while data := server.recv(CHUNK_BYTES):
            if limit is not None and sent + len(data) > limit:
                client.sendall(data[: limit - sent])
                if fault and fault.drip:
                    self._drip(client, server, data[limit - sent :], fault)
                elif fault and fault.stall_after is not None:
                    fault.healed.wait(120)
                return
            client.sendall(data)
            sent += len(data)

    def _drip(self, client: socket.socket, server: socket.socket, data: bytes, fault: Fault) -> None:
        """Pass the rest slowly, and what is left at once when the fault is healed."""
        while data:
            size = len(data) if fault.healed.wait(1) else fault.drip
            client.sendall(data[:size])
            data = data[size:] or server.recv(CHUNK_BYTES)


def _read_head(client: socket.socket) -> bytes:
    """Read a request up to the end of its body, which is short."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = client.recv(CHUNK_BYTES)
        if not piece:
            return b""
        data += piece
    found = re.search(rb"(?i)\r\nContent-Length: *(\d+)", data)
    missing = int(found[1]) - len(data.partition(b"\r\n\r\n")[2]) if found else 0
    while missing > 0:
        piece = client.recv(CHUNK_BYTES)
        if not piece:
            return b""
        data += piece
        missing -= len(piece)
    return data


def _hang_up(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return
