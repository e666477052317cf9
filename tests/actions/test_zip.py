"""ZIP: one archive instead of a folder."""

import hashlib
import os
import random
import shutil
import subprocess
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import CTImageStorage

from autorthanc_spool.disk import archive
from autorthanc_spool.run import wiring
from autorthanc_spool.settings import load_settings
from tests.deidentify.make import anonymised
from tests.helpers import crash, datasets, trees
from tests.helpers.orthanc_server import OrthancServer
from tests.helpers.site import Site, stored_files

NAME = "PAT1-FamilyPAT1-1"
ARCHIVE = f"{NAME}.zip"
TOO_MANY = 400


def send(site: Site, *files: bytes) -> str:
    study = site.orthanc.upload_all(list(files))
    site.orthanc.wait_stable(f"/studies/{study}")
    return study


def contents(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as found:
        assert found.testzip() is None
        return {name: found.read(name) for name in found.namelist()}


@pytest.mark.parametrize(
    ("options", "method"),
    [({}, zipfile.ZIP_DEFLATED), ({"Zip": {"Compression": "stored"}}, zipfile.ZIP_STORED)],
)
def test_the_archive_holds_what_the_folder_would(site: Site, options: dict[str, object], method: int) -> None:
    site.rule("all", Action="ZIP", **options)
    study = send(site, *datasets.make_study(series=2, instances=3, size=64))
    site.touch(study)
    site.once()
    assert site.published("all") == [ARCHIVE]
    path = site.output / "all" / ARCHIVE
    assert contents(path) == stored_files(site.orthanc, study)
    with zipfile.ZipFile(path) as found:
        assert {entry.compress_type for entry in found.infolist()} == {method}
    outcome = site.records("done")[0]["outcomes"]["all"]
    assert outcome["outcome"] == "published"
    assert outcome["path"] == f"all/{ARCHIVE}"
    assert outcome["archive_bytes"] == path.stat().st_size
    assert outcome["archive_md5"] == hashlib.md5(path.read_bytes()).hexdigest()
    assert site.leftovers() == []


def test_what_the_record_lists_is_what_unzip_unpacks(site: Site, tmp_path: Path) -> None:
    site.rule("all", Action=["DOWNLOAD", "ZIP"], CheckOn="Series")
    send(site, *datasets.make_study(series=1, instances=3))
    site.touch(site.orthanc.get("/series")[0], "series")
    site.once()
    outcome = site.records("done")[0]["outcomes"]["all"]
    unpacked = tmp_path / "unpacked"
    subprocess.run(["unzip", "-q", site.output / outcome["path"], "-d", unpacked], check=True)
    sums = "".join(f"{line}\n" for line in outcome["md5sums"])
    subprocess.run(["md5sum", "--check", "--quiet"], cwd=unpacked, input=sums, text=True, check=True)
    assert len(trees.read(unpacked)) == outcome["instances"] == 3


def test_the_archive_gets_permissions_and_owner_as_folders_do(site: Site) -> None:
    site.rule("all", Action="ZIP")
    site.variables |= {"UID": "1234", "GID": "1235"}
    site.touch(send(site, *datasets.make_study()))
    site.once()
    status = (site.output / "all" / ARCHIVE).stat()
    assert status.st_mode & 0o7777 == 0o640
    if os.geteuid() == 0:
        assert (status.st_uid, status.st_gid) == (1234, 1235)


def test_a_study_that_grew_replaces_its_archive(site: Site) -> None:
    site.rule("all", Action="ZIP")
    site.touch(send(site, *datasets.make_study(series=1)))
    site.once()
    study = send(site, *datasets.make_study(series=2))
    site.touch(study)
    site.once()
    assert site.published("all") == [ARCHIVE]
    assert contents(site.output / "all" / ARCHIVE) == stored_files(site.orthanc, study)


@pytest.mark.parametrize(("before", "after"), [("DOWNLOAD", "ZIP"), ("ZIP", "DOWNLOAD")])
def test_another_action_of_the_rule_replaces_what_the_first_one_published(site: Site, before: str, after: str) -> None:
    names = {"DOWNLOAD": NAME, "ZIP": ARCHIVE}
    site.rule("all", Action=before)
    study = send(site, *datasets.make_study())
    site.touch(study)
    site.once()
    assert site.published("all") == [names[before]]
    site.rule("all", Action=after)
    site.touch(study)
    site.once()
    assert site.published("all") == [names[after]]


def test_an_archive_that_was_changed_by_somebody_is_kept_and_reported(site: Site) -> None:
    site.rule("all", Action="ZIP")
    study = send(site, *datasets.make_study(series=1))
    site.touch(study)
    site.once()
    with (site.output / "all" / ARCHIVE).open("ab") as file:
        file.write(b"precious")
    send(site, *datasets.make_study(series=2))
    site.touch(study)
    site.once()
    outcomes = [record["outcomes"]["all"] for record in site.records("done")]
    kept = next(outcome["kept"] for outcome in outcomes if "kept" in outcome)
    assert [(site.output / path).read_bytes().endswith(b"precious") for path in kept] == [True]
    assert contents(site.output / "all" / ARCHIVE) == stored_files(site.orthanc, study)


def test_files_that_are_larger_than_a_threads_share_of_memory_are_packed_too(site: Site) -> None:
    site.rule("all", Action="ZIP")
    # With 32 threads a thread's share is 2 MiB; these have 8.
    site.variables["AUTORTHANC_DOWNLOAD_THREADS"] = "32"
    study = send(site, *datasets.make_study(series=1, instances=2, size=2048))
    site.touch(study)
    site.once()
    assert contents(site.output / "all" / ARCHIVE) == stored_files(site.orthanc, study)


def test_a_damaged_instance_publishes_no_archive(tmp_path: Path, fresh_orthanc: Callable[..., OrthancServer]) -> None:
    site = Site(tmp_path / "site", fresh_orthanc(lua=()))
    site.rule("all", Action="ZIP")
    study = send(site, *datasets.make_study())
    instance = site.orthanc.get(f"/studies/{study}/instances")[2]["ID"]
    stored = site.orthanc.stored_file(instance)
    stored.write_bytes(stored.read_bytes()[:-100])
    # Until then Orthanc would serve the old bytes from its cache.
    site.orthanc.restart()
    site.touch(study)
    site.once()
    record = site.records("deferred")[0]
    assert (record["attempts"], record["error"]["kind"], record["error"]["instance"]) == (1, "InstanceError", instance)
    assert site.published("all") == []


@pytest.mark.timeout(1800)
def test_an_archive_is_published_once_whenever_the_processor_dies(site: Site) -> None:
    site.rule("all", Action="ZIP")
    study = send(site, *datasets.make_study(series=2, instances=2))
    settings = load_settings({}, {**site.environment, "AUTORTHANC_LOG_LEVEL": "error"}, site.root)
    for step in crash.steps(TOO_MANY):
        for folder in (site.spool, site.output):
            shutil.rmtree(folder, ignore_errors=True)
        site.touch(study)
        died = crash.run_dying(step, lambda: wiring.run(settings, once=True))
        crash.run_dying(TOO_MANY * 1000, lambda: wiring.run(settings, once=True))
        context = f"died before step {step}"
        assert site.published("all") == [ARCHIVE], context
        assert contents(site.output / "all" / ARCHIVE) == stored_files(site.orthanc, study), context
        assert site.states() == {"done": 1}, context
        assert site.leftovers() == [], context
        if not died:
            break
    assert step > 35


def test_whoever_unpacks_several_archives_in_one_place_loses_nothing(site: Site, tmp_path: Path) -> None:
    site.rule("all", Action="ZIP")
    for patient in ("ONE", "TWO"):
        site.touch(send(site, *datasets.make_study(patient)))
    site.once()
    for name in site.published("all"):
        with zipfile.ZipFile(site.output / "all" / name) as found:
            found.extractall(tmp_path / "all")
    assert len(trees.read(tmp_path / "all")) == 12


def test_random_bytes_survive(tmp_path: Path) -> None:
    """The format alone, against the standard library's reader and Info-ZIP's."""
    numbers = random.Random(7)
    tree = {
        f"SE{number}-ä/{number}.dcm": numbers.randbytes(numbers.randrange(3 * number + 1)) * (number % 7)
        for number in range(200)
    }
    path = tmp_path / "x.zip"
    with path.open("w+b") as file:
        writer = archive.ArchiveWriter(file)
        for number, (name, data) in enumerate(tree.items()):
            packer = archive.Packer(compress=number % 3 > 0)
            writer.add(name, packer, packer.pack([data[:5], data[5:]]), len(data) if number % 5 else 2**32)
        writer.finish()
    assert contents(path) == tree
    subprocess.run(["unzip", "-tqq", path], check=True)
    with path.open("rb") as file:
        assert all(archive.is_whole(file.fileno(), member) for member in archive.members(file))


def test_a_flipped_bit_is_found_unless_it_means_nothing(tmp_path: Path) -> None:
    """Deflate pads stored blocks to whole bytes, with bits that nobody reads."""
    path, data = tmp_path / "x.zip", bytes(range(256)) * 4
    for compress in (True, False):
        with path.open("w+b") as file:
            writer = archive.ArchiveWriter(file)
            packer = archive.Packer(compress=compress)
            writer.add("a", packer, packer.pack([data]), len(data))
            writer.finish()
        whole = path.read_bytes()
        start = whole.index(b"a") + 1
        found = 0
        for position in range(start, start + packer.packed_bytes, 7):
            damaged = bytearray(whole)
            damaged[position] ^= 16
            path.write_bytes(damaged)
            with path.open("rb") as file:
                is_whole = archive.is_whole(file.fileno(), archive.members(file)[0])
            assert is_whole == _reads(path, data), position
            found += not is_whole
        assert found > 30


def _reads(path: Path, data: bytes) -> bool:
    try:
        with zipfile.ZipFile(path) as found:
            return found.read("a") == data
    except (zipfile.BadZipFile, zlib.error, EOFError):
        return False


@pytest.mark.parametrize("grows", [True, False])
def test_room_for_64_bits_is_made_by_the_size_that_a_file_leaves_with(
    site: Site, monkeypatch: pytest.MonkeyPatch, grows: bool
) -> None:
    """By the original's size, an anonymised file of 4 GiB could get too little room."""
    site.rule("all", Action=["ANONYMISE", "ZIP"], Zip={"Compression": "stored"})
    # Short UIDs become long ones; a comment goes.
    items = [pydicom.Dataset() for _ in range(200)]
    for number, item in enumerate(items):
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = CTImageStorage, f"1.2.{number}"
    more = {"ReferencedImageSequence": items} if grows else {"PatientComments": "x" * 9000}
    data = datasets.make_instance(**more)
    made = len(anonymised(data, project="all"))
    assert abs(made - len(data)) > 4000
    monkeypatch.setattr(archive, "_MAY_EXCEED_32", (made + len(data)) // 2)
    site.touch(send(site, data))
    settings = load_settings({}, {**site.environment, "AUTORTHANC_LOG_LEVEL": "error"}, site.root)
    # In a process of its own, as it sets up logging and signals.
    assert not crash.run_dying(TOO_MANY * 1000, lambda: wiring.run(settings, once=True))
    (name,) = site.published("all")
    needed_version = (site.output / "all" / name).read_bytes()[4]
    assert needed_version == (45 if grows else 20)
    assert len(contents(site.output / "all" / name)) == 1


def test_many_entries_far_behind_get_zip64(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with path.open("w+b") as file:
        # The file is sparse: what lies before takes no room on the disk.
        file.seek(5 * 2**30)
        writer = archive.ArchiveWriter(file)
        for number in range(70_000):
            packer = archive.Packer(compress=False)
            writer.add(f"{number}", packer, packer.pack([b"x"]), 1)
        writer.finish()
    with zipfile.ZipFile(path) as found:
        assert len(found.namelist()) == 70_000
        assert found.read("69999") == b"x"
    subprocess.run(["unzip", "-tqq", path, "0", "69999"], check=True)


def test_a_file_of_more_than_4_gigabytes_gets_zip64(tmp_path: Path) -> None:
    path, zeros, count = tmp_path / "x.zip", bytes(2**24), 257
    with path.open("w+b") as file:
        writer = archive.ArchiveWriter(file)
        packer = archive.Packer(compress=True)
        writer.add("large", packer, packer.pack(zeros for _ in range(count)), count * len(zeros))
        writer.finish()
    with path.open("rb") as file:
        (large,) = archive.members(file)
        assert large.size_bytes == count * len(zeros)
        assert archive.is_whole(file.fileno(), large)
    assert "4311744512" in subprocess.run(["unzip", "-l", path], check=True, capture_output=True, text=True).stdout
