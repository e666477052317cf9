"""FORWARD: to a second real Orthanc, and to dcmtk's storescp; up, down, and dying in mid-transfer."""

import io
import json
import os
import shutil
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.uid import CTImageStorage

from autorthanc_spool.run import wiring
from autorthanc_spool.settings import load_settings
from tests.helpers import crash, datasets
from tests.helpers.destinations import add_modality, dead_port, received, storescp
from tests.helpers.orthanc_server import OrthancServer
from tests.helpers.site import Site
from tests.helpers.waiting import wait_until

NAME = "PAT1-FamilyPAT1-1"
TOO_MANY = 400


def send(site: Site, *files: bytes) -> str:
    study = site.orthanc.upload_all(list(files))
    site.orthanc.wait_stable(f"/studies/{study}")
    return study


def uids(site: Site, study: str) -> set[str]:
    return {one["MainDicomTags"]["SOPInstanceUID"] for one in site.orthanc.get(f"/studies/{study}/instances")}


def job_ids(site: Site) -> set[str]:
    """The sending jobs of Orthanc; it forgets all but the last ones."""
    return {job["ID"] for job in site.orthanc.get("/jobs?expand") if job["Type"] == "DicomModalityStore"}


def due_now(site: Site) -> None:
    """What a person does with `touch`."""
    for path in site.markers("deferred"):
        os.utime(path, (0, 0))


def outcome(site: Site, state: str, rule: str = "all") -> dict[str, Any]:
    (record,) = site.records(state)
    found: dict[str, Any] = record["outcomes"][rule]
    return found


def test_everything_arrives_and_the_record_says_so(site: Site, archive: OrthancServer) -> None:
    site.rule("all", Action="FORWARD", DestinationModality="archive")
    study = send(site, *datasets.make_study())
    site.touch(study)
    site.once()
    assert received(archive) == uids(site, study)
    found = outcome(site, "done")
    assert found["outcome"] == "forwarded"
    assert found["forward"]["archive"]["outcome"] == "forwarded"
    assert found["forward"]["archive"]["instances"] == 6
    assert datetime.fromisoformat(found["forward"]["archive"]["time"])
    assert site.published("all") == []
    assert site.leftovers() == []


def test_a_series_rule_forwards_the_series_alone(site: Site, archive: OrthancServer) -> None:
    site.rule("all", CheckOn="Series", Action="FORWARD", DestinationModality="archive")
    send(site, *datasets.make_study(series=2))
    series = site.orthanc.get("/series")[0]
    site.touch(series, "series")
    site.once()
    assert [one["ID"] for one in archive.get("/series?expand")] == [series]


@pytest.mark.parametrize("action", ["DOWNLOAD", "ZIP"])
def test_it_is_published_first_and_then_forwarded(site: Site, archive: OrthancServer, action: str) -> None:
    site.rule("all", Action=[action, "FORWARD"], DestinationModality="archive")
    study = send(site, *datasets.make_study())
    site.touch(study)
    site.once()
    assert site.published("all") == [NAME if action == "DOWNLOAD" else f"{NAME}.zip"]
    assert received(archive) == uids(site, study)
    found = outcome(site, "done")
    assert found["outcome"] == "published"
    assert found["md5sums"]
    assert found["forward"]["archive"]["outcome"] == "forwarded"


def test_what_was_sent_is_not_sent_again_and_what_is_asked_again_is(site: Site, archive: OrthancServer) -> None:
    site.rule("all", Action="FORWARD", DestinationModality="archive")
    study = send(site, *datasets.make_study())
    site.touch(study)
    site.once()
    before = job_ids(site)
    lua = {"format": 1, "level": "Study", "id": study, "source": "lua", "time": "2030-01-01T00:00:00Z"}
    (site.spool / "incoming" / "x.json").write_text(json.dumps(lua))
    site.once()
    assert job_ids(site) == before
    assert {record["outcomes"]["all"]["outcome"] for record in site.records("done")} == {"forwarded", "unchanged"}
    site.touch(study)
    site.once()
    assert len(job_ids(site) - before) == 1


def test_a_new_destination_gets_everything_and_nothing_is_published_again(
    site: Site, archive: OrthancServer, tmp_path: Path
) -> None:
    port = dead_port()
    add_modality(site.orthanc, "other", "OTHER", port)
    site.rule("all", Action=["DOWNLOAD", "FORWARD"], DestinationModality="archive")
    study = send(site, *datasets.make_study())
    site.touch(study)
    site.once()
    before, inode = job_ids(site), (site.output / "all" / NAME).stat().st_ino
    site.rule("all", Action=["DOWNLOAD", "FORWARD"], DestinationModality=["archive", "other"])
    lua = {"format": 1, "level": "Study", "id": study, "source": "lua", "time": "2030-01-01T00:00:00Z"}
    (site.spool / "incoming" / "x.json").write_text(json.dumps(lua))
    with storescp(tmp_path / "other", port):
        site.once()
    assert len(list((tmp_path / "other").iterdir())) == 6
    assert len(job_ids(site) - before) == 1
    assert (site.output / "all" / NAME).stat().st_ino == inode


def test_a_destination_that_is_down_defers_alone_and_gets_it_when_it_is_up(
    site: Site, archive: OrthancServer, tmp_path: Path
) -> None:
    port = dead_port()
    add_modality(site.orthanc, "down", "DOWN", port)
    site.rule("all", Action=["DOWNLOAD", "FORWARD"], DestinationModality=["down", "archive"])
    site.rule("beside")
    study = send(site, *datasets.make_study())
    site.touch(study)
    site.once()
    (record,) = site.records("deferred")
    assert (record["attempts"], record["error"]["kind"]) == (0, "DestinationUnavailable")
    assert record["outcomes"]["beside"]["outcome"] == "published"
    found = record["outcomes"]["all"]
    assert found["outcome"] == "deferred"
    assert found["path"] == f"all/{NAME}"
    assert {name: one["outcome"] for name, one in found["forward"].items()} == {
        "down": "deferred",
        "archive": "forwarded",
    }
    assert received(archive) == uids(site, study)
    inode, before = (site.output / "all" / NAME).stat().st_ino, job_ids(site)
    with storescp(tmp_path / "down", port):
        due_now(site)
        site.once()
    assert len(list((tmp_path / "down").iterdir())) == 6
    assert (site.output / "all" / NAME).stat().st_ino == inode
    assert len(job_ids(site) - before) == 1
    found = outcome(site, "done")
    assert found["outcome"] == "published"
    assert len(found["md5sums"]) == 6
    assert {one["outcome"] for one in found["forward"].values()} == {"forwarded"}
    assert site.published("all") == site.published("beside") == [NAME]


def test_a_destination_that_stays_down_is_given_up_by_age_and_not_by_attempts(site: Site, tmp_path: Path) -> None:
    port = dead_port()
    add_modality(site.orthanc, "down", "DOWN", port)
    site.rule("all", Action="FORWARD", DestinationModality="down")
    study = send(site, *datasets.make_study())
    site.touch(study)
    site.once()
    for _ in range(12):
        due_now(site)
        site.once()
    assert site.states() == {"deferred": 1}
    _begin_earlier(site, timedelta(days=4, hours=23))
    due_now(site)
    site.once()
    assert site.states() == {"deferred": 1}
    _begin_earlier(site, timedelta(hours=2))
    due_now(site)
    site.once(expect=1)
    assert site.states() == {"failed": 1}
    assert "AUTORTHANC_FORWARD_EXPIRY" in outcome(site, "failed")["error"]["text"]
    # Whoever requeues it begins again.
    site.run("requeue", "--failed")
    site.once()
    assert site.states() == {"deferred": 1}
    with storescp(tmp_path / "down", port):
        due_now(site)
        site.once()
    assert site.states() == {"done": 1}


def _begin_earlier(site: Site, by: timedelta) -> None:
    """As if the first try had been earlier by this."""
    (path,) = (site.spool / "ledger").glob("??/study-*.json")
    content = json.loads(path.read_text())
    sending = content["sendings"]["all"]["down"]
    since = datetime.strptime(sending["since"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    sending["since"] = (since - by).strftime("%Y-%m-%dT%H:%M:%SZ")
    path.write_text(json.dumps(content))


def test_one_destination_that_was_given_up_stays_so_while_another_one_is_awaited(site: Site) -> None:
    for name in ("down", "other"):
        add_modality(site.orthanc, name, "DOWN", dead_port())
    site.rule("all", Action="FORWARD", DestinationModality=["down", "other"])
    site.touch(send(site, *datasets.make_study(series=1, instances=1)))
    site.once()
    _begin_earlier(site, timedelta(days=6))
    for _ in range(2):
        due_now(site)
        site.once()
        found = outcome(site, "deferred")["forward"]
        assert (found["down"]["outcome"], found["down"]["error"]["kind"]) == ("failed", "ForwardExpired")
        assert found["other"]["outcome"] == "deferred"


def test_an_unknown_modality_fails_at_once_and_says_how_to_add_it(site: Site, archive: OrthancServer) -> None:
    site.rule("all", Action=["DOWNLOAD", "FORWARD"], DestinationModality=["nowhere", "archive"])
    study = send(site, *datasets.make_study())
    site.touch(study)
    site.once(expect=1)
    found = outcome(site, "failed")
    assert found["error"]["kind"] == "UnknownModality"
    for word in ("nowhere", "ORTHANC_DICOM_MODALITIES", "archive", "requeue"):
        assert word in found["error"]["text"]
    assert found["forward"]["archive"]["outcome"] == "forwarded"
    assert site.published("all") == [NAME]
    add_modality(site.orthanc, "nowhere", "ARCHIVE", archive.dicom_port)
    inode = (site.output / "all" / NAME).stat().st_ino
    site.run("requeue", "--failed")
    site.once()
    assert (site.output / "all" / NAME).stat().st_ino == inode
    assert outcome(site, "done")["forward"]["nowhere"]["outcome"] == "forwarded"


@pytest.mark.parametrize("aet", ["ORTHANC", "WHATEVER"])
def test_check_and_doctor_warn_of_a_destination_that_is_orthanc_itself(
    site: Site, archive: OrthancServer, aet: str
) -> None:
    add_modality(site.orthanc, "myself", aet, site.orthanc.dicom_port)
    for name in ("archive", "myself"):
        site.rule(name, Action=["ANONYMISE", "FORWARD"], DestinationModality=name)
    text = "myself.json: warning: DestinationModality: myself is Orthanc itself"
    checked = site.run("check").stdout
    assert [line.startswith(text) for line in checked.splitlines() if "warning" in line] == [True], checked
    found = [line for line in site.run("doctor", expect=None).stdout.splitlines() if "destinations" in line]
    assert [line.partition(":")[0] for line in found] == ["warning  destinations"]
    assert "the rule myself sends to, is Orthanc itself" in found[0]


@pytest.mark.parametrize("option", ["--abort-during", "--abort-after"])
def test_a_destination_that_breaks_off_is_tried_again_until_it_has_everything(
    site: Site, tmp_path: Path, option: str
) -> None:
    port = dead_port()
    add_modality(site.orthanc, "flaky", "FLAKY", port)
    site.rule("all", Action="FORWARD", DestinationModality="flaky")
    study = send(site, *datasets.make_study())
    site.touch(study)
    with storescp(tmp_path / "flaky", port, option):
        site.once()
    record = site.records("deferred")[0]
    assert record["error"]["kind"] in ("ForwardRefused", "DestinationUnavailable")
    with storescp(tmp_path / "flaky", port):
        due_now(site)
        site.once()
    assert site.states() == {"done": 1}
    assert len(list((tmp_path / "flaky").glob("CT.*"))) == 6


PRIVATE_CLASS = "1.3.12.2.1107.5.9.1"


def study_with_private_classes() -> list[bytes]:
    """Six images; the first, third and fifth of a class that storescp refuses."""
    return [
        datasets.make_instance(series=number, SOPClassUID=PRIVATE_CLASS if number % 2 else CTImageStorage)
        for number in range(1, 7)
    ]


@pytest.mark.parametrize("more", [[], ["ANONYMISE"]], ids=["originals", "anonymised"])
def test_what_is_refused_keeps_nothing_else_from_arriving(site: Site, tmp_path: Path, more: list[str]) -> None:
    port = dead_port()
    add_modality(site.orthanc, "picky", "PICKY", port)
    site.rule("all", Action=["FORWARD", *more], DestinationModality="picky")
    study = send(site, *study_with_private_classes())
    refused = {
        one["Instances"][0]
        for one in site.orthanc.get(f"/studies/{study}/series")
        if int(one["MainDicomTags"]["SeriesNumber"]) % 2
    }
    site.touch(study)
    with storescp(tmp_path / "picky", port):
        site.once()
    assert len(list((tmp_path / "picky").iterdir())) == 3
    (record,) = site.records("deferred")
    error = record["outcomes"]["all"]["forward"]["picky"]["error"]
    assert error["kind"] == "ForwardRefused"
    assert set(error["refused"]) == refused
    assert "picky refused 3 of 6 instances" in error["text"]
    # What to look at is said once.
    assert (error["text"].count("its log and Orthanc's say"), error["text"].count("(")) == (1, 1)
    assert record["attempts"] == 1
    # What comes to take everything gets what was missing, and nothing twice.
    with storescp(tmp_path / "willing", port, "--promiscuous"):
        due_now(site)
        site.once()
    assert site.states() == {"done": 1}
    assert len(list((tmp_path / "willing").iterdir())) == 3
    assert outcome(site, "done")["forward"]["picky"]["instances"] == 6


def test_a_destination_that_dies_in_mid_transfer_gets_everything_when_it_is_back(site: Site, tmp_path: Path) -> None:
    port, folder = dead_port(), tmp_path / "mortal"
    add_modality(site.orthanc, "mortal", "MORTAL", port)
    site.rule("all", Action="FORWARD", DestinationModality="mortal")
    study = send(site, *datasets.make_study(series=1, instances=12))
    site.touch(study)
    with storescp(folder, port, "--sleep-during", "1") as receiver, site.processor():
        wait_until(lambda: len(list(folder.iterdir())) >= 2, 60, "some instances are there")
        receiver.send_signal(signal.SIGKILL)
        site.wait_states(deferred=1)
    assert site.records("deferred")[0]["error"]["kind"] == "DestinationUnavailable"
    with storescp(folder, port):
        due_now(site)
        site.once()
    assert site.states() == {"done": 1}
    assert len(list(folder.glob("CT.*"))) == 12
    assert outcome(site, "done")["forward"]["mortal"]["instances"] == 12


def test_a_job_that_outlives_the_processor_is_looked_at_and_not_begun_again(site: Site, tmp_path: Path) -> None:
    port, folder = dead_port(), tmp_path / "slow"
    add_modality(site.orthanc, "slow", "SLOW", port)
    site.rule("all", Action="FORWARD", DestinationModality="slow")
    before = job_ids(site)
    study = send(site, *datasets.make_study(series=1, instances=6))
    site.touch(study)
    with storescp(folder, port, "--sleep-after", "1"):
        started = site.start_processor()
        wait_until(lambda: folder.is_dir() and len(list(folder.iterdir())) >= 2, 60, "some instances are there")
        started.kill()
        started.wait()
        site.once()
    assert site.states() == {"done": 1}
    assert len(job_ids(site) - before) == 1
    assert outcome(site, "done")["forward"]["slow"]["instances"] == 6


def test_a_stopped_processor_leaves_the_job_and_the_next_one_goes_on_with_it(site: Site, tmp_path: Path) -> None:
    port, folder = dead_port(), tmp_path / "slow"
    add_modality(site.orthanc, "slow", "SLOW", port)
    site.rule("all", Action=["DOWNLOAD", "FORWARD"], DestinationModality="slow")
    before = job_ids(site)
    study = send(site, *datasets.make_study(series=1, instances=6))
    site.touch(study)
    with storescp(folder, port, "--sleep-after", "1"):
        with site.processor():
            wait_until(lambda: folder.is_dir() and len(list(folder.iterdir())) >= 1, 60, "an instance is there")
        assert site.records("deferred")[0]["error"]["kind"] == "Interrupted"
        site.once()
    assert len(job_ids(site) - before) == 1
    found = outcome(site, "done")
    assert (found["outcome"], len(found["md5sums"])) == ("published", 6)


@pytest.fixture
def forgetful(site: Site, fresh_orthanc: Callable[..., OrthancServer]) -> Site:
    """A site whose Orthanc forgets a job as soon as it has ended."""
    site.orthanc = fresh_orthanc(lua=(), config={"JobsHistorySize": 0})
    return site


def test_what_a_job_sent_that_orthanc_forgot_is_sent_once_more_and_counts(forgetful: Site, tmp_path: Path) -> None:
    port = dead_port()
    add_modality(forgetful.orthanc, "dcmtk", "DCMTK", port)
    forgetful.rule("all", Action="FORWARD", DestinationModality="dcmtk")
    forgetful.touch(send(forgetful, *datasets.make_study()))
    with storescp(tmp_path / "dcmtk", port, "--unique-filenames"):
        log = forgetful.once().stderr
    assert len(list((tmp_path / "dcmtk").iterdir())) == 2 * 6
    assert outcome(forgetful, "done")["forward"]["dcmtk"]["instances"] == 6
    assert forgetful.records("done")[0]["attempts"] == 0
    assert log.count("JobsHistorySize") == 1


def test_what_is_refused_is_named_although_orthanc_forgot_the_job(forgetful: Site, tmp_path: Path) -> None:
    port = dead_port()
    add_modality(forgetful.orthanc, "picky", "PICKY", port)
    forgetful.rule("all", Action="FORWARD", DestinationModality="picky")
    forgetful.touch(send(forgetful, *study_with_private_classes()))
    with storescp(tmp_path / "picky", port):
        forgetful.once()
    (record,) = forgetful.records("deferred")
    error = record["outcomes"]["all"]["forward"]["picky"]["error"]
    assert (error["kind"], len(error["refused"])) == ("ForwardRefused", 3)
    assert len(list((tmp_path / "picky").iterdir())) == 3


def test_a_commitment_that_orthanc_forgot_says_what_to_set(forgetful: Site, archive: OrthancServer) -> None:
    add_modality(forgetful.orthanc, "archive", "ARCHIVE", archive.dicom_port)
    forgetful.rule("all", Action="FORWARD", DestinationModality="archive", StorageCommitment=True)
    forgetful.touch(send(forgetful, *datasets.make_study()))
    forgetful.once()
    (record,) = forgetful.records("deferred")
    assert "Orthanc forgot a sending job" in record["error"]["text"]
    assert "set JobsHistorySize" in record["error"]["text"]


def test_storage_commitment_is_asked_for_and_awaited(site: Site, archive: OrthancServer) -> None:
    site.rule("all", Action="FORWARD", DestinationModality="archive", StorageCommitment=True)
    study = send(site, *datasets.make_study())
    site.touch(study)
    site.once()
    assert received(archive) == uids(site, study)
    assert outcome(site, "done")["forward"]["archive"]["committed"] is True


def test_a_destination_that_cannot_commit_has_not_succeeded(site: Site, tmp_path: Path) -> None:
    port = dead_port()
    add_modality(site.orthanc, "simple", "SIMPLE", port)
    site.rule("all", Action="FORWARD", DestinationModality="simple", StorageCommitment=True)
    site.touch(send(site, *datasets.make_study(series=1, instances=2)))
    # storescp receives, and knows nothing of storage commitment.
    with storescp(tmp_path / "simple", port):
        site.once(expect=None)
    (record,) = site.records("deferred")
    assert record["outcomes"]["all"]["forward"]["simple"]["outcome"] == "deferred"


def test_a_commitment_of_less_than_everything_is_refused(
    site: Site, tmp_path: Path, fresh_orthanc: Callable[..., OrthancServer]
) -> None:
    """A Lua script of the destination drops every second instance; it says Success to C-STORE all the same."""
    script = tmp_path / "drop.lua"
    script.write_text('function ReceivedInstanceFilter(dicom) return tonumber(dicom["InstanceNumber"]) % 2 == 0 end\n')
    lossy = fresh_orthanc(lua=(script,), aet="LOSSY")
    lossy.config["DicomModalities"] = {"source": ["ORTHANC", "127.0.0.1", site.orthanc.dicom_port]}
    lossy.restart()
    add_modality(site.orthanc, "lossy", "LOSSY", lossy.dicom_port)
    site.rule("all", Action="FORWARD", DestinationModality="lossy", StorageCommitment=True)
    site.touch(send(site, *datasets.make_study(series=1, instances=4)))
    site.once()
    (record,) = site.records("deferred")
    assert (record["attempts"], record["error"]["kind"]) == (1, "ForwardRefused")
    assert "2 of 4" in record["error"]["text"]


def test_a_damaged_stored_file_is_not_forwarded(
    tmp_path: Path, fresh_orthanc: Callable[..., OrthancServer], archive: OrthancServer
) -> None:
    site = Site(tmp_path / "site", fresh_orthanc(lua=()))
    add_modality(site.orthanc, "archive", "ARCHIVE", archive.dicom_port)
    site.orthanc.config["DicomModalities"] = {"archive": ["ARCHIVE", "127.0.0.1", archive.dicom_port]}
    site.rule("all", Action="FORWARD", DestinationModality="archive")
    study = send(site, *datasets.make_study())
    instance = site.orthanc.get(f"/studies/{study}/instances")[1]["ID"]
    stored = site.orthanc.stored_file(instance)
    data = bytearray(stored.read_bytes())
    data[-3] ^= 1
    stored.write_bytes(data)
    site.orthanc.restart()
    site.touch(study)
    site.once()
    (record,) = site.records("deferred")
    assert (record["error"]["kind"], record["outcomes"]["all"]["error"]["instance"]) == ("InstanceError", instance)
    assert received(archive) == set()


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("action", ["FORWARD", ["DOWNLOAD", "FORWARD"]])
def test_everything_arrives_whenever_the_processor_dies(site: Site, archive: OrthancServer, action: Any) -> None:
    site.rule("all", Action=action, DestinationModality="archive")
    study = send(site, *datasets.make_study(series=1, instances=2))
    settings = load_settings({}, {**site.environment, "AUTORTHANC_LOG_LEVEL": "error"}, site.root)
    for step in crash.steps(TOO_MANY):
        for folder in (site.spool, site.output):
            shutil.rmtree(folder, ignore_errors=True)
        archive.clear()
        site.touch(study)
        died = crash.run_dying(step, lambda: wiring.run(settings, once=True))
        crash.run_dying(TOO_MANY * 1000, lambda: wiring.run(settings, once=True))
        context = f"died before step {step}"
        assert received(archive) == uids(site, study), context
        assert site.published("all") == ([] if action == "FORWARD" else [NAME]), context
        assert site.states() == {"done": 1}, context
        assert site.leftovers() == [], context
        if not died:
            break
    assert step > 15


def test_what_is_done_is_said_before(site: Site, archive: OrthancServer) -> None:
    site.rule("all", Action=["ZIP", "FORWARD"], DestinationModality=["archive", "other"])
    study = send(site, *datasets.make_study())
    explained = site.run("explain", "study", study).stdout
    assert "would zip 6 instances, forward 6 instances to archive, other" in explained


def test_no_file_leaves_while_the_audit_log_cannot_be_written(site: Site, archive: OrthancServer) -> None:
    site.rule("all", Action="FORWARD", DestinationModality="archive")
    site.variables["AUTORTHANC_AUDIT_LOG"] = str(site.root / "audit")
    (site.root / "audit").mkdir()
    site.touch(send(site, *datasets.make_study()))
    site.once(expect=None)
    assert received(archive) == set()
    (site.root / "audit").rmdir()
    due_now(site)
    site.once()
    lines = [json.loads(line) for line in (site.root / "audit").read_text().splitlines()]
    assert [(line["outcome"], line["destination"], line["instances"]) for line in lines] == [
        ("forwarded", "archive", 6)
    ]


def altered(data: bytes, **keywords: Any) -> bytes:
    """The same file with other values."""
    found = pydicom.dcmread(io.BytesIO(data))
    for keyword, value in keywords.items():
        setattr(found, keyword, value)
    out = io.BytesIO()
    found.save_as(out)
    return out.getvalue()


def in_order_of_sending(site: Site, files: list[bytes]) -> list[bytes]:
    """The files of a study, in the order that they are sent in."""
    site.orthanc.upload_all(files)
    sent = sorted((one["ParentSeries"], one["ID"]) for one in site.orthanc.get("/instances?expand"))
    found = [site.orthanc.bytes_of(instance) for _, instance in sent]
    site.orthanc.clear()
    return found


def unfit(files: list[bytes], why: str) -> list[bytes]:
    """Files the last of which mustn't leave, or all."""
    if why == "withheld":
        return [altered(data, BurnedInAnnotation="YES") for data in files]
    if why == "mixed":
        ours = [altered(data, IssuerOfPatientID="OURS") for data in files[:-1]]
        return [*ours, altered(files[-1], IssuerOfPatientID="ANOTHER")]
    pixels = pydicom.dcmread(io.BytesIO(files[-1])).PixelData
    return [*files[:-1], altered(files[-1], PixelData=pixels[:-10])]


@pytest.mark.parametrize(
    ("why", "kind"), [("cut", "Malformed"), ("mixed", "PatientsMixed"), ("withheld", "EverythingWithheld")]
)
def test_nothing_leaves_anonymised_while_one_file_is_unfit(
    site: Site, archive: OrthancServer, tmp_path: Path, why: str, kind: str
) -> None:
    port = dead_port()
    add_modality(site.orthanc, "dcmtk", "DCMTK", port)
    site.rule("all", Action=["ANONYMISE", "FORWARD"], DestinationModality=["archive", "dcmtk"])
    site.touch(send(site, *unfit(in_order_of_sending(site, datasets.make_study()), why)))
    with storescp(tmp_path / "dcmtk", port):
        site.once(expect=1)
    assert {one["error"]["kind"] for one in outcome(site, "failed")["forward"].values()} == {kind}
    assert received(archive) == set()
    assert list((tmp_path / "dcmtk").iterdir()) == []


def test_a_study_of_which_some_files_are_withheld_arrives_without_them(site: Site, archive: OrthancServer) -> None:
    site.rule("all", Action=["ANONYMISE", "FORWARD"], DestinationModality="archive")
    files = in_order_of_sending(site, datasets.make_study())
    study = send(site, altered(files[0], BurnedInAnnotation="YES"), *files[1:])
    site.touch(study)
    site.once()
    found = outcome(site, "done")["forward"]["archive"]
    assert found["instances"] == len(received(archive)) == 5
    assert found["withheld"]["count"] == 1


def test_a_destination_that_offers_no_echo_gets_anonymised_files_too(site: Site, tmp_path: Path) -> None:
    port = dead_port()
    add_modality(site.orthanc, "deaf", "DEAF", port)
    profile = tmp_path / "storescp.cfg"
    profile.write_text(
        "[[TransferSyntaxes]]\n[Plain]\nTransferSyntax1 = LittleEndianExplicit\n"
        "[[PresentationContexts]]\n[Images]\nPresentationContext1 = CTImageStorage\\Plain\n"
        "[[Profiles]]\n[Images]\nPresentationContexts = Images\n"
    )
    site.rule("all", Action=["ANONYMISE", "FORWARD"], DestinationModality="deaf")
    site.touch(send(site, *datasets.make_study()))
    with storescp(tmp_path / "deaf", port, "--config-file", str(profile), "Images"):
        site.once()
    assert len(list((tmp_path / "deaf").iterdir())) == 6


@pytest.mark.parametrize("action", [["ANONYMISE", "FORWARD"], ["ANONYMISE", "ZIP", "FORWARD"]])
def test_with_anonymise_only_anonymised_files_are_sent(site: Site, archive: OrthancServer, action: Any) -> None:
    site.rule("all", Action=action, DestinationModality="archive")
    study = send(site, *datasets.make_study())
    site.touch(study)
    site.once()
    assert len(received(archive)) == 6
    assert received(archive) & uids(site, study) == set()
    patients = {one["MainDicomTags"]["PatientID"] for one in archive.get("/patients?expand")}
    found = outcome(site, "done")["forward"]["archive"]
    assert patients == {found["pseudonym"]}
    assert found["instances"] == 6
    assert all("PAT1" not in name for name in site.published("all"))
    # Again, by another process: the same files, under the same UIDs.
    before = received(archive)
    site.touch(study)
    site.once()
    assert received(archive) == before
