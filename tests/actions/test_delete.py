"""DeleteFromOrthanc: what was exported leaves Orthanc when nobody needs it there any more, and nothing else does."""

import json
from typing import Any

from tests.helpers import datasets
from tests.helpers.site import Site, stored_files

NAME = "PAT1-FamilyPAT1-1"


def send(site: Site, *files: bytes) -> str:
    study = site.orthanc.upload_all(list(files))
    site.orthanc.wait_stable(f"/studies/{study}")
    return study


def wake(site: Site, resource: str, level: str = "study") -> None:
    """Write the marker of an ordinary event, which doesn't ask for anything again."""
    content = {"format": 1, "level": level, "id": resource, "source": "lua", "time": "2030-01-01T00:00:00Z"}
    folder = site.spool / "incoming"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"event-{level}-{resource}.json").write_text(json.dumps(content))


def outcome(site: Site, state: str, rule: str = "all") -> dict[str, Any]:
    (record,) = site.records(state)
    found: dict[str, Any] = record["outcomes"][rule]
    return found


def test_a_study_is_published_and_then_gone_from_orthanc(site: Site) -> None:
    site.rule("all", DeleteFromOrthanc=True)
    study = send(site, *datasets.make_study())
    wanted = stored_files(site.orthanc, study)
    wake(site, study)
    site.once()
    assert site.orthanc.get("/instances") == []
    assert site.tree("all", NAME) == wanted
    told = outcome(site, "done")
    assert told["outcome"] == "published"
    assert told["deleted_from_orthanc"]["instances"] == 6
    assert told["deleted_from_orthanc"]["bytes"] == sum(map(len, wanted.values()))
    assert site.leftovers() == []
