"""A host that loses the file system for longer than its locks live: another takes over, and the first comes back."""

from __future__ import annotations

import json
import os
import random
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.cluster.lab import PING_TIMEOUT_S, LabOrthanc
from tests.cluster.lab_site import LabSite, make_contact
from tests.helpers import datasets, trees
from tests.helpers.waiting import wait_until

# Fewer for a quick look.
ROUNDS = int(os.environ.get("LAB_ROUNDS", "20"))
# Until the server gives up a client that it doesn't hear, and the client the server.
LOCK_LIFE_S = 2 * PING_TIMEOUT_S + 3.0
# So long does one export take here, with its forwarding and deleting.
EXPORT_S = 6.0


@pytest.fixture
def destination(site: LabSite) -> Iterator[LabOrthanc]:
    """A node that studies are forwarded to; host a knows it as PACS."""
    found = LabOrthanc(site.lab.folder / f"{site.root.name}-destination", lua=(), aet="PACS").on(site.lab.a)
    found.start()
    nodes = {"PACS": {"AET": "PACS", "Host": site.lab.a.address, "Port": found.dicom_port}}
    site.orthanc.config = {**site.orthanc.config, "DicomModalities": nodes}
    site.orthanc.restart()
    yield found
    found.stop()


def test_a_host_that_was_cut_off_longer_than_its_locks_live_loses_and_doubles_nothing(
    site: LabSite, destination: LabOrthanc
) -> None:
    seed = random.SystemRandom().randrange(10**6)
    dice = random.Random(seed)
    print(f"seed {seed}")
    site.variables |= {"AUTORTHANC_AUDIT_LOG": str(site.root / "audit.jsonl"), "AUTORTHANC_DOWNLOAD_THREADS": "2"}
    site.write_settings()
    site.rule("all", Action=["DOWNLOAD", "FORWARD"], DestinationModality="PACS", DeleteFromOrthanc=True)
    make_contact(site)
    on_b = site.start_on(site.lab.b, "run")
    sent: dict[str, Counter[bytes]] = {}
    for number in range(ROUNDS):
        files = datasets.make_study(f"P{number}", series=2, instances=60)
        sent[f"P{number}-FamilyP{number}-1"] = Counter(files)
        site.orthanc.upload_all(files)
        wait_until(lambda: site.works_on("nodeb"), 60, f"host b works on it: {site.logs()}")
        # The moment is what is tried here: any of the export.
        time.sleep(dice.uniform(0, EXPORT_S))
        with site.lab.b.without_link():
            on_a = site.start_on(site.lab.a, "run")
            wait_until(
                lambda: site.works_on("nodea") or set(site.states()) == {"done"},
                LOCK_LIFE_S + 60,
                f"host a takes over what host b had: {site.logs()}",
            )
            # Host b comes back at any moment of what host a does.
            time.sleep(dice.uniform(0, EXPORT_S))
        wait_until(lambda: set(site.states()) == {"done"}, 120, f"round {number}: {site.states()} {site.logs()}")
        assert on_b.poll() is None, site.logs()
        on_a.terminate()
        on_a.wait(timeout=40)
    wait_until(lambda: site.orthanc.get("/studies") == [], 120, f"all is deleted from Orthanc: {site.logs()}")
    published = {name: Counter(trees.read(site.output / "all" / name).values()) for name in site.published("all")}
    assert published == sent
    assert len(destination.get("/instances")) == sum(map(len, sent.values()))
    # A line may come again, equal in every field, and then it is of one and the same event.
    lines = set((site.root / "audit.jsonl").read_text().splitlines())
    counts = Counter((line["outcome"], line["id"]) for line in map(json.loads, lines))
    assert [key for key, count in counts.items() if key[0] == "published" and count != 1] == []
    assert len([key for key in counts if key[0] == "published"]) == ROUNDS
    assert site.leftovers() == []
