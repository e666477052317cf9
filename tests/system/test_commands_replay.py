"""`replay`: a rule over what already lies in Orthanc, by the command line, on real Orthanc."""

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.helpers import datasets
from tests.helpers.orthanc_server import OrthancServer
from tests.helpers.site import Site, send

BRAIN = [{"TagName": "StudyDescription", "Value": "brain"}]


@pytest.fixture
def brains(site: Site) -> dict[str, str]:
    """Three brains of three days, and a knee; all of them lay in Orthanc before the first run: the baseline."""
    found = {
        "january": send(site, *datasets.make_study("JAN", StudyDate="20260110")),
        "march": send(site, *datasets.make_study("MAR", StudyDate="20260310")),
        "undated": send(site, *datasets.make_study("UND", StudyDate="")),
    }
    send(site, *datasets.make_study("KNEE", StudyDescription="knee"))
    site.rule("brain", Tags=BRAIN)
    (site.spool / "state").mkdir(parents=True)
    baseline = {one["ID"]: one["LastUpdate"] for one in site.orthanc.get("/studies?expand")}
    (site.spool / "state" / "baseline.json").write_text(json.dumps({"format": 1, "studies": baseline}))
    return found


def test_what_lay_in_orthanc_before_is_published_by_replay_alone(site: Site, brains: dict[str, str]) -> None:
    site.once()
    assert site.published("brain") == []
    done = site.run("replay", "brain")
    names = done.stdout.split()
    assert len(names) == 3
    assert all(re.fullmatch(r"incoming/\d{8}T\d{6}Z-study-[0-9a-f-]{44}\.json", name) for name in names)
    assert "3 studies match, of 4 studies in Orthanc: 18 instances" in done.stderr
    assert "3 markers written to incoming/" in done.stderr
    markers = site.records("incoming")
    assert {marker["id"] for marker in markers} == set(brains.values())
    assert [(marker["source"], marker["rules"]) for marker in markers] == [("replay", ["brain"])] * 3
    site.once()
    assert site.published("brain") == ["JAN-FamilyJAN-1", "MAR-FamilyMAR-1", "UND-FamilyUND-1"]


def test_what_is_done_stays_as_it_is(site: Site, brains: dict[str, str]) -> None:
    site.run("replay", "brain")
    site.once()
    inodes = {path.name: path.stat().st_ino for path in (site.output / "brain").iterdir()}
    again = site.run("replay", "brain")
    assert "done already, and left as they are: 3 of them" in again.stderr
    site.once()
    assert {path.name: path.stat().st_ino for path in (site.output / "brain").iterdir()} == inodes
    assert sorted(record["outcomes"]["brain"]["outcome"] for record in site.records("done")) == [
        *["published"] * 3,
        *["unchanged"] * 3,
    ]


def test_a_dry_run_writes_nothing_and_names_what_it_found(site: Site, brains: dict[str, str]) -> None:
    done = site.run("replay", "brain", "--dry-run")
    assert sorted(done.stdout.splitlines()) == sorted(f"study {resource_id}" for resource_id in brains.values())
    assert "nothing was written" in done.stderr
    assert site.states() == {}


def test_each_match_is_one_json_object(site: Site, brains: dict[str, str]) -> None:
    dry = [json.loads(line) for line in site.run("replay", "brain", "--dry-run", "--json").stdout.splitlines()]
    assert {one["id"] for one in dry} == set(brains.values())
    assert {(one["instances"], one["done"], one["marker"]) for one in dry} == {(6, False, None)}
    done = [json.loads(line) for line in site.run("replay", "brain", "--json").stdout.splitlines()]
    assert {one["marker"] for one in done} == {path.name for path in site.markers("incoming")}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--since", "2026-02-01"], {"march"}),
        (["--until", "20260110"], {"january"}),
        (["--since", "2026-01-10", "--until", "2026-03-10"], {"january", "march"}),
        (["--since", "2026-03-11"], set()),
        (["--since", "2026-03-11", "--arrival"], {"january", "march", "undated"}),
        (["--until", "2026-03-11", "--arrival"], set()),
    ],
)
def test_the_dates_are_the_study_s_own_or_those_of_its_arrival(
    site: Site, brains: dict[str, str], options: list[str], expected: set[str]
) -> None:
    done = site.run("replay", "brain", "--dry-run", *options)
    found = {line.removeprefix("study ") for line in done.stdout.splitlines()}
    assert found == {brains[name] for name in expected}
    assert ("without a StudyDate left out" in done.stderr) == ("--arrival" not in options)


def test_a_rule_on_series_is_replayed_on_each_series(site: Site) -> None:
    send(site, *datasets.make_study("P1", series=3))
    site.rule("t2", CheckOn="Series", Tags=[{"TagName": "SeriesDescription", "Value": "axial t2"}])
    done = site.run("replay", "t2")
    assert "1 series matches, of 1 study" in done.stderr
    assert [marker["level"] for marker in site.records("incoming")] == ["Series"]
    site.once()
    assert site.published("t2") == ["P1-FamilyP1-1-SE2"]


def test_a_tag_that_orthanc_keeps_in_the_files_alone_is_found(site: Site) -> None:
    send(site, *datasets.make_study("YES", ManufacturerModelName="Prisma"))
    send(site, *datasets.make_study("NO", ManufacturerModelName="Aera"))
    site.rule("prisma", Tags=[{"TagName": "ManufacturerModelName", "Value": "prisma"}])
    assert "1 study matches, of 2 studies" in site.run("replay", "prisma", "--dry-run").stderr


def test_copies_are_left_out_where_the_rule_says_so(site: Site) -> None:
    study = send(site, *datasets.make_study())
    copy = site.orthanc.post(f"/studies/{study}/anonymize", {})["ID"]
    site.orthanc.wait_stable(f"/studies/{copy}")
    site.rule("originals", Copies=False)
    assert site.run("replay", "originals", "--dry-run").stdout == f"study {study}\n"


def test_a_rule_that_cannot_run_is_reported_with_the_fix(site: Site) -> None:
    site.rule("brain")
    site.rule("asleep", IsActive=False)
    (site.rules / "broken.json").write_text("{")
    (site.rules / "my_template.json").write_text("{}")
    assert "did you mean brain?" in site.run("replay", "brian", expect=2).stderr
    assert "the active rules are: brain" in site.run("replay", "xyz", expect=2).stderr
    assert '"IsActive": true' in site.run("replay", "asleep", expect=2).stderr
    assert "autorthanc-spool check" in site.run("replay", "broken", expect=1).stderr
    assert "template" in site.run("replay", "my_template", expect=2).stderr
    assert site.states() == {}


def test_days_that_are_not_days_are_reported(site: Site) -> None:
    site.rule("brain")
    assert "--since takes a day" in site.run("replay", "brain", "--since", "yesterday", expect=2).stderr
    assert "'2026-02-30' is not one" in site.run("replay", "brain", "--until", "2026-02-30", expect=2).stderr
    wrong = site.run("replay", "brain", "--since", "2026-03-01", "--until", "2026-02-01", expect=2)
    assert "nothing can lie between" in wrong.stderr


def test_an_orthanc_that_is_away_is_75(site: Site) -> None:
    site.rule("brain")
    site.variables["ORTHANC_URL"] = "http://127.0.0.1:9"
    assert "ORTHANC_URL" in site.run("replay", "brain", expect=75).stderr
    assert (site.spool / "incoming").is_dir()


def test_a_terminal_shows_the_first_matches_as_a_table(site: Site) -> None:
    for number in range(12):
        site.orthanc.upload(datasets.make_instance(f"CANARY{number}", "1"))
    site.rule("all")
    screen = on_a_terminal(site, "replay", "all", "--dry-run")
    assert screen.count("2.1 kB") + screen.count("1.6 kB") >= 10
    assert "and 2 more" in screen
    assert "12 studies match" in screen
    assert "CANARY" not in screen


def on_a_terminal(site: Site, *arguments: str) -> str:
    """Run a command whose output and talk go to a terminal; give what it shows."""
    site.make_spool()
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "autorthanc_spool", *arguments],
        cwd=site.root,
        env={**site.environment, "TERM": "xterm", "COLUMNS": "160"},
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    try:
        while chunk := os.read(ours, 4096):
            shown += chunk
    except OSError:
        # The other end was closed: Linux says so by EIO.
        pass
    os.close(ours)
    assert process.wait(60) == 0, shown
    return shown.decode()


def test_hundreds_of_studies_need_little_memory(
    fresh_orthanc: Callable[..., OrthancServer], tmp_path_factory: pytest.TempPathFactory
) -> None:
    server = fresh_orthanc(lua=())
    for number in range(400):
        server.upload(datasets.make_instance(f"P{number}", "1", size=2))
    site = Site(tmp_path_factory.mktemp("many") / "site", server)
    site.rule("all", Tags=BRAIN)
    site.make_spool()
    program = (
        "import sys; from autorthanc_spool.commands.main import _exit_code\n"
        "code = _exit_code(['replay', 'all'])\n"
        # The peak that rusage gives is at least that of the process which started this one.
        "peak = next(line for line in open('/proc/self/status') if line.startswith('VmHWM'))\n"
        "print(peak.split()[1], file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=site.root, env=site.environment, capture_output=True, text=True, check=True
    )
    assert len(site.markers("incoming")) == 400
    assert int(done.stderr.splitlines()[-1]) < 150_000, "KiB"
