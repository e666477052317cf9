"""What docs/upgrade.md says of restoring: an older spool, no spool, an older index of Orthanc."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers import datasets
from tests.helpers.orthanc_server import OrthancServer
from tests.helpers.site import Site, stored_files
from tests.helpers.waiting import wait_until


@pytest.fixture
def own_site(tmp_path: Path, fresh_orthanc: Callable[..., OrthancServer]) -> Site:
    """A site whose Orthanc may be stopped and restored."""
    site = Site(tmp_path / "site", fresh_orthanc(lua=()), {"AUTORTHANC_RECONCILE_INTERVAL_S": "1"})
    site.rule("trial")
    return site


def publish(site: Site, patient: str) -> str:
    study = site.orthanc.upload_all(datasets.make_study(patient, series=1, instances=2))
    site.orthanc.wait_stable(f"/studies/{study}")
    site.touch(study)
    site.once()
    return study


def take_all(site: Site) -> None:
    """What a pipeline does."""
    for path in (site.output / "trial").iterdir():
        path.rename(site.root / f"taken-{path.name}")


def test_with_an_older_spool_what_was_done_since_is_published_again(own_site: Site) -> None:
    publish(own_site, "A")
    shutil.copytree(own_site.spool, own_site.root / "backup", copy_function=shutil.copy2)
    later = publish(own_site, "B")
    take_all(own_site)
    shutil.rmtree(own_site.spool)
    (own_site.root / "backup").rename(own_site.spool)
    own_site.orthanc.wait_stable(f"/studies/{later}", timeout_s=40, margin_s=11)
    own_site.once()
    assert own_site.published("trial") == ["B-FamilyB-1"]
    assert own_site.tree("trial", "B-FamilyB-1") == stored_files(own_site.orthanc, later)


def test_with_an_older_spool_a_folder_that_still_lies_there_is_not_touched(own_site: Site) -> None:
    publish(own_site, "A")
    shutil.copytree(own_site.spool, own_site.root / "backup", copy_function=shutil.copy2)
    later = publish(own_site, "B")
    inode = (own_site.output / "trial" / "B-FamilyB-1").stat().st_ino
    shutil.rmtree(own_site.spool)
    (own_site.root / "backup").rename(own_site.spool)
    own_site.touch(later)
    own_site.once()
    assert own_site.published("trial") == ["A-FamilyA-1", "B-FamilyB-1", f"B-FamilyB-1-{later[:8]}"]
    assert (own_site.output / "trial" / "B-FamilyB-1").stat().st_ino == inode


def test_without_a_spool_what_lies_in_orthanc_is_left_alone_until_a_rule_is_replayed(own_site: Site) -> None:
    study = publish(own_site, "A")
    take_all(own_site)
    shutil.rmtree(own_site.spool)
    own_site.once()
    assert own_site.published("trial") == []
    own_site.run("replay", "trial")
    own_site.once()
    assert own_site.tree("trial", "A-FamilyA-1") == stored_files(own_site.orthanc, study)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("baseline.json", "what is in Orthanc now is left alone"),
        ("contact.json", "counts as the one that it had before"),
        ("another-database.json", "confirms that the database that Orthanc has now is meant"),
    ],
)
def test_what_is_known_of_orthanc_and_damaged_is_a_trouble_until_it_is_fixed(
    own_site: Site, name: str, says: str
) -> None:
    publish(own_site, "A")
    own_site.variables["AUTORTHANC_RECONCILE_INTERVAL_S"] = "10"
    damaged = own_site.spool / "state" / name
    before = damaged.read_bytes() if damaged.exists() else None
    damaged.write_text("{")
    trouble = "what was missed can't be looked for"
    with own_site.processor():
        wait_until(lambda: trouble in own_site.log_end(), 30, "it is said")
        assert says in own_site.log_end()
        # Other work goes on, and no look without a reconciliation ends it.
        study = own_site.orthanc.upload_all(datasets.make_study("B", series=1, instances=2))
        own_site.orthanc.wait_stable(f"/studies/{study}")
        own_site.touch(study)
        own_site.wait_published("trial", 2)
        (processor,) = json.loads(own_site.run("status", "--json").stdout)["processors"]
        assert [one["what"] for one in processor["troubles"]] == ["reconciliation"]
        damaged.write_bytes(before) if before else damaged.unlink()
        wait_until(lambda: "reconciliation: all right again" in own_site.log_end(), 30, "it is over")
    assert own_site.log.read_text().count(trouble) == 1


def test_with_an_older_index_what_was_published_stays_and_what_is_sent_again_is_not_published_twice(
    own_site: Site,
) -> None:
    publish(own_site, "A")
    own_site.orthanc.stop()
    storage = own_site.orthanc.storage
    shutil.copytree(storage, own_site.root / "backup")
    own_site.orthanc.start()
    lost = publish(own_site, "B")
    own_site.orthanc.stop()
    shutil.rmtree(storage)
    (own_site.root / "backup").rename(storage)
    own_site.orthanc.start()
    own_site.run("enqueue", "study", lost)
    own_site.once(expect=75)
    (waiting,) = own_site.records("deferred")
    assert waiting["error"]["kind"] == "AnotherDatabase"
    # The text names it: this is how a person says that the older index is meant.
    (own_site.spool / "state" / "another-database.json").unlink()
    own_site.once(expect=1)
    (failed,) = own_site.records("failed")
    assert failed["error"]["kind"] == "ResourceMissing"
    assert own_site.published("trial") == ["A-FamilyA-1", "B-FamilyB-1"]
    again = publish(own_site, "B")
    assert again == lost
    assert own_site.published("trial") == ["A-FamilyA-1", "B-FamilyB-1"]
    assert own_site.tree("trial", "B-FamilyB-1") == stored_files(own_site.orthanc, again)
