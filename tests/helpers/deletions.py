"""What the tests of deletion have in common."""

import json
from datetime import UTC, datetime

from autorthanc_spool.core.marker import TIME_FORMAT
from autorthanc_spool.run import wiring
from autorthanc_spool.settings import load_settings
from tests.helpers import crash, datasets
from tests.helpers.site import Site

NAME = "PAT1-FamilyPAT1-1"


def send(site: Site, *files: bytes) -> str:
    study = site.orthanc.upload_all(list(files))
    site.orthanc.wait_stable(f"/studies/{study}")
    return study


def now() -> str:
    """Give the time as markers have it."""
    return datetime.now(UTC).strftime(TIME_FORMAT)


def wake(site: Site, resource: str, level: str = "study", time: str = "") -> None:
    """Write the marker of an ordinary event, of now unless told, which doesn't ask for anything again."""
    content = {"format": 1, "level": level, "id": resource, "source": "lua", "time": time or now()}
    folder = site.spool / "incoming"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"event-{level}-{resource}.json").write_text(json.dumps(content))


def ids(site: Site, path: str = "/instances") -> set[str]:
    return {one if isinstance(one, str) else one["ID"] for one in site.orthanc.get(path)}


def interrupted(site: Site) -> str:
    """Publish a study of three instances, and die before the second one is deleted from Orthanc."""
    site.rule("all", DeleteFromOrthanc=True)
    study = send(site, *datasets.make_study(series=1))
    wake(site, study)
    settings = load_settings({}, site.environment, site.root)
    assert crash.run_dying(2, lambda: wiring.run(settings, once=True), among=(crash.DELETION,))
    assert len(ids(site)) == 2
    return study
