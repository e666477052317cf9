"""The Lua script inside a real Orthanc."""

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.helpers import datasets, dicom_net
from tests.helpers.orthanc_server import LUA_SCRIPT, OrthancServer
from tests.helpers.waiting import wait_until

Start = Callable[..., OrthancServer]


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    for name in ("tmp", "incoming"):
        (tmp_path / "spool" / name).mkdir(parents=True)
    return tmp_path / "spool"


def incoming(spool: Path) -> list[Path]:
    return sorted((spool / "incoming").iterdir())


def test_a_stable_study_and_its_series_give_a_marker_each(fresh_orthanc: Start, spool: Path) -> None:
    orthanc = fresh_orthanc(spool=spool)
    dicom_net.store(orthanc.dicom_port, datasets.make_study(series=2))
    wait_until(lambda: len(incoming(spool)) == 3, 20, "three markers come")
    study = orthanc.get("/studies")[0]
    found = {path.name: json.loads(path.read_text()) for path in incoming(spool)}
    names = [name for name in found if f"-study-{study}.json" in name]
    assert len(names) == 1
    assert re.fullmatch(r"\d{8}T\d{6}Z-study-[0-9a-f-]{44}\.json", names[0])
    content = found[names[0]]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", content.pop("time"))
    assert content == {"format": 1, "event": "StableStudy", "level": "Study", "id": study, "source": "lua"}
    series = {found[name]["id"] for name in found if "-series-" in name}
    assert series == set(orthanc.get("/series"))
    assert os.listdir(spool / "tmp") == []


def test_nothing_of_the_patient_is_in_a_marker(fresh_orthanc: Start, spool: Path) -> None:
    orthanc = fresh_orthanc(spool=spool)
    orthanc.upload(
        datasets.make_instance(patient="CANARYID", PatientName="CANARYNAME^X", StudyDescription="CANARYTEXT")
    )
    wait_until(lambda: len(incoming(spool)) == 2, 20, "two markers come")
    for path in incoming(spool):
        assert "CANARY" not in path.name + path.read_text()


def test_a_missing_spool_is_said_in_the_log_and_orthanc_lives(fresh_orthanc: Start, tmp_path: Path) -> None:
    orthanc = fresh_orthanc(spool=tmp_path / "nowhere")
    orthanc.upload(datasets.make_instance())
    wait_until(lambda: "no marker could be written for study" in orthanc.log.read_text(), 20, "the log says it")
    assert str(tmp_path / "nowhere") in orthanc.log.read_text()
    assert orthanc.get("/system")


def test_an_unset_spool_path_is_said_in_the_log_and_orthanc_lives(fresh_orthanc: Start) -> None:
    orthanc = fresh_orthanc(spool=None)
    orthanc.upload(datasets.make_instance())
    wait_until(lambda: "AUTORTHANC_SPOOL_PATH is not set" in orthanc.log.read_text(), 20, "the log says it")
    assert orthanc.get("/system")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB; needs root, as CI has it."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_leaves_no_half_marker_and_orthanc_lives(fresh_orthanc: Start, small_disk: Path) -> None:
    for name in ("tmp", "incoming"):
        (small_disk / name).mkdir()
    with pytest.raises(OSError, match="No space left"):
        (small_disk / "filler").write_bytes(bytes(1 << 20))
    orthanc = fresh_orthanc(spool=small_disk)
    orthanc.upload(datasets.make_instance())
    wait_until(lambda: "No space left" in orthanc.log.read_text(), 20, "the log says it")
    assert orthanc.get("/system")
    assert os.listdir(small_disk / "tmp") == os.listdir(small_disk / "incoming") == []
    (small_disk / "filler").unlink()
    orthanc.upload(datasets.make_instance(study="2"))
    wait_until(lambda: len(incoming(small_disk)) == 2, 20, "the next study gives its markers")


@pytest.mark.parametrize(
    "ending", ["print('EARLIER CALLED ' .. id)", "error({})", "error(nil)", "local x = nil; x.y()"]
)
def test_an_earlier_callback_is_called_whatever_it_does(
    fresh_orthanc: Start, spool: Path, tmp_path: Path, ending: str
) -> None:
    earlier = tmp_path / "earlier.lua"
    earlier.write_text(f"function OnStableStudy(id, tags, metadata)\n  {ending}\nend\n")
    orthanc = fresh_orthanc(spool=spool, lua=(earlier, LUA_SCRIPT))
    orthanc.upload(datasets.make_instance())
    said = "EARLIER CALLED" if "print" in ending else "the earlier OnStableStudy failed"
    wait_until(lambda: said in orthanc.log.read_text(), 20, "the earlier callback ran")
    assert len([path for path in incoming(spool) if "-study-" in path.name]) == 1
    assert orthanc.get("/system")
