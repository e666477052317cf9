"""`init --upgrade`: what the site didn't change is replaced, what it changed is left, nothing of its own is lost."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from deploy_tools import CHECKOUT

from autorthanc_spool.core.errors import UsageError
from autorthanc_spool.site import init, manifest, shipped, wheel
from autorthanc_spool.site.upgrade import upgrade
from tests.helpers import trees

PERSON = init.Person(uid=1234, gid=2345, password="Sentinel-1")
COMPOSE, LUA = Path("docker-compose.yml"), Path("lua/autorthanc_spool.lua")
OLD_WHEEL = Path("dist/autorthanc_spool-0.0.9-py3-none-any.whl")


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A site of an earlier version, with other texts and a wheel of another name."""
    directory = tmp_path / "site"
    init.lay_out(directory, PERSON)
    (directory / "dist" / wheel.NAME).rename(directory / OLD_WHEEL)
    noted = manifest.read(directory)
    del noted[Path("dist", wheel.NAME)]
    for path in (COMPOSE, LUA, OLD_WHEEL, Path("deploy/former.conf")):
        (directory / path).write_bytes(b"as shipped before\n")
        noted[path] = manifest.checksum(b"as shipped before\n")
    manifest.write(directory, noted)
    return directory


def own(site: Path) -> dict[str, bytes]:
    """All but the manifest."""
    return {name: data for name, data in trees.read(site).items() if name != manifest.NAME}


def new_site(tmp_path: Path) -> dict[str, bytes]:
    return own(init.lay_out(tmp_path / "new", PERSON).directory)


def test_an_untouched_site_becomes_what_this_version_lays_out(site: Path, tmp_path: Path) -> None:
    done = upgrade(site)
    assert own(site) == new_site(tmp_path)
    assert set(done.replaced) == {COMPOSE, LUA}
    assert set(done.added) == {Path("dist", wheel.NAME)}
    assert set(done.removed) == {OLD_WHEEL, Path("deploy/former.conf")}
    assert (dict(done.beside), done.left) == ({}, ())


def test_what_the_site_changed_stays_and_the_new_one_lies_beside_it(site: Path) -> None:
    (site / COMPOSE).write_text("mine")
    (site / "deploy/former.conf").write_text("mine too")
    done = upgrade(site)
    assert (site / COMPOSE).read_text() == "mine"
    assert (site / "docker-compose.yml.new").read_bytes() == (CHECKOUT / COMPOSE).read_bytes()
    assert (site / "deploy/former.conf").read_text() == "mine too"
    assert set(done.beside) == {Path("docker-compose.yml.new")}
    assert done.left == (Path("deploy/former.conf"),)
    said = done.next_steps()
    assert "diff docker-compose.yml docker-compose.yml.new" in said
    assert "deploy/former.conf" in said


def test_the_sites_own_files_are_not_touched(site: Path) -> None:
    mine = {".env": "X=1", "automation_scripts/mine.json": "{}", "spool/done/x.json": "{}", "autorthanc.txt": "note"}
    for name, text in mine.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(text)
    upgrade(site)
    assert {name: (site / name).read_text() for name in mine} == mine


def test_the_second_time_changes_nothing(site: Path) -> None:
    (site / COMPOSE).write_text("mine")
    upgrade(site)
    before = trees.read(site)
    again = upgrade(site)
    assert trees.read(site) == before
    assert (again.added, again.replaced, again.removed) == ({}, {}, ())


def test_what_lay_beside_goes_when_it_was_taken_over(site: Path, tmp_path: Path) -> None:
    (site / COMPOSE).write_text("mine")
    upgrade(site)
    (site / COMPOSE).write_bytes((site / "docker-compose.yml.new").read_bytes())
    upgrade(site)
    assert own(site) == new_site(tmp_path)


def test_a_file_that_somebody_made_in_that_place_is_not_overwritten(site: Path) -> None:
    (site / COMPOSE).write_text("mine")
    (site / "docker-compose.yml.new").write_text("half merged")
    before = trees.read(site)
    with pytest.raises(UsageError, match=r"docker-compose\.yml\.new is there"):
        upgrade(site)
    assert trees.read(site) == before


def test_a_link_in_place_of_a_shipped_file_is_the_sites_and_its_target_stays(site: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere.yml").write_bytes(b"as shipped before\n")
    (site / COMPOSE).unlink()
    (site / COMPOSE).symlink_to(tmp_path / "elsewhere.yml")
    upgrade(site)
    assert (site / COMPOSE).is_symlink()
    assert (tmp_path / "elsewhere.yml").read_bytes() == b"as shipped before\n"
    assert (site / "docker-compose.yml.new").is_file()


def test_owner_and_permissions_of_a_replaced_file_stay_and_new_ones_are_the_sites(site: Path) -> None:
    for path in (site, site / "dist", site / COMPOSE):
        os.chown(path, 1234, 2345)
    (site / COMPOSE).chmod(0o640)
    upgrade(site)
    status = (site / COMPOSE).stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (1234, 2345, 0o640)
    assert (site / "dist" / wheel.NAME).stat().st_uid == 1234


def test_an_upgrade_that_was_cut_short_is_finished_by_the_next_one(site: Path, tmp_path: Path) -> None:
    noted = (site / manifest.NAME).read_bytes()
    upgrade(site)
    (site / manifest.NAME).write_bytes(noted)
    upgrade(site)
    assert own(site) == new_site(tmp_path)


@pytest.fixture
def old_site(tmp_path: Path) -> Path:
    """A site of before the manifest, with the copy of the package that was laid out then."""
    directory = tmp_path / "old"
    init.lay_out(directory, PERSON)
    (directory / manifest.NAME).unlink()
    (directory / "dist" / wheel.NAME).unlink()
    (directory / "dist").rmdir()
    for path in shipped.PACKAGE.rglob("*.py"):
        target = directory / "autorthanc_spool" / path.relative_to(shipped.PACKAGE)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    compiled = directory / "autorthanc_spool/__pycache__/__init__.cpython-311.pyc"
    compiled.parent.mkdir()
    compiled.touch()
    (directory / "pyproject.toml").write_text("[project]")
    return directory


def test_the_copy_of_the_package_in_an_old_site_goes_where_it_is_this_versions(old_site: Path) -> None:
    done = upgrade(old_site)
    assert not (old_site / "autorthanc_spool").exists()
    assert (old_site / "dist" / wheel.NAME).is_file()
    assert done.left == (Path("pyproject.toml"),)


def test_what_of_that_copy_may_be_changed_is_named_to_be_removed(old_site: Path) -> None:
    (old_site / "autorthanc_spool/core/dicom.py").write_text("# of another version")
    done = upgrade(old_site)
    assert [path for path in (old_site / "autorthanc_spool").rglob("*") if path.is_file()] == [
        old_site / "autorthanc_spool/core/dicom.py"
    ]
    assert "  autorthanc_spool\n" in done.next_steps()


def test_an_old_site_without_a_manifest_loses_nothing(old_site: Path) -> None:
    (old_site / COMPOSE).write_text("of an earlier version, or mine: nobody knows")
    done = upgrade(old_site)
    assert (old_site / COMPOSE).read_text() == "of an earlier version, or mine: nobody knows"
    assert set(done.beside) == {Path("docker-compose.yml.new")}


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", ""])
def test_a_manifest_cant_have_files_removed_outside_of_the_site(site: Path, name: str) -> None:
    (site.parent / "outside").write_text("kept")
    content = json.loads((site / manifest.NAME).read_text())
    content["files"][name] = manifest.checksum(b"kept")
    (site / manifest.NAME).write_text(json.dumps(content))
    with pytest.raises(UsageError, match="can't be understood"):
        upgrade(site)
    assert (site.parent / "outside").read_text() == "kept"


def test_a_folder_without_a_site_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no site"):
        upgrade(tmp_path / "nowhere")
    assert [*tmp_path.iterdir()] == []


def test_a_checkout_is_not_a_site_to_be_upgraded() -> None:
    with pytest.raises(UsageError, match="checkout"):
        upgrade(CHECKOUT)


def test_the_command_lists_what_it_did_to_each_file(site: Path) -> None:
    (site / LUA).write_text("-- mine")
    command = [sys.executable, "-P", "-m", "autorthanc_spool", "init", "--upgrade", str(site)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        f"added    dist/{wheel.NAME}",
        "replaced docker-compose.yml",
        "beside   lua/autorthanc_spool.lua.new",
        "removed  deploy/former.conf",
        f"removed  {OLD_WHEEL}",
    ]
    assert "docker compose up --detach --build" in done.stderr
