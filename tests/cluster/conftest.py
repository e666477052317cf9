"""The lab, and a site on it. Only `make cluster-test` collects what is here."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.lab import Lab, LabOrthanc
from tests.cluster.lab_site import LabSite

collect_ignore_glob = [] if "LAB_FOLDER" in os.environ else ["test_*.py"]
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """Two hosts, for all tests."""
    found = Lab(Path(os.environ["LAB_FOLDER"]))
    try:
        yield found.start()
    finally:
        found.stop()


@pytest.fixture
def site(lab: Lab) -> Iterator[LabSite]:
    """A site on the shared volume, with an Orthanc on host a that runs our Lua script."""
    lab.repair()
    number = next(_numbers)
    root = lab.shared / f"site{number}"
    for name in ("tmp", "incoming"):
        (root / "spool" / name).mkdir(parents=True)
    orthanc = LabOrthanc(lab.folder / f"orthanc{number}", spool=root / "spool").on(lab.a)
    made = LabSite(root, orthanc)
    made.lab = lab
    orthanc.start()
    try:
        yield made
    finally:
        made.end_all()
        orthanc.stop()
        lab.repair()
