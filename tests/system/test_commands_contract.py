"""What holds for all commands: exit codes, what goes to which stream, how markers are named, a spool laid out first."""

import json
import shutil
from pathlib import Path

import pytest

from tests.helpers import datasets
from tests.helpers.site import Site, send

ID = "0a4b249f-7fce45ca-4f722f72-de2a24df-92abc740"
OTHER = "1b4b249f-7fce45ca-4f722f72-de2a24df-92abc740"
FOLDERS = {"tmp", "incoming", "processing", "deferred", "failed", "hold", "done", "locks", "ledger", "state"}
NEED_ORTHANC = (["run", "--once"], ["explain", "study", ID], ["replay", "all"], ["reconcile"])


def marker(site: Site, name: str, state: str = "incoming") -> Path:
    folder = site.spool / state
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"level": "study", "id": ID, "source": "cli"}))
    return path


@pytest.mark.parametrize("arguments", [*NEED_ORTHANC, ["doctor"]], ids=lambda arguments: arguments[0])
def test_a_missing_spool_is_laid_out_before_orthanc_is_asked(site: Site, arguments: list[str]) -> None:
    site.rule("all")
    site.variables["ORTHANC_URL"] = "http://127.0.0.1:9"
    done = site.run(*arguments, expect=75)
    assert {path.name for path in site.spool.iterdir()} >= FOLDERS
    if arguments != ["doctor"]:
        assert done.stdout == ""
        assert "is it running, and is ORTHANC_URL right?" in done.stderr


@pytest.mark.parametrize("arguments", [["status"], ["list"], ["check"], ["prune"]], ids=lambda arguments: arguments[0])
def test_what_needs_no_orthanc_works_without_it(site: Site, arguments: list[str]) -> None:
    site.rule("all")
    site.variables["ORTHANC_URL"] = "http://127.0.0.1:9"
    site.run(*arguments)
    assert {path.name for path in site.spool.iterdir()} >= FOLDERS


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nonsense"], "No such command"),
        (["list", "nonsense"], "is not one of 'incoming'"),
        (["show", "nothing"], "no marker's name holds 'nothing'"),
        (["show", ""], "an empty name"),
        (["delete", " "], "an empty name"),
        (["requeue"], "name a marker, or use --failed or --deferred"),
        (["requeue", "nothing"], "no marker's name holds"),
        (["hold", "nothing"], "no marker's name holds"),
        (["release", "nothing"], "no marker's name holds"),
        (["delete", "nothing"], "no marker's name holds"),
        (["enqueue", "image", ID], "is not one of 'study', 'series'"),
        (["enqueue", "study", "123"], "five groups of eight hexadecimal digits"),
        (["enqueue", "study", ID, "../x"], "is not an Orthanc ID"),
        (["explain", "series", "x"], "is not an Orthanc ID"),
        (["status", "--set", "NAME"], "--set takes NAME=VALUE"),
        (["status", "--set", "AUTORTHANC_POLL_INTERVAL_S=soon"], "expected a number of seconds"),
        (["doctor", "--nonsense"], "No such option"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage_is_2_and_reported_on_standard_error(site: Site, arguments: list[str], says: str) -> None:
    done = site.run(*arguments, expect=2)
    assert says in done.stderr
    assert done.stdout == ""
    assert site.states() == {}


def test_a_marker_is_named_by_any_unique_part_of_its_name(site: Site) -> None:
    marker(site, f"20261123T212459Z-study-{ID}")
    marker(site, f"20261123T212459Z-study-{OTHER}", "failed")
    assert site.run("hold", "study-0a4b").stdout == f"hold/20261123T212459Z-study-{ID}.json\n"
    assert site.run("requeue", f"failed/20261123T212459Z-study-{OTHER}.json").stdout.startswith("incoming/")
    assert site.run("release", ID).stdout.startswith("incoming/")
    ambiguous = site.run("show", "20261123", expect=2)
    assert "name a part that only one of them has" in ambiguous.stderr
    assert f"incoming/20261123T212459Z-study-{OTHER}.json" in ambiguous.stderr


def test_nothing_is_moved_when_one_of_the_names_is_wrong(site: Site) -> None:
    marker(site, f"a-study-{ID}")
    site.run("hold", "a-study", "nothing", expect=2)
    assert site.states() == {"incoming": 1}


def test_a_marker_that_is_named_twice_is_moved_once(site: Site) -> None:
    marker(site, f"a-study-{ID}")
    assert site.run("hold", "a-study", ID).stdout.count("hold/") == 1
    marker(site, f"b-study-{ID}", "failed")
    assert site.run("requeue", "b-study", "--failed").stdout.count("incoming/") == 1
    assert site.run("delete", "b-study", f"b-study-{ID}").stdout.count("incoming/") == 1


def test_where_a_move_leads_nowhere_is_said(site: Site) -> None:
    marker(site, f"a-study-{ID}")
    assert "requeue isn't possible there" in site.run("requeue", ID, expect=2).stderr
    assert "release isn't possible there" in site.run("release", ID, expect=2).stderr
    assert "nothing found" in site.run("requeue", "--failed").stderr


def test_json_is_one_object_a_line_and_nothing_else(site: Site) -> None:
    site.rule("all")
    site.rule("other", Tags=[{"TagName": "Modality", "Value": "MR"}])
    study = send(site, datasets.make_instance())
    for name in ("a", "b"):
        marker(site, f"{name}-study-{ID}", "failed")
    marker(site, "broken", "hold").write_text("{")
    lines = {
        "status": site.run("status", "--json").stdout.splitlines(),
        "list": site.run("list", "--json").stdout.splitlines(),
        "explain": site.run("explain", "study", study, "--json").stdout.splitlines(),
        "replay": site.run("replay", "all", "--json", "--dry-run").stdout.splitlines(),
        "doctor": site.run("doctor", "--json", expect=None).stdout.splitlines(),
    }
    assert {name: len(found) for name, found in lines.items() if name != "doctor"} == {
        "status": 1,
        "list": 3,
        "explain": 2,
        "replay": 1,
    }
    assert all(isinstance(json.loads(line), dict) for found in lines.values() for line in found)


def test_check_warns_of_private_elements_that_are_known_to_identify_and_ends_well(site: Site) -> None:
    safe = [["SIEMENS CSA HEADER", "0029", "20"], ["GEMS_SERS_01", "0025", "1b"], ["GEMS_PARM_01", "0043", "39"]]
    site.rule("trial", Action="ANONYMISE", Anonymise={"SafePrivate": safe})
    site.rule("plain", Action="ANONYMISE")
    done = site.run("check")
    warned = [line for line in done.stdout.splitlines() if "warning" in line]
    assert len(warned) == 2
    wanted = [("(0025,xx1b) of GEMS_SERS_01", "removed"), ("(0029,xx20) of SIEMENS CSA HEADER", "blanked")]
    for line, (element, fate) in zip(warned, wanted, strict=True):
        assert line.startswith("trial.json: warning: ")
        assert element in line
        assert fate in line
    assert "ok" in done.stdout


def test_something_that_failed_is_1(site: Site) -> None:
    site.rule("all")
    (site.rules / "bad.json").write_text("{")
    assert "bad.json" in site.run("check", expect=1).stdout
    assert "it can't be read" in site.run("check", "nowhere.json", expect=1).stdout
    assert "Orthanc has no such study" in site.run("explain", "study", ID, expect=1).stderr
    marker(site, f"a-study-{ID}")
    site.run("run", "--once", expect=1)


def test_a_spool_that_cannot_be_made_is_a_setting_that_cannot_be_used(site: Site) -> None:
    (site.root / "file").write_text("")
    done = site.run("run", "--once", "--spool", "file/spool", expect=2)
    assert "AUTORTHANC_SPOOL_PATH" in done.stderr


def test_done_again_and_done_for_the_first_time_are_enqueued_alike(site: Site) -> None:
    site.rule("all")
    study = send(site, datasets.make_instance())
    name = site.run("enqueue", "Study", study.upper()).stdout.strip()
    assert json.loads((site.spool / name).read_text())["source"] == "cli"
    site.once()
    shutil.rmtree(site.output / "all" / "PAT1-FamilyPAT1-1")
    site.run("enqueue", "study", study)
    site.once()
    assert site.published("all") == ["PAT1-FamilyPAT1-1"]
