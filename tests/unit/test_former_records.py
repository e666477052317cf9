"""What version 0.1.0 wrote is read as before, and written back as it was."""

import json
import time
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from autorthanc_spool.core import marker
from autorthanc_spool.core.errors import Cause, KeyUnavailable, MarkerError
from autorthanc_spool.core.outcome import Problem
from autorthanc_spool.outgoing.keyring import Keyring
from autorthanc_spool.run.first_contact import Baseline
from autorthanc_spool.run.prune import _Memory
from autorthanc_spool.spool.ledger import Ledger, key_folder
from autorthanc_spool.spool.spool import Spool

FORMER = Path(__file__).parents[1] / "data" / "records-0.1.0"
MARKERS = sorted(path for path in (FORMER / "markers").iterdir() if not path.name.startswith("rejected-"))
REJECTED = sorted((FORMER / "markers").glob("rejected-*"))
RECORDS = sorted((FORMER / "ledger").iterdir())
STATE = FORMER / "state"

# Fields that came since, and what they are in a record that was written before.
ADDED_TO_SENDINGS: dict[str, Any] = {"missing": []}


def name(path: Path) -> str:
    return path.stem


def read(case: str) -> marker.Marker:
    path = FORMER / "markers" / f"{case}.json"
    return marker.parse(path.name, path.read_bytes())


@pytest.mark.parametrize("path", MARKERS, ids=name)
def test_a_marker_comes_back_as_it_was(path: Path) -> None:
    assert json.loads(marker.dump(read(path.stem))) == json.loads(path.read_bytes())


@pytest.mark.parametrize("path", MARKERS, ids=name)
def test_a_marker_keeps_what_this_version_does_not_know(path: Path) -> None:
    content = json.loads(path.read_bytes()) | {"note": {"by": "hand"}}
    for outcome in content["outcomes"].values():
        outcome["seen_by"] = ["hand", None]
    for problem in [content["error"], *(one.get("error") for one in content["outcomes"].values())]:
        if problem:
            problem["hint"] = "hand"
    found = marker.parse(path.name, json.dumps(content).encode())
    assert json.loads(marker.dump(found)) == content


@pytest.mark.parametrize(
    ("case", "kind", "cause"),
    [
        ("deferred-output-missing", "FolderMissing", Cause.FOLDER),
        ("deferred-audit-log", "AuditUnavailable", Cause.AUDIT_LOG),
        ("deferred-rule-broken", "RuleUnavailable", Cause.RULE),
        ("deferred-destination-down", "DestinationUnavailable", None),
        ("deferred-still-arriving", "StillArriving", None),
        ("deferred-forward-refused", "ForwardRefused", None),
        ("failed-everything-withheld", "EverythingWithheld", None),
        ("failed-unknown-modality", "UnknownModality", None),
        ("failed-resource-missing", "ResourceMissing", None),
    ],
)
def test_what_a_marker_waits_for_is_known(case: str, kind: str, cause: Cause | None) -> None:
    assert {(one.kind, one.wakes_on) for one in read(case).problems} == {(kind, cause)}


def test_a_marker_that_waits_for_the_folder_of_rules_had_another_kind() -> None:
    assert Problem("Unavailable", "the folder of rules can't be read").wakes_on is Cause.RULES


def test_what_was_done_is_said_as_before() -> None:
    (withheld,) = read("done-anonymised-one-withheld").outcomes.values()
    assert withheld.sentence == "published 1 of 2 files, 1 withheld"
    (deleted,) = read("done-deleted-from-orthanc").outcomes.values()
    assert deleted.deleted is not None
    assert (deleted.deleted.rule, deleted.deleted.instances, len(deleted.md5sums)) == ("all", 2, 2)
    (sent,) = read("done-published-and-forwarded").outcomes.values()
    assert [(where, one.word, one.instances) for where, one in sent.forward.items()] == [("archive", "forwarded", 2)]


@pytest.mark.parametrize("path", REJECTED, ids=name)
def test_a_rejected_file_says_why_and_is_rejected_again(path: Path) -> None:
    data = path.read_bytes()
    assert marker.recorded_reason(data)
    assert marker.filed_path(data).startswith("failed/")
    with pytest.raises(MarkerError):
        marker.parse(path.name, data)


@pytest.mark.parametrize("path", RECORDS, ids=name)
def test_a_record_of_the_ledger_is_read_and_written_back(path: Path, tmp_path: Path) -> None:
    content = json.loads(path.read_bytes())
    key = content["key"]
    there = tmp_path / key_folder(key) / f"{key}.json"
    there.parent.mkdir()
    there.write_bytes(path.read_bytes())
    ledger = Ledger(tmp_path)
    record = ledger.read(key)
    ledger.write(record)
    assert ledger.read(key) == record
    for sending in [one for sent in content.get("sendings", {}).values() for one in sent.values()]:
        sending |= ADDED_TO_SENDINGS
    assert json.loads(there.read_bytes()) == content


def test_first_contact_is_remembered() -> None:
    kept = Baseline(STATE)
    assert kept.studies() == {"b814e3bd-e9ae32d7-195622ae-ab34ace0-d9f48d97": "20261127T022808"}
    contact = kept.contact()
    assert contact is not None
    assert contact.change is not None
    assert contact.change.kind == "StablePatient"


def test_the_last_pruning_is_remembered() -> None:
    assert _Memory(STATE / "prune.json").read() == (date(2026, 11, 27), date.min)


def test_the_pseudonym_key_is_still_the_one_that_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "pseudonym-key.json").write_bytes((STATE / "pseudonym-key.json").read_bytes())
    with pytest.raises(KeyUnavailable, match="bec9624f396715c2"):
        Keyring(tmp_path / "key", Spool(tmp_path, time.time)).open()
