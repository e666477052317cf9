"""Orthanc's storage on this machine: what lies there as it came is copied; anything else comes by HTTP."""

import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from autorthanc_spool.core.dicom import Instance
from autorthanc_spool.core.errors import InstanceError
from autorthanc_spool.core.pulse import no_pulse
from autorthanc_spool.orthanc.answers import Attachment
from autorthanc_spool.orthanc.client import Orthanc
from autorthanc_spool.orthanc.storage import Storage, StoredFile, open_stored
from tests.helpers import datasets
from tests.helpers.orthanc_server import OrthancServer
from tests.helpers.proxy import Proxy
from tests.helpers.site import Site, stored_files

Start = Callable[..., OrthancServer]
Once = Callable[[Site], None]
NAME = "PAT1-FamilyPAT1-1"
VARIABLE = "AUTORTHANC_ORTHANC_STORAGE_PATH"
NOBODY = 65534


@pytest.fixture
def near_site(far_site: Site) -> Site:
    """A site that sees Orthanc's storage, and whose requests are counted."""
    far_site.variables[VARIABLE] = str(far_site.orthanc.storage)
    far_site.rule("all")
    return far_site


def send(site: Site, **keywords: Any) -> str:
    study = site.orthanc.upload_all(datasets.make_study(**{"series": 2, "instances": 3} | keywords))
    site.orthanc.wait_stable(f"/studies/{study}")
    return study


def by_http(proxy: Proxy) -> int:
    """How many stored files were asked for."""
    return len([line for line in proxy.requests if "/attachments/dicom/data" in line])


def one_stored(site: Site) -> Path:
    return site.orthanc.stored_file(site.orthanc.get("/instances")[0])


def test_files_are_copied_whole_and_none_comes_by_http(near_site: Site, proxy: Proxy, once: Once) -> None:
    study = send(near_site)
    near_site.touch(study)
    once(near_site)
    expected = stored_files(near_site.orthanc, study)
    assert near_site.tree("all", NAME) == expected
    assert by_http(proxy) == 0
    sums = near_site.records("done")[0]["outcomes"]["all"]["md5sums"]
    assert sorted(sums) == sorted(f"{hashlib.md5(data).hexdigest()}  {path}" for path, data in expected.items())
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (near_site.output / "all" / NAME).glob("*/*.dcm")}
    assert modes == {0o640}


def test_no_more_is_asked_than_once_for_each_file(near_site: Site, proxy: Proxy, once: Once) -> None:
    near_site.touch(send(near_site))
    once(near_site)
    assert len([line for line in proxy.requests if "/instances/" in line]) == 6


@pytest.mark.parametrize("action", ["ZIP", "ANONYMISE"])
def test_what_is_packed_or_anonymised_is_read_there_too(near_site: Site, proxy: Proxy, once: Once, action: str) -> None:
    near_site.rule("all", Action=action)
    near_site.touch(send(near_site))
    once(near_site)
    assert near_site.states() == {"done": 1}
    assert near_site.records("done")[0]["outcomes"]["all"]["instances"] == 6
    assert by_http(proxy) == 0


DAMAGES = ("flipped", "cut", "longer", "missing", "a link", "a folder")


# A size doesn't show that a bit was flipped.
@pytest.mark.parametrize(
    ("damage", "verify"), [*((one, "md5") for one in DAMAGES), *((one, "size") for one in DAMAGES if one != "flipped")]
)
def test_what_does_not_lie_there_as_it_came_is_asked_of_orthanc(
    near_site: Site, proxy: Proxy, once: Once, tmp_path: Path, damage: str, verify: str
) -> None:
    """Orthanc has what it stored lately in memory, so that by HTTP the file is whole."""
    near_site.variables["AUTORTHANC_VERIFY"] = verify
    study = send(near_site)
    path = one_stored(near_site)
    data = path.read_bytes()
    expected = stored_files(near_site.orthanc, study)
    copy = tmp_path / "copy"
    copy.write_bytes(data)
    path.unlink()
    match damage:
        case "flipped":
            path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        case "cut":
            path.write_bytes(data[:-1])
        case "longer":
            path.write_bytes(data + b"\0\0")
        case "a link":
            path.symlink_to(copy)
        case "a folder":
            path.mkdir()
    near_site.touch(study)
    once(near_site)
    assert near_site.tree("all", NAME) == expected
    assert by_http(proxy) == 1


def test_a_file_that_is_damaged_in_orthanc_itself_is_named_and_nothing_is_published(
    tmp_path: Path, fresh_orthanc: Start, once: Once
) -> None:
    server = fresh_orthanc(lua=())
    site = Site(tmp_path / "site", server, {VARIABLE: str(server.storage)})
    site.rule("all")
    study = send(site)
    path = one_stored(site)
    path.write_bytes(path.read_bytes()[:-2])
    server.restart(kill=True)
    site.touch(study)
    once(site)
    error = site.records("deferred")[0]["error"]
    assert (error["kind"], "was cut" in error["text"]) == ("InstanceError", True)
    assert site.published("all") == []


def test_a_folder_on_the_way_that_is_a_link_is_not_followed(near_site: Site, proxy: Proxy, once: Once) -> None:
    study = send(near_site, series=1, instances=1)
    folder = one_stored(near_site).parent
    folder.rename(folder.with_name("real"))
    folder.symlink_to("real")
    near_site.touch(study)
    once(near_site)
    assert near_site.states() == {"done": 1}
    assert by_http(proxy) == 1
    folder.unlink()
    folder.with_name("real").rename(folder)


@pytest.mark.parametrize(
    "uuid", ["", "../../etc/passwd", "aa/bb", "0" * 36, "AB" + "0" * 6 + "-0000-0000-0000-" + "0" * 12]
)
def test_what_is_not_a_uuid_never_becomes_a_path(tmp_path: Path, uuid: str) -> None:
    (tmp_path / uuid[:2] / uuid[2:4]).mkdir(parents=True, exist_ok=True)
    with pytest.raises(OSError, match="Invalid argument"):
        open_stored(tmp_path, uuid)


def test_compressed_files_come_by_http_unpacked(tmp_path: Path, fresh_orthanc: Start, once: Once) -> None:
    server = fresh_orthanc(lua=(), config={"StorageCompression": True})
    with Proxy(server.http_port) as proxy:
        site = Site(tmp_path / "site", server, {"ORTHANC_URL": proxy.url, VARIABLE: str(server.storage)})
        site.rule("all")
        study = send(site)
        site.touch(study)
        once(site)
        assert site.tree("all", NAME) == stored_files(server, study)
        assert by_http(proxy) == 6
        assert "StorageCompression" in site.run("check").stdout


def test_where_orthanc_keeps_no_md5_files_come_by_http(tmp_path: Path, fresh_orthanc: Start, once: Once) -> None:
    server = fresh_orthanc(lua=(), config={"StoreMD5ForAttachments": False})
    with Proxy(server.http_port) as proxy:
        site = Site(tmp_path / "site", server, {"ORTHANC_URL": proxy.url, VARIABLE: str(server.storage)})
        site.rule("all")
        study = send(site)
        site.touch(study)
        once(site)
        assert site.tree("all", NAME) == stored_files(server, study)
        assert by_http(proxy) == 6


def test_the_folder_of_another_orthanc_is_known_as_such_and_does_no_harm(
    near_site: Site, proxy: Proxy, once: Once, fresh_orthanc: Start
) -> None:
    other = fresh_orthanc(lua=())
    other.upload_all(datasets.make_study("OTHER"))
    near_site.variables[VARIABLE] = str(other.storage)
    study = send(near_site)
    near_site.touch(study)
    once(near_site)
    assert near_site.tree("all", NAME) == stored_files(near_site.orthanc, study)
    assert by_http(proxy) == 6
    assert "doesn't hold the files of this Orthanc" in near_site.run("check").stdout
    (finding,) = [line for line in near_site.run("doctor", expect=None).stdout.splitlines() if " storage: " in line]
    assert finding.startswith("warning")
    assert "StorageDirectory" in finding


def test_a_folder_that_is_not_there_is_said_once(near_site: Site) -> None:
    near_site.variables[VARIABLE] = "/nowhere"
    near_site.touch(send(near_site))
    done = near_site.once()
    assert done.stderr.count("such files come by HTTP") == 1
    assert near_site.states() == {"done": 1}


def test_the_right_folder_is_all_right(near_site: Site) -> None:
    send(near_site)
    assert "STORAGE_PATH" not in near_site.run("check").stdout
    findings = near_site.run("doctor", expect=None).stdout.splitlines()
    assert [line for line in findings if " storage: " in line and line.startswith("ok")]


def test_files_that_this_user_may_not_read_come_by_http(near_site: Site, proxy: Proxy) -> None:
    assert os.geteuid() == 0, "only root can be somebody else; run the tests as root"
    study = send(near_site)
    for path in near_site.orthanc.storage.rglob("*-*-*-*-*"):
        path.chmod(0)
    near_site.touch(study)
    before = os.geteuid()
    client = Orthanc(near_site.orthanc.url, "", None)
    instance = client.instance(near_site.orthanc.get("/instances")[0])
    assert instance
    folder = near_site.orthanc.storage
    storage = Storage(client, folder, verify_md5=True)
    assert storage.open(instance)
    descriptor = os.open(folder, os.O_PATH)
    try:
        os.seteuid(NOBODY)
        assert Storage(client, Path(f"/proc/self/fd/{descriptor}"), verify_md5=True).open(instance) is None
    finally:
        os.seteuid(before)
        os.close(descriptor)


def test_a_copy_goes_to_another_file_system_too(tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    (tmp_path / "stored").write_bytes(data)
    for target in (tmp_path / "copy", Path("/dev/shm") / f"autorthanc-test-{os.getpid()}"):
        with target.open("wb") as stream:
            stored(tmp_path / "stored", data).copy_to(stream.fileno())
        assert target.read_bytes() == data
        target.unlink()


def test_a_file_that_is_changed_while_it_is_read_is_refused(tmp_path: Path) -> None:
    data = bytes(1000)
    path = tmp_path / "stored"
    path.write_bytes(data)
    file = stored(path, data)
    assert file.is_whole(with_md5=True)
    path.write_bytes(data[:-1])
    with pytest.raises(InstanceError, match="changed while it was read"):
        b"".join(file)


def stored(path: Path, data: bytes) -> StoredFile:
    attachment = Attachment("", len(data), hashlib.md5(data).hexdigest(), is_plain=True)
    instance = Instance("id", "series", "1.2", "1", len(data), "")
    return StoredFile(instance, attachment, os.open(path, os.O_RDONLY), no_pulse())
