"""The page of a real run: what it shows, and that nothing of a patient is in it."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.helpers.datasets import make_study
from tests.helpers.disks import fill_up, small_disk
from tests.helpers.orthanc_server import OrthancServer
from tests.helpers.site import Site
from tests.helpers.waiting import wait_until

PERSON = ("CANARY", "FamilyCANARY")


def shown(site: Site) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((site.spool / "state" / "status.json").read_text())
    return found


def export(site: Site, expect: int = 0) -> None:
    study = site.orthanc.upload_all(make_study("CANARY"))
    site.orthanc.wait_stable(f"/studies/{study}")
    site.touch(study)
    site.once(expect=expect)


def test_the_page_counts_what_left_by_rule(site: Site) -> None:
    site.rule("brain")
    export(site)
    brain = shown(site)["rules"]["brain"]
    assert (brain["matched"], brain["published"], brain["failed"], brain["files"]) == (1, 1, 0, 6)
    assert brain["bytes"] > 0
    assert sum(hour["left"] for hour in shown(site)["hours"]) == 1


def test_the_numbers_go_on_after_a_restart(site: Site) -> None:
    site.rule("brain")
    export(site)
    site.once()
    export(site)
    assert shown(site)["rules"]["brain"]["matched"] == 2
    assert [path.name for path in (site.spool / "state" / "statistics").iterdir()] == ["1.json"]


def test_nothing_of_a_patient_is_in_the_page_and_the_numbers(site: Site) -> None:
    site.rule("brain")
    export(site)
    files = [path for path in (site.spool / "state").rglob("*") if path.suffix in (".html", ".json")]
    files = [path for path in files if path.parent.name in ("state", "statistics")]
    assert {"status.html", "status.json", "1.json"} <= {path.name for path in files}
    published = site.published("brain")
    for path in files:
        assert [word for word in (*PERSON, *published) if word in path.read_text()] == [], path


def test_a_damaged_file_of_numbers_is_put_aside_and_the_work_goes_on(site: Site) -> None:
    site.rule("brain")
    site.once()
    folder = site.spool / "state" / "statistics"
    (folder / "1.json").write_text("{")
    export(site)
    assert len(site.published("brain")) == 1
    assert (folder / "1.damaged").read_text() == "{"
    assert shown(site)["rules"]["brain"]["published"] == 1


def test_a_page_that_cannot_be_written_loses_nothing(site: Site) -> None:
    site.rule("brain")
    site.once()
    page = site.spool / "state" / "status.html"
    page.unlink()
    page.mkdir()
    (site.spool / "state" / "statistics" / "1.json").unlink(missing_ok=True)
    (site.spool / "state" / "statistics" / "1.json").mkdir()
    export(site)
    assert len(site.published("brain")) == 1


def test_the_page_of_a_live_processor_says_all_right_then_what_is_broken(site: Site) -> None:
    site.rule("brain")
    page = site.spool / "state" / "status.html"
    with site.processor():
        wait_until(lambda: page.is_file() and shown(site)["healthy"], 30, "the page says that all is right")
        wait_until(lambda: "<h1>All right</h1>" in page.read_text(), 30, "the page for people says so as well")
        (site.rules / "brain.json").write_text("{")
        wait_until(lambda: "The rule brain is broken" in page.read_text(), 60, "the page names the broken rule")
        assert shown(site)["rules"]["brain"]["state"] == "broken"


def test_numbers_survive_a_killed_processor(site: Site) -> None:
    site.rule("brain")
    study = site.orthanc.upload_all(make_study("PAT"))
    site.orthanc.wait_stable(f"/studies/{study}")
    process = site.start_processor()
    site.touch(study)
    numbers = site.spool / "state" / "statistics" / "1.json"
    wait_until(lambda: numbers.is_file() and '"matched": 1' in numbers.read_text(), 60, "it is counted")
    process.send_signal(signal.SIGKILL)
    process.wait()
    site.once()
    assert shown(site)["rules"]["brain"]["matched"] == 1


def test_an_empty_site_is_all_right_and_a_processor_that_ends_says_so(site: Site) -> None:
    with site.processor():
        wait_until(lambda: there(site) and shown(site)["healthy"], 30, "the page says that all is right")
        wait_until(lambda: shown(site)["orthanc_reachable"] is True, 30, "Orthanc answers")
        found = shown(site)
        assert (found["rules"], found["findings"], found["folder_problems"]) == ({}, [], [])
        assert [one["alive"] for one in found["processors"]] == [True]
    found = shown(site)
    assert [(one["kind"], one["alarm"]) for one in found["findings"]] == [("not running", True)]
    assert 'class="bad"' in (site.spool / "state" / "status.html").read_text()


def test_what_waits_and_what_failed_is_shown_by_kind(site: Site) -> None:
    site.rule("brain")
    site.make_spool()
    for number in range(3):
        site.touch(f"00000000-00000000-00000000-00000000-0000000{number}")
    (site.rules / "broken.json").write_text("{")
    site.once(expect=1)
    found = shown(site)
    assert found["failed_by"] == {"ResourceMissing": 3}
    assert found["states"]["failed"]["count"] == 3
    assert found["states"]["failed"]["oldest_age_s"] is not None
    assert {"rule", "failed"} <= {one["kind"] for one in found["findings"]}


def test_two_thousand_that_wait_are_counted_while_paused(site: Site) -> None:
    site.rule("brain")
    site.make_spool()
    (site.spool / "PAUSED").write_text("for CANARY")
    for number in range(2000):
        site.touch(f"00000000-00000000-00000000-00000000-{number:08d}")
    with site.processor():
        wait_until(lambda: there(site) and shown(site)["states"]["incoming"]["count"] == 2000, 30, "all are counted")
        found = shown(site)
        assert found["paused"]
        assert [one["kind"] for one in found["findings"]] == ["paused"]
        assert "CANARY" not in json.dumps(found)
        assert "<b>2,000</b>" in (site.spool / "state" / "status.html").read_text()
        (site.spool / "PAUSED").unlink()
        wait_until(lambda: not shown(site)["paused"], 60, "the page sees that the pause is over")


def test_an_orthanc_that_is_away_is_an_alarm_until_it_is_back(
    fresh_orthanc: Callable[..., OrthancServer], tmp_path: Path
) -> None:
    server = fresh_orthanc(lua=())
    far = Site(tmp_path / "far", server)
    far.rule("brain")
    page = far.spool / "state" / "status.html"
    with far.processor():
        wait_until(lambda: there(far) and shown(far)["orthanc_reachable"] is True, 30, "it answers")
        server.stop()
        wait_until(lambda: shown(far)["orthanc_reachable"] is False, 60, "it is away")
        assert [(one["kind"], one["alarm"]) for one in shown(far)["findings"]] == [("Orthanc", True)]
        wait_until(lambda: 'class="bad"' in page.read_text(), 30, "the page is red")
        assert "Orthanc doesn't answer" in page.read_text().replace("&#x27;", "'")
        server.start()
        wait_until(lambda: shown(far)["healthy"], 60, "all is right again")


def test_a_full_disk_stops_the_page_and_the_metrics_and_not_the_work(site: Site) -> None:
    site.rule("all")
    study = site.orthanc.upload_all(make_study("PAT"))
    site.orthanc.wait_stable(f"/studies/{study}")
    with small_disk(site.root / "small", "64k") as small:
        metrics = small / "autorthanc.prom"
        site.variables["AUTORTHANC_METRICS_FILE"] = str(metrics)
        site.make_spool()
        # Only what people look at is on the full disk.
        shutil.rmtree(site.spool / "state" / "statistics", ignore_errors=True)
        (small / "statistics").mkdir()
        (site.spool / "state" / "statistics").symlink_to(small / "statistics")
        fill_up(small / "ballast")
        with site.processor():
            wait_until(lambda: "Metrics doesn't work" in site.log_end(), 30, "it is said")
            site.touch(study)
            site.wait_states(done=1)
            wait_until(lambda: "Statistics doesn't work" in site.log_end(), 30, "it is said")
            (small / "ballast").unlink()
            wait_until(lambda: metrics.is_file() and 'outcome="published"} 1' in metrics.read_text(), 60, "it goes on")
    assert len(site.published("all")) == 1


def there(site: Site) -> bool:
    return (site.spool / "state" / "status.json").is_file()
