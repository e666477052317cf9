"""A pause: nothing is claimed while PAUSED is there; and `flush`, which makes what is deferred due."""

import json
import os
import time
from pathlib import Path

from tests.helpers import datasets
from tests.helpers.proxy import Fault, Proxy
from tests.helpers.site import Site
from tests.helpers.waiting import wait_until


def send(site: Site, **keywords: object) -> str:
    study = site.orthanc.upload_all(datasets.make_study(**keywords))  # type: ignore[arg-type]
    site.orthanc.wait_stable(f"/studies/{study}")
    return study


def test_a_pause_lets_nothing_be_claimed_until_it_ends(site: Site) -> None:
    site.rule("all")
    study = send(site)
    site.run("pause", "the", "disk", "is", "moved")
    assert (site.spool / "PAUSED").read_text() == "the disk is moved\n"
    with site.processor():
        wait_until(lambda: "paused: the disk is moved" in site.log.read_text(), 30, "it is said")
        site.touch(study)
        shown = site.run("status").stdout
        assert any(line.startswith("PAUSED") and "the disk is moved" in line for line in shown.splitlines())
        assert json.loads(site.run("status", "--json").stdout)["paused"]["reason"] == "the disk is moved"
        assert site.states() == {"incoming": 1}
        site.run("resume")
        site.wait_states(done=1)
    log = site.log.read_text()
    assert log.count("paused") == 1
    assert log.count("the pause is over") == 1


def test_work_that_runs_is_finished_in_a_pause_and_the_next_is_not_begun(site: Site) -> None:
    site.rule("all")
    studies = [send(site, patient=f"PAT{number}") for number in (1, 2)]
    with Proxy(site.orthanc.http_port) as proxy:
        site.variables["ORTHANC_URL"] = proxy.url
        stall = proxy.add(Fault("/studies/.*/instances", stall_after=0))
        for study in studies:
            site.touch(study)
        with site.processor():
            wait_until(lambda: stall.hits, 30, "one is in work")
            (site.spool / "PAUSED").touch()
            proxy.heal()
            site.wait_states(done=1, incoming=1)
            wait_until(lambda: "paused; nothing" in site.log.read_text(), 10, "it is said, without a reason")
            (site.spool / "PAUSED").unlink()
            site.wait_states(done=2)


def test_run_once_in_a_pause_does_nothing_and_says_try_again(site: Site) -> None:
    site.run("pause")
    site.touch(send(site))
    done = site.run("run", "--once", expect=75)
    assert "paused" in done.stderr
    assert site.states() == {"incoming": 1}


def test_resume_without_a_pause_changes_nothing(site: Site) -> None:
    assert "wasn't paused" in site.run("resume").stderr


def deferred(site: Site, study: str) -> Path:
    site.make_spool()
    path = site.spool / "deferred" / f"study-{study}.json"
    path.write_text(json.dumps({"error": {"kind": "OutputUnavailable", "text": "full"}}))
    os.utime(path, (time.time() + 3600, time.time() + 3600))
    return path


def test_flush_makes_what_is_deferred_due_now(site: Site) -> None:
    site.rule("all")
    path = deferred(site, send(site))
    assert "1 deferred marker due now" in site.run("flush").stderr
    assert path.stat().st_mtime <= time.time()
    site.once()
    assert site.states() == {"done": 1}


def test_the_shape_counts_by_age_and_rule_and_is_never_cut(site: Site) -> None:
    long = "a-rule-with-a-name-that-is-longer-than-a-terminal-is-wide-" * 2
    path = deferred(site, "0a4b249f-7fce45ca-4f722f72-de2a24df-92abc740")
    problem = {"kind": "OutputUnavailable", "text": "full"}
    path.write_text(json.dumps({"outcomes": {long: {"outcome": "deferred", "error": problem}}}))
    site.touch("1b4b249f-7fce45ca-4f722f72-de2a24df-92abc740")
    lines = site.run("status", "--shape").stdout.splitlines()
    assert lines[0].split()[:3] == ["TOTAL", "5", "10"]
    assert lines[1].split()[:3] == ["TOTAL", "2", "2"]
    assert {line.rsplit(maxsplit=11)[0] for line in lines[2:]} == {long, "(not looked at yet)"}
    rows = [json.loads(line) for line in site.run("status", "--shape", "--json").stdout.splitlines()]
    assert rows[0]["rule"] == "TOTAL"
    assert rows[0]["minutes"]["5"] == 2


def test_piped_output_is_neither_wrapped_nor_cut(site: Site) -> None:
    name = "rule-" + "x" * 150
    site.rule(name)
    lines = site.run("status").stdout.splitlines()
    assert [line for line in lines if name in line and "active, on each study: DOWNLOAD" in line]
