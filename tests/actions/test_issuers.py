"""IssuerOfPatientID: where files name it, where they don't, and whose pseudonym that makes."""

import io
import json
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from autorthanc_spool.deidentify.key import Key
from autorthanc_spool.deidentify.pseudonym import Patient, Pseudonymiser
from tests.helpers import datasets, dicom_net
from tests.helpers.destinations import add_modality, dead_port, storescp
from tests.helpers.site import Site

KEY = "ab" * 32
APART = {"Issuer": "apart"}
DATES = {"Keep": ["ModifiedDates"]}


def send(site: Site, *files: bytes, touch: bool = True) -> str:
    study = site.orthanc.upload_all(list(files))
    site.orthanc.wait_stable(f"/studies/{study}")
    if touch:
        site.touch(study)
    return study


def with_key(site: Site) -> None:
    path = site.root / "secrets" / "pseudonym.key"
    path.parent.mkdir()
    path.write_text(KEY + "\n")
    path.chmod(0o600)


def expected(PatientID: str, issuer: str = "", project: str = "trial") -> str:
    return Pseudonymiser(Key(bytes.fromhex(KEY)), project).pseudonym(Patient(PatientID, issuer))


def published(site: Site, rule: str = "trial") -> list[pydicom.Dataset]:
    return [pydicom.dcmread(path) for path in sorted((site.output / rule).rglob("*.dcm"))]


def pseudonyms(site: Site, rule: str = "trial") -> set[str]:
    return {str(one.PatientID) for one in published(site, rule)}


def named_in_one_series(study: str = "1", issuer: str = "HOSP", **keywords: Any) -> list[bytes]:
    """A study in which the first series names an issuer, and the second one doesn't."""
    return [
        *datasets.make_study("PID1", study, series=1, IssuerOfPatientID=issuer, **keywords),
        *datasets.make_study("PID1", study, series=2, **keywords)[3:],
    ]


def written_as(data: bytes, syntax: pydicom.uid.UID) -> bytes:
    found = pydicom.dcmread(io.BytesIO(data))
    out = io.BytesIO()
    found.file_meta.TransferSyntaxUID = syntax
    if syntax == ExplicitVRBigEndian:
        found.PixelData = found.pixel_array.byteswap().tobytes()
    little = syntax != ExplicitVRBigEndian
    pydicom.dcmwrite(out, found, implicit_vr=syntax.is_implicit_VR, little_endian=little, enforce_file_format=True)
    return out.getvalue()


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("is_reversed", [False, True], ids=["issuer first", "issuer last"])
def test_a_series_that_names_no_issuer_contradicts_nothing(
    site: Site, is_reversed: bool, syntax: pydicom.uid.UID
) -> None:
    with_key(site)
    site.rule("trial", Action="ANONYMISE")
    files = [written_as(one, syntax) for one in named_in_one_series()]
    send(site, *(files[::-1] if is_reversed else files))
    site.once()
    assert len(published(site)) == len(files)
    assert pseudonyms(site) == {expected("PID1")}
    assert len({one.SeriesInstanceUID for one in published(site)}) == 2
    assert not any(one.get("IssuerOfPatientID") for one in published(site))


def test_nor_does_it_by_c_store(site: Site) -> None:
    with_key(site)
    site.rule("trial", Action="ANONYMISE", Anonymise=DATES)
    dicom_net.store(site.orthanc.dicom_port, named_in_one_series()[::-1])
    (study,) = site.orthanc.get("/studies")
    site.orthanc.wait_stable(f"/studies/{study}")
    site.touch(study)
    site.once()
    assert len(published(site)) == 6
    assert pseudonyms(site) == {expected("PID1")}
    assert len({one.StudyDate for one in published(site)}) == 1


@pytest.mark.parametrize("options", [{}, APART], ids=["ignored", "apart"])
@pytest.mark.parametrize("where", range(5))
def test_any_file_may_be_the_one_that_names_the_issuer(site: Site, where: int, options: dict[str, Any]) -> None:
    with_key(site)
    site.rule("trial", Action="ANONYMISE", Anonymise=options)
    files = [
        datasets.make_instance("PID1", instance=number, **({"IssuerOfPatientID": "HOSP"} if number == where else {}))
        for number in range(5)
    ]
    send(site, *files)
    site.once()
    assert len(published(site)) == len(files)
    assert pseudonyms(site) == {expected("PID1", "HOSP" if options else "")}


@pytest.mark.parametrize("options", [{}, APART, DATES], ids=["ignored", "apart", "dates"])
def test_two_issuers_in_one_study_are_not_published(site: Site, options: dict[str, Any]) -> None:
    site.rule("trial", Action="ANONYMISE", Anonymise=options)
    series = [
        *datasets.make_study("PID1", series=1, IssuerOfPatientID="HOSP"),
        *datasets.make_study("PID1", series=2)[3:],
        *datasets.make_study("PID1", series=3, IssuerOfPatientID="CLINIC")[6:],
    ]
    send(site, *series)
    done = site.once(expect=1)
    (record,) = site.records("failed")
    error = record["outcomes"]["trial"]["error"]
    assert error["kind"] == "PatientsMixed"
    assert "different issuers (IssuerOfPatientID)" in error["text"]
    assert site.published("trial") == []
    assert not any(name in json.dumps(record) + done.stdout + done.stderr for name in ("HOSP", "CLINIC"))


def test_apart_a_series_whose_study_names_another_issuer_is_not_published(site: Site) -> None:
    site.rule("trial", Action="ANONYMISE", CheckOn="Series", Anonymise=APART)
    files = [
        datasets.make_instance("PID1", series=number, IssuerOfPatientID=issuer)
        for number, issuer in enumerate(["HOSP", "CLINIC", ""], 1)
    ]
    send(site, *files, touch=False)
    for series in site.orthanc.get("/series"):
        site.touch(series, "series")
    site.once(expect=1)
    # Nobody knows which of the two is right, nor whose the third series is.
    assert site.states() == {"failed": 3}
    assert {one["outcomes"]["trial"]["error"]["kind"] for one in site.records("failed")} == {"PatientsMixed"}
    assert site.published("trial") == []


@pytest.mark.parametrize("options", [{}, DATES], ids=["no dates", "dates"])
def test_with_a_table_issuers_play_no_part(site: Site, options: dict[str, Any]) -> None:
    (site.rules / "trial.csv").write_text("PatientID,Pseudonym\nPID1,T7-1\n")
    site.rule("trial", Action="ANONYMISE", Anonymise={"PseudonymTable": "trial.csv", **options})
    issuers = ["HOSP", "CLINIC", ""]
    files = [
        datasets.make_instance("PID1", series=number, IssuerOfPatientID=issuer)
        for number, issuer in enumerate(issuers, 1)
    ]
    send(site, *files)
    send(site, datasets.make_instance("PID1", "2"))
    site.once()
    assert len(published(site)) == 4
    assert pseudonyms(site) == {"T7-1"}
    # Intervals stay exact over the patient's studies.
    assert len({one.StudyDate for one in published(site)}) == 1


@pytest.mark.parametrize("options", [{}, DATES], ids=["no dates", "dates"])
def test_studies_with_and_without_an_issuer_have_one_pseudonym(site: Site, options: dict[str, Any]) -> None:
    with_key(site)
    site.rule("trial", Action="ANONYMISE", Anonymise=options)
    for study, issuer in (("1", ""), ("2", "HOSP"), ("3", "OTHER"), ("4", "")):
        send(site, datasets.make_instance("PID1", study, IssuerOfPatientID=issuer))
        # One process each: nothing is remembered but what the spool holds.
        site.once()
    assert len(published(site)) == 4
    assert pseudonyms(site) == {expected("PID1")}
    assert len({one.StudyDate for one in published(site)}) == 1
    assert site.run("reidentify", expected("PID1"), "--rule", "trial").stdout == "PID1\n"


@pytest.mark.parametrize("level", ["study", "series"])
def test_apart_two_issuers_of_one_patient_id_are_two_patients(site: Site, level: str) -> None:
    with_key(site)
    site.rule("trial", Action="ANONYMISE", CheckOn=level, Anonymise=APART)
    studies = [
        send(site, *named_in_one_series("1"), touch=False),
        send(site, *named_in_one_series("2", "CLINIC")[::-1], touch=False),
        send(site, datasets.make_instance("PID1", "3"), touch=False),
    ]
    for one in studies if level == "study" else site.orthanc.get("/series"):
        site.touch(one, level)
    site.once()
    assert len(published(site)) == 13
    wanted = {expected("PID1", issuer): issuer for issuer in ("HOSP", "CLINIC", "")}
    assert pseudonyms(site) == set(wanted)
    found = {name: site.run("reidentify", name, "--rule", "trial").stdout for name in wanted}
    assert found == {name: f"PID1\t{issuer}\n" if issuer else "PID1\n" for name, issuer in wanted.items()}


def test_apart_an_issuer_that_one_late_file_names_is_found_again(site: Site) -> None:
    with_key(site)
    site.rule("trial", Action="ANONYMISE", Anonymise=APART)
    late = datasets.make_instance("PID1", instance=9, IssuerOfPatientID="HOSP")
    send(site, *datasets.make_study("PID1", series=1), late)
    site.once()
    (name,) = pseudonyms(site)
    assert name == expected("PID1", "HOSP")
    assert site.run("reidentify", name, "--rule", "trial").stdout == "PID1\tHOSP\n"


def as_the_version_before_published(site: Site, study: str = "old") -> str:
    """Publish as a version did that let the issuer count: the ledger holds the same then."""
    site.rule("trial", Action="ANONYMISE", Anonymise={**APART, **DATES})
    sent = send(site, *datasets.make_study("PID1", study, series=1, IssuerOfPatientID="HOSP"))
    site.once()
    site.rule("trial", Action="ANONYMISE", Anonymise=DATES)
    return sent


@pytest.mark.parametrize("is_gone", [False, True], ids=["in Orthanc", "deleted in Orthanc"])
def test_a_patient_keeps_the_pseudonym_that_was_published_with_the_issuer(site: Site, is_gone: bool) -> None:
    with_key(site)
    old = as_the_version_before_published(site)
    if is_gone:
        site.orthanc.delete(f"/studies/{old}")
    send(site, *named_in_one_series("new"))
    send(site, datasets.make_instance("PID1", "third", series=3, IssuerOfPatientID="HOSP"))
    # Of this issuer, nothing was published.
    send(site, datasets.make_instance("PID1", "fourth", IssuerOfPatientID="CLINIC"))
    send(site, datasets.make_instance("PID2", "fifth", IssuerOfPatientID="HOSP"))
    site.once()
    by_pseudonym = [str(one.PatientID) for one in published(site)]
    assert by_pseudonym.count(expected("PID1", "HOSP")) == 3 + 6 + 1
    assert set(by_pseudonym) == {expected("PID1", "HOSP"), expected("PID1"), expected("PID2")}
    moved = {one.StudyDate for one in published(site) if one.PatientID == expected("PID1", "HOSP")}
    assert len(moved) == 1
    assert site.run("reidentify", expected("PID1", "HOSP"), "--rule", "trial").stdout == "PID1\tHOSP\n"


def test_a_patient_keeps_it_whatever_the_rule_calls_what_it_publishes(site: Site) -> None:
    with_key(site)
    site.rule("trial", Action="ANONYMISE", Anonymise=APART, Name="{Modality}/{StudyID}")
    send(site, *datasets.make_study("PID1", "old", series=1, IssuerOfPatientID="HOSP"))
    site.once()
    site.rule("trial", Action="ANONYMISE", Name="{Modality}/{StudyID}")
    send(site, *named_in_one_series("new"))
    site.once()
    assert {one.PatientID for one in published(site)} == {expected("PID1", "HOSP")}


def test_what_is_published_is_not_done_again_for_its_issuer(site: Site) -> None:
    with_key(site)
    site.rule("trial", Action="ANONYMISE", Anonymise=APART)
    study = send(site, *named_in_one_series())
    site.once()
    before = site.published("trial")
    # The same rule, as a version before wrote it: without the key.
    site.rule("trial", Action="ANONYMISE")
    site.touch(study)
    site.once()
    assert site.published("trial") == before
    assert pseudonyms(site) == {expected("PID1", "HOSP")}


def test_a_pseudonym_that_was_only_sent_is_kept_too(site: Site, tmp_path: Path) -> None:
    with_key(site)
    port = dead_port()
    add_modality(site.orthanc, "dcmtk", "DCMTK", port)
    forward = {"Action": ["ANONYMISE", "FORWARD"], "DestinationModality": "dcmtk"}
    site.rule("trial", **forward, Anonymise=APART)
    send(site, datasets.make_instance("PID1", "1", IssuerOfPatientID="HOSP"))
    with storescp(tmp_path / "received", port):
        site.once()
        site.rule("trial", **forward)
        send(site, datasets.make_instance("PID1", "2", IssuerOfPatientID="HOSP"))
        site.once()
    received = {str(pydicom.dcmread(one).PatientID) for one in (tmp_path / "received").iterdir()}
    assert received == {expected("PID1", "HOSP")}


def test_candidates_may_name_the_issuer_or_not(site: Site) -> None:
    with_key(site)
    site.rule("trial", Action="ANONYMISE")
    send(site, datasets.make_instance("PID1", IssuerOfPatientID="HOSP"))
    site.once()
    candidates = site.root / "candidates.txt"
    for line in ("PID1\n", "PID1\tHOSP\n", "PID1\tCLINIC\n"):
        candidates.write_text(f"NOBODY\tHOSP\n{line}")
        found = site.run("reidentify", expected("PID1"), "--rule", "trial", "--candidates", str(candidates))
        assert found.stdout == "PID1\n"
