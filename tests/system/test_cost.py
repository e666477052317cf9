"""What a study costs that no rule matches: requests to Orthanc and synchronisations, counted."""

import os
import threading
from collections import Counter
from typing import Any

import pytest
import urllib3

from autorthanc_spool.run import wiring
from autorthanc_spool.settings import load_settings
from tests.helpers import datasets
from tests.helpers.deletions import wake
from tests.helpers.site import Site

FEW, MANY = 2, 12


def cost(site: Site, studies: list[str], monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count what a run asks of Orthanc and of the disk."""
    for study in studies:
        wake(site, study)
    counts: Counter[str] = Counter()
    request, sync = urllib3.HTTPConnectionPool.request, os.fsync

    def requested(*arguments: Any, **keywords: Any) -> Any:
        # Orthanc's clock is asked once a second: how often, is a matter of time.
        counts["requests"] += "/tools/now" not in arguments
        return request(*arguments, **keywords)

    def synced(descriptor: int) -> None:
        # The statistics are written by the clock, in a thread of their own.
        counts["syncs"] += threading.current_thread() is threading.main_thread()
        sync(descriptor)

    settings = load_settings({}, {**site.environment, "AUTORTHANC_LOG_LEVEL": "error"}, site.root)
    with monkeypatch.context() as patch:
        # Whatever is sent once more on a connection that Orthanc has closed is one request.
        patch.setattr(urllib3.HTTPConnectionPool, "request", requested)
        patch.setattr(os, "fsync", synced)
        assert wiring.run(settings, once=True) == 0
    return counts


def test_a_study_that_no_rule_matches_costs_two_requests_and_two_syncs(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One pass for all: each asks whether Orthanc is there, and makes names durable at its end.
    site.variables["AUTORTHANC_POLL_INTERVAL_S"] = "600"
    site.rule("never", Tags=[{"TagName": "Modality", "Value": "nothing has this"}])
    studies = [site.orthanc.upload(datasets.make_instance(f"P{number}")) for number in range(MANY)]
    site.orthanc.wait_stable(f"/studies/{studies[-1]}")
    site.make_spool()
    for study in studies:
        # The first record in a folder of the ledger makes that durable, too.
        (site.spool / "ledger" / study[:2]).mkdir(exist_ok=True)
    site.once()
    few = cost(site, studies[:FEW], monkeypatch)
    many = cost(site, studies[FEW:], monkeypatch)
    more = MANY - 2 * FEW
    # Of a run's own requests, one more or less depends on what Orthanc's log of changes has.
    assert abs(many["requests"] - few["requests"] - 2 * more) <= 1
    # The first run also made the folder of the day durable.
    assert many["syncs"] - few["syncs"] <= 2 * more
    assert site.states() == {"done": MANY}
