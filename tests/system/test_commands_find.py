"""`find`: by whatever a person has at hand, on real Orthanc; what happened to the study; nothing of it is kept."""

import json
import shutil
import subprocess
import sys
from typing import Any

import pytest

from tests.helpers import datasets
from tests.helpers.site import Site, send, send_and_touch

NOWHERE = "0a4b249f-7fce45ca-4f722f72-de2a24df-92abc740"


@pytest.fixture
def worked(site: Site) -> Site:
    """Two patients; what a rule matches of the first was published."""
    site.rule("brain", Tags=[{"TagName": "PatientID", "Value": "PAT1"}])
    send_and_touch(site, *datasets.make_study("PAT1", "7", series=1, instances=2))
    send(site, *datasets.make_study("PAT2", "8", series=1, instances=1))
    site.once()
    return site


def study_of(site: Site, patient: str) -> str:
    found = site.orthanc.get("/studies?expand")
    return str(next(one["ID"] for one in found if one["PatientMainDicomTags"]["PatientID"] == patient))


def found(site: Site, text: str, expect: int = 0) -> list[dict[str, Any]]:
    return [json.loads(line) for line in site.run("find", text, "--json", expect=expect).stdout.splitlines()]


def studies(site: Site, text: str, expect: int = 0) -> list[str]:
    return [one["id"] for one in found(site, text, expect) if one["level"] == "study"]


def test_a_study_is_found_by_all_that_a_person_may_have(worked: Site) -> None:
    study = study_of(worked, "PAT1")
    series = worked.orthanc.get(f"/studies/{study}/series")[0]["ID"]
    texts = [
        "PAT1", "pat1", "ACC7", datasets.uid("PAT1", "7"), datasets.uid("PAT1", "7", 1), "FamilyPAT1", "familypat1^g",
        study, study[:8], series, series[:10], "PAT1-FamilyPAT1-7", "brain/PAT1-FamilyPAT1-7",
        "output/brain/PAT1-FamilyPAT1-7/", str(worked.output / "brain" / "PAT1-FamilyPAT1-7" / "SE1"),
    ]  # fmt: skip
    assert {text: studies(worked, text) for text in texts} == {text: [study] for text in texts}


def test_a_name_that_several_have_finds_them_all(worked: Site) -> None:
    assert sorted(studies(worked, "family")) == sorted([study_of(worked, "PAT1"), study_of(worked, "PAT2")])


def test_an_identifier_is_not_taken_for_the_beginning_of_another_studys_id(worked: Site) -> None:
    digits = study_of(worked, "PAT1")[:6]
    study = send(worked, *datasets.make_study(digits, "9", series=1, instances=1))
    assert studies(worked, digits) == [study]


@pytest.mark.parametrize("text", ["*", "?AT1", "ACC", "PAT1\\PAT2", NOWHERE, "brain/OTHER", "0a4b", "Föhn"])
def test_what_is_nobodys_is_1_and_nothing_is_printed(worked: Site, text: str) -> None:
    done = worked.run("find", text, expect=1)
    assert done.stdout == ""
    assert "Orthanc has no such study: did it arrive there" in done.stderr
    assert "by its Orthanc ID or its folder in the output" in done.stderr


@pytest.fixture
def strangely_named(site: Site) -> dict[str, str]:
    """Studies by the PatientID of each: what of them isn't ASCII is nothing to Orthanc's own look-up."""
    ids = ("MLLER", "日本", "山田", "Ääö", "A\x1bB", "AB")
    files = {one: datasets.make_instance(one, SpecificCharacterSet="ISO_IR 192") for one in ids}
    return {one: site.orthanc.upload(data) for one, data in files.items()}


@pytest.mark.parametrize("text", ["à", "é", "\u3042", "mü-LLER", "Müller", "ML\x07LER", "山田\x1b", "AÄB"])
def test_a_text_that_nobody_has_shows_nobody_whatever_its_characters(
    site: Site, strangely_named: dict[str, str], text: str
) -> None:
    assert len(strangely_named) == 6
    assert site.run("find", text, "--json", expect=1).stdout == ""


@pytest.mark.parametrize("text", ["MLLER", "mller", "日本", "山田", "ääö"])
def test_whoever_has_a_text_of_strange_characters_is_shown_alone(
    site: Site, strangely_named: dict[str, str], text: str
) -> None:
    wanted = {one.casefold(): study for one, study in strangely_named.items()}
    assert studies(site, text) == [wanted[text.casefold()]]


def test_it_says_what_happened_to_the_study(worked: Site) -> None:
    (one,) = found(worked, "PAT1")
    assert (one["in_orthanc"], one["is_stable"], one["tags"]["AccessionNumber"]) == (True, True, "ACC7")
    (place,) = one["places"]
    assert (place["rule"], place["result"], place["instances"], place["is_there"]) == ("brain", "published", 2, True)
    assert place["path"] == str(worked.output / "brain" / "PAT1-FamilyPAT1-7")
    assert [marker["state"] for marker in one["markers"]] == ["done"]
    shutil.rmtree(worked.output / "brain" / "PAT1-FamilyPAT1-7")
    assert found(worked, "PAT1")[0]["places"][0]["is_there"] is False
    told = worked.run("find", "PAT1").stdout
    assert "it was taken, or replaced" in told
    assert "marker    done/" in told


def test_it_says_why_a_study_isnt_there(worked: Site) -> None:
    assert "no run has looked at it" in worked.run("find", "PAT2").stdout
    worked.touch(study_of(worked, "PAT2"))
    worked.once()
    assert "says why no rule did anything" in worked.run("find", "PAT2").stdout


def test_a_failed_or_refused_study_says_so(worked: Site) -> None:
    study = study_of(worked, "PAT2")
    worked.run("enqueue", "study", study)
    worked.run("delete", study)
    assert "refused   by a person" in worked.run("find", "PAT2").stdout
    worked.touch(NOWHERE)
    worked.once(expect=1)
    told = worked.run("find", NOWHERE[:8]).stdout
    assert "ResourceMissing" not in told.splitlines()[0]
    assert f"autorthanc-spool show {NOWHERE}` says why it failed" in told
    assert "has no such study" in told


def test_without_orthanc_the_ledger_is_asked_and_that_is_said(worked: Site) -> None:
    study = study_of(worked, "PAT1")
    worked.variables["ORTHANC_URL"] = "http://127.0.0.1:9"
    for text in (study, study[:6], "brain/PAT1-FamilyPAT1-7", "PAT1-FamilyPAT1-7"):
        (one,) = found(worked, text, expect=75)
        assert (one["id"], one["in_orthanc"], len(one["places"])) == (study, None, 1)
    done = worked.run("find", "PAT1", expect=75)
    assert done.stdout == ""
    assert "Orthanc couldn't be asked" in done.stderr


def test_a_series_of_a_rule_is_found_beside_its_study(site: Site) -> None:
    site.rule("t1", CheckOn="Series")
    study = send(site, *datasets.make_study("PAT1", "7", series=2, instances=1))
    series = site.orthanc.get(f"/studies/{study}/series")[0]["ID"]
    site.touch(series, "series")
    site.once()
    known = found(site, "PAT1")
    assert [(one["level"], len(one["places"])) for one in known] == [("study", 0), ("series", 1)]


def test_text_from_standard_input_is_seen_by_nobody(worked: Site) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "autorthanc_spool", "find", "-"],
        cwd=worked.root, env=worked.environment, input="PAT1\n", capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert study_of(worked, "PAT1") in done.stdout


def test_nothing_that_was_searched_is_kept(worked: Site) -> None:
    def everything() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in sorted(worked.root.rglob("*")) if path.is_file()}

    before = everything()
    worked.run("find", "PAT2")
    assert everything() == before
