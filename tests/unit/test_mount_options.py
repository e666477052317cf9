"""What a mount lacks that several hosts share, by its line in mountinfo."""

from pathlib import Path

import pytest

from autorthanc_spool.disk.filesystems import FileSystem, find
from autorthanc_spool.doctor import mount_options

LINES = (
    "21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro",
    "40 21 0:45 / /srv/site rw,relatime shared:9 - nfs server:/site rw,vers=3,nolock,local_lock=all",
    "41 40 0:46 / /srv/site/my\\040spool rw,relatime shared:9 - lustre mgs@tcp:/fs rw,localflock",
    "a line that says nothing",
)


def test_the_mount_of_a_folder_is_the_one_of_the_longest_path() -> None:
    assert find(Path("/srv/other"), LINES).name == "ext4"
    assert find(Path("/srv/site/spool"), LINES).name == "nfs"
    assert find(Path("/srv/site/my spool/tmp"), LINES) == FileSystem(
        "lustre", frozenset({"rw", "relatime", "localflock"})
    )


def test_of_two_mounts_on_one_path_the_last_one_counts() -> None:
    over = "42 40 0:47 / /srv/site rw,relatime - nfs4 server:/site rw,vers=4.2,local_lock=none"
    assert find(Path("/srv/site"), [*LINES, over]).name == "nfs4"


@pytest.mark.parametrize(
    ("kind", "options", "fix"),
    [
        ("nfs", "rw,vers=3,nolock", "without nolock"),
        ("nfs", "rw,local_lock=all", "local_lock=none"),
        ("nfs4", "rw,local_lock=flock", "local_lock=none"),
        ("cifs", "rw,nobrl,serverino", "without nobrl"),
        ("lustre", "rw,localflock", "-o flock"),
        ("lustre", "rw", "-o flock"),
        ("gfs2", "rw,localflocks", "without localflocks"),
    ],
)
def test_the_option_that_keeps_locks_on_one_host_is_named(kind: str, options: str, fix: str) -> None:
    assert fix in mount_options.faulty(FileSystem(kind, frozenset(options.split(","))))


@pytest.mark.parametrize(
    ("kind", "options"),
    [("nfs4", "rw,vers=4.2,local_lock=none"), ("lustre", "rw,flock"), ("fuse.glusterfs", "rw"), ("ceph", "rw")],
)
def test_a_mount_that_shares_locks_has_no_fault(kind: str, options: str) -> None:
    assert mount_options.faulty(FileSystem(kind, frozenset(options.split(",")))) == ""


def test_every_kind_of_file_system_gets_advice_for_locks() -> None:
    assert "tuneUseGlobalFileLocks" in mount_options.for_locks(FileSystem("beegfs", frozenset()))
    assert "a disk of one machine" in mount_options.for_locks(FileSystem("ext4", frozenset()))
    assert "afs" in mount_options.for_locks(FileSystem("afs", frozenset()))
