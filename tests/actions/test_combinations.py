"""Every combination of actions, on studies and on series, through a crash at some durable step."""

import io
import itertools
import random
import zipfile
from collections.abc import Iterator

import pydicom
import pytest

from autorthanc_spool.actions import WORDS
from autorthanc_spool.run import wiring
from autorthanc_spool.settings import load_settings
from tests.helpers import crash
from tests.helpers.canaries import assert_nothing_left, canary_study
from tests.helpers.destinations import add_modality, received
from tests.helpers.orthanc_server import OrthancServer
from tests.helpers.site import Site, stored_files

COMBINATIONS = [words for count in (1, 2, 3, 4) for words in itertools.combinations(map(str, WORDS), count)]
# Less than the shortest run has.
LAST_STEP = 25


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OrthancServer]:
    server = OrthancServer(tmp_path_factory.mktemp("archive"), lua=(), aet="ARCHIVE").start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, archive: OrthancServer) -> Iterator[OrthancServer]:
    """An Orthanc with one study of two series, that is stable."""
    server = OrthancServer(tmp_path_factory.mktemp("source"), lua=()).start()
    add_modality(server, "archive", "ARCHIVE", archive.dicom_port)
    server.wait_stable(f"/studies/{server.upload_all(canary_study())}")
    yield server
    server.stop()


def published_files(site: Site) -> list[bytes]:
    """All DICOM files below the rule's folder, in folders and in archives."""
    found = [path.read_bytes() for path in (site.output / "all").rglob("*.dcm")]
    for path in (site.output / "all").glob("*.zip"):
        with zipfile.ZipFile(path) as archive:
            found += [archive.read(name) for name in archive.namelist()]
    return found


@pytest.mark.parametrize("level", ["study", "series"])
@pytest.mark.parametrize("actions", COMBINATIONS, ids="+".join)
def test_every_combination_survives_a_crash(
    tmp_path_factory: pytest.TempPathFactory,
    source: OrthancServer,
    archive: OrthancServer,
    actions: tuple[str, ...],
    level: str,
) -> None:
    # pytest makes the name of `tmp_path` from that of the test, and log lines may hold paths.
    site = Site(tmp_path_factory.mktemp("site"), source)
    archive.clear()
    site.rule("all", CheckOn=level, Action=list(actions), DestinationModality="archive")
    (study,) = source.get("/studies")
    resources = [study] if level == "study" else source.get("/series")
    for one in resources:
        site.touch(one, level)
    settings = load_settings({}, {**site.environment, "AUTORTHANC_LOG_LEVEL": "error"}, site.root)
    step = random.Random(f"{actions} {level}").randint(1, LAST_STEP)
    assert crash.run_dying(step, lambda: wiring.run(settings, once=True))
    done = site.once()

    originals = stored_files(source, study)
    publishes = set(actions) != {"FORWARD"} and set(actions) != {"ANONYMISE", "FORWARD"}
    names = site.published("all")
    assert len(names) == (len(resources) if publishes else 0)
    assert all(name.endswith(".zip") == ("ZIP" in actions) for name in names)
    files = published_files(site)
    assert len(files) == (len(originals) if publishes else 0)
    if "ANONYMISE" in actions:
        assert_nothing_left(site, list(originals.values()), done.stdout, done.stderr)
        there = {str(pydicom.dcmread(io.BytesIO(data)).SOPInstanceUID) for data in files}
    else:
        assert not publishes or sorted(files) == sorted(originals.values())
        there = {name.rpartition("/")[2].removesuffix(".dcm") for name in originals}
    arrived = received(archive)
    assert len(arrived) == (len(originals) if "FORWARD" in actions else 0)
    assert "FORWARD" not in actions or not publishes or arrived == there
    if "ANONYMISE" in actions:
        assert not arrived & {name.rpartition("/")[2].removesuffix(".dcm") for name in originals}
    assert site.states() == {"done": len(resources)}
    assert site.leftovers() == []
