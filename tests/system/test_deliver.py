"""`Deliver` on the whole road: rules that publish to another file system than the output's."""

import json
import os
import stat
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import datasets, trees
from tests.helpers.canaries import assert_nothing_left, canary_study
from tests.helpers.disks import Share, share, without_owners
from tests.helpers.site import Site, send, stored_files
from tests.helpers.waiting import wait_until

NAME = "PAT1-FamilyPAT1-1"


@pytest.fixture
def mounted(site: Site, tmp_path: Path) -> Iterator[Share]:
    """A share that rules may deliver to, with the folder `trial7`."""
    with share(tmp_path / "mnt" / "share") as made:
        (made.place / "trial7").mkdir()
        site.variables["AUTORTHANC_DELIVER_ROOTS"] = str(made.place)
        yield made


def publish(site: Site, *files: bytes) -> str:
    study = send(site, *files)
    site.touch(study)
    site.once()
    return study


def at(root: Path, pattern: str = "*/*") -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.glob(pattern))


def test_a_rule_publishes_to_the_share_and_another_one_into_the_output(site: Site, mounted: Share) -> None:
    root = mounted.place / "trial7"
    site.variables |= {"UID": "1234", "GID": "2345"}
    site.rule("far", Deliver=f"{root}/")
    site.rule("near")
    site.run("run", "--once")
    assert (at(root, "[!.]*"), at(site.output, "[!.]*")) == (["far"], ["near"])
    study = publish(site, *datasets.make_study())
    assert trees.read(root / "far" / NAME) == site.tree("near", NAME) == stored_files(site.orthanc, study)
    outcomes = site.records("done")[0]["outcomes"]
    assert {rule: one["path"] for rule, one in outcomes.items()} == {
        "far": f"{root}/far/{NAME}",
        "near": f"near/{NAME}",
    }
    for path in (root / "far" / NAME).rglob("*"):
        status = path.stat()
        mode = 0o640 if path.is_file() else 0o750
        assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (1234, 2345, mode)
    assert site.leftovers() == []
    assert at(root) == [f"far/{NAME}"]
    # What is published into the output is written into the ledger as always.
    record = json.loads((site.spool / "ledger" / study[:2] / f"study-{study}.json").read_text())
    assert record["entries"]["far"]["root"] == str(root)
    assert "root" not in record["entries"]["near"]


def test_what_grew_replaces_what_was_delivered(site: Site, mounted: Share) -> None:
    root = mounted.place / "trial7"
    site.rule("far", Deliver=str(root))
    publish(site, *datasets.make_study(series=1))
    study = publish(site, *datasets.make_study(series=2))
    assert trees.read(root / "far" / NAME) == stored_files(site.orthanc, study)
    (root / "far" / NAME / "result.txt").write_text("precious")
    publish(site, *datasets.make_study(series=3))
    assert at(root) == [f"far/{NAME}", f"far/{NAME}.WORKING.1"]
    assert (root / "far" / f"{NAME}.WORKING.1" / "result.txt").read_text() == "precious"
    kept = [one["outcomes"]["far"].get("kept", []) for one in site.records("done")]
    assert sorted(kept) == [[], [], [f"{root}/far/{NAME}.WORKING.1"]]


def test_another_place_publishes_nothing_again_and_holds_from_the_next_arrival_on(site: Site, mounted: Share) -> None:
    root = mounted.place / "trial7"
    site.rule("far", Deliver=str(root))
    study = publish(site, *datasets.make_study(series=1))
    site.rule("far")
    marker = site.spool / "incoming" / f"study-{study}.json"
    marker.write_text(json.dumps({"level": "study", "id": study, "source": "lua"}))
    site.once()
    assert (site.published("far"), at(root)) == ([], [f"far/{NAME}"])
    before = trees.read(root / "far" / NAME)
    publish(site, *datasets.make_study(series=2))
    assert site.tree("far", NAME) == stored_files(site.orthanc, study)
    # What lies in the former place is another publication, and stays.
    assert trees.read(root / "far" / NAME) == before


def test_an_archive_is_delivered_and_original_names_stay_out_of_an_anonymised_one(site: Site, mounted: Share) -> None:
    root = mounted.place / "trial7"
    site.rule("far", Deliver=str(root), Action=["ZIP", "ANONYMISE"], Name="{StudyDate:%Y}/{PatientID}-{PatientName}")
    files = canary_study()
    publish(site, *files)
    (archive,) = root.glob("far/*/*")
    with zipfile.ZipFile(archive) as opened:
        assert len(opened.namelist()) == len(files)
        assert_nothing_left(site, files, *at(root, "**/*"), *opened.namelist())


def test_what_was_delivered_is_announced_found_and_counted(site: Site, mounted: Share) -> None:
    root = mounted.place / "trial7"
    site.rule("far", Deliver=str(root))
    study = publish(site, *datasets.make_study())
    inode = (root / "far" / NAME).stat().st_ino
    assert site.run("announce").stdout == f"{root}/far/{NAME}\n"
    assert (root / "far" / NAME).stat().st_ino == inode
    for text in (f"{root}/far/{NAME}", f"far/{NAME}", "PAT1", NAME):
        (known,) = [json.loads(line) for line in site.run("find", text, "--json").stdout.splitlines()]
        assert known["id"] == study, text
        assert [(one["path"], one["is_there"]) for one in known["places"]] == [(f"{root}/far/{NAME}", True)]
    status = json.loads(site.run("status", "--json").stdout)
    assert status["usage"]["delivered_free_bytes"][str(root)] > 0
    assert f", {root} " in site.run("status").stdout
    mounted.take_away()
    assert "isn't the one that was used before" in site.run("announce", expect=1).stderr
    assert "isn't the one that was used before" in site.run("status").stdout
    (known,) = [json.loads(line) for line in site.run("find", "PAT1", "--json").stdout.splitlines()]
    assert [one["is_there"] for one in known["places"]] == [False]
    broken = [json.loads(line) for line in site.run("doctor", "--json", expect=1).stdout.splitlines()]
    assert [one["what"] for one in broken if str(root) in one["text"] and one["severity"] == "broken"] == ["output"]


def test_what_nobody_collects_from_a_share_is_reported_without_a_name(site: Site, mounted: Share) -> None:
    root = mounted.place / "trial7"
    (root / "theirs" / NAME).mkdir(parents=True)
    told = site.root / "told"
    script = site.root / "tell"
    script.write_text(f"#!/bin/sh\n{{ cat; echo; }} >> '{told}'\n")
    script.chmod(0o755)
    site.variables |= {"AUTORTHANC_NOTIFY_COMMAND": str(script), "AUTORTHANC_UNCOLLECTED_AFTER_S": "0.001"}
    site.rule("far", Deliver=str(root))
    study = publish(site, *datasets.make_study())
    site.once()
    notices = [json.loads(line) for line in told.read_text().splitlines()]
    (notice,) = [one for one in notices if one["event"] == "uncollected"]
    assert (notice["count"], notice["resources"]) == (1, [f"study-{study}"])
    assert "PAT1" not in told.read_text()


def test_what_was_delivered_may_be_deleted_from_orthanc(site: Site, mounted: Share) -> None:
    root = mounted.place / "trial7"
    site.rule("far", Deliver=str(root), DeleteFromOrthanc=True)
    study = send(site, *datasets.make_study())
    files = stored_files(site.orthanc, study)
    site.touch(study)
    site.once()
    assert site.orthanc.get("/studies") == []
    assert trees.read(root / "far" / NAME) == files


def test_the_example_of_the_docs_delivers_at_night_by_month(site: Site, mounted: Share) -> None:
    """The rule of docs/rules.md, with this share, and hours that have begun or haven't."""
    root = mounted.place / "trial7"
    text = (Path(__file__).parents[2] / "docs" / "rules.md").read_text()
    rule = json.loads(text.partition("A site's studies since a date, at night")[2].split("```")[1].removeprefix("json"))
    assert rule["Deliver"] == "/mnt/share/trial7"
    rule |= {"Deliver": str(root), "Between": _hours(2, 4)}
    site.variables["TZ"] = "UTC"
    site.rule("site", **rule)
    tags = {"InstitutionName": "North Hospital", "StudyDate": "20260115"}
    taken = send(site, *datasets.make_study(**tags))
    others = [
        send(site, *datasets.make_study("PAT2", StudyInstanceUID="1.2.3", **(tags | {"StudyDate": "20260114"}))),
        send(site, *datasets.make_study("PAT3", StudyInstanceUID="1.2.4", **(tags | {"InstitutionName": "South"}))),
    ]
    for study in (taken, *others):
        site.touch(study)
    site.once()
    assert (site.states(), at(root)) == ({"deferred": 1, "done": 2}, [])
    assert taken in site.markers("deferred")[0].name
    site.rule("site", **(rule | {"Between": _hours(-2, 2)}))
    site.once()
    assert at(root, "*/*/*") == ["site/2026-01/PAT1-20260115"]
    assert trees.read(root / "site/2026-01/PAT1-20260115") == stored_files(site.orthanc, taken)


def _hours(begin: int, end: int) -> str:
    now = datetime.now(UTC)
    return "-".join(f"{now + timedelta(hours=one):%H:%M}" for one in (begin, end))


def test_a_share_that_keeps_no_owners_is_published_to_and_said_once(site: Site, tmp_path: Path) -> None:
    site.variables |= {"UID": "1234", "GID": "2345", "AUTORTHANC_DELIVER_ROOTS": str(tmp_path / "mnt")}
    (tmp_path / "mnt").mkdir()
    with without_owners(tmp_path / "mnt" / "share") as root:
        site.rule("far", Deliver=str(root), Name="{StudyDate:%Y}/{PatientID}")
        study = send(site, *datasets.make_study())
        site.touch(study)
        done = site.once()
        assert trees.read(root / "far/2026/PAT1") == stored_files(site.orthanc, study)
        assert done.stderr.count(f"{root} ignores our owners") == 1
        assert done.stderr.count(f"{root} ignores our permissions") == 1
        assert (root / ".autorthanc").is_file()
        assert at(root, "*") == [".autorthanc", "far"]
        doctor = [json.loads(line) for line in site.run("doctor", "--json", expect=None).stdout.splitlines()]
        warned = [one["text"] for one in doctor if one["severity"] == "warning" and str(root) in one["text"]]
        assert ["owners" in one for one in warned] == [True, False]
        # Twice is the same as once, here too.
        site.touch(study)
        site.once()
        assert at(root, "far/*/*") == ["far/2026/PAT1"]


BAD = {
    "elsewhere": ("{other}", "expected a folder at or below {place} (AUTORTHANC_DELIVER_ROOTS)", ""),
    "misspelt": ("{place}s/trial7", "AUTORTHANC_DELIVER_ROOTS", 'did you mean "{place}/trial7"?'),
    "the output": (
        "{output}",
        "ORTHANC_AUTOMATION_STORAGE_PATH",
        'without "Deliver", a rule publishes into the output',
    ),
    "inside the output": ("{output}/deep", "ORTHANC_AUTOMATION_STORAGE_PATH", ""),
    "above the spool": ("{root}", "ORTHANC_AUTOMATION_JSON_SCRIPTS_PATH", ""),
    "the rules": ("{root}/automation_scripts", "ORTHANC_AUTOMATION_JSON_SCRIPTS_PATH", ""),
    "the spool": ("{root}/spool", "AUTORTHANC_SPOOL_PATH", ""),
    "the keys": ("{root}/secrets", "AUTORTHANC_PSEUDONYM_KEY_FILE", ""),
    "a link": ("{place}/link", "a path without links", "aren't followed"),
    "relative": ("mnt/share", "the whole path of a folder, from / on", ""),
    "a way out": ("{place}/../other", "without . or .. in it", ""),
}


@pytest.mark.parametrize(("path", "expected", "hint"), BAD.values(), ids=BAD)
def test_a_place_that_is_not_allowed_makes_the_rule_invalid(
    site: Site, tmp_path: Path, path: str, expected: str, hint: str
) -> None:
    place = tmp_path / "mnt" / "share"
    (place / "trial7").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (place / "link").symlink_to(tmp_path / "elsewhere")
    site.output.mkdir()
    names = {"place": place, "output": site.output, "root": site.root, "other": tmp_path / "other"}
    site.variables["AUTORTHANC_DELIVER_ROOTS"] = f"{place}:{site.root / 'deliveries'}"
    rule: dict[str, Any] = {"CheckOn": "Study", "IsActive": True, "Tags": [], "Deliver": path.format(**names)}
    (site.rules / "far.json").write_text(json.dumps(rule, indent=1))
    done = site.run("check", expect=1)
    (said,) = [line for line in done.stdout.splitlines() if line.startswith("far.json:5: Deliver: found")]
    for text in (expected, hint):
        assert text.format(**names).replace(f"{place} (", f"{place} or {site.root / 'deliveries'} (") in said
    assert site.run("check", str(site.rules / "far.json"), expect=1).stdout == f"{said}\n"


def test_a_rule_that_delivers_where_nothing_is_allowed_says_the_setting(site: Site, tmp_path: Path) -> None:
    site.output.mkdir()
    site.rule("far", Deliver=str(tmp_path / "share"))
    said = site.run("check", expect=1).stdout
    assert "expected a folder of AUTORTHANC_DELIVER_ROOTS, which isn't set" in said


def test_a_folder_that_is_not_there_is_warned_of_with_the_nearest_one(site: Site, mounted: Share) -> None:
    site.output.mkdir()
    site.rule("far", Deliver=str(mounted.place / "trail7"))
    said = site.run("check").stdout
    assert f'there is no folder {mounted.place}/trail7 at the moment; did you mean "{mounted.place}/trial7"?' in said
    study = send(site, *datasets.make_study())
    site.touch(study)
    assert "is missing; create or mount it" in site.once(expect=75).stderr
    assert (site.states(), at(mounted.place, "*")) == ({"deferred": 1}, ["trial7"])
    (mounted.place / "trail7").mkdir()
    os.utime(site.markers("deferred")[0])
    site.once()
    assert at(mounted.place / "trail7") == [f"far/{NAME}"]


def test_a_link_that_is_planted_on_a_share_later_is_not_followed(site: Site, mounted: Share, tmp_path: Path) -> None:
    root = mounted.place / "trial7"
    site.rule("far", Deliver=str(root))
    with site.processor():
        wait_until(lambda: (root / "far").is_dir(), 30, "the rule's folder is made")
        root.rename(mounted.place / "trial8")
        outside = tmp_path / "outside"
        outside.mkdir()
        (outside / ".autorthanc").write_bytes((mounted.place / "trial8" / ".autorthanc").read_bytes())
        root.symlink_to(outside)
        site.touch(send(site, *datasets.make_study()))
        site.wait_states(deferred=1)
        wait_until(lambda: "symbolic link" in site.log_end(), 30, "it is said")
    assert at(outside, "*") == [".autorthanc"]


def test_a_rule_that_delivers_into_the_folder_of_another_is_invalid(site: Site, mounted: Share) -> None:
    site.output.mkdir()
    site.rule("trial7", Deliver=str(mounted.place))
    site.rule("inner", Deliver=str(mounted.place / "trial7"))
    said = site.run("check", expect=1).stdout
    assert f'inner.json: found a "Deliver" inside {mounted.place}/trial7/, which is the folder of trial7.json' in said
    assert "trial7.json: ok" in said


def test_a_rule_that_only_forwards_has_nothing_to_deliver(site: Site, mounted: Share) -> None:
    site.output.mkdir()
    site.rule("far", Deliver=str(mounted.place), Action="FORWARD", DestinationModality="PACS")
    assert "found it with FORWARD alone, expected an action that publishes" in site.run("check", expect=1).stdout


def test_check_names_an_empty_mount_point_that_a_rule_delivered_to_before(site: Site, mounted: Share) -> None:
    site.rule("there", Deliver=str(mounted.place / "trial7"))
    publish(site, *datasets.make_study(series=1))
    site.run("check")
    (mounted.place / "trial7").rename(mounted.place / "before")
    # A missing one is waited for.
    assert "there is no folder" in site.run("check").stdout
    (mounted.place / "trial7").mkdir()
    assert "isn't the one that was used before" in site.run("check", expect=1).stdout
