"""Names of any script, end to end; and what was published under a name that is made otherwise by now."""

import json
import unicodedata

import pytest

from autorthanc_spool.spool.ledger import Ledger
from tests.helpers import datasets
from tests.helpers.site import Site

NAMES = ["สมศักดิ์", "देवेन्द्र", "مُحمد"]


def send(site: Site, *files: bytes) -> str:
    study = site.orthanc.upload_all(list(files))
    site.orthanc.wait_stable(f"/studies/{study}")
    site.touch(study)
    return study


def study_of(name: str, **options: int) -> list[bytes]:
    return datasets.make_study("P1", "7", PatientName=f"{name}^X", SpecificCharacterSet="ISO_IR 192", **options)


@pytest.mark.parametrize("action", ["DOWNLOAD", "ZIP"])
@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_published_with_the_marks_of_its_script(site: Site, name: str, action: str) -> None:
    site.rule("all", Action=action)
    send(site, *study_of(name))
    site.once()
    assert site.published("all") == [f"P1-{name}-7" + (".zip" if action == "ZIP" else "")]


def as_the_version_before_left_it(site: Site, study: str, name: str) -> str:
    """Call a publication, in the output and in the ledger, as it was called when marks became ``_``."""
    before = "".join("_" if unicodedata.category(one)[0] == "M" else one for one in name)
    (site.output / "all" / name).rename(site.output / "all" / before)
    key = f"study-{study}"
    path = site.spool / "ledger" / study[:2] / f"{key}.json"
    path.write_text(json.dumps(json.loads(path.read_text().replace(name, before))))
    for reserved in (site.spool / "ledger" / "names").iterdir():
        reserved.unlink()
    assert Ledger(site.spool / "ledger").reserve("all", before, key)
    return before


@pytest.mark.parametrize("name", NAMES)
def test_what_has_a_name_of_the_version_before_keeps_it_and_is_followed(site: Site, name: str) -> None:
    site.rule("all")
    files = study_of(name, instances=3)
    study = send(site, *files[1:])
    site.once()
    before = as_the_version_before_left_it(site, study, f"P1-{name}-7")
    assert before != f"P1-{name}-7"
    orthanc_says = {"format": 1, "level": "Study", "id": study, "source": "lua", "time": "2030-01-01T00:00:00Z"}
    (site.spool / "incoming" / "x.json").write_text(json.dumps(orthanc_says))
    site.once()
    # Nothing came: it isn't published again.
    assert site.published("all") == [before]
    send(site, files[0])
    site.once()
    # One more file came: what is published now takes the place of what was, under today's name.
    assert site.published("all") == [f"P1-{name}-7"]
    assert len(list((site.output / "all").rglob("*.dcm"))) == len(files)
    assert site.leftovers() == []


def test_the_folder_of_a_rule_keeps_its_name(site: Site) -> None:
    site.rule("สมอง ศีรษะ")
    send(site, *study_of("Doe"))
    site.once()
    assert [path.name for path in site.output.iterdir() if path.name[0] != "."] == ["สมอง_ศ_รษะ"]
    assert site.published("สมอง_ศ_รษะ") == ["P1-Doe-7"]
