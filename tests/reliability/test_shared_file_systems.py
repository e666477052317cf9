"""Each call to the spool and the output may fail as calls on a file system of several machines do.

Here one call of each kind is taken at each place, and the errors take turns; AUTORTHANC_TEST_FAULTS=all (`make faults`)
takes all calls and all errors.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from itertools import cycle
from pathlib import Path

import pytest

from tests.helpers import datasets
from tests.helpers.disks import small_disk
from tests.helpers.dying import clear
from tests.helpers.faults import ERRNOS, Call, Fault, FaultyProcessors, faulty_processors
from tests.helpers.orthanc_server import OrthancServer
from tests.helpers.site import Site, stored_files

NAME = "PAT1-FamilyPAT1-1"
# What changes something, and may have done so although the answer got lost.
CHANGES = {"create", "write", "rename", "unlink", "mkdir", "rmdir", "fsync", "close", "chmod", "utime"}
# As many calls as come in a few looks.
LONG = 40

Check = Callable[[Fault], None]


@pytest.fixture
def processors(tmp_path: Path, orthanc: OrthancServer) -> Iterator[FaultyProcessors]:
    with small_disk(tmp_path / "disk", "200m") as disk:
        site = Site(disk / "site", orthanc, {"AUTORTHANC_POLL_INTERVAL_S": "0.1"})
        site.rule("all")
        with faulty_processors(site, tmp_path) as started:
            yield started


@pytest.fixture
def check(processors: FaultyProcessors, orthanc: OrthancServer) -> Check:
    """Runs a processor with this fault; it doesn't exit, publishes once, counts no attempt, and says it once."""
    site = processors.site
    study = orthanc.upload_all(datasets.make_study(series=1, instances=2))
    orthanc.wait_stable(f"/studies/{study}")
    expected = stored_files(orthanc, study)

    def run(fault: Fault) -> None:
        clear(site)
        site.touch(study)
        code = processors.run(fault)
        context = f"{fault}: {processors.failed()[:3]}\n{site.log_end()}"
        assert code == 0, context
        assert site.states() == {"done": 1}, context
        assert site.published("all") == [NAME], context
        assert site.tree("all", NAME) == expected, context
        assert site.records("done")[0].get("attempts", 0) == 0, context
        # Whoever takes a lock next removes its file.
        assert [one for one in site.leftovers() if not one.startswith("spool/locks/")] == [], context
        # A trouble of the spool, and one of another folder of it.
        assert site.log.read_text().count(" WARNING the ") <= 2, context

    return run


def selection(calls: Iterable[Call]) -> Iterator[tuple[int, str]]:
    """Calls and errors."""
    if os.environ.get("AUTORTHANC_TEST_FAULTS") == "all":
        yield from ((call.number, name) for call in calls for name in ERRNOS)
        return
    found: dict[tuple[str, str], list[int]] = {}
    for call in calls:
        found.setdefault((call.kind, "/".join(call.path.split("/")[:2])), []).append(call.number)
    for number, (numbers, name) in enumerate(zip(found.values(), cycle(ERRNOS), strict=False)):
        # Every second kind of call and place: all of them take `make faults`.
        if number % 2 == 0:
            yield numbers[number % len(numbers)], name


@pytest.mark.timeout(0 if os.environ.get("AUTORTHANC_TEST_FAULTS") else 900)
def test_a_call_that_fails_loses_nothing_and_ends_no_processor(processors: FaultyProcessors, check: Check) -> None:
    check(Fault())
    for call, name in list(selection(processors.calls())):
        check(Fault(call, name))


@pytest.mark.timeout(0 if os.environ.get("AUTORTHANC_TEST_FAULTS") else 900)
def test_a_call_whose_answer_is_lost_does_nothing_twice(processors: FaultyProcessors, check: Check) -> None:
    check(Fault())
    calls = [call for call in processors.calls() if call.kind in CHANGES]
    assert {call.kind for call in calls} > {"create", "rename", "unlink", "mkdir", "fsync"}
    for call, name in list(selection(calls)):
        check(Fault(call, name, is_done_anyway=True))


@pytest.mark.timeout(0 if os.environ.get("AUTORTHANC_TEST_FAULTS") else 900)
def test_a_file_system_that_is_away_for_a_while_is_waited_for(processors: FaultyProcessors, check: Check) -> None:
    check(Fault())
    for call, name in list(selection(processors.calls()))[::4]:
        check(Fault(call, name, times=LONG))
