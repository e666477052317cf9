"""Whether the ports that the containers publish are free. The engine's own message names no variable."""

from __future__ import annotations

import errno
import http.client
import json
import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from autorthanc_spool.settings import load_settings

# A service on this machine answers at once.
PATIENCE_S = 3.0

# PS3.8 section 9.3.1: types of protocol data units.
_ASSOCIATE_RQ, _ASSOCIATE_AC, _ASSOCIATE_RJ = 1, 2, 3


@dataclass(frozen=True)
class Port:
    """A port to be published, and how to tell that our own service has it already."""

    variable: str
    host: str
    number: int
    is_ours: Callable[[int], bool]


def check(environ: Mapping[str, str], folder: Path) -> list[str]:
    """Give a sentence for each port that another program holds; note in `folder` which were free.

    A port that was free at an earlier look, and is answered as our own service would, is held by that service.
    """
    settings = load_settings({}, environ, folder)
    wanted = (
        Port("ORTHANC_WEB_PORT", "0.0.0.0", settings.web_port or 80, _answers_as_nginx),  # noqa: S104 - only tried
        Port("ORTHANC_AET_PORT", "0.0.0.0", settings.aet_port, _answers_as_dicom),  # noqa: S104 - only tried
        Port("POSGRES_DOCKER_EXPOSE_PORT", "127.0.0.1", settings.postgres_port, _answers_as_postgresql),
    )
    notes = folder / "ports.json"
    earlier = json.loads(notes.read_text()) if notes.exists() else {}
    problems = []
    for port in wanted:
        if not is_taken(port.host, port.number):
            earlier[port.variable] = port.number
        elif earlier.get(port.variable) != port.number or not port.is_ours(port.number):
            problems.append(
                f"{port.variable} is {port.number}, and another program of this machine listens there. Set "
                f"{port.variable} in .env to a free port, or stop that program: "
                f"sudo ss -ltnp 'sport = :{port.number}' shows which it is."
            )
    notes.write_text(json.dumps(earlier))
    return problems


def is_taken(host: str, port: int) -> bool:
    """Tell whether a program listens there; what can't be found out counts as free, for the engine to judge."""
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, port))
            trial.listen()
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False


def _answers_as_nginx(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    try:
        connection.request("GET", "/autorthanc-health")
        return connection.getresponse().read(100) == b"autorthanc\n"
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _answers_as_dicom(port: int) -> bool:
    # One that doesn't know us rejects the association, which is an answer as well.
    return _answer(port, _association_request())[:1] in {bytes([_ASSOCIATE_AC]), bytes([_ASSOCIATE_RJ])}


def _answers_as_postgresql(port: int) -> bool:
    # The request to go on with TLS, which is answered by one letter before any password:
    # https://www.postgresql.org/docs/current/protocol-message-formats.html
    return _answer(port, struct.pack("!ii", 8, 80877103))[:1] in {b"S", b"N"}


def _answer(port: int, question: bytes) -> bytes:
    try:
        with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as connection:
            connection.sendall(question)
            return connection.recv(100)
    except OSError:
        return b""


def _association_request() -> bytes:
    """Write an A-ASSOCIATE-RQ for the verification service (PS3.8 section 9.3.2)."""
    syntaxes = _item(0x30, b"1.2.840.10008.1.1") + _item(0x40, b"1.2.840.10008.1.2")
    user = _item(0x50, _item(0x51, struct.pack("!I", 16384)) + _item(0x52, b"2.25.1"))
    items = _item(0x10, b"1.2.840.10008.3.1.1.1") + _item(0x20, bytes([1, 0, 0, 0]) + syntaxes) + user
    body = struct.pack("!HH16s16s32x", 1, 0, b"ANY-SCP".ljust(16), b"AUTORTHANC".ljust(16)) + items
    return struct.pack("!BxI", _ASSOCIATE_RQ, len(body)) + body


def _item(kind: int, content: bytes) -> bytes:
    return struct.pack("!BxH", kind, len(content)) + content
