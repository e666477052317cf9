"""A spool that is read-only for a while, whose directories vanish, or that thousands of markers arrive in at once."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.helpers import datasets
from tests.helpers.site import Site, stored_files
from tests.helpers.waiting import wait_until

NAME = "PAT1-FamilyPAT1-1"

Mount = Callable[..., None]


@pytest.fixture
def mount() -> Iterator[Mount]:
    """Mounts a file system, and unmounts at the end what was."""
    mounted: list[Path] = []

    def do(place: Path, *options: str) -> None:
        assert os.geteuid() == 0, "these tests mount small disks: run them as root"
        place.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", *options, str(place)], check=True)
        mounted.append(place)

    yield do
    for place in reversed(mounted):
        subprocess.run(["umount", "-l", str(place)], check=False, stderr=subprocess.DEVNULL)


def small_disk(mount: Mount, place: Path, size: str) -> None:
    mount(place, "-t", "tmpfs", "-o", f"size={size},mode=2770", "tmpfs")


def remount(place: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(place)], check=True)


def send_and_touch(site: Site, **keywords: int) -> str:
    study = site.orthanc.upload_all(datasets.make_study(**keywords))
    site.orthanc.wait_stable(f"/studies/{study}")
    site.touch(study)
    return study


def test_a_spool_that_is_read_only_for_a_while_keeps_its_markers(site: Site, mount: Mount) -> None:
    small_disk(mount, site.spool, "5m")
    site.rule("all")
    site.once()
    study = send_and_touch(site)
    remount(site.spool, "ro")
    with site.processor():
        wait_until(lambda: "read-only" in site.log_end().lower(), 30, f"it says so: {site.log_end()}")
        assert site.states() == {"incoming": 1}
        remount(site.spool, "rw")
        site.wait_states(done=1)
    assert site.tree("all", NAME) == stored_files(site.orthanc, study)


@pytest.mark.parametrize("folder", ["incoming", "tmp", "locks", "processing"])
def test_a_directory_of_the_spool_that_is_removed_is_made_again(site: Site, folder: str) -> None:
    site.rule("all")
    with site.processor():
        wait_until(lambda: (site.spool / "state" / "contact.json").exists(), 30, "it is at work")
        shutil.rmtree(site.spool / folder)
        wait_until(lambda: (site.spool / folder).is_dir(), 30, f"{folder} is made again")
        send_and_touch(site)
        site.wait_published("all")


def test_two_thousand_markers_at_once_are_all_worked_through(site: Site) -> None:
    site.rule("all")
    study = send_and_touch(site)
    site.once()
    for number in range(2000):
        name = f"20261123T212459Z-series-{number:08x}-7fce45ca-4f722f72-de2a24df-92abc740.json"
        (site.spool / "incoming" / name).write_text('{"source": "lua"}')
    with site.processor():
        # Of series that no rule asks for, nothing is left.
        site.wait_states(done=1, timeout_s=120)
    assert site.tree("all", NAME) == stored_files(site.orthanc, study)
    assert site.leftovers() == []
