"""The pipeline behind, for real: hurahura watches the folder of a rule and takes what is published there."""

from pathlib import Path

import pytest

from tests.helpers import datasets, dicom_net, hurahura
from tests.helpers.site import Site, stored_files
from tests.helpers.waiting import wait_until


@pytest.mark.timeout(240)
def test_hurahura_loads_every_published_study_once_and_whole(live_site: Site, tmp_path: Path) -> None:
    live_site.rule("trial")
    with live_site.processor():
        wait_until(lambda: (live_site.output / "trial").is_dir(), 20, "the rule's folder is made")
        with hurahura.watching(live_site.output / "trial", tmp_path / "hurahura") as watcher:
            dicom_net.store(live_site.orthanc.dicom_port, datasets.make_study("P1", "7", series=2, instances=3))
            dicom_net.store(live_site.orthanc.dicom_port, datasets.make_study("P2", "8", series=1, instances=2))
            watcher.wait_loaded(2)
            live_site.wait_states(done=2)
            assert watcher.errors() == []
            assert watcher.log.count("FINISHED PROCESSING") == 2
    sent = [
        data for study in live_site.orthanc.get("/studies") for data in stored_files(live_site.orthanc, study).values()
    ]
    assert watcher.loaded() == sorted(sent)
    assert live_site.published("trial") == ["MIResearch-ERROR", "MIResearch-PROCESSING"]


@pytest.mark.timeout(240)
def test_hurahura_takes_an_archive_up(live_site: Site, tmp_path: Path) -> None:
    """It takes an archive that is created in the watched folder, and a rename out of a subfolder counts as that."""
    live_site.rule("trial", Action="ZIP")
    with live_site.processor():
        wait_until(lambda: (live_site.output / "trial").is_dir(), 20, "the rule's folder is made")
        with hurahura.watching(live_site.output / "trial", tmp_path / "hurahura") as watcher:
            dicom_net.store(live_site.orthanc.dicom_port, datasets.make_study("P1", "7", series=2, instances=2))
            watcher.wait_loaded()
            assert watcher.errors() == []
    study = live_site.orthanc.get("/studies")[0]
    assert watcher.loaded() == sorted(stored_files(live_site.orthanc, study).values())
    assert live_site.published("trial") == ["MIResearch-ERROR", "MIResearch-PROCESSING"]


@pytest.mark.timeout(240)
@pytest.mark.parametrize("action", ["ANONYMISE", ["ANONYMISE", "ZIP"]], ids=["folder", "archive"])
def test_hurahura_takes_up_what_shows_no_time(live_site: Site, tmp_path: Path, action: str | list[str]) -> None:
    live_site.rule("trial", Action=action)
    with live_site.processor():
        wait_until(lambda: (live_site.output / "trial").is_dir(), 20, "the rule's folder is made")
        with hurahura.watching(live_site.output / "trial", tmp_path / "hurahura") as watcher:
            dicom_net.store(live_site.orthanc.dicom_port, datasets.make_study("P1", "7", series=2, instances=2))
            watcher.wait_loaded()
            assert watcher.errors() == []
    assert len(watcher.loaded()) == 4
    assert live_site.published("trial") == ["MIResearch-ERROR", "MIResearch-PROCESSING"]
