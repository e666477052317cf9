"""Many markers at once: chosen by state, rule, kind of error and time; listed one a line; described one by one."""

import errno
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import datasets
from tests.helpers.filed_markers import filed, resource_id
from tests.helpers.site import Site, send, send_and_touch

ID = "0a4b249f-7fce45ca-4f722f72-de2a24df-92abc740"
MANY = 2000


def listed(site: Site, *arguments: str) -> list[str]:
    lines = site.run("list", *arguments, "--json").stdout.splitlines()
    return [json.loads(line)["id"][:8] for line in lines]


@pytest.fixture
def mixed(site: Site) -> Site:
    filed(site, 1, "failed", kind="UnknownModality")
    filed(site, 2, "failed", rule="knee", kind="OrthancFault", hours=30)
    filed(site, 3, "deferred", kind="OrthancFault")
    filed(site, 4, "hold", rule="knee")
    filed(site, 5, "done")
    return site


@pytest.mark.parametrize(
    ("arguments", "numbers"),
    [
        ([], [3, 1, 2, 4]),
        (["--all"], [3, 1, 2, 4, 5]),
        (["--rule", "knee"], [2, 4]),
        (["--kind", "orthancfault"], [3, 2]),
        (["failed", "--kind", "OrthancFault"], [2]),
        (["--state", "failed", "--state", "hold"], [1, 2, 4]),
        (["--since", "24h"], [3, 1, 4]),
        (["--since", "2026-11-20", "--all", "--rule", "brain"], [3, 1, 5]),
        (["--since", "2999-01-01"], []),
    ],
    ids=lambda value: " ".join(map(str, value)) or "nothing",
)
def test_list_chooses_by_what_is_in_the_record(mixed: Site, arguments: list[str], numbers: list[int]) -> None:
    assert listed(mixed, *arguments) == [resource_id(number)[:8] for number in numbers]


@pytest.mark.parametrize(
    ("command", "states"),
    [
        (["requeue", "--all"], {"incoming": 3, "hold": 1, "done": 1}),
        (["requeue", "--rule", "knee"], {"incoming": 1, "failed": 1, "deferred": 1, "hold": 1, "done": 1}),
        (["requeue", "--state", "done", "--rule", "brain"], {"incoming": 1, "failed": 2, "deferred": 1, "hold": 1}),
        (["requeue", "--kind", "OrthancFault", "--since", "24h"], {"incoming": 1, "failed": 2, "hold": 1, "done": 1}),
        (["hold", "--all"], {"hold": 4, "done": 1}),
        (["release", "--all"], {"incoming": 1, "failed": 2, "deferred": 1, "done": 1}),
        (["delete", "--all"], {"deferred": 1, "done": 1}),
        (["delete", "--kind", "UnknownModality"], {"failed": 1, "deferred": 1, "hold": 1, "done": 1}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_steering_takes_what_the_options_choose(mixed: Site, command: list[str], states: dict[str, int]) -> None:
    printed = mixed.run(*command).stdout.splitlines()
    assert mixed.states() == states
    assert len(printed) == len(set(printed)) >= 1


def test_what_is_deleted_by_the_handful_is_refused(mixed: Site) -> None:
    mixed.run("delete", "--rule", "knee")
    records = [json.loads(path.read_text()) for path in mixed.spool.glob("ledger/??/*.json")]
    assert len(records) == 2
    assert all(record["refused"] for record in records)


@pytest.mark.parametrize("command", ["requeue", "hold", "release", "delete"])
def test_nothing_is_taken_when_nothing_is_asked_for(mixed: Site, command: str) -> None:
    before = mixed.states()
    assert "name a marker" in mixed.run(command, expect=2).stderr
    assert mixed.states() == before


def test_a_kind_that_isnt_there_is_answered_with_those_that_are(mixed: Site) -> None:
    done = mixed.run("requeue", "--kind", "OrthancFautl")
    assert "OrthancFault (2), UnknownModality (1)" in done.stderr
    assert done.stdout == ""


def test_a_time_that_cant_be_read_is_said(mixed: Site) -> None:
    assert "an age like 2h" in mixed.run("list", "--since", "yesterday", expect=2).stderr


def test_one_that_cant_be_moved_keeps_all_where_they_are(mixed: Site) -> None:
    before = mixed.states()
    assert (
        "release isn't possible there" in mixed.run("release", "--state", "hold", "--state", "failed", expect=2).stderr
    )
    assert mixed.states() == before


def test_two_thousand_markers_are_steered_whole(site: Site) -> None:
    for number in range(MANY):
        filed(site, number, "failed", kind="OrthancFault")
    assert len(site.run("list", "failed").stdout.splitlines()) == MANY
    assert len(site.run("hold", "--rule", "brain").stdout.splitlines()) == MANY
    names = [path.name for path in site.markers("hold")]
    assert len(site.run("release", *names).stdout.splitlines()) == MANY
    assert site.states() == {"incoming": MANY}


@pytest.mark.parametrize("character", ["\n", "\r", "\u2028", "\u2029", "\x85", "\x1b", "\u202e"], ids=ascii)
def test_every_marker_is_one_line_and_its_printed_name_can_be_given_back(site: Site, character: str) -> None:
    site.make_spool()
    path = site.spool / "hold" / f"a{character}b-study-{ID}.json"
    path.write_text(json.dumps({"outcomes": {f"r{character}x": {"outcome": f"pub{character}lished"}}}))
    for line in (site.run("list").stdout, site.run("list", "--json").stdout):
        assert len(line.splitlines()) == 1
        assert character not in line.rstrip("\n")
    name = site.run("list").stdout.split("  ")[0]
    assert site.run("release", name).stdout.startswith("incoming/a")
    assert [one.name for one in site.markers("incoming")] == [path.name]


def test_a_done_marker_is_described(site: Site) -> None:
    site.rule("brain")
    study = send_and_touch(site, *datasets.make_study())
    site.once()
    lines = site.run("show", study).stdout.splitlines()
    assert len(lines) <= 15
    assert "is in done/" in lines[0]
    assert "brain: published, brain/PAT1-FamilyPAT1-1, 6 files" in "\n".join(lines)
    assert "requeue" in lines[-1]
    whole = json.loads(site.run("show", study, "--json").stdout)
    assert len(whole["outcomes"]["brain"]["md5sums"]) == 6
    assert (whole["state"], whole["id"]) == ("done", study)


def test_a_failed_marker_says_why_and_what_to_do(site: Site) -> None:
    site.rule("brain")
    site.touch(ID)
    site.once(expect=1)
    told = site.run("show", ID).stdout
    assert "why: ResourceMissing: Orthanc has no such study" in told
    assert f"next: fix the cause, then: autorthanc-spool requeue study-{ID}" in told


def test_a_study_that_no_rule_matches_is_led_to_explain(site: Site) -> None:
    site.rule("knee", Tags=[{"TagName": "StudyDescription", "Value": "knee"}])
    study = send_and_touch(site, *datasets.make_study())
    site.once()
    assert f"autorthanc-spool explain study {study}" in site.run("show", study).stdout


def test_a_story_has_fifteen_lines_however_many_rules_there_are(site: Site) -> None:
    path = filed(site, 1, "failed", kind="OrthancFault")
    content = json.loads(path.read_text())
    content["outcomes"] = {f"rule{number}": {"outcome": "failed", "error": content["error"]} for number in range(40)}
    path.write_text(json.dumps(content))
    lines = site.run("show", resource_id(1)).stdout.splitlines()
    assert len(lines) == 15
    assert "show --json has them all" in "\n".join(lines)
    assert lines[-1].startswith("next: ")
    assert sum("it is OrthancFault" in line for line in lines) == 1
    assert len(json.loads(site.run("show", resource_id(1), "--json").stdout)["outcomes"]) == 40


def test_a_part_that_names_all_markers_of_one_study_shows_its_history(site: Site) -> None:
    filed(site, 1, "done", hours=30)
    filed(site, 1, "failed", kind="OrthancFault")
    lines = site.run("show", resource_id(1)).stdout.splitlines()
    assert [line.split()[1].split("/")[0] for line in lines] == ["done", "failed"]
    objects = [json.loads(line) for line in site.run("show", resource_id(1), "--json").stdout.splitlines()]
    assert sorted(one["state"] for one in objects) == ["done", "failed"]
    filed(site, 2, "failed")
    assert "name a part that only one of them has" in site.run("show", "20261123", expect=2).stderr


def test_what_is_not_a_marker_is_shown_with_the_reason(site: Site) -> None:
    site.make_spool()
    (site.spool / "failed" / "rubbish.json").write_text("{")
    assert "it isn't JSON" in site.run("show", "rubbish").stdout
    assert json.loads(site.run("show", "rubbish", "--json").stdout)["content"] == "{"


def test_nothing_is_cut_or_wrapped_in_a_pipe(site: Site) -> None:
    long = "r" * 180
    site.rule(long)
    path = filed(site, 1, "failed", rule=long, kind="OrthancFault")
    content = json.loads(path.read_text())
    content["error"]["text"] = "word " * 100 + "end"
    path.write_text(json.dumps(content))
    study = send(site, datasets.make_instance())
    site.variables |= {"COLUMNS": "40"}
    for call in (["list"], ["show", "20261123"], ["status"], ["check"], ["explain", "study", study]):
        printed = site.run(*call).stdout
        assert long in printed, call
        assert "…" not in printed, call
    assert "end" in site.run("list").stdout.splitlines()[0]


SHARES = [errno.ESTALE, errno.ENOTCONN, errno.EIO, errno.EREMOTEIO, errno.ETIMEDOUT]
BROKEN_SHARE = """
import os, sys
from autorthanc_spool.commands.main import main
def breaking(call):
    def wrapper(path, *arguments, **keywords):
        if str(path).startswith({spool!r}):
            raise OSError({number}, os.strerror({number}), str(path))
        return call(path, *arguments, **keywords)
    return wrapper
os.listdir, os.rename, os.open = breaking(os.listdir), breaking(os.rename), breaking(os.open)
main(sys.argv[1:])
"""


@pytest.mark.parametrize("number", SHARES, ids=errno.errorcode.get)
@pytest.mark.parametrize("command", [["list"], ["hold", "--all"], ["enqueue", "study", ID]], ids=lambda one: one[0])
def test_a_share_that_is_away_is_75_and_one_sentence(site: Site, number: int, command: list[str]) -> None:
    site.make_spool()
    program = BROKEN_SHARE.format(spool=str(site.spool), number=number)
    done = subprocess.run(
        [sys.executable, "-c", program, *command], cwd=site.root, env=site.environment, capture_output=True, text=True
    )
    assert done.returncode == 75, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "check the mount" in done.stderr


def test_a_site_without_its_env_file_is_refused(site: Site, tmp_path: Path) -> None:
    site.make_spool()
    for variables, option in (({}, ["--site", str(site.root)]), ({"AUTORTHANC_SITE": str(site.root)}, [])):
        site.variables = variables
        assert "there is no .env in it" in site.run("list", *option, expect=2).stderr


def test_progress_is_shown_on_a_terminal_only(mixed: Site) -> None:
    assert mixed.run("hold", "--all").stderr == ""
    script = ["script", "-qec", f"{sys.executable} -m autorthanc_spool release --all", "/dev/null"]
    on_terminal = subprocess.run(script, cwd=mixed.root, env=mixed.environment, capture_output=True, text=True)
    assert "release of markers" in on_terminal.stdout
    assert mixed.states() == {"incoming": 4, "done": 1}
