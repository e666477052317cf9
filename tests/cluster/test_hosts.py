"""Processors on two hosts: what they see of each other, and what happens when one loses the other."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from contextlib import suppress

from tests.cluster.lab import Lab
from tests.cluster.lab_site import LabSite, compare, make_contact, upload
from tests.helpers.many import orthanc_id
from tests.helpers.waiting import wait_until

POLL_S = 2.0
SHORT_S = 20.0


def hosts_at_work(site: LabSite) -> list[str]:
    return sorted(name.rpartition("-")[0] for name, one in site.processors().items() if one["at_work"])


def test_the_hosts_of_the_lab_share_what_has_to_be_shared(site: LabSite) -> None:
    program = f"{site.program} doctor --shared --json"
    shown = site.slurm("srun", "-N2", "--ntasks-per-node=1", *program.split())
    found = [json.loads(line) for line in shown.splitlines()]
    assert [one for one in found if one["severity"] != "ok"] == []
    assert {"locks", "names", "inodes", "times", "clocks", "races"} <= {one["what"] for one in found}


def test_status_shows_the_processors_of_all_hosts_and_names_a_dead_one(site: LabSite) -> None:
    site.rule("all")
    site.start_on(site.lab.a, "run")
    dies = site.start_on(site.lab.b, "run")
    wait_until(lambda: hosts_at_work(site) == ["nodea", "nodeb"], 60, f"both work: {site.logs()}")
    os.kill(dies.pid, signal.SIGKILL)
    wait_until(lambda: hosts_at_work(site) == ["nodea"], 60, "the dead one is known")
    found = json.loads(site.run_on(site.lab.a, "status", "--json"))
    assert [one["text"] for one in found["findings"] if one["kind"] == "died"] == [
        f"the processor nodeb, process {dies.pid} died"
    ]


def test_a_host_sees_a_marker_of_the_other_within_its_poll_interval_and_a_second(site: LabSite) -> None:
    site.variables["AUTORTHANC_POLL_INTERVAL_S"] = str(POLL_S)
    site.write_settings()
    site.rule("all")
    site.start_on(site.lab.b, "run")
    wait_until(lambda: hosts_at_work(site) == ["nodeb"], 60, f"it works: {site.logs()}")
    late = []
    for number in range(10):
        name = f"study-{orthanc_id(number)}.json"
        site.lab.a.run(
            "sh", "-c", f"echo '{{}}' > {site.spool}/tmp/{name} && mv {site.spool}/tmp/{name} {site.spool}/incoming/"
        )
        begin_s = time.monotonic()
        wait_until(lambda name=name: name not in os.listdir(site.spool / "incoming"), 30, "it is seen")  # type: ignore[misc]
        late.append(time.monotonic() - begin_s)
    assert max(late) <= POLL_S + 1.0, late


def test_a_link_that_is_down_for_a_while_in_mid_export_costs_and_doubles_nothing(site: LabSite) -> None:
    site.rule("all")
    make_contact(site)
    site.run_on(site.lab.a, "pause")
    studies = upload(site, 20, series=2, instances=100)
    wait_until(lambda: len(site.markers("incoming")) >= len(studies), 60, "the markers are there")
    for host in site.lab.hosts:
        site.start_on(host, "run")
    wait_until(lambda: hosts_at_work(site) == ["nodea", "nodeb"], 60, f"both work: {site.logs()}")
    site.run_on(site.lab.a, "resume")
    wait_until(lambda: site.works_on("nodeb"), 120, f"the one that is cut has a study: {site.logs()}")
    with site.lab.b.without_link():
        time.sleep(SHORT_S)
    wait_until(lambda: set(site.states()) == {"done"}, 240, f"all is done: {site.states()} {site.logs()}")
    compare(site, studies)
    assert site.leftovers() == []
    wait_until(lambda: hosts_at_work(site) == ["nodea", "nodeb"], 60, f"both work again: {site.logs()}")


def test_processes_of_one_number_on_two_hosts_write_one_file_and_never_half_of_it(lab: Lab) -> None:
    """In containers, each processor has the number 1."""
    path = lab.shared / "written"
    program = (
        "import os, sys, time; from pathlib import Path; from autorthanc_spool.disk import durable; "
        "assert os.getpid() == 1; end_s = time.monotonic() + 8; path = Path(sys.argv[1]); data = sys.argv[2].encode()\n"
        "while time.monotonic() < end_s:\n"
        "    durable.write(path, data, path.parent); durable.show(path, data)"
    )
    words = {host: host.name * 5000 for host in lab.hosts}
    processes = [
        lab.spawn(host.words("unshare", "--pid", "--fork", sys.executable, "-c", program, path, text), "writers")
        for host, text in words.items()
    ]
    seen = set()
    while any(process.poll() is None for process in processes):
        with suppress(OSError):
            seen.add(path.read_text())
    assert [process.returncode for process in processes] == [0, 0], (lab.folder / "writers.log").read_text()
    assert seen <= set(words.values())
