"""The button: user metadata of a study or series asks for it to be done again; by real Orthanc, Lua and processor."""

import json
import re
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import datasets
from tests.helpers.orthanc_server import LUA_SCRIPT, OrthancServer
from tests.helpers.site import Site
from tests.helpers.waiting import wait_until

Start = Callable[..., OrthancServer]

BUTTON = "1024"
# Nothing becomes stable in these tests unless they want it.
LONG_S = 3600


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    for name in ("tmp", "incoming"):
        (tmp_path / "spool" / name).mkdir(parents=True)
    return tmp_path / "spool"


def markers(spool: Path) -> dict[str, dict[str, Any]]:
    return {path.name: json.loads(path.read_text()) for path in sorted((spool / "incoming").glob("*.json"))}


def press(orthanc: OrthancServer, resource_id: str, level: str = "studies") -> None:
    """What the button does: Orthanc Explorer 2 sends some JSON, `curl` sends what one likes."""
    orthanc.put(f"/{level}/{resource_id}/metadata/{BUTTON}", {"by": "a test"})


def is_pressed(orthanc: OrthancServer, resource_id: str, level: str = "studies") -> bool:
    return BUTTON in orthanc.get(f"/{level}/{resource_id}/metadata")


@pytest.mark.parametrize(("path", "level"), [("studies", "Study"), ("series", "Series")])
def test_a_press_gives_one_marker_and_the_next_press_another(
    fresh_orthanc: Start, spool: Path, path: str, level: str
) -> None:
    orthanc = fresh_orthanc(spool=spool, stable_age_s=LONG_S)
    orthanc.upload(datasets.make_instance())
    (resource_id,) = orthanc.get(f"/{path}")
    press(orthanc, resource_id, path)
    wait_until(lambda: markers(spool), 20, "the marker comes")
    ((name, content),) = markers(spool).items()
    assert re.fullmatch(rf"\d{{8}}T\d{{6}}Z-button-{level.lower()}-{resource_id}\.json", name)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", content.pop("time"))
    assert content == {
        "format": 1, "event": f"Updated{level}", "level": level, "id": resource_id, "source": "button",
    }  # fmt: skip
    wait_until(lambda: not is_pressed(orthanc, resource_id, path), 20, "the button comes up again")
    (spool / "incoming" / name).unlink()
    press(orthanc, resource_id, path)
    wait_until(lambda: markers(spool), 20, "the next marker comes")


def test_other_changes_of_a_study_are_not_a_press(fresh_orthanc: Start, spool: Path) -> None:
    orthanc = fresh_orthanc(spool=spool, stable_age_s=LONG_S)
    study = orthanc.upload(datasets.make_instance())
    orthanc.put(f"/studies/{study}/metadata/1025", "a note")
    orthanc.put(f"/studies/{study}/attachments/1024", "what a viewer keeps")
    orthanc.delete(f"/studies/{study}/metadata/1025")
    # Events come one after the other: when this one was heard, so were those before.
    (series,) = orthanc.get("/series")
    press(orthanc, series, "series")
    wait_until(lambda: markers(spool), 20, "the press is heard")
    assert [content["level"] for content in markers(spool).values()] == ["Series"]


def test_a_number_that_the_site_gave_a_name_is_the_sites_own(fresh_orthanc: Start, spool: Path) -> None:
    orthanc = fresh_orthanc(spool=spool, stable_age_s=LONG_S, config={"UserMetadata": {"Reviewed": int(BUTTON)}})
    study = orthanc.upload(datasets.make_instance())
    orthanc.put(f"/studies/{study}/metadata/Reviewed", "by A.B.")
    orthanc.put(f"/studies/{study}/metadata/1025", "a note")
    wait_until(lambda: len(updates(orthanc)) == 2, 20, "both are in the log of changes")
    orthanc.stop()
    assert markers(spool) == {}
    orthanc.start()
    assert set(orthanc.get(f"/studies/{study}/metadata")) >= {"Reviewed", "1025"}


def updates(orthanc: OrthancServer) -> list[str]:
    return [one["ID"] for one in orthanc.get("/changes")["Changes"] if one["ChangeType"] == "UpdatedMetadata"]


def test_orthanc_goes_on_answering_while_many_press(fresh_orthanc: Start, spool: Path) -> None:
    orthanc = fresh_orthanc(spool=spool, stable_age_s=LONG_S, users={"orthanc": "secret"})
    studies = {orthanc.upload(datasets.make_instance(study=str(number))) for number in range(20)}
    pressing = [threading.Thread(target=press, args=(orthanc, study)) for study in studies]
    for one in pressing:
        one.start()
    for _ in range(50):
        assert orthanc.get("/system")
    for one in pressing:
        one.join()
    wait_until(lambda: {one["id"] for one in markers(spool).values()} == studies, 20, "all presses are heard")
    wait_until(lambda: not any(is_pressed(orthanc, study) for study in studies), 20, "all buttons come up again")


def test_a_press_that_finds_no_room_stays_pressed_and_a_next_one_is_heard(fresh_orthanc: Start, spool: Path) -> None:
    orthanc = fresh_orthanc(spool=spool, stable_age_s=LONG_S)
    study = orthanc.upload(datasets.make_instance())
    (spool / "tmp").rename(spool / "away")
    press(orthanc, study)
    wait_until(lambda: "press the button again" in orthanc.log.read_text(), 20, "the log says it")
    assert is_pressed(orthanc, study)
    assert markers(spool) == {}
    (spool / "away").rename(spool / "tmp")
    press(orthanc, study)
    wait_until(lambda: markers(spool), 20, "the marker comes")


@pytest.mark.parametrize("ending", ["print('EARLIER CALLED ' .. id)", "error({})"])
def test_an_earlier_callback_is_called_whatever_it_does(
    fresh_orthanc: Start, spool: Path, tmp_path: Path, ending: str
) -> None:
    earlier = tmp_path / "earlier.lua"
    earlier.write_text(f"function OnUpdatedStudy(id)\n  {ending}\nend\n")
    orthanc = fresh_orthanc(spool=spool, stable_age_s=LONG_S, lua=(earlier, LUA_SCRIPT))
    press(orthanc, orthanc.upload(datasets.make_instance()))
    said = "EARLIER CALLED" if "print" in ending else "the earlier OnUpdatedStudy failed"
    wait_until(lambda: said in orthanc.log.read_text(), 20, "the earlier callback ran")
    wait_until(lambda: markers(spool), 20, "the marker comes")


# With the processor


def pressed_records(site: Site, state: str = "done") -> list[dict[str, Any]]:
    return [one for one in site.records(state) if one["source"] == "button"]


def test_a_press_exports_a_study_that_was_there_before_and_again_at_each_press(live_site: Site) -> None:
    site, orthanc = live_site, live_site.orthanc
    study = orthanc.upload_all(datasets.make_study())
    orthanc.wait_stable(f"/studies/{study}")
    # First contact leaves alone what has no marker: Lua dropped one for the study and one for each of its two series.
    wait_until(lambda: len(markers(site.spool)) == 3, 20, "Lua has dropped them all")
    for path in (site.spool / "incoming").iterdir():
        path.unlink()
    site.rule("all")
    site.once()
    assert site.published("all") == []
    with site.processor():
        for count in (1, 2):
            press(orthanc, study)
            wait_until(lambda count=count: len(pressed_records(site)) == count, 60, site.log_end())
    for record in pressed_records(site):
        assert record["outcomes"]["all"]["outcome"] == "published"
        assert record["outcomes"]["all"]["instances"] == 6
    assert len(site.published("all")) == 1


def test_a_press_in_mid_arrival_waits_and_exports_the_whole(live_site: Site) -> None:
    site, orthanc = live_site, live_site.orthanc
    site.rule("all")
    site.once()
    files = datasets.make_study(instances=4)
    study = orthanc.upload(files[0])
    press(orthanc, study)
    with site.processor():
        for data in files[1:]:
            orthanc.upload(data)
        wait_until(lambda: pressed_records(site), 60, "the press is served")
    assert site.published("all") != []
    (name,) = site.published("all")
    assert len([path for path in site.tree("all", name) if path.endswith(".dcm")]) == len(files)


def test_a_press_on_what_no_rule_matches_is_filed_and_says_that_none_did(live_site: Site) -> None:
    site, orthanc = live_site, live_site.orthanc
    site.rule("other", Tags=[{"TagName": "StudyDescription", "Value": "spine"}])
    study = orthanc.upload(datasets.make_instance())
    press(orthanc, study)
    with site.processor():
        wait_until(lambda: pressed_records(site), 60, "the press is served")
    (record,) = pressed_records(site)
    assert (record["outcomes"], record["error"]) == ({}, None)
    assert site.published("other") == []


def test_a_press_as_documented_by_curl(fresh_orthanc: Start, spool: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "button.md").read_text()
    (line,) = [one for one in page.splitlines() if one.startswith("curl ")]
    orthanc = fresh_orthanc(spool=spool, stable_age_s=LONG_S, users={"orthanc": "secret"})
    study = orthanc.upload(datasets.make_instance())
    command = line.replace("http://localhost:8042", orthanc.url).replace("ORTHANCID", study)
    # Where a person is asked for the password, a test gives it.
    subprocess.run(command.replace("--user orthanc", "--user orthanc:secret"), shell=True, check=True)
    wait_until(lambda: markers(spool), 20, "the marker comes")
