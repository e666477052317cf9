"""Ports in use, before the engine stumbles over them."""

import json
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from deploy_tools import dicom_server, free_port

from autorthanc_spool.site import ports


def chosen(**given: int) -> dict[str, str]:
    names = ("ORTHANC_WEB_PORT", "ORTHANC_AET_PORT", "POSGRES_DOCKER_EXPOSE_PORT")
    return {name: str(given.get(name) or free_port()) for name in names}


@contextmanager
def answering(reply: bytes) -> Iterator[int]:
    """Listen, and answer everyone with the same bytes; give the port."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(1000)
            self.request.sendall(reply)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def test_free_ports_are_fine(tmp_path: Path) -> None:
    assert ports.check(chosen(), tmp_path) == []


def test_a_port_in_use_is_said_with_its_variable(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        (problem,) = ports.check(chosen(ORTHANC_WEB_PORT=taken), tmp_path)
    assert problem.startswith(f"ORTHANC_WEB_PORT is {taken}, and another program")
    assert "Set ORTHANC_WEB_PORT in .env to a free port" in problem


OURS = {
    "ORTHANC_WEB_PORT": b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nautorthanc\n",
    "POSGRES_DOCKER_EXPOSE_PORT": b"N",
    # A-ASSOCIATE-RJ: permanent, calling application entity title not recognised (PS3.8 section 9.3.4).
    "ORTHANC_AET_PORT": bytes([3, 0, 0, 0, 0, 4, 0, 1, 1, 3]),
}


@pytest.mark.parametrize(("variable", "reply"), OURS.items())
def test_a_port_that_our_own_service_holds_is_fine(tmp_path: Path, variable: str, reply: bytes) -> None:
    with answering(reply) as port:
        (tmp_path / "ports.json").write_text(json.dumps({variable: port}))
        assert ports.check(chosen(**{variable: port}), tmp_path) == []


@pytest.mark.parametrize("variable", OURS)
def test_a_port_that_our_own_service_holds_while_it_starts_is_fine(tmp_path: Path, variable: str) -> None:
    # The engine listens for it, and closes each connection.
    with answering(b"") as port:
        (tmp_path / "ports.json").write_text(json.dumps({variable: port}))
        assert ports.check(chosen(**{variable: port}), tmp_path) == []


@pytest.mark.parametrize(("variable", "reply"), OURS.items())
def test_a_service_of_the_same_kind_that_was_there_first_is_said(tmp_path: Path, variable: str, reply: bytes) -> None:
    with answering(reply) as port:
        assert len(ports.check(chosen(**{variable: port}), tmp_path)) == 1


@pytest.mark.parametrize("variable", OURS)
def test_another_program_that_came_since_is_said(tmp_path: Path, variable: str) -> None:
    environ = chosen()
    assert ports.check(environ, tmp_path) == []
    with answering(b"220 mail\r\n") as port:
        (tmp_path / "ports.json").write_text(json.dumps({variable: port}))
        assert len(ports.check({**environ, variable: str(port)}, tmp_path)) == 1


def test_another_program_that_says_nothing_is_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        (tmp_path / "ports.json").write_text(json.dumps({"ORTHANC_WEB_PORT": taken}))
        assert len(ports.check(chosen(ORTHANC_WEB_PORT=taken), tmp_path)) == 1


def test_free_ports_are_remembered(tmp_path: Path) -> None:
    environ = chosen()
    assert ports.check(environ, tmp_path) == []
    assert json.loads((tmp_path / "ports.json").read_text()) == {name: int(text) for name, text in environ.items()}


def test_a_real_orthanc_is_known_by_its_answer(tmp_path: Path) -> None:
    with dicom_server(tmp_path / "orthanc") as port:
        (tmp_path / "ports.json").write_text(json.dumps({"ORTHANC_AET_PORT": port}))
        assert ports.check(chosen(ORTHANC_AET_PORT=port), tmp_path) == []
