"""A share whose server has stopped answering, under a person who looks."""

import json
import threading
from pathlib import Path

import pytest

from autorthanc_spool.disk import mounts
from tests.helpers.disks import silent
from tests.helpers.site import Site
from tests.helpers.waiting import wait_until


@pytest.fixture
def published(site: Site) -> Site:
    """A site that has published into its output."""
    site.rule("all")
    site.once()
    return site


def test_status_and_doctor_say_which_folder_it_is(published: Site) -> None:
    published.output.rename(published.root / "before")
    published.output.mkdir()
    with silent(published.output):
        text = f"{published.output} doesn't answer, as a share does whose server is away"
        assert text in published.run("status", timeout_s=60).stdout
        shown = json.loads(published.run("status", "--json", timeout_s=60).stdout)
        assert [text in one for one in shown["folder_problems"]] == [True]
        assert (shown["healthy"], shown["usage"]["output_free_bytes"]) == (False, None)
        lines = published.run("doctor", "--json", expect=1, timeout_s=60).stdout.splitlines()
        (found,) = (one for one in map(json.loads, lines) if one["what"] == "output")
        assert (found["severity"], text in found["text"]) == ("broken", True)
        assert "findmnt" in found["fix"]
        # What has nothing to do with it goes on.
        assert "nothing found" in published.run("list", timeout_s=60).stderr
        assert "0 deferred markers" in published.run("flush", timeout_s=60).stderr
        assert f"{published.output} doesn't answer" in published.run("check", expect=2, timeout_s=60).stderr
        published.run("find", "nobody", expect=1, timeout_s=60)


def test_who_asks_again_and_again_has_one_thread_waiting(tmp_path: Path) -> None:
    place = tmp_path / "share"
    place.mkdir()
    with silent(place):
        assert not any(mounts.answers(place, 0.05) for _ in range(20))
        assert [one.name for one in threading.enumerate()].count("mount") == 1
        assert mounts.answers(tmp_path)
    wait_until(lambda: "mount" not in [one.name for one in threading.enumerate()], 10, "it has answered")
    assert mounts.answers(place)


def test_what_a_rule_delivers_to_is_named_as_well(published: Site, tmp_path: Path) -> None:
    place = tmp_path / "share"
    place.mkdir()
    published.variables["AUTORTHANC_DELIVER_ROOTS"] = str(place)
    published.rule("there", Deliver=str(place))
    with silent(place):
        assert f"{place} doesn't answer" in published.run("status", timeout_s=60).stdout
        assert f"{place} doesn't answer" in published.run("doctor", expect=1, timeout_s=60).stdout
