"""ANONYMISE, end to end: real Orthanc, the command line, and what lies on the disk afterwards."""

import hashlib
import io
import json
import os
import shutil
import stat
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pydicom
import pytest

from autorthanc_spool.deidentify.key import Key
from tests.deidentify import corpus
from tests.deidentify.make import anonymised
from tests.helpers import csa, datasets
from tests.helpers.canaries import NAME, PATIENT_ID, assert_nothing_left, canary_study, everything_below
from tests.helpers.destinations import add_modality, dead_port, storescp
from tests.helpers.site import Site
from tests.helpers.waiting import wait_until


@pytest.mark.parametrize("level", ["study", "series"])
@pytest.mark.parametrize("action", ["DOWNLOAD", "ZIP"])
def test_nothing_of_the_original_lies_anywhere(site: Site, level: str, action: str) -> None:
    site.rule("trial", CheckOn=level, Action=[action, "ANONYMISE"])
    files = canary_study()
    study = site.orthanc.upload_all(files)
    site.orthanc.wait_stable(f"/studies/{study}")
    for one in [study] if level == "study" else site.orthanc.get("/series"):
        site.touch(one, level)
    done = site.once()
    assert len(site.published("trial")) == (1 if level == "study" else 2)
    assert_nothing_left(site, files, done.stdout, done.stderr)
    assert site.leftovers() == []


def send(site: Site, files: list[bytes]) -> str:
    study = site.orthanc.upload_all(files)
    site.orthanc.wait_stable(f"/studies/{study}")
    site.touch(study)
    return study


def key_file(site: Site) -> Path:
    return site.root / "secrets" / "pseudonym.key"


def outcome(site: Site, state: str, rule: str = "trial") -> dict[str, Any]:
    (record,) = site.records(state)
    found: dict[str, Any] = record["outcomes"][rule]
    return found


def published_files(site: Site, rule: str = "trial") -> list[pydicom.Dataset]:
    paths = sorted((site.output / rule).rglob("*.dcm"))
    return [pydicom.dcmread(path) for path in paths]


def test_the_files_are_those_of_the_core_and_the_record_names_pseudonym_and_key(site: Site) -> None:
    site.rule("trial", Action="ANONYMISE", Anonymise={"Keep": ["ModifiedDates"], "Project": "T7"})
    files = canary_study()
    send(site, files)
    site.once()
    key = Key(bytes.fromhex(key_file(site).read_text()))
    wanted = {anonymised(data, key=key, project="T7", keep=frozenset({"ModifiedDates"})) for data in files}
    found = {path.read_bytes() for path in (site.output / "trial").rglob("*.dcm")}
    # Orthanc received the bytes that were uploaded.
    assert found == wanted
    one = published_files(site)[0]
    (name,) = site.published("trial")
    assert name == f"{one.PatientID}-{one.PatientName}-{one.StudyID}"
    (folder, *_) = sorted(path.name for path in (site.output / "trial" / name).iterdir())
    assert folder == f"SE1-{one.SeriesDate}-{one.SeriesInstanceUID}"
    told = outcome(site, "done")
    assert (told["pseudonym"], told["pseudonym_key"]) == (one.PatientID, key.id)
    assert "withheld" not in told
    assert told["instances"] == len(files)
    assert key_file(site).read_text().strip() not in json.dumps(site.records("done"))


def test_what_lies_beside_the_picture_does_not_leave_and_is_counted(site: Site) -> None:
    site.rule("trial", Action="ANONYMISE")
    files = []
    for data in canary_study():
        found = pydicom.dcmread(io.BytesIO(data))
        found.PixelData += b"CNRYFAMILY after the last frame."
        out = io.BytesIO()
        found.save_as(out)
        files.append(out.getvalue())
    send(site, files)
    done = site.once()
    assert_nothing_left(site, files, done.stdout, done.stderr)
    told = outcome(site, "done")
    assert told["instances"] == len(files)
    assert told["cut_from_pixels"] == {"count": len(files), "kinds": {"bytes after the end of an image": len(files)}}


FIRST_DAY_S = 315532800


@pytest.mark.parametrize("level", ["Study", "Series"])
@pytest.mark.parametrize("action", ["ANONYMISE", ["ANONYMISE", "ZIP"]], ids=["folder", "archive"])
def test_no_time_shows_when_it_was_exported(site: Site, action: Any, level: str) -> None:
    """A study is exported minutes after its exam: the day of a file would give the shift of its dates away."""
    site.rule("all", CheckOn=level, Action=action, Anonymise={"Keep": ["ModifiedDates"]})
    site.rule("plain")
    study = site.orthanc.upload_all(canary_study())
    site.orthanc.wait_stable(f"/studies/{study}")
    site.touch(study)
    for series in site.orthanc.get(f"/studies/{study}/series"):
        site.touch(series["ID"], "series")
    site.once()
    published = list((site.output / "all").iterdir())
    assert published
    below = [path for one in published for path in [one, *one.rglob("*")]]
    assert {path.lstat().st_mtime for path in below} == {FIRST_DAY_S}
    for archive in (path for path in published if path.suffix == ".zip"):
        with zipfile.ZipFile(archive) as opened:
            assert {one.date_time for one in opened.infolist()} == {(1980, 1, 1, 0, 0, 0)}
            assert all(one.extra == b"" for one in opened.infolist())
    # What leaves as it is keeps the day of its export.
    assert all(path.lstat().st_mtime > FIRST_DAY_S for path in (site.output / "plain").rglob("*"))


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "America/Los_Angeles"])
def test_the_time_of_an_archive_is_the_same_in_every_zone(site: Site, zone: str) -> None:
    site.variables["TZ"] = zone
    site.rule("all", Action=["ANONYMISE", "ZIP"])
    study = site.orthanc.upload_all(canary_study())
    site.orthanc.wait_stable(f"/studies/{study}")
    site.touch(study)
    site.once()
    (name,) = site.published("all")
    with zipfile.ZipFile(site.output / "all" / name) as opened:
        assert {one.date_time for one in opened.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_the_key_file_is_for_its_owner_alone(site: Site) -> None:
    site.rule("trial", Action="ANONYMISE")
    send(site, canary_study())
    site.once()
    assert stat.S_IMODE(key_file(site).stat().st_mode) == 0o600


@pytest.mark.parametrize("how", ["missing", "another"])
def test_a_lost_key_defers_until_it_is_restored(site: Site, how: str) -> None:
    site.rule("trial", Action="ANONYMISE")
    send(site, canary_study())
    site.once()
    kept = key_file(site).with_name("backup")
    key_file(site).rename(kept)
    if how == "another":
        key_file(site).write_text("ab" * 32 + "\n")
        key_file(site).chmod(0o600)
    send(site, canary_study("CNRYSECOND"))
    site.once()
    told = outcome(site, "deferred")
    assert told["error"]["kind"] == "KeyUnavailable"
    assert "restore it" in told["error"]["text"]
    assert len(site.published("trial")) == 1
    with site.processor():
        wait_until(lambda: site.log.exists(), 20, "the processor runs")
        kept.replace(key_file(site))
        site.wait_published("trial", 2)
        site.wait_states(done=2)


@pytest.mark.parametrize("how", ["missing", "another", "open to others", "cut"])
def test_a_key_that_cannot_be_used_is_a_trouble_that_everybody_says_before_anything_waits_for_it(
    site: Site, how: str
) -> None:
    site.rule("trial", Action="ANONYMISE")
    site.rule("plain", Tags=[{"TagName": "PatientID", "Value": "PLAIN"}])
    send(site, canary_study())
    site.once()
    path = key_file(site)
    kept = path.read_text()
    with site.processor():
        wait_until(lambda: "pseudonym key" not in site.run("status").stdout and site.log.exists(), 20, "it runs")
        if how == "missing":
            path.unlink()
        elif how == "open to others":
            path.chmod(0o644)
        else:
            path.write_text("ab" * 32 if how == "another" else kept[:40])
        wait_until(lambda: "pseudonym key" in site.run("status").stdout, 20, "status says so")
        (found,) = [line for line in site.run("doctor", expect=1).stdout.splitlines() if "pseudonym key" in line]
        assert found.startswith("broken   pseudonym key: ")
        assert "; fix: " in found
        done = site.run("check", expect=1)
        assert str(path) in done.stdout
        assert "pseudonym key" in done.stderr
        # Other rules go on.
        send(site, [datasets.make_instance("PLAIN")])
        site.wait_published("plain")
        site.wait_states(done=1, deferred=1)
        path.write_text(kept)
        path.chmod(0o600)
        site.wait_states(done=2)
        wait_until(lambda: "the pseudonym key: all right again" in site.log_end(), 20, "it is said to be over")
        assert "pseudonym key" not in site.run("status").stdout
    log = site.log.read_text()
    assert (log.count("what is to be anonymised waits"), log.count("the pseudonym key: all right again")) == (1, 1)
    assert "all right" in site.run("check").stderr


def test_a_key_that_no_active_rule_needs_is_no_trouble(site: Site) -> None:
    site.rule("trial", Action="ANONYMISE")
    send(site, canary_study())
    site.once()
    key_file(site).unlink()
    site.rule("trial", Action="ANONYMISE", IsActive=False)
    assert "pseudonym key" not in site.once().stderr
    assert "pseudonym key" not in site.run("doctor", expect=None).stdout
    site.run("check")


def test_without_the_note_in_state_the_ledger_knows_the_key(site: Site) -> None:
    site.rule("trial", Action="ANONYMISE")
    send(site, canary_study())
    site.once()
    (site.spool / "state" / "pseudonym-key.json").unlink()
    kept = key_file(site).rename(key_file(site).with_name("backup"))
    assert "is missing" in site.run("check", expect=1).stdout
    send(site, canary_study("CNRYSECOND"))
    assert "what is to be anonymised waits" in site.once().stderr
    assert outcome(site, "deferred")["error"]["kind"] == "KeyUnavailable"
    assert not key_file(site).exists()
    with site.processor():
        wait_until(lambda: "what is to be anonymised waits" in site.log_end(), 20, "it is said")
        kept.rename(key_file(site))
        site.wait_states(done=2)
        wait_until(lambda: "the pseudonym key: all right again" in site.log_end(), 20, "it is said to be over")


def test_without_state_and_ledger_what_was_sent_or_withheld_knows_the_key(site: Site, tmp_path: Path) -> None:
    port = dead_port()
    add_modality(site.orthanc, "dcmtk", "DCMTK", port)
    site.rule("trial", Action=["ANONYMISE", "FORWARD"], DestinationModality="dcmtk")
    for burned_in, state in (("NO", "done"), ("YES", "failed")):
        study = send(site, canary_study(BurnedInAnnotation=burned_in))
        with storescp(tmp_path / "dcmtk", port):
            site.once(expect=None)
        assert site.states() == {state: 1}
        for folder in ("ledger", "state"):
            shutil.rmtree(site.spool / folder)
        key_file(site).unlink()
        send(site, canary_study("CNRYSECOND"))
        site.once()
        assert outcome(site, "deferred")["error"]["kind"] == "KeyUnavailable"
        assert not key_file(site).exists()
        shutil.rmtree(site.spool)
        site.orthanc.delete(f"/studies/{study}")


def test_what_may_show_a_name_is_withheld_counted_and_named(site: Site) -> None:
    site.rule("trial", Action="ANONYMISE")
    files = canary_study()
    burned = pydicom.dcmread(io.BytesIO(files[0]))
    burned.BurnedInAnnotation = "YES"
    burned.SeriesInstanceUID, burned.SOPInstanceUID = datasets.uid("burned"), datasets.uid("burned", 1)
    burned.file_meta.MediaStorageSOPInstanceUID = burned.SOPInstanceUID
    data = io.BytesIO()
    burned.save_as(data)
    send(site, [*files, data.getvalue()])
    site.once()
    told = outcome(site, "done")
    (instance,) = site.orthanc.post(
        "/tools/find", {"Level": "Instance", "Query": {"SOPInstanceUID": burned.SOPInstanceUID}}
    )
    assert told["withheld"] == {"count": 1, "instances": {instance: "BurnedInAnnotation is YES"}}
    assert told["instances"] == len(files) == len(published_files(site))
    (name,) = site.published("trial")
    assert len(list((site.output / "trial" / name).iterdir())) == 2


@pytest.mark.parametrize("patient", ["0007123456", "MRN-7123456"])
def test_an_identifier_in_another_spelling_goes_and_the_record_counts_it(site: Site, patient: str) -> None:
    site.rule("trial", Action="ANONYMISE", Anonymise={"Keep": ["Descriptors"]})
    keywords = {"SeriesDescription": "T1 pat 7123456", "ProtocolName": "axial", "SequenceName": "tse 7123456"}
    keywords |= {"PatientName": "Siemens^Zenobia", "Manufacturer": "SIEMENS"}
    # One file of the study has nothing that is searched for.
    files = datasets.make_study(patient, "EX", series=1, **keywords)
    files.append(datasets.make_instance(patient, "EX", 2, PatientName="Siemens^Zenobia"))
    send(site, files)
    site.once()
    assert b"7123456" not in b"".join(everything_below(site.output, site.spool).values())
    assert {str(one.get("Manufacturer")) for one in published_files(site)} == {"SIEMENS", "None"}
    told = outcome(site, "done")
    assert told["emptied"] == {"count": 6, "attributes": {"SequenceName": 3, "SeriesDescription": 3}}
    assert "enobia" not in json.dumps(site.records("done"))


@pytest.mark.parametrize("keyword", ["PatientID", "AccessionNumber", "AdmissionID", "PatientBirthDate"])
def test_a_series_numbered_as_its_patient_or_order_has_no_number_in_names(site: Site, keyword: str) -> None:
    site.rule("trial", Action=["ANONYMISE", "DOWNLOAD"])
    site.rule("files", Action=["ANONYMISE", "DOWNLOAD"], Files="{SeriesNumber}/{InstanceNumber}")
    number = "19410203"
    data = datasets.make_instance(SeriesNumber=number, InstanceNumber=number, **{keyword: number})
    send(site, [data])
    done = site.once()
    assert_nothing_left(site, [], done.stdout, done.stderr)
    names = [str(path.relative_to(site.output)) for path in site.output.rglob("*")]
    assert len(names) > 6
    assert not [name for name in names if number in name]
    assert {one.SeriesNumber for rule in ("trial", "files") for one in published_files(site, rule)} == {None}
    (folder,) = (path.name for path in (site.output / "trial" / site.published("trial")[0]).iterdir())
    assert folder.startswith("SEXX-")


def test_what_is_withheld_is_said_wherever_somebody_looks(site: Site) -> None:
    site.variables["AUTORTHANC_AUDIT_LOG"] = str(site.root / "audit.log")
    site.rule("all", Action="ANONYMISE")
    burned = [datasets.make_instance(series=1, instance=number, BurnedInAnnotation="YES") for number in (2, 3, 4)]
    study = site.orthanc.upload_all([datasets.make_instance(), *burned])
    site.orthanc.wait_stable(f"/studies/{study}")
    site.touch(study)
    told = "published 1 of 4 files, 3 withheld"
    assert told in site.once().stderr
    assert told in site.run("list", "done").stdout
    assert "withheld 3 files" in site.run("status").stdout
    assert json.loads((site.root / "audit.log").read_text())["withheld"] == 3


@pytest.mark.parametrize("action", ["DOWNLOAD", "ZIP"])
def test_when_everything_is_withheld_it_fails_and_leaves_nothing(site: Site, action: str) -> None:
    site.rule("trial", Action=[action, "ANONYMISE"])
    files = canary_study(BurnedInAnnotation="YES")
    send(site, files)
    site.once(expect=1)
    told = outcome(site, "failed")
    assert told["error"]["kind"] == "EverythingWithheld"
    assert told["withheld"]["count"] == len(files)
    assert site.published("trial") == []
    assert site.leftovers() == []


def test_cut_pixel_data_fail_naming_the_instance_and_nothing_is_published(site: Site) -> None:
    site.rule("trial", Action="ANONYMISE")
    cut = pydicom.dcmread(io.BytesIO(canary_study()[0]))
    cut.PixelData = cut.PixelData[:-10]
    data = io.BytesIO()
    cut.save_as(data)
    send(site, [*canary_study()[1:], data.getvalue()])
    done = site.once(expect=1)
    told = outcome(site, "failed")
    (instance,) = site.orthanc.post(
        "/tools/find", {"Level": "Instance", "Query": {"SOPInstanceUID": cut.SOPInstanceUID}}
    )
    assert (told["error"]["kind"], told["error"]["instance"]) == ("Malformed", instance)
    assert site.published("trial") == []
    assert_nothing_left(site, canary_study(), done.stderr)


def test_a_patient_who_is_not_in_the_table_waits_until_he_is(site: Site) -> None:
    table = site.rules / "trial.csv"
    table.write_text("PatientID,Pseudonym\nSOMEBODY,T7-001\n")
    site.rule("trial", Action="ANONYMISE", Anonymise={"PseudonymTable": "trial.csv"})
    send(site, canary_study())
    site.once()
    assert outcome(site, "deferred")["error"]["kind"] == "PatientNotListed"
    assert site.published("trial") == []
    with site.processor():
        wait_until(lambda: (site.output / "trial").is_dir() and site.log.exists(), 20, "the processor runs")
        table.write_text(f"\ufeffPatientID;Pseudonym\nSOMEBODY;T7-001\n{PATIENT_ID};T7-002\n")
        site.wait_published("trial")
    assert [str(one.PatientID) for one in published_files(site)] == ["T7-002"] * 6
    assert site.published("trial")[0].startswith("T7-002-T7-002-")


def test_check_says_what_is_wrong_with_a_table(site: Site) -> None:
    site.rule("trial", Action="ANONYMISE", Anonymise={"PseudonymTable": "trial.csv"})
    assert "trial.csv can't be read" in site.run("check", expect=1).stdout
    (site.rules / "trial.csv").write_text("PatientID,Pseudonym\nA,T1\nA,T2\n")
    found = site.run("check", expect=1).stdout
    assert "line 3" in found
    assert "T2" not in found
    (site.rules / "trial.csv").write_text("PatientID,Pseudonym\nA,T1\n")
    site.run("check")


def test_a_name_that_is_taken_gets_digits_of_the_new_uid(site: Site) -> None:
    site.rule("trial", Action="ANONYMISE")
    key_file(site).parent.mkdir()
    key_file(site).write_text("ab" * 32 + "\n")
    key_file(site).chmod(0o600)
    files = canary_study()
    key = Key(bytes.fromhex("ab" * 32))
    one = pydicom.dcmread(io.BytesIO(anonymised(files[0], key=key, project="trial")))
    name = f"{one.PatientID}-{one.PatientID}-{one.StudyID}"
    (site.output / "trial" / name).mkdir(parents=True)
    send(site, files)
    site.once()
    digits = hashlib.sha256(one.StudyInstanceUID.encode()).hexdigest()[:8]
    assert site.published("trial") == [name, f"{name}-{digits}"]


def test_another_option_has_it_done_again(site: Site) -> None:
    site.rule("trial", Action="ANONYMISE")
    study = send(site, canary_study())
    site.once()
    site.rule("trial", Action="ANONYMISE", Anonymise={"Keep": ["FullDates"]})
    lua = {"format": 1, "level": "Study", "id": study, "source": "lua", "time": "2030-01-01T00:00:00Z"}
    (site.spool / "incoming" / "x.json").write_text(json.dumps(lua))
    site.once()
    assert len(site.published("trial")) == 1
    assert {one.StudyDate for one in published_files(site)} == {"20260102"}


def test_reidentify_finds_the_patient(site: Site) -> None:
    site.rule("trial", Action="ANONYMISE")
    send(site, canary_study(IssuerOfPatientID="CLINIC"))
    send(site, datasets.make_study("OTHER"))
    send(site, datasets.make_study("", "nobody", StudyInstanceUID="1.2.3.4"))
    site.once()
    pseudonyms = {str(one.PatientID) for one in published_files(site)}
    assert len(pseudonyms) == 3
    found = {site.run("reidentify", one.lower(), "--rule", "trial").stdout for one in pseudonyms}
    assert found == {f"{PATIENT_ID}\n", "OTHER\n", "1.2.3.4\n"}
    candidates = site.root / "candidates.txt"
    candidates.write_text(f"NOBODY\n{PATIENT_ID}\tCLINIC\n")
    known = [
        one
        for one in pseudonyms
        if site.run("reidentify", one, "--rule", "trial", "--candidates", str(candidates), expect=None).returncode == 0
    ]
    assert len(known) == 1
    lost = site.run("reidentify", "AAAAAAAAAAAAAAAA", "--rule", "trial", expect=1)
    assert lost.stdout == ""
    assert "nobody in Orthanc" in lost.stderr
    site.run("reidentify", "X", "--rule", "nothing", expect=2)


@pytest.mark.parametrize(
    ("PatientID", "character_set"),
    [
        (b"N\0UL ", b"ISO_IR 100"),
        ("\u738b5".encode("gb2312"), b"GB2312"),
        ("\u00e9U1".encode("latin-1"), b"ISO_IR 192"),
    ],
)
def test_reidentify_finds_a_patient_whose_id_orthanc_reads_otherwise(
    site: Site, PatientID: bytes, character_set: bytes
) -> None:
    site.rule("trial", Action="ANONYMISE")
    elements: corpus.Elements = {0x00080005: ("CS", character_set), 0x00100020: ("LO", PatientID)}
    send(site, datasets.make_study("OTHER"))
    send(site, [corpus.file({**corpus.image(), **elements})])
    site.once()
    pseudonyms = {str(one.PatientID) for one in published_files(site)}
    found = [site.run("reidentify", one, "--rule", "trial") for one in pseudonyms]
    (other,) = (one for one in found if one.stdout != "OTHER\n")
    assert other.stdout.strip()
    assert "a file of each study is read, 2 studies" in other.stderr


def test_reidentify_makes_no_key(site: Site) -> None:
    site.rule("trial", Action="ANONYMISE")
    site.run("reidentify", "AAAAAAAAAAAAAAAA", "--rule", "trial", expect=1)
    assert not key_file(site).exists()


def test_a_worker_that_is_killed_loses_nothing(site: Site) -> None:
    site.rule("trial", Action="ANONYMISE")
    send(site, datasets.make_study("P", series=4, instances=40))
    with site.processor() as processor:
        killed = 0
        while killed < 3 and not site.markers("done"):
            for child in children(processor.pid):
                with suppress(ProcessLookupError):
                    os.kill(child, 9)
                    killed += 1
        site.wait_published("trial", timeout_s=120)
    assert killed
    assert len(published_files(site)) == 160


def children(pid: int) -> list[int]:
    """The processes that anonymise for a processor, once they are at work."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        # Threads and processes may end while they are looked at.
        with suppress(FileNotFoundError, ProcessLookupError):
            found += [int(one) for one in task.read_text().split() if _is_worker(one)]
    return found


def _is_worker(pid: str) -> bool:
    return b"deidentify.process" in Path(f"/proc/{pid}/cmdline").read_bytes()


def test_safe_private_values_are_searched_cleaned_and_counted(site: Site) -> None:
    creator = "SIEMENS CSA HEADER"
    safe = [
        [creator, "0029", "10"],
        [creator, "0029", "20"],
        ["SPOOL TEST", "0041", "01"],
        ["SPOOL TEST", "0041", "02"],
    ]
    site.rule("trial", Action="ANONYMISE", Anonymise={"SafePrivate": safe})
    uid = "1.3.12.2.1107.5.2.19.45152.2026010212131415161718192"
    protocol = csa.protocol(name="Cnrygiven Cnryfamily", patient="CNRY4711", serial="45152", day="19410203", uid=uid)
    header = csa.header({"EchoLinePosition": ("IS", ["64"]), "MrPhoenixProtocol": ("UN", [protocol])})
    files = []
    for data in canary_study():
        found = pydicom.dcmread(io.BytesIO(data))
        block = found.private_block(0x29, creator, create=True)
        block.add_new(0x10, "OB", header)
        block.add_new(0x20, "OB", header[:-300])
        block = found.private_block(0x41, "SPOOL TEST", create=True)
        block.add_new(0x01, "OB", NAME.encode("utf-16-le") + b"\0\0")
        block.add_new(0x02, "OB", b"harmless")
        files.append(datasets.encode(found))
    send(site, files)
    done = site.once()
    published = published_files(site)
    assert len(published) == len(files)
    for one in published:
        assert bytes(one[0x29, 0x1010].value).startswith(b"SV10")
        assert b"alTR[0]                                  = 6600000" in one[0x29, 0x1010].value
        assert uid.encode() not in one[0x29, 0x1010].value
        assert (0x29, 0x1020) not in one
        assert one[0x41, 0x1002].value == b"harmless"
    told = outcome(site, "done")
    assert told["private_cleaned"] == {f"(0029,xx10) {creator}": len(files)}
    assert told["private_removed"] == {
        f"(0029,xx20) {creator}": len(files),
        "(0041,xx01) SPOOL TEST": len(files),
    }
    for content in everything_below(site.output).values():
        for needle in (b"cnryfamily", b"cnrygiven", b"cnry4711", b"19410203", NAME.encode("utf-16-le").lower()):
            assert needle not in content.lower()
    assert "cnryfamily" not in (done.stdout + done.stderr).lower()
