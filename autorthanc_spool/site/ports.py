"""Whether the ports that the containers publish are free. The engine's own message names no variable."""

from __future__ import annotations

import errno
import json
import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from autorthanc_spool.settings import Settings, load_settings

# A service on this machine answers at once.
PATIENCE_S = 3.0

# PS3.8 section 9.3.1: types of protocol data units.
_ASSOCIATE_RQ, _ASSOCIATE_AC, _ASSOCIATE_RJ = 1, 2, 3


@dataclass(frozen=True)
class Port:
    """A port to be published, and how our own service there is known: by its answer to a question."""

    variable: str
    host: str
    number: int
    question: bytes
    is_ours: Callable[[bytes], bool]


def check(environ: Mapping[str, str], folder: Path) -> list[str]:
    """Give a sentence for each port that another program holds; note in `folder` which were free.

    A port that was free at an earlier look is held by our own service since, unless the answer is another one's. A
    connection that is closed at once is ours too: the engine listens for a service that is still starting.
    """
    settings = load_settings({}, environ, folder)
    notes = folder / "ports.json"
    earlier = json.loads(notes.read_text()) if notes.exists() else {}
    problems = []
    for port in _wanted(settings):
        if not is_taken(port.host, port.number):
            earlier[port.variable] = port.number
        elif earlier.get(port.variable) != port.number or not _is_held_by_us(port):
            problems.append(
                f"{port.variable} is {port.number}, and another program of this machine listens there. Set "
                f"{port.variable} in .env to a free port, or stop that program: "
                f"sudo ss -ltnp 'sport = :{port.number}' shows which it is."
            )
    notes.write_text(json.dumps(earlier))
    return problems


def _wanted(settings: Settings) -> tuple[Port, ...]:
    everywhere = "0.0.0.0"  # noqa: S104 - only tried
    web = b"GET /autorthanc-health HTTP/1.0\r\n\r\n"
    # The request to go on with TLS, which is answered by one letter before any password:
    # https://www.postgresql.org/docs/current/protocol-message-formats.html
    index = struct.pack("!ii", 8, 80877103)
    return (
        Port("ORTHANC_WEB_PORT", everywhere, settings.web_port or 80, web, lambda found: b"autorthanc\n" in found),
        # One that doesn't know us rejects the association, which is an answer as well.
        Port(
            "ORTHANC_AET_PORT", everywhere, settings.aet_port, _association_request(),
            lambda found: found[0] in {_ASSOCIATE_AC, _ASSOCIATE_RJ},
        ),
        Port(
            "POSGRES_DOCKER_EXPOSE_PORT", "127.0.0.1", settings.postgres_port, index,
            lambda found: found[:1] in {b"S", b"N"},
        ),
    )  # fmt: skip


def is_taken(host: str, port: int) -> bool:
    """Return whether a program listens there; what can't be found out counts as free, for the engine to judge."""
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, port))
            trial.listen()
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False


def speaks_http(port: int) -> bool:
    """Return whether a web server answers there, and soon."""
    try:
        return _answer(port, b"GET / HTTP/1.0\r\n\r\n").startswith(b"HTTP/")
    except OSError:
        return False


def _is_held_by_us(port: Port) -> bool:
    try:
        answer = _answer(port.number, port.question)
    except TimeoutError:
        return False
    except OSError:
        return True
    return not answer or port.is_ours(answer)


def _answer(port: int, question: bytes) -> bytes:
    """Ask, and give what comes until the connection is closed, or at first where it stays open. Raises OSError."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as connection:
        connection.sendall(question)
        answer = connection.recv(1000)
        while answer.startswith(b"HTTP/") and len(answer) < 2000 and (more := connection.recv(1000)):
            answer += more
        return answer


def _association_request() -> bytes:
    """Write an A-ASSOCIATE-RQ for the verification service (PS3.8 section 9.3.2)."""
    syntaxes = _item(0x30, b"1.2.840.10008.1.1") + _item(0x40, b"1.2.840.10008.1.2")
    user = _item(0x50, _item(0x51, struct.pack("!I", 16384)) + _item(0x52, b"2.25.1"))
    items = _item(0x10, b"1.2.840.10008.3.1.1.1") + _item(0x20, bytes([1, 0, 0, 0]) + syntaxes) + user
    body = struct.pack("!HH16s16s32x", 1, 0, b"ANY-SCP".ljust(16), b"AUTORTHANC".ljust(16)) + items
    return struct.pack("!BxI", _ASSOCIATE_RQ, len(body)) + body


def _item(kind: int, content: bytes) -> bytes:
    return struct.pack("!BxH", kind, len(content)) + content
