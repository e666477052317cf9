"""A spool on a disk that is read-only or full: every command says so in one sentence, without a path or a number."""

import os
import subprocess
from collections.abc import Iterator

import pytest

from tests.helpers import datasets
from tests.helpers.disks import fill_up, small_disk
from tests.helpers.site import Site, send

READ_ONLY = "the spool can't be used: it is mounted read-only; mount it writable"
FULL = "the spool can't be used: the disk is full; free some space"
WRITING = (["pause", "for lunch"], ["prune"], ["reconcile"], ["announce"], ["flush"], ["replay", "all"])


@pytest.fixture
def on_small_disk(site: Site) -> Iterator[Site]:
    """A site whose spool has a disk of its own, with a published study, another one in Orthanc, and a marker."""
    with small_disk(site.spool, "3m"):
        site.rule("all")
        study = send(site, datasets.make_instance())
        site.touch(study)
        site.once()
        site.touch(send(site, datasets.make_instance("PAT2")))
        yield site


def remount(site: Site, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", site.spool], check=True)


@pytest.mark.parametrize("state", ["read-only", "full"])
def test_every_command_that_writes_says_what_is_wrong_with_the_spool(on_small_disk: Site, state: str) -> None:
    site, (marker,) = on_small_disk, on_small_disk.markers("incoming")
    commands = [*WRITING, ["enqueue", "study", marker.stem.removeprefix("study-")], ["requeue", "--state", "done"]]
    commands += [["hold", marker.stem], ["delete", marker.stem]]
    if state == "full":
        fill_up(site.spool / "ballast")
    else:
        commands += [["resume"]]
        site.run("pause")
        remount(site, "ro")
    said = {" ".join(command): site.run(*command, expect=None) for command in commands}
    # What only renames, or finds nothing to do, works on a full disk, too.
    wrong = {name: done for name, done in said.items() if done.returncode}
    wanted = f"autorthanc-spool: {READ_ONLY if state == 'read-only' else FULL}"
    assert {name: done.stderr.strip() for name, done in wrong.items() if wanted not in done.stderr} == {}
    assert {done.returncode for done in wrong.values()} == {1}
    assert {"pause for lunch", f"delete {marker.stem}"} <= wrong.keys()


def test_check_says_of_a_read_only_mount_what_it_is(on_small_disk: Site) -> None:
    remount(on_small_disk, "ro")
    assert os.geteuid() == 0
    done = on_small_disk.run("check", expect=2)
    assert (
        f"AUTORTHANC_SPOOL_PATH is {on_small_disk.spool}, which is mounted read-only; mount it writable" in done.stderr
    )
    assert "chown" not in done.stderr
