from collections.abc import Iterator

import pytest

from tests.helpers.destinations import add_modality
from tests.helpers.orthanc_server import OrthancServer


@pytest.fixture(scope="module")
def shared_archive(tmp_path_factory: pytest.TempPathFactory, shared_orthanc: OrthancServer) -> Iterator[OrthancServer]:
    """A second Orthanc, that receives and commits; both know each other."""
    server = OrthancServer(tmp_path_factory.mktemp("archive"), lua=(), aet="ARCHIVE")
    server.config["DicomModalities"] = {"source": ["ORTHANC", "127.0.0.1", shared_orthanc.dicom_port]}
    server.start()
    add_modality(shared_orthanc, "archive", "ARCHIVE", server.dicom_port)
    yield server
    server.stop()


@pytest.fixture
def archive(shared_archive: OrthancServer) -> OrthancServer:
    """The second Orthanc, empty."""
    shared_archive.clear()
    return shared_archive
