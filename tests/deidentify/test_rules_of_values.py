"""Dates, ages, pseudonym tables, and what is withheld."""

import io
import os
from datetime import date
from pathlib import Path
from typing import Any

import pydicom
import pytest

from autorthanc_spool.core.errors import PatientNotListed, PseudonymTableInvalid
from autorthanc_spool.deidentify import ages, dates
from autorthanc_spool.deidentify.file import Deidentified, Held
from autorthanc_spool.deidentify.pseudonym_table import PseudonymTables, parse_table
from autorthanc_spool.deidentify.withhold import Withheld
from autorthanc_spool.rules import Keep, PrivateElement
from tests.deidentify import corpus
from tests.deidentify.make import anonymised, deidentifier
from tests.helpers import datasets

WEEK = dates.earlier(7)
AGED = frozenset({Keep.PATIENT_CHARACTERISTICS})


def read(data: bytes) -> pydicom.Dataset:
    return pydicom.dcmread(io.BytesIO(data))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("20260108", "20260101"),
        ("2026.01.08", "2026.01.01"),
        ("20240305", "20240227"),
        ("20260108-20260109", "20260101-20260102"),
        ("20260108-", "20260101-"),
        ("00010103", None),
        ("20260230", None),
        ("Smith", None),
        ("20260108Smith", None),
        ("٢٠٢٦٠١٠٨", None),
    ],
)
def test_dates_move_or_become_empty(before: str, after: str | None) -> None:
    assert dates.moved_date(before, WEEK) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("20260108", "20260101"),
        ("20260108120102.123456", "20260101120102.123456"),
        ("20260108120102+0200", "20260101120102+0200"),
        ("20260108120102-0500", "20260101120102-0500"),
        ("202601081201-202601091201", "202601011201-202601021201"),
        ("20260108120102+9900", None),
        ("20260108990102", None),
        ("20260108120102+0200Smith", None),
    ],
)
def test_instants_move_or_become_empty(before: str, after: str | None) -> None:
    assert dates.moved_date_time(before, WEEK) == after


def test_a_date_that_cannot_be_read_becomes_empty_in_the_file() -> None:
    data = datasets.make_instance().replace(b"20260102", b"Smithxyz")
    found = read(anonymised(data, keep=frozenset({Keep.MODIFIED_DATES})))
    assert (found.StudyDate, found.SeriesDate) == ("", "")


@pytest.mark.parametrize("keep", [Keep.FULL_DATES, Keep.MODIFIED_DATES])
def test_a_private_date_that_is_called_safe_does_not_say_the_birth_date(keep: Keep) -> None:
    elements: corpus.Elements = {
        0x00100030: ("DA", b"19410203"),
        0x00110010: ("LO", b"ACME"),
        0x00111001: ("DA", b"19410203"),
        0x00111002: ("DT", b"20200101\\194102030405"),
        0x00111003: ("DA", b"20260102"),
        0x00111004: ("DA", b"19410101-19410203"),
    }
    safe = tuple(PrivateElement("ACME", 0x11, number) for number in range(1, 5))
    data = corpus.file({**corpus.image(), **elements})
    found = read(anonymised(data, keep=frozenset({keep}), safe_private=safe))
    assert [found[0x0011, 0x1000 + number].value for number in (1, 2, 4)] == ["", "", ""]
    assert (found[0x0011, 0x1003].value == "20260102") == (keep is Keep.FULL_DATES)
    assert found[0x0011, 0x1003].value


def test_the_day_of_a_newborns_exam_stays_where_the_table_has_an_option_for_it() -> None:
    born: corpus.Elements = {
        0x00080020: ("DA", b"20260102"),
        0x00080021: ("DA", b"20260102"),
        0x00100030: ("DA", b"20260102"),
        # ProcedureCreationDate and ExpiryDate, which the table doesn't list.
        0x00144076: ("DA", b"20260102"),
        0x00141020: ("DA", b"20260103"),
    }
    found = read(anonymised(corpus.file({**corpus.image(), **born}), keep=frozenset({Keep.FULL_DATES})))
    assert (found.StudyDate, found.SeriesDate, found.PatientBirthDate) == ("20260102", "20260102", "")
    assert (found.ProcedureCreationDate, found.ExpiryDate) == ("", "20260103")


@pytest.mark.parametrize(
    ("born", "on", "age"),
    [
        ((1930, 1, 1), (2026, 1, 1), "090Y"),
        ((1936, 1, 2), (2026, 1, 1), "089Y"),
        ((2024, 1, 2), (2026, 1, 1), "023M"),
        ((2025, 12, 25), (2026, 1, 1), "007D"),
        ((2026, 1, 2), (2026, 1, 1), None),
    ],
)
def test_an_age_is_computed(born: tuple[int, int, int], on: tuple[int, int, int], age: str | None) -> None:
    assert ages.age(date(*born), date(*on)) == age


def test_a_missing_age_is_written_and_a_high_one_capped() -> None:
    young = datasets.make_instance(PatientBirthDate="19700103")
    assert read(anonymised(young, keep=AGED)).PatientAge == "055Y"
    assert "PatientAge" not in read(anonymised(young))
    old = read(anonymised(datasets.make_instance(PatientAge="104Y"), keep=AGED))
    assert old.PatientAge == "090Y"
    assert old.PatientBirthDate == ""
    both = read(anonymised(young, keep=AGED | {Keep.MODIFIED_DATES}))
    assert both.PatientAge == "055Y"


# (0010,0047) and its like are newer than pydicom's dictionary.
KEPT_TEXTS = [(0x00100040, "CS"), (0x00102160, "SH"), (0x001021A0, "CS"), (0x00102203, "CS"), (0x00100047, "UR")]


@pytest.mark.parametrize(("tag", "vr"), KEPT_TEXTS)
def test_what_is_kept_of_the_patient_stays_unless_it_names_him(tag: int, vr: str) -> None:
    named: corpus.Elements = {0x00100010: ("PN", b"Smithfield^Johanna")}
    for value, stays in ((b"F", True), (b"SMITHFIELD", False)):
        data = corpus.file({**corpus.image(), **named, tag: (vr, value)})
        made = deidentifier(keep=AGED).file(memoryview(data))
        assert isinstance(made, Deidentified)
        found = read(made.bytes(memoryview(data))).get(tag)
        assert (str(found.value) if found else "") == (value.decode() if stays else "")
        assert sum(made.emptied.values()) == (not stays)


@pytest.mark.parametrize("age", [b"", b"95Y", b"095y", b"old!", b"055Y\\012Y"])
def test_an_age_that_is_not_one_is_computed_too(age: bytes) -> None:
    born: corpus.Elements = {0x00080020: ("DA", b"20200101"), 0x00100030: ("DA", b"19200101"), 0x00101010: ("AS", age)}
    found = read(anonymised(corpus.file({**corpus.image(), **born}), keep=AGED))
    assert found.PatientAge == "090Y"


@pytest.mark.parametrize(
    ("keep", "told", "codes"),
    [
        ((), "REMOVED", ["113100"]),
        ((Keep.FULL_DATES,), "UNMODIFIED", ["113100", "113106"]),
        ((Keep.MODIFIED_DATES, Keep.UIDS), "MODIFIED", ["113100", "113107", "113110"]),
        ((Keep.PATIENT_CHARACTERISTICS, Keep.DEVICE), "REMOVED", ["113100", "113108", "113109"]),
        ((Keep.INSTITUTION,), "REMOVED", ["113100", "113112"]),
    ],
)
def test_every_file_says_what_was_done(keep: tuple[Keep, ...], told: str, codes: list[str]) -> None:
    found = read(anonymised(datasets.make_instance(), keep=frozenset(keep)))
    assert found.PatientIdentityRemoved == "YES"
    assert found.LongitudinalTemporalInformationModified == told
    assert [item.CodeValue for item in found.DeidentificationMethodCodeSequence] == codes
    assert found.PatientName == found.PatientID
    assert len(found.StudyID) == 8
    int(found.StudyID, 16)


@pytest.mark.parametrize(
    ("before", "keep", "after"),
    [
        ("MODIFIED", Keep.FULL_DATES, "MODIFIED"),
        ("removed ", Keep.FULL_DATES, "REMOVED"),
        ("REMOVED", Keep.MODIFIED_DATES, "REMOVED"),
        ("UNMODIFIED", Keep.MODIFIED_DATES, "MODIFIED"),
        ("SMITH", Keep.FULL_DATES, "UNMODIFIED"),
    ],
)
def test_dates_that_were_changed_before_are_not_called_unmodified(before: str, keep: Keep, after: str) -> None:
    data = corpus.file({**corpus.image(), 0x00280303: ("CS", before.encode())})
    assert read(anonymised(data, keep=frozenset({keep}))).LongitudinalTemporalInformationModified == after


def test_fixed_values_are_written() -> None:
    fixed = (("ClinicalTrialProtocolID", "TRIAL-7"), ("ClinicalTrialSiteID", "04"))
    data = datasets.make_instance(ClinicalTrialProtocolID="CANARY", ClinicalTrialSubjectID="CANARY")
    out = anonymised(data, fixed=fixed)
    found = read(out)
    assert (found.ClinicalTrialProtocolID, found.ClinicalTrialSiteID) == ("TRIAL-7", "04")
    assert b"CANARY" not in out


US, SC, PHOTO = "1.2.840.10008.5.1.4.1.1.6.1", "1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.5.1.4.1.1.77.1.4"
PDF, REPORT = "1.2.840.10008.5.1.4.1.1.104.1", "1.2.840.10008.5.1.4.1.1.88.33"


@pytest.mark.parametrize(
    ("keywords", "reason"),
    [
        ({"BurnedInAnnotation": "YES"}, Withheld.BURNED_IN),
        ({"SOPClassUID": US}, Withheld.ULTRASOUND),
        ({"Modality": "US"}, Withheld.ULTRASOUND),
        ({"SOPClassUID": SC}, Withheld.SECONDARY_CAPTURE),
        ({"SOPClassUID": SC + ".4"}, Withheld.SECONDARY_CAPTURE),
        (
            {"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]},
            'perhaps a copy of a screen: ImageType says "SAVE"',
        ),
        ({"SOPClassUID": "1.2.840.10008.5.1.1.30"}, Withheld.SECONDARY_CAPTURE),
        ({"Modality": "HC"}, Withheld.SECONDARY_CAPTURE),
        ({"SOPClassUID": PHOTO}, Withheld.PHOTOGRAPH),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.77.2"}, Withheld.PHOTOGRAPH),
        ({"Modality": "DM"}, Withheld.PHOTOGRAPH),
    ],
)
def test_what_may_show_a_name_is_withheld_unless_it_says_no(keywords: dict[str, Any], reason: str) -> None:
    data = datasets.make_instance(**keywords)
    held = deidentifier().file(memoryview(data))
    assert isinstance(held, Held)
    assert held.reason == reason
    anonymised(data, burned_in="allow")
    if "BurnedInAnnotation" not in keywords:
        anonymised(datasets.make_instance(**keywords, BurnedInAnnotation="NO"))


@pytest.mark.parametrize(("sop_class", "reason"), [(PDF, Withheld.DOCUMENT), (REPORT, Withheld.STRUCTURED)])
def test_documents_and_reports_are_withheld(sop_class: str, reason: Withheld) -> None:
    data = datasets.make_instance(SOPClassUID=sop_class, BurnedInAnnotation="NO")
    held = deidentifier(burned_in="allow").file(memoryview(data))
    assert isinstance(held, Held)
    assert held.reason is reason


def test_a_cleaned_report_keeps_its_shape_and_no_words() -> None:
    item, inner = pydicom.Dataset(), pydicom.Dataset()
    inner.ValueType, inner.TextValue = "TEXT", "Johanna Smithfield has a cold"
    item.ValueType, item.PersonName, item.ContentSequence = "CONTAINER", "Smithfield^Johanna", [inner]
    data = datasets.make_instance(SOPClassUID=REPORT, ContentSequence=[item])
    out = anonymised(data, structured="clean")
    assert b"Smithfield" not in out
    assert b"has a cold" not in out
    assert len(read(out).ContentSequence) == 1


@pytest.mark.parametrize(
    "data",
    [
        b"PatientID,Pseudonym\nA,T1\n B ,T2\n\n",
        b"\xef\xbb\xbfPatientID;Pseudonym\r\nA;T1\r\nB;T2\r\nA;T1\r\n",
        b'PatientID,Pseudonym\n"A",T1\n"B","T2"\n',
        b"\r\n \r\nPatientID;Pseudonym\r\n;\r\nA;T1\r\n B;T2 \r\n",
        b"PatientID,Pseudonym\rA,T1\rB,T2",
        "PatientID,Pseudonym\nA,T1\nB,T2\nÅ\u00a0\u3000x,T3".encode(),
    ],
)
def test_a_table_is_read(data: bytes) -> None:
    table = parse_table(data)
    assert (table.pseudonym("A "), table.pseudonym("B")) == ("T1", "T2")
    assert table.patients("T2") == ("B",)
    with pytest.raises(PatientNotListed):
        table.pseudonym("C")
    assert "T1" not in repr(table)


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", "line 1"),
        (b"ID,Pseudonym\nA,T1\n", "line 1"),
        (b"PatientID,Pseudonym\nA,T1\nA,T2\n", "line 3"),
        (b"PatientID,Pseudonym\nA,T1\nB,T1\n", "line 3"),
        (b"PatientID,Pseudonym\nA\n", "found 1 columns"),
        (b"PatientID,Pseudonym\n,T1\n", "PatientID is empty"),
        (b"PatientID,Pseudonym\nA,\n", "expected a pseudonym"),
        (b"PatientID,Pseudonym\nA,X^Y\n", "expected a pseudonym"),
        (b"PatientID,Pseudonym\nA,A\n", "PatientID itself"),
        (b"PatientID,Pseudonym\nA,B\nB,T1\n", "line 2 .* PatientID of another row"),
        (b"PatientID,Pseudonym\nA,..\n", "expected a pseudonym"),
        (b'PatientID,Pseudonym\n"A\nB",T1\n', "line end"),
        (b'PatientID,Pseudonym\n"A,T1\n', "isn't CSV"),
        (b"\n\nID,Pseudonym\nA,T1\n", "line 3"),
        ("PatientID,Pseudonym\nÄ,T1\n".encode("latin-1"), "UTF-8"),
    ],
)
def test_an_ambiguous_table_is_invalid(data: bytes, fault: str) -> None:
    with pytest.raises(PseudonymTableInvalid, match=fault):
        parse_table(data)


def test_a_table_is_read_again_when_it_changes(tmp_path: Path) -> None:
    tables, path = PseudonymTables(tmp_path), tmp_path / "t.csv"
    with pytest.raises(PseudonymTableInvalid, match="can't be read"):
        tables.read("t.csv")
    path.write_text("PatientID,Pseudonym\nA,T1\n")
    first = tables.read("t.csv")
    assert tables.read("t.csv") is first
    path.write_text("PatientID,Pseudonym\nA,T1\nB,T2\n")
    assert tables.read("t.csv").pseudonym("B") == "T2"


def test_a_pipe_in_place_of_a_table_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "t.csv")
    with pytest.raises(PseudonymTableInvalid, match=r"t\.csv: it isn't a file"):
        PseudonymTables(tmp_path).read("t.csv")


def test_with_a_table_nobody_else_gets_a_pseudonym() -> None:
    table = parse_table(b"PatientID,Pseudonym\nPAT1,T1\n")
    assert read(anonymised(datasets.make_instance(), table=table)).PatientID == "T1"
    with pytest.raises(PatientNotListed):
        anonymised(datasets.make_instance("PAT2"), table=table)
