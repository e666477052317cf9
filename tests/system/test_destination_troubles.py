"""A destination of FORWARD that is down is a trouble that everybody says, when it begins and when it ends."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import datasets
from tests.helpers.destinations import add_modality, dead_port, storescp
from tests.helpers.site import Site, send_and_touch
from tests.helpers.waiting import wait_until


@pytest.fixture
def port(site: Site) -> int:
    port = dead_port()
    add_modality(site.orthanc, "pacs", "PACS", port)
    site.rule("send", Action="FORWARD", DestinationModality="pacs")
    site.make_spool()
    return port


def page(site: Site) -> dict[str, Any]:
    path = site.spool / "state" / "status.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"findings": []}
    return found


def test_everybody_says_so_once_and_what_waited_goes_out_when_it_is_back(site: Site, port: int) -> None:
    metrics = site.root / "autorthanc.prom"
    site.variables["AUTORTHANC_METRICS_FILE"] = str(metrics)
    with site.processor():
        for name in ("A", "B", "C"):
            send_and_touch(site, datasets.make_instance(name))
        site.wait_states(deferred=3)
        said = "pacs can't be reached"
        wait_until(lambda: said in site.run("status").stdout, 30, "status says so")
        done = site.run("status", "--check")
        assert (done.stdout, said in done.stderr) == ("", True)
        assert "warning  destination pacs: since 20" in site.run("doctor", expect=None).stdout
        wait_until(lambda: [one["kind"] for one in page(site)["findings"]] == ["trouble"], 60, "the page says so")
        assert said in page(site)["findings"][0]["text"]
        label = 'autorthanc_trouble{what="the destination pacs"} 1'
        wait_until(lambda: metrics.exists() and label in metrics.read_text(), 15, "the metrics say so")
        with storescp(site.root / "pacs", port):
            os.utime(site.markers("deferred")[0])
            # The others are due in half a minute at the earliest, but for the first that was sent.
            site.wait_states(done=3, timeout_s=25)
        wait_until(lambda: page(site)["healthy"], 15, "all is right again")
        assert site.run("status", "--check").stderr == ""
        wait_until(lambda: label not in metrics.read_text(), 15, "the metrics say so")
    log = site.log.read_text()
    assert (log.count("what is to be sent there waits"), log.count("the destination pacs: all right again")) == (1, 1)


def test_a_later_processor_knows_it_from_the_records_and_a_deleted_marker_ends_it(site: Site, port: int) -> None:
    send_and_touch(site, datasets.make_instance())
    # Other work is done all the same, so it isn't an error of the run; the log says it.
    assert "what is to be sent there waits" in site.once().stderr
    with site.processor():
        wait_until(lambda: "pacs can't be reached" in site.run("status").stdout, 15, "it is known")
        site.run("delete", "--state", "deferred")
        wait_until(lambda: "the destination pacs: all right again" in site.log_end(), 15, "nothing waits for it")


def test_a_marker_that_cannot_be_read_keeps_list_from_nothing(site: Site, tmp_path: Path) -> None:
    site.make_spool()
    (site.spool / "incoming" / "a.json").mkdir()
    site.touch("00000000-00000000-00000000-00000000-00000000")
    lines = site.run("list").stdout.splitlines()
    assert len(lines) == 2
    assert "it is not a regular file" in lines[0]
