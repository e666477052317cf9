"""The same key gives the same bytes everywhere; another key or project has nothing in common with it."""

import io
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pydicom
import pytest

from autorthanc_spool.core.errors import SpoolError
from autorthanc_spool.deidentify.file import Deidentified
from autorthanc_spool.deidentify.key import Key, open_key
from autorthanc_spool.deidentify.pseudonym import Patient, Pseudonymiser
from autorthanc_spool.disk import durable
from autorthanc_spool.rules import Keep
from autorthanc_spool.spool import audit_key
from tests.deidentify import corpus, real
from tests.deidentify.make import KEY, anonymised, deidentifier
from tests.helpers import datasets

ANOTHER_KEY = Key(bytes(range(1, 33)))
DATES = frozenset({Keep.MODIFIED_DATES})
WHOLE = ["CT_small.dcm", "MR_small.dcm", "MR_small_bigendian.dcm", "rtplan.dcm", "image_dfl.dcm", "JPEG2000.dcm"]

SCRIPT = """
import hashlib, sys
from pathlib import Path
from tests.deidentify import corpus, real
from tests.deidentify.make import anonymised
for name in sys.argv[1:]:
    print(hashlib.sha256(anonymised(Path(name).read_bytes(), burned_in="allow")).hexdigest(), name)
"""


KEYS = pytest.mark.parametrize(
    "make",
    [lambda path: open_key(path, ()).secret, lambda path: audit_key.read_or_make(path, None)],
    ids=["pseudonyms", "audit log"],
)


@KEYS
def test_a_pipe_in_place_of_a_key_is_none_and_isnt_waited_for(make: Callable[[Path], bytes], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "key", 0o600)
    with pytest.raises(SpoolError, match="64 hexadecimal digits"):
        make(tmp_path / "key")


@KEYS
def test_two_containers_that_make_the_key_at_once_use_the_same_one(
    make: Callable[[Path], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of them has the process number 1."""
    path, move, of_the_other = tmp_path / "key", durable.move, []
    monkeypatch.setattr(os, "getpid", lambda: 1)
    monkeypatch.setattr(socket, "gethostname", lambda: "one")

    def late(source: Path, target: Path) -> None:
        monkeypatch.setattr(durable, "move", move)
        monkeypatch.setattr(socket, "gethostname", lambda: "two")
        of_the_other.append(make(path))
        move(source, target)

    monkeypatch.setattr(durable, "move", late)
    assert [make(path)] == of_the_other
    assert [one.name for one in tmp_path.iterdir()] == ["key"]


def test_two_processes_in_any_order_give_the_same_bytes() -> None:
    names = [str(real.path(name)) for name in WHOLE]
    outputs = [
        subprocess.run(
            [sys.executable, "-c", SCRIPT, *order],
            env={"PYTHONHASHSEED": seed, "TZ": zone},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for order, seed, zone in ((names, "1", "UTC"), (names[::-1], "2", "Asia/Tokyo"))
    ]
    assert sorted(outputs[0].splitlines()) == sorted(outputs[1].splitlines())
    assert len(set(outputs[0].splitlines())) == len(WHOLE)


@pytest.mark.parametrize("other", [{"key": ANOTHER_KEY}, {"project": "Q"}], ids=["key", "project"])
def test_another_key_or_project_shares_neither_uids_nor_pseudonym(other: dict[str, object]) -> None:
    data = real.path("rtplan.dcm").read_bytes()
    ours, theirs = anonymised(data), anonymised(data, **other)
    pattern = re.compile(rb"2\.25\.\d+")
    # What names this program as the writer is in all files.
    writer = {b"2.25.311420407938381624380066863138910264080"}
    assert len(set(pattern.findall(ours))) > 3
    assert set(pattern.findall(ours)) & set(pattern.findall(theirs)) == writer
    assert pydicom.dcmread(io.BytesIO(ours)).PatientID != pydicom.dcmread(io.BytesIO(theirs)).PatientID


def test_references_lead_to_the_new_files() -> None:
    first, second = (datasets.make_instance(instance=number) for number in (1, 2))
    referring = pydicom.dcmread(io.BytesIO(second))
    item = pydicom.Dataset()
    item.ReferencedSOPClassUID = referring.SOPClassUID
    item.ReferencedSOPInstanceUID = pydicom.dcmread(io.BytesIO(first)).SOPInstanceUID
    referring.SourceImageSequence = [item]
    out = io.BytesIO()
    referring.save_as(out)
    one, two = (pydicom.dcmread(io.BytesIO(anonymised(data))) for data in (first, out.getvalue()))
    assert (
        two.SourceImageSequence[0].ReferencedSOPInstanceUID
        == one.SOPInstanceUID
        == one.file_meta.MediaStorageSOPInstanceUID
    )
    assert two.SourceImageSequence[0].ReferencedSOPClassUID == two.SOPClassUID
    assert (one.StudyInstanceUID, one.FrameOfReferenceUID) == (two.StudyInstanceUID, two.FrameOfReferenceUID)


@pytest.mark.parametrize("keep", [frozenset(), frozenset({Keep.UIDS})], ids=["replaced", "kept"])
@pytest.mark.parametrize(
    "uid", [b"Quackenbush-7654321", "J\xfcrgen".encode("latin-1"), b"1.2.3\\1.2.4", b"1" * 70, b"1.2.3\\Quackenbush"]
)
def test_what_is_not_a_uid_is_the_same_in_the_file_its_header_and_what_refers_to_it(
    uid: bytes, keep: frozenset[Keep]
) -> None:
    reference: corpus.Elements = {0x00081150: ("UI", corpus.CT.encode()), 0x00081155: ("UI", uid)}
    own: corpus.Elements = {
        0x00080005: ("CS", b"ISO_IR 192"),
        0x00080018: ("UI", uid),
        0x00082112: ("SQ", [reference]),
    }
    data = corpus.file({**corpus.image(), **own})
    made = deidentifier(keep=keep).file(memoryview(data))
    assert isinstance(made, Deidentified)
    found = pydicom.dcmread(io.BytesIO(made.bytes(memoryview(data))))
    assert found.SOPInstanceUID == found.file_meta.MediaStorageSOPInstanceUID
    assert found.SOPInstanceUID == found.SourceImageSequence[0].ReferencedSOPInstanceUID
    text = "\\".join(found.SOPInstanceUID) if b"\\" in uid else found.SOPInstanceUID
    assert made.identity.SOPInstanceUID == text
    # Names of files are made of what Orthanc lists.
    if uid.isascii():
        assert deidentifier(keep=keep).new_uid(uid.decode()) == text
    assert re.fullmatch(r"[0-9.]{1,64}(\\[0-9.]{1,64})*", text)


def test_intervals_of_a_patient_stay_exact_and_patients_move_differently() -> None:
    days = ["19991231", "20000301", "20240229"]
    moved = [
        pydicom.dcmread(io.BytesIO(anonymised(datasets.make_instance(study=day, StudyDate=day), keep=DATES))).StudyDate
        for day in days
    ]
    shifts = {read(before) - read(after) for before, after in zip(days, moved, strict=True)}
    assert len(shifts) == 1
    assert 1 <= shifts.pop().days <= 3650
    pseudonymiser = Pseudonymiser(KEY, "P")
    found = [pseudonymiser.days(Patient(f"P{number}")) for number in range(2000)]
    assert len(set(found)) > 1000
    assert min(found) >= 1
    assert max(found) <= 3650


def read(text: str) -> date:
    return date(int(text[:4]), int(text[4:6]), int(text[6:]))


def test_the_recipe_of_pseudonyms_never_changes() -> None:
    """Whoever keeps his key must get the same in ten years: these values were computed from the recipe alone."""
    pseudonymiser = Pseudonymiser(KEY, "P")
    patient = Patient("4711", "CLINIC")
    assert pseudonymiser.pseudonym(patient) == "NRAPHZUGZLQ6NNLS"
    assert pseudonymiser.days(patient) == 197
    assert pseudonymiser.uid("1.2.3") == "2.25.44905531863890607777295832593219274180"


def test_a_patient_is_his_id_and_issuer_however_they_are_padded() -> None:
    pseudonymiser = Pseudonymiser(KEY, "P")
    assert pseudonymiser.pseudonym(Patient(" 4711 \0", " CLINIC")) == pseudonymiser.pseudonym(Patient("4711", "CLINIC"))
    different = [Patient("4711"), Patient("4711", "CLINIC"), Patient("", "", "1.2.3"), Patient("", "", "1.2.4")]
    assert len({pseudonymiser.pseudonym(one) for one in different}) == 4
    assert pseudonymiser.pseudonym(Patient("4711", "", "1.2")) == pseudonymiser.pseudonym(Patient("4711", "", "1.3"))


@pytest.mark.parametrize("uid", ["", "1.2.840.10008.1.2", "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.4.1.1"])
def test_registered_and_empty_uids_stay(uid: str) -> None:
    assert Pseudonymiser(KEY, "P").uid(uid) == uid


def test_several_uids_are_replaced_one_by_one() -> None:
    data = datasets.make_instance(IrradiationEventUID=["1.2.3", "", "1.2.840.10008.1.2"])
    found = pydicom.dcmread(io.BytesIO(anonymised(data))).IrradiationEventUID
    assert list(found) == [Pseudonymiser(KEY, "P").uid("1.2.3"), "", "1.2.840.10008.1.2"]
