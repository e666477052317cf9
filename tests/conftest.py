from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tests.helpers.orthanc_server import OrthancServer
from tests.helpers.site import Site

# A deadline for each example would measure how busy the machine is.
hypothesis.settings.register_profile("untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("untimed")


@pytest.fixture(scope="session")
def shared_orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OrthancServer]:
    """One plain Orthanc for all tests that change nothing of it but its studies."""
    server = OrthancServer(tmp_path_factory.mktemp("orthanc"), lua=()).start()
    yield server
    server.stop()


@pytest.fixture
def orthanc(shared_orthanc: OrthancServer) -> OrthancServer:
    """The shared Orthanc, empty."""
    shared_orthanc.clear()
    return shared_orthanc


@pytest.fixture
def fresh_orthanc(tmp_path: Path) -> Iterator[Callable[..., OrthancServer]]:
    """Starts Orthancs of one's own: with the Lua script, users, another StableAge, to be killed."""
    servers: list[OrthancServer] = []

    def start(**options: Any) -> OrthancServer:
        servers.append(OrthancServer(tmp_path / f"orthanc{len(servers)}", **options))
        return servers[-1].start()

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def site(tmp_path: Path, orthanc: OrthancServer) -> Site:
    """A site on the shared Orthanc; markers are made by hand, it runs no Lua."""
    return Site(tmp_path / "site", orthanc)


@pytest.fixture
def live_site(tmp_path: Path, fresh_orthanc: Callable[..., OrthancServer]) -> Site:
    """A site with an Orthanc of its own, whose Lua script drops the markers."""
    root = tmp_path / "site"
    for name in ("tmp", "incoming"):
        (root / "spool" / name).mkdir(parents=True)
    return Site(root, fresh_orthanc(spool=root / "spool"))
