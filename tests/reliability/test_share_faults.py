"""A share that rules deliver to: away, full, another one than before, gone in mid-copy; and a process that dies."""

import json
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import crash, datasets, trees
from tests.helpers.disks import Share, ext4, share
from tests.helpers.dying import TOO_MANY, work
from tests.helpers.proxy import Fault, Proxy
from tests.helpers.site import Site, send, stored_files, warnings_of_troubles
from tests.helpers.waiting import wait_until

Once = Callable[[Site], None]
NAME = "PAT1-FamilyPAT1-1"


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Share]:
    with share(tmp_path / "mnt" / "share") as made:
        (made.place / "trial7").mkdir()
        yield made


def delivering(site: Site, share: Share) -> str:
    """Let rules deliver to the share; give the folder that they name."""
    site.variables["AUTORTHANC_DELIVER_ROOTS"] = str(share.place)
    return str(share.place / "trial7")


def a_study(site: Site, patient: str = "PAT1", **keywords: Any) -> str:
    return send(site, *datasets.make_study(patient, **{"series": 1, "instances": 3, **keywords}))


def at(root: Path | str) -> list[str]:
    """What lies in the rules' folders of a root."""
    return sorted(str(path.relative_to(root)) for path in Path(root).glob("*/*"))


def record_of(site: Site, study: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((site.spool / "ledger" / study[:2] / f"study-{study}.json").read_text())
    return found


def make_due(site: Site) -> None:
    for path in site.markers("deferred"):
        os.utime(path)


def test_a_share_that_is_away_is_waited_for_and_its_mount_point_stays_empty(site: Site, mounted: Share) -> None:
    root = delivering(site, mounted)
    site.rule("far", Deliver=root)
    first, study = a_study(site, "FIRST"), a_study(site)
    with site.processor():
        site.touch(first)
        site.wait_states(done=1)
        mounted.take_away()
        wait_until(lambda: " WARNING the " in site.log_end(), 30, "it is noticed")
        assert "isn't the one that was used before" in site.log_end()
        site.touch(study)
        site.wait_states(done=1, deferred=1)
        # It is moved there first, and then its record is written.
        wait_until(lambda: site.records("deferred")[0].get("outcomes"), 30, "its record is written")
        (waits,) = site.records("deferred")
        assert (waits["outcomes"]["far"]["error"]["kind"], waits["attempts"]) == ("FolderMissing", 0)
        assert os.listdir(mounted.place) == []
        mounted.mount()
        site.wait_states(done=2)
    assert trees.read(Path(root) / "far" / NAME) == stored_files(site.orthanc, study)
    log = site.log.read_text()
    assert log.count(f"the output {root}: all right again") == 1, log
    assert len(warnings_of_troubles(log)) == 1, log


def test_another_share_or_an_emptied_one_than_before_is_not_written_to(
    site: Site, mounted: Share, tmp_path: Path, once: Once
) -> None:
    root = delivering(site, mounted)
    site.rule("far", Deliver=root)
    site.touch(a_study(site, "FIRST"))
    once(site)
    study = a_study(site)
    site.touch(study)
    with share(tmp_path / "other") as other:
        (other.backing / "trial7").mkdir()
        mounted.take_away()
        Share(mounted.place, other.backing).mount()
        once(site)
        assert site.records("deferred")[0]["outcomes"]["far"]["error"]["kind"] == "FolderMissing"
        assert os.listdir(root) == []
        mounted.take_away()
    mounted.mount()
    make_due(site)
    once(site)
    assert trees.read(Path(root) / "far" / NAME) == stored_files(site.orthanc, study)


def test_a_share_that_goes_away_in_mid_copy_gets_it_when_it_is_back_and_other_rules_go_on(
    far_site: Site, proxy: Proxy, mounted: Share, once: Once
) -> None:
    site = far_site
    root = delivering(site, mounted)
    # The rule of the share comes first.
    site.rule("a-far", Deliver=root)
    site.rule("near")
    study = a_study(site)
    site.touch(study)
    proxy.add(Fault("/attachments/", times=1, action=mounted.take_away))
    once(site)
    (waits,) = site.records("deferred")
    outcomes = {rule: one["outcome"] for rule, one in waits["outcomes"].items()}
    assert (outcomes, waits["attempts"]) == ({"a-far": "deferred", "near": "published"}, 0)
    assert site.tree("near", NAME) == stored_files(site.orthanc, study)
    assert os.listdir(mounted.place) == []
    assert at(mounted.backing / "trial7") == []
    mounted.mount()
    make_due(site)
    once(site)
    assert site.states() == {"done": 1}
    assert trees.read(Path(root) / "a-far" / NAME) == stored_files(site.orthanc, study)
    assert at(root) == [f"a-far/{NAME}"]
    assert not record_of(site, study).keys() & {"left", "working", "intent"}


@pytest.mark.parametrize("by", ["prune", "the next run of the study"])
def test_what_was_begun_on_a_share_that_went_away_is_removed_when_it_is_back(
    site: Site, mounted: Share, once: Once, by: str
) -> None:
    """The processor died in mid-copy, and the rule delivers to another place since."""
    root = delivering(site, mounted)
    site.rule("far", Deliver=root)
    site.rule("near")
    study = a_study(site)
    for step in range(15, TOO_MANY):
        shutil.rmtree(site.spool, ignore_errors=True)
        shutil.rmtree(site.output, ignore_errors=True)
        for path in Path(root).iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        site.touch(study)
        crash.run_dying(step, work(site))
        if [*Path(root).glob("far/*.WORKING/*/*.dcm")]:
            break
    mounted.take_away()
    site.rule("far")
    make_due(site)
    once(site)
    assert site.states() == {"done": 1}
    assert (site.published("far"), site.published("near")) == ([NAME], [NAME])
    assert [one["root"] for one in record_of(site, study)["left"]] == [root]
    mounted.mount()
    assert at(root) == [f"far/{NAME}.WORKING"]
    if by == "prune":
        assert f"{root}/far: 1 .WORKING of dead runs" in site.run("prune").stdout
    else:
        site.touch(study)
        once(site)
    assert at(root) == []
    assert "left" not in record_of(site, study)


# Of an archive, the folder that it was made in is left to be removed once it is entered.
@pytest.mark.parametrize(
    ("action", "name", "states"),
    [
        ("DOWNLOAD", NAME, {(False, False), (True, False)}),
        ("ZIP", f"{NAME}.zip", {(False, False), (True, False), (True, True)}),
    ],
)
def test_a_share_that_goes_away_between_the_intent_and_the_rename_is_decided_when_it_is_back(
    site: Site, mounted: Share, once: Once, action: str, name: str, states: set[tuple[bool, bool]]
) -> None:
    root = delivering(site, mounted)
    site.rule("far", Deliver=root, Action=action)
    study = a_study(site)
    published, seen = Path(root) / "far" / name, set()
    for step in crash.steps(TOO_MANY, first=35):
        shutil.rmtree(site.spool, ignore_errors=True)
        for path in Path(root).iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        site.touch(study)
        died = crash.run_dying(step, work(site))
        if not died:
            break
        path = site.spool / "ledger" / study[:2] / f"study-{study}.json"
        content = json.loads(path.read_text()) if path.exists() else {}
        if "intent" not in content:
            continue
        was_renamed, is_entered = published.exists(), "entries" in content
        seen.add((was_renamed, is_entered))
        mounted.take_away()
        make_due(site)
        once(site)
        # Once it is entered, only what is left has to be cleared away, which can wait.
        assert site.states() == ({"done": 1} if is_entered else {"deferred": 1}), step
        mounted.mount()
        inode = published.stat().st_ino if was_renamed else 0
        make_due(site)
        once(site)
        assert site.states() == {"done": 1}
        assert contents(published) == stored_files(site.orthanc, study)
        assert inode in (0, published.stat().st_ino)
        if is_entered:
            # What was left is removed by the next run of the study.
            site.touch(study)
            once(site)
        assert at(root) == [f"far/{name}"]
    assert seen == states


def contents(published: Path) -> dict[str, bytes]:
    """The files of a folder or an archive, by their paths."""
    if published.is_dir():
        return trees.read(published)
    with zipfile.ZipFile(published) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}


def test_a_share_that_is_full_is_waited_for_while_the_output_goes_on(site: Site, tmp_path: Path) -> None:
    with share(tmp_path / "mnt" / "share", "1m") as small:
        root = delivering(site, small)
        Path(root).mkdir()
        site.rule("far", Deliver=root)
        site.rule("near")
        study = a_study(site, size=700)
        with site.processor():
            site.touch(study)
            site.wait_states(deferred=1)
            site.wait_published("near")
            assert at(root) == []
            small.resize("size=20m")
            site.wait_states(done=1)
        assert trees.read(Path(root) / "far" / NAME) == stored_files(site.orthanc, study)
        assert site.records("done")[0]["attempts"] == 0


def test_a_share_that_fills_up_in_mid_copy_keeps_nothing_half(site: Site, mounted: Share, once: Once) -> None:
    """More files than it has room for names: that shows in writing only."""
    root = delivering(site, mounted)
    site.rule("far", Deliver=root)
    study = a_study(site)
    mounted.resize("nr_inodes=7")
    site.touch(study)
    once(site)
    record = site.records("deferred")[0]
    assert (record["error"]["kind"], record["attempts"]) == ("OutputUnavailable", 0)
    assert at(root) == []
    mounted.resize("nr_inodes=1000")
    make_due(site)
    once(site)
    assert trees.read(Path(root) / "far" / NAME) == stored_files(site.orthanc, study)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("grows", [False, True], ids=["new", "again"])
def test_a_study_is_delivered_once_whenever_the_processor_dies(site: Site, tmp_path: Path, grows: bool) -> None:
    """On a file system that is made for disks, and is another one than the spool's."""
    study = a_study(site, instances=2)
    (tmp_path / "mnt").mkdir()
    with ext4(tmp_path / "mnt" / "share") as place:
        root = place / "trial7"
        site.variables["AUTORTHANC_DELIVER_ROOTS"] = str(place)
        site.rule("far", Deliver=str(root))
        for step in crash.steps(TOO_MANY):
            for folder in (site.spool, root):
                shutil.rmtree(folder, ignore_errors=True)
            root.mkdir()
            if grows:
                # Another study of the same content was published before under this name.
                site.touch(study)
                work_to_the_end(site)
                _ask_again(site, study)
            site.touch(study)
            died = crash.run_dying(step, work(site))
            work_to_the_end(site)
            assert at(root) == [f"far/{NAME}"], step
            assert trees.read(root / "far" / NAME) == stored_files(site.orthanc, study), step
            assert site.states() == {"done": 1}, step
            assert site.leftovers() == [], step
            assert [*site.output.iterdir()] == [], step
            if not died:
                break
        else:
            raise AssertionError("it never comes to an end")
        assert step > 40


def work_to_the_end(site: Site) -> None:
    crash.run_dying(TOO_MANY * 1000, work(site))


def _ask_again(site: Site, study: str) -> None:
    """Have the ledger think that the content was another one; and forget the records."""
    path = site.spool / "ledger" / study[:2] / f"study-{study}.json"
    content = json.loads(path.read_text())
    content["entries"]["far"]["content"] = "another"
    path.write_text(json.dumps(content))
    shutil.rmtree(site.spool / "done")
