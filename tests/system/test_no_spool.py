"""Commands that look make nothing; a site can be named from anywhere; what they print can be given back to them."""

import json
import os
from pathlib import Path

import pytest

from tests.helpers import datasets
from tests.helpers.site import Site

ID = "0a4b249f-7fce45ca-4f722f72-de2a24df-92abc740"
LOOKING = [
    ("status",), ("list",), ("show", ID), ("requeue", "--failed"), ("hold", ID), ("release", ID), ("delete", ID),
    ("enqueue", "study", ID), ("check",), ("explain", "study", ID), ("replay", "all", "--dry-run"), ("reconcile",),
    ("prune", "--dry-run"), ("doctor",), ("reidentify", "X", "--rule", "all"), ("find", ID), ("announce",),
]  # fmt: skip


@pytest.mark.parametrize("command", LOOKING, ids=lambda command: command[0])
def test_a_command_that_finds_no_spool_says_so_and_makes_none(site: Site, command: tuple[str, ...]) -> None:
    site.has_spool = False
    site.rule("all")
    done = site.run(*command, expect=2)
    assert f"there is no spool at {site.spool}" in done.stderr
    assert "--site" in done.stderr
    assert sorted(path.name for path in site.root.iterdir()) == ["automation_scripts"]


def test_rule_files_alone_are_checked_without_a_spool(site: Site) -> None:
    site.has_spool = False
    done = site.run("check", str(site.rule("all")))
    assert "all.json: ok" in done.stdout
    assert not site.spool.exists()


def test_a_run_makes_the_spool(site: Site) -> None:
    site.rule("all")
    site.once()
    site.run("check")
    assert "there is no rule" not in site.run("status").stderr


@pytest.mark.parametrize("by", ["option", "environment"])
def test_a_site_is_named_from_anywhere(site: Site, tmp_path: Path, by: str) -> None:
    site.rule("all")
    site.once()
    names = ("ORTHANC_URL", "ORTHANC_STABLE_AGE", "ORTHANC_AUTHENTICATION_ENABLED")
    (site.root / ".env").write_text("".join(f"{name}={site.environment[name]}\n" for name in names))
    elsewhere = Site(tmp_path / "elsewhere", site.orthanc, has_spool=False)
    elsewhere.rules.rmdir()
    if by == "environment":
        elsewhere.variables["AUTORTHANC_SITE"] = str(site.root)
    option = ["--site", str(site.root)] if by == "option" else []
    found = json.loads(elsewhere.run("status", *option, "--json").stdout)
    assert found["spool"] == str(site.spool)
    assert found["rules"]["active"] == ["all"]
    assert elsewhere.run("enqueue", *option, "study", ID).stdout.startswith("incoming/")
    assert len(site.markers("incoming")) == 1
    assert list(elsewhere.root.iterdir()) == []


def test_a_site_that_isnt_there_is_said(site: Site) -> None:
    done = site.run("status", "--site", "nowhere", expect=2)
    assert "--site nowhere: there is no such folder" in done.stderr


def test_a_path_of_an_option_is_meant_from_the_shell(site: Site, tmp_path: Path) -> None:
    site.rule("all")
    site.once()
    (site.root / ".env").touch()
    elsewhere = Site(tmp_path / "elsewhere", site.orthanc, has_spool=False)
    (elsewhere.root / "mine").symlink_to(site.spool)
    found = json.loads(elsewhere.run("status", "--site", str(site.root), "--spool", "mine", "--json").stdout)
    assert found["spool"] == str(elsewhere.root / "mine")


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_a_name_that_isnt_utf8_can_be_given_back(site: Site, locale: str) -> None:
    site.variables |= {"LC_ALL": locale, "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    site.once()
    path = os.fsencode(site.spool / "hold") + b"/caf\xff\xe9-study-" + ID.encode() + b".json"
    with open(path, "wb") as file:  # noqa: PTH123 - a path of bytes
        file.write(b'{"source": "lua"}')
    (line,) = site.run("list").stdout.splitlines()
    assert "\\xff" in line
    state_and_name = line.split("  ")[0]
    (told,) = [json.loads(one) for one in site.run("list", "--json").stdout.splitlines()]
    for name in (state_and_name, told["name"], told["path"]):
        assert ID in site.run("show", name).stderr
    assert site.run("release", state_and_name).stdout.startswith("incoming/")
    site.run("hold", told["name"])
    site.run("delete", told["name"])
    assert site.states() == {}


def test_deleting_a_record_of_checksums_says_what_goes(site: Site) -> None:
    site.rule("all")
    study = site.orthanc.upload_all(datasets.make_study())
    site.orthanc.wait_stable(f"/studies/{study}")
    site.touch(study)
    site.once()
    done = site.run("delete", f"study-{study}")
    assert "6 checksums" in done.stderr


def test_a_site_below_the_home_of_nobody_is_said(site: Site) -> None:
    said = site.run("status", "--site", "~nosuchuser/site", expect=2).stderr
    assert "--site ~nosuchuser/site: there is no such folder" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    "arguments",
    [
        ["init", ""], ["init", "--upgrade", ""], ["status", "--site", ""], ["status", "--spool", ""], ["check", ""],
        ["check", "--rules", ""], ["run", "--once", "--output", ""], ["pixels", "a.dcm", "--out", ""],
    ],
    ids=" ".join,
)  # fmt: skip
def test_an_empty_path_is_refused_before_anything_is_done(site: Site, arguments: list[str]) -> None:
    site.has_spool = False
    before = sorted(path.name for path in site.root.iterdir())
    said = site.run(*arguments, expect=2).stderr
    assert "it is empty; is a variable of the shell not set?" in said
    assert sorted(path.name for path in site.root.iterdir()) == before
