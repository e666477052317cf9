"""`Files` on the whole road: the names of the files in what is published."""

import io
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.datadict import dictionary_keyword, dictionary_VR

from tests.helpers import datasets
from tests.helpers.canaries import assert_nothing_left, canary_study
from tests.helpers.conditions import arrived, dose_report
from tests.helpers.destinations import add_modality, received
from tests.helpers.dying import clear
from tests.helpers.orthanc_server import OrthancServer
from tests.helpers.proxy import Proxy
from tests.helpers.site import Site, send

NAME = "PAT1-FamilyPAT1-1"
BY_NUMBER = "{SeriesNumber}-{SeriesDescription}/{InstanceNumber}"
PATHS = [f"{series}-axial_t{series}/{number}.dcm" for series in (1, 2) for number in (1, 2)]


def published(site: Site, rule: str, name: str = NAME) -> dict[str, bytes]:
    """The files of a publication, in a folder or in an archive."""
    archive = site.output / rule / f"{name}.zip"
    if not archive.exists():
        return site.tree(rule, name)
    with zipfile.ZipFile(archive) as found:
        return {one: found.read(one) for one in found.namelist()}


def publish(site: Site, *files: bytes) -> str:
    study = send(site, *files)
    site.touch(study)
    site.once()
    return study


@pytest.mark.parametrize("action", ["DOWNLOAD", "ZIP"])
def test_files_are_called_as_the_rule_says_and_have_their_own_content(site: Site, action: str) -> None:
    site.rule("all", Action=action, Files=BY_NUMBER)
    files = datasets.make_study(series=2, instances=2)
    publish(site, *files)
    assert published(site, "all") == dict(zip(PATHS, files, strict=True))
    (record,) = site.records("done")
    assert [line.partition("  ")[2] for line in record["outcomes"]["all"]["md5sums"]] == PATHS
    assert site.leftovers() == []


@pytest.mark.parametrize("files", ["{InstanceNumber}", "a/{SeriesDate:%Y}/{SeriesNumber}/{InstanceNumber}"])
def test_files_may_lie_in_no_folder_and_in_many(site: Site, files: str) -> None:
    site.rule("all", Files=files)
    publish(site, *datasets.make_study(series=1, instances=2))
    folder = "a/2026/1/" if "/" in files else ""
    assert sorted(published(site, "all")) == [f"{folder}1.dcm", f"{folder}2.dcm"]
    for path in (site.output / "all" / NAME).rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o750 if path.is_dir() else 0o640)


@pytest.mark.parametrize("action", ["DOWNLOAD", "ZIP"])
def test_files_that_meet_are_all_there_and_called_the_same_each_time(site: Site, action: str) -> None:
    site.rule("all", Action=action, Files="{SeriesNumber}/{StationName}")
    files = [
        datasets.make_instance(
            series=series, instance=number, SeriesNumber="1", StationName=("Scan", "SCAN")[number % 2]
        )
        for series in (1, 2)
        for number in range(1, 9)
    ]
    study = publish(site, *files)
    first = published(site, "all")
    assert sorted(first.values()) == sorted(files)
    assert len({path.casefold() for path in first}) == len(files)
    assert len({path.partition("/")[0] for path in first}) == 2
    shutil.rmtree(site.output)
    shutil.rmtree(site.spool)
    site.touch(study)
    site.once()
    assert published(site, "all") == first


def test_each_file_is_called_by_its_own_values_and_not_by_those_of_the_first(site: Site) -> None:
    site.rule("all", Files="{SeriesDescription}/{SliceThickness}-{Rows}")
    publish(
        site,
        datasets.make_instance(instance=1, SliceThickness="1.50"),
        datasets.make_instance(instance=2, SliceThickness="2", SeriesDescription="other"),
    )
    assert sorted(published(site, "all")) == ["axial_t1/1.50-16.dcm", "other/2-16.dcm"]


def test_long_and_missing_values_have_names_too(site: Site) -> None:
    site.rule("all", Files="{ImageComments}/{AcquisitionNumber}-{SeriesNumber}-{PatientID}")
    publish(site, datasets.make_instance(ImageComments="ä" * 3000, SeriesNumber=None))
    ((folder, name),) = [Path(path).parts for path in published(site, "all")]
    assert (len(folder.encode()), folder[:90]) == (199, "ä" * 90)
    assert name == "UNKNOWN-XX-PAT1.dcm"


def test_no_request_is_added_for_the_names_of_files(site: Site, orthanc: OrthancServer) -> None:
    study = send(site, *datasets.make_study(series=2, instances=3))
    asked = []
    with Proxy(orthanc.http_port) as proxy:
        site.variables["ORTHANC_URL"] = proxy.url
        for files in (None, BY_NUMBER):
            site.rule("all", **({"Files": files} if files else {}))
            clear(site)
            site.touch(study)
            before = len(proxy.requests)
            site.once()
            asked.append(sorted(line.split()[1] for line in proxy.requests[before:]))
            assert len(published(site, "all")) == 6
    assert asked[0] == asked[1]


def test_a_large_file_holds_no_connection_while_it_waits_for_its_turn_in_an_archive(
    site: Site, orthanc: OrthancServer
) -> None:
    # What all threads together keep in memory is 64 MB.
    site.variables["AUTORTHANC_DOWNLOAD_THREADS"] = "8"
    site.rule("all", Action="ZIP", Zip={"Compression": "stored"}, Files=BY_NUMBER)
    files = datasets.make_study(series=1, instances=2, size=2100)
    study = send(site, *files)
    with Proxy(orthanc.http_port) as proxy:
        site.variables["ORTHANC_URL"] = proxy.url
        site.touch(study)
        site.once()
        fetched = [line for line in proxy.requests if line.split()[1].endswith("/data")]
    assert published(site, "all") == dict(zip(PATHS[:2], files, strict=True))
    # Its beginning, for the name, and all of it.
    assert len(fetched) == 4


def test_files_from_orthanc_s_storage_are_called_the_same(site: Site, orthanc: OrthancServer) -> None:
    site.rule("all", Files=BY_NUMBER)
    site.variables["AUTORTHANC_ORTHANC_STORAGE_PATH"] = str(orthanc.storage)
    files = datasets.make_study(series=2, instances=2)
    publish(site, *files)
    assert published(site, "all") == dict(zip(PATHS, files, strict=True))


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"])
def test_values_are_read_in_every_encoding(site: Site, syntax: str) -> None:
    site.rule("all", Files="{SeriesDescription}/{Rows}-{SliceThickness}-{InstanceNumber}")
    dataset = pydicom.dcmread(io.BytesIO(datasets.make_instance(SpecificCharacterSet="ISO_IR 100")))
    dataset.SeriesDescription = "Größe"
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
    out = io.BytesIO()
    is_big = syntax == "1.2.840.10008.1.2.2"
    pydicom.dcmwrite(
        out, dataset, enforce_file_format=True, little_endian=not is_big, implicit_vr=syntax == "1.2.840.10008.1.2"
    )
    publish(site, out.getvalue())
    assert [*published(site, "all")] == ["Größe/16-1-1.dcm"]


def test_what_comes_late_in_a_long_head_is_found(site: Site) -> None:
    site.rule("all", Files="{SeriesNumber}/{InstanceNumber}-{WindowCenter}")
    dataset = pydicom.dcmread(io.BytesIO(datasets.make_instance(WindowCenter="40")))
    dataset.add_new(0x00090010, "LO", "ACME")
    dataset.add_new(0x00091001, "OB", bytes(3 * 1024 * 1024))
    out = io.BytesIO()
    dataset.save_as(out)
    publish(site, out.getvalue())
    assert [*published(site, "all")] == ["1/1-40.dcm"]


def every_keyword() -> list[str]:
    """The keywords of all attributes of the canary study that a template may name."""
    found = pydicom.dcmread(io.BytesIO(canary_study(**IDENTIFYING)[0]))
    tags = [one.tag for one in found if not one.tag.is_private]
    return [dictionary_keyword(tag) for tag in tags if dictionary_VR(tag) not in ("SQ", "OB or OW", "OB", "OW")]


IDENTIFYING: dict[str, Any] = {
    "ReferringPhysicianName": "Cnryref^X",
    "RequestedProcedureDescription": "Cnryproc",
    "RequestingPhysician": "Cnryreq",
    "OperatorsName": "Cnryop",
    "PerformedProcedureStepDescription": "cnry step",
    "ProtocolName": "cnry protocol",
    "ImageComments": "cnry comment",
    "PatientComments": "cnry patient",
    "DeviceSerialNumber": "CNRY1234",
    "AcquisitionDate": "19660607",
    "ContentDate": "19660607",
    "PatientAge": "084Y",
    "PatientAddress": "cnry street",
    "SeriesTime": "010203",
    "IssuerOfPatientID": "CNRYISSUER",
}


@pytest.mark.parametrize("action", ["DOWNLOAD", "ZIP"])
def test_no_original_value_gets_into_the_names_of_anonymised_files(site: Site, action: str) -> None:
    keywords = every_keyword()
    assert {"PatientName", "StudyInstanceUID", "SeriesDescription", "SOPInstanceUID", "ContentDate"} < {*keywords}
    files = canary_study(**IDENTIFYING)
    study = send(site, *files)
    # A name holds 200 bytes, so that one template can't show all values whole.
    for at in range(0, len(keywords), 8):
        site.rule(
            f"trial{at}", Action=[action, "ANONYMISE"], Files="/".join(f"{{{one}}}" for one in keywords[at : at + 8])
        )
    site.touch(study)
    done = site.once()
    for at in range(0, len(keywords), 8):
        (name,) = site.published(f"trial{at}")
        found = published(site, f"trial{at}", name.removesuffix(".zip"))
        assert len(found) == len(files)
        for path, data in found.items():
            # What is named is what is written.
            dataset = pydicom.dcmread(io.BytesIO(data))
            for keyword, part in zip(keywords[at : at + 8], path.removesuffix(".dcm").split("/"), strict=True):
                value = str(dataset.get(keyword) or "").partition("^")[0]
                if value.isalnum() and part.isalnum():
                    assert part == value, keyword
            needles = ("cnry", "19660607", "19410203")
            assert not [needle for needle in needles if needle in path.lower()]
    assert_nothing_left(site, files, done.stdout, done.stderr)


def test_what_is_withheld_leaves_no_gap_and_no_folder(site: Site, orthanc: OrthancServer) -> None:
    site.rule("trial", Action=["DOWNLOAD", "ANONYMISE"], Files="{Modality}/{InstanceNumber}")
    study = arrived(orthanc, [dose_report(), *datasets.make_study(series=1, instances=3)])
    site.touch(study)
    site.once()
    (name,) = site.published("trial")
    assert sorted(published(site, "trial", name)) == ["CT/1.dcm", "CT/2.dcm", "CT/3.dcm"]
    assert [path.name for path in (site.output / "trial" / name).iterdir()] == ["CT"]


@pytest.mark.parametrize("anonymise", [[], ["ANONYMISE"]], ids=["as it is", "anonymised"])
def test_forward_sends_all_of_it_and_minds_no_names(
    site: Site, orthanc: OrthancServer, fresh_orthanc: Any, anonymise: list[str]
) -> None:
    archive = fresh_orthanc(lua=())
    add_modality(orthanc, "archive", archive.aet, archive.dicom_port)
    site.rule("all", Action=["FORWARD", *anonymise], DestinationModality="archive", Files="x")
    publish(site, *datasets.make_study(series=2, instances=2))
    assert len(received(archive)) == 4
    assert site.states() == {"done": 1}


def test_what_grew_replaces_what_was_published_and_only_that(site: Site) -> None:
    site.rule("all", Files=BY_NUMBER)
    publish(site, *datasets.make_study(series=1, instances=2))
    publish(site, *datasets.make_study(series=2, instances=2))
    assert (sorted(published(site, "all")), site.published("all"), site.leftovers()) == (PATHS, [NAME], [])
    # With something of somebody else in it, the old one is kept, and said.
    (site.output / "all" / NAME / "1-axial_t1" / "notes.txt").write_text("mine")
    publish(site, *datasets.make_study(series=2, instances=3))
    kept = [name for name in site.published("all") if ".WORKING" in name]
    assert (len(kept), len(published(site, "all"))) == (1, 6)
    assert (site.output / "all" / kept[0] / "1-axial_t1" / "notes.txt").read_text() == "mine"


def test_another_template_holds_for_what_is_published_from_then_on(site: Site) -> None:
    site.rule("all", Files=BY_NUMBER)
    study = publish(site, *datasets.make_study(series=1, instances=2))
    site.rule("all", Files="{InstanceNumber}")
    marker = {"level": "study", "id": study, "source": "lua"}
    (site.spool / "incoming" / f"study-{study}.json").write_text(json.dumps(marker))
    site.once()
    assert sorted(published(site, "all")) == PATHS[:2]
    assert sorted(one["outcomes"]["all"]["outcome"] for one in site.records("done")) == ["published", "unchanged"]
