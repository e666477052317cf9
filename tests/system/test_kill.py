"""`kill -9` of the processor in the middle of a large export, then `run`: published once, complete, nothing left."""

import random
from pathlib import Path

import pytest

from autorthanc_spool.output.working import working_name
from tests.helpers import datasets
from tests.helpers.site import Site, stored_files
from tests.helpers.waiting import wait_until

INSTANCES = 500
NAME = "PAT1-FamilyPAT1-1"


def files_in(folder: Path) -> int:
    return sum(1 for _ in folder.glob("*/*.dcm"))


@pytest.mark.timeout(300)
def test_an_export_of_500_instances_survives_kill_9_at_any_moment(site: Site) -> None:
    site.rule("all")
    study = site.orthanc.upload_all(datasets.make_study(series=5, instances=INSTANCES // 5, size=64))
    site.orthanc.wait_stable(f"/studies/{study}")
    expected = stored_files(site.orthanc, study)
    assert len(expected) == INSTANCES
    published = site.output / "all" / NAME
    site.touch(study)
    for takeovers, moment in enumerate(sorted(random.sample(range(INSTANCES), 4))):
        # Each gets one of its own: that of the former process may still be written to, if it isn't really dead.
        working = published.with_name(working_name(NAME, takeovers))
        processor = site.start_processor()
        wait_until(
            lambda working=working, moment=moment: files_in(working) > moment or published.exists(),
            60,
            f"{moment} files are written",
        )
        processor.kill()
        processor.wait()
        # A kill near the end may come after the rename, but never in the middle of it.
        assert site.published("all") in ([working.name], [NAME]), moment
    site.once()
    assert site.published("all") == [NAME]
    assert site.tree("all", NAME) == expected
    assert site.states() == {"done": 1}
    assert site.leftovers() == []
    outcome = site.records("done")[0]["outcomes"]["all"]
    assert (outcome["outcome"], outcome["instances"]) == ("published", INSTANCES)
