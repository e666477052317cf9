from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from autorthanc_spool.run import wiring
from autorthanc_spool.settings import load_settings
from tests.helpers import crash
from tests.helpers.orthanc_server import OrthancServer
from tests.helpers.proxy import Proxy
from tests.helpers.site import Site

NEVER = 10**9


@pytest.fixture
def proxy(orthanc: OrthancServer) -> Iterator[Proxy]:
    """The network between the processor and the shared Orthanc."""
    with Proxy(orthanc.http_port) as made:
        yield made


@pytest.fixture
def far_site(tmp_path: Path, orthanc: OrthancServer, proxy: Proxy) -> Site:
    """A site that reaches the shared Orthanc through the proxy."""
    return Site(tmp_path / "site", orthanc, {"ORTHANC_URL": proxy.url})


@pytest.fixture
def once() -> Callable[[Site], None]:
    """`run --once` in a forked child: as a process of its own, without the second that Python needs to start."""

    def run(site: Site) -> None:
        found = load_settings({}, {**site.environment, "AUTORTHANC_LOG_LEVEL": "error"}, site.root)
        crash.run_dying(NEVER, lambda: wiring.run(found, once=True))

    return run
