"""Private values that a rule calls safe: each is searched for what its file says elsewhere, however it is written."""

import base64
import bz2
import gzip
import io
import random
import struct
import zipfile
import zlib
from typing import Any

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autorthanc_spool.deidentify import text
from autorthanc_spool.deidentify.file import Deidentified
from autorthanc_spool.deidentify.haystack import COMMON_WORDS, Haystack
from autorthanc_spool.deidentify.needles import Needle, NeedleKind
from autorthanc_spool.deidentify.packed import MOST_UNPACKED_BYTES
from autorthanc_spool.rules import Keep, PrivateElement
from tests.deidentify import corpus
from tests.deidentify.make import deidentifier
from tests.helpers import datasets

CREATOR = "SPOOL TEST"
SAFE = (PrivateElement(CREATOR, 0x41, 0x01), PrivateElement(CREATOR, 0x41, 0x02))
COUNTED = {f"(0041,xx01) {CREATOR}": 1}
ORIGINAL: dict[str, Any] = {
    "PatientName": "Ibáñez^Magdalena",
    "AccessionNumber": "RX-0081726",
    "DeviceSerialNumber": "SN45152",
    "StationName": "KAMMER7",
    "InstitutionName": "Spital Oberwald",
    "OperatorsName": "Li^Wei",
    "SpecificCharacterSet": "ISO_IR 100",
}
# Bytes that mean nothing.
NOISE = bytes(random.Random(1).randbytes(2000)).translate(bytes(one | 0x80 for one in range(256)))


def file_with(value: Any, vr: str = "OB", **keywords: Any) -> bytes:
    data = pydicom.dcmread(io.BytesIO(datasets.make_instance("0047110815", **{**ORIGINAL, **keywords})))
    data.private_block(0x41, CREATOR, create=True).add_new(0x01, vr, value)
    return datasets.encode(data)


def deidentified(data: bytes, *keep: Keep) -> tuple[Deidentified, pydicom.Dataset]:
    found = deidentifier(safe_private=SAFE, keep=frozenset(keep)).file(memoryview(data))
    assert isinstance(found, Deidentified)
    return found, pydicom.dcmread(io.BytesIO(found.bytes(memoryview(data))))


def is_removed(value: Any, vr: str = "OB", *keep: Keep, **keywords: Any) -> bool:
    found, after = deidentified(file_with(value, vr, **keywords), *keep)
    assert found.private_removed == ({} if (0x41, 0x1001) in after else COUNTED)
    return (0x41, 0x1001) not in after


def in_noise(content: bytes) -> bytes:
    whole = NOISE[:700] + content + NOISE[700:1400]
    return whole + bytes(len(whole) % 2)


TELLING = [
    "Ibáñez",
    "IBANEZ",
    "magdalena ibanez",
    "wei li",
    "Li^Wei",
    "0047110815",
    "47110815",
    "RX0081726",
    "rx-81726",
    "81726",
    "SN45152",
    "45152",
    "KAMMER7",
    "Spital_Oberwald",
    "20260102",
    "2026-01-02",
    "2026/1/2",
    "02.01.2026",
    "1/2/2026",
    "2 January 2026",
    "Jan 02, 2026",
    "Fri Jan  2 12:13:14 2026",
    "02.01.26",
    "19700102",
    "20260102030405.123",
    datasets.uid("0047110815", "1"),
    "1.3.12.2.1107.5.2.32.35119.2010011420070434054586384",
    "2.25.329800735698586629295641978511506172918",
]


@pytest.mark.parametrize("words", TELLING)
def test_a_value_that_identifies_is_removed_in_every_usual_encoding(words: str) -> None:
    for encoding in ("latin-1", "utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"):
        assert is_removed(in_noise(words.encode(encoding))), encoding


@pytest.mark.parametrize("vr", ["OB", "OW", "OF", "OD", "OL", "OV", "UN", "UT", "LT"])
def test_the_vr_of_a_value_makes_no_difference(vr: str) -> None:
    value: Any = "id 47110815 of x"
    assert is_removed(value if vr in ("UT", "LT") else value.encode(), vr)


HARMLESS = [
    b"",
    b"0.4711 81.5",
    b"1.2.840.10008.5.1.4.1.1.2",
    b"version 1.2.3.4.5.6",
    b"12.1.2026 and 20260103",
    b"0.0081726 and 45152.5 and 1451529",
    b"a linear weighting, cold, liwei",
    b"Siemens phantom",
    NOISE,
]


@pytest.mark.parametrize("value", HARMLESS, ids=repr)
def test_a_value_that_identifies_nobody_stays_byte_for_byte(value: bytes) -> None:
    padded = value + b" " * (len(value) % 2)
    found, after = deidentified(file_with(padded))
    assert (after[0x41, 0x1001].value or b"") == padded
    assert found.private_removed == found.private_cleaned == {}


@pytest.mark.parametrize(
    ("words", "keep"),
    [
        ("serial 45152 x", Keep.DEVICE),
        ("at KAMMER7 now", Keep.DEVICE),
        ("Spital Oberwald", Keep.INSTITUTION),
        ("on 2026-01-02..", Keep.FULL_DATES),
        (f"{datasets.uid('0047110815', '1')}  ", Keep.UIDS),
    ],
)
def test_what_an_option_keeps_is_not_looked_for(words: str, keep: Keep) -> None:
    value = words.encode().ljust(80)
    assert is_removed(value)
    assert not is_removed(value, "OB", keep)
    assert is_removed(value, "OB", Keep.PATIENT_CHARACTERISTICS)


def test_dates_that_are_moved_do_not_stay_where_nobody_moves_them() -> None:
    assert is_removed(b"on 2026-01-02..", "OB", Keep.MODIFIED_DATES)
    # The birth date goes in any case.
    assert is_removed(b"born 1970-01-02 ", "OB", Keep.FULL_DATES)


@pytest.mark.parametrize("sets", ["ISO_IR 192", "GB18030", "ISO 2022 IR 87"])
def test_a_name_in_the_characters_of_its_file_is_found_in_any_encoding(sets: str) -> None:
    for encoding in ("utf-8", "utf-16-le", "utf-16-be", {"GB18030": "gb18030"}.get(sets, "utf-8")):
        value = in_noise("山田太郎".encode(encoding))
        named: dict[str, Any] = {"SpecificCharacterSet": sets, "PatientName": "Yamada^Tarou=山田^太郎"}
        if sets == "ISO 2022 IR 87":
            named["SpecificCharacterSet"] = ["", sets]
        assert is_removed(value, "OB", **named), encoding


def test_a_day_as_seconds_is_found_by_its_number() -> None:
    noon = 1767355200
    for order in "<>":
        assert is_removed(struct.pack(f"{order}L", noon))
        assert is_removed(struct.pack(f"{order}Q", noon))
        assert is_removed(struct.pack(f"{order}L", 20260102))
        assert is_removed(struct.pack(f"{order}L", 47110815))
    assert is_removed(struct.pack("<3Q", 1, noon, 2))
    assert is_removed(noon, "SL")
    assert not is_removed(noon + 30 * 86400, "SL")
    assert not is_removed(noon, "SL", Keep.FULL_DATES)


def ge_block(content: bytes) -> bytes:
    packed = gzip.compress(content, mtime=1767355200)
    whole = struct.pack("<L", len(packed)) + packed
    return whole + bytes(len(whole) % 2)


def test_what_is_packed_is_searched_inside() -> None:
    harmless, telling = b'set TR "6600"\n' * 50, b'set TR "6600"\nset EXAM "Magdalena Ibanez"\n'
    assert not is_removed(ge_block(harmless))
    assert is_removed(ge_block(telling))
    assert is_removed(ge_block(gzip.compress(telling)))
    assert is_removed(in_noise(zlib.compress(telling * 3)))
    assert not is_removed(in_noise(zlib.compress(harmless)))
    assert is_removed(in_noise(base64.b64encode(b"name Ibanez in base64 that is long enough to be seen as such")))
    assert is_removed(
        in_noise(b"/x+" + base64.b64encode(b"name Ibanez in base64 that is long enough to be seen as such"))
    )


def zipped() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a", "b")
    return out.getvalue()


@pytest.mark.parametrize(
    "value",
    [
        ge_block(b"x" * 1000)[:30],
        in_noise(ge_block(bytes(range(256)) * 9)[4:40]),
        bz2.compress(b"x" * 100),
        in_noise(zipped()),
        b"%PDF-1.7 and so on",
        b"\xff\xd8\xff\xe0 a picture",
        ge_block(bytes(MOST_UNPACKED_BYTES + 1)),
        zlib.compress(b"harmless" * 50)[:20],
    ],
    ids=["cut gzip", "cut gzip later", "bzip2", "zip", "pdf", "jpeg", "bomb", "cut zlib"],
)
def test_what_cannot_be_searched_is_removed(value: bytes) -> None:
    assert is_removed(value + bytes(len(value) % 2))


def test_a_value_in_a_sequence_is_searched_too() -> None:
    item = pydicom.Dataset()
    item.private_block(0x41, CREATOR, create=True).add_new(0x01, "OB", b"Magdalena Ibanez")
    data = pydicom.dcmread(io.BytesIO(file_with(b"harmless")))
    data.private_block(0x41, CREATOR).add_new(0x02, "SQ", [item])
    found, after = deidentified(datasets.encode(data))
    assert found.private_removed == COUNTED
    assert after[0x41, 0x1001].value == b"harmless"
    assert (0x41, 0x1001) not in after[0x41, 0x1002].value[0]


def test_names_that_stand_only_in_removed_places_are_looked_for() -> None:
    data = pydicom.dcmread(io.BytesIO(file_with(b"seen by Oderbruch")))
    data.private_block(0x43, "OTHER", create=True).add_new(0x01, "PN", "Oderbruch^A")
    found, _ = deidentified(datasets.encode(data))
    assert found.private_removed == COUNTED


def test_a_file_that_keeps_no_private_element_is_not_gathered_from() -> None:
    found = deidentifier().file(memoryview(file_with(b"Magdalena Ibanez")))
    assert isinstance(found, Deidentified)
    assert found.private_removed == {}


WORDS = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=6, max_size=20).filter(
    lambda one: one.lower() not in COMMON_WORDS
)
IDENTIFIERS = st.from_regex(r"[A-Z]{1,4}-?[1-9][0-9]{5,11}|[1-9][0-9]{7,15}", fullmatch=True)
ENCODINGS = st.sampled_from(["ascii", "utf-8", "latin-1", "utf-16-le", "utf-16-be"])


@given(IDENTIFIERS, ENCODINGS, st.binary(max_size=300), st.binary(max_size=300), st.sampled_from([str, str.lower]))
def test_any_identifier_in_any_encoding_is_found_at_any_place(
    identifier: str, encoding: str, before: bytes, after: bytes, case: Any
) -> None:
    needle = Needle(NeedleKind.IDENTIFIER, identifier.encode(), text.DEFAULT)
    haystack = Haystack(frozenset({needle}), keeps_uids=False)
    assert haystack.found_in(before + case(identifier).encode(encoding) + after)


@given(WORDS, ENCODINGS, st.binary(max_size=300), st.binary(max_size=300))
def test_any_name_in_any_encoding_is_found_at_any_place(name: str, encoding: str, before: bytes, after: bytes) -> None:
    haystack = Haystack(frozenset({Needle(NeedleKind.NAME, f"{name}^Q".encode(), text.DEFAULT)}), keeps_uids=False)
    assert haystack.found_in(before + name.encode(encoding) + after)


@given(st.dates(), ENCODINGS, st.sampled_from(["%Y%m%d", "%Y-%m-%d", "%d.%m.%Y", "%d-%b-%Y"]), st.binary(max_size=100))
def test_any_day_is_found_as_it_is_usually_written(day: Any, encoding: str, how: str, after: bytes) -> None:
    value = f"{day.year:04}{day:%m%d}".encode()
    haystack = Haystack(frozenset({Needle(NeedleKind.DAY, value, text.DEFAULT)}), keeps_uids=False)
    written = day.strftime(how.replace("%Y", f"{day.year:04}"))
    assert haystack.found_in(b"\x80 " + written.encode(encoding) + b" " + after)


KINDS = [
    (0x00080016, "UI"),  # SOPClassUID
    (0x0008010C, "UI"),  # CodingSchemeUID
    (0x00080117, "UI"),  # ContextUID
]
PRIVATE_CLASS = "1.3.12.2.1107.5.9.1"


def kinds_of(uid: str, *keep: Keep, patient: str = "MRN-7123456") -> tuple[list[str], str]:
    elements = {
        **corpus.image(),
        0x00100020: ("LO", patient.encode()),
        0x00080020: ("DA", b"20260102"),
        **{tag: (vr, uid.encode()) for tag, vr in KINDS},
    }
    found = deidentifier(keep=frozenset(keep)).file(memoryview(corpus.file(elements)))
    assert isinstance(found, Deidentified)
    after = pydicom.dcmread(io.BytesIO(found.bytes(memoryview(corpus.file(elements)))))
    return [str(after[tag].value) for tag, _ in KINDS], str(after.file_meta.MediaStorageSOPClassUID)


# Zeros in front are wrong in a UID, and common.
@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
@pytest.mark.parametrize(
    "uid", ["1.2.3.0007123456", "1.2.3.4.20260102.5", "1.2.3.2026.1.2", "1.2.871234569", "1.2.840.10008.7123456"]
)
def test_a_kind_that_is_made_of_the_patient_is_replaced_everywhere(uid: str) -> None:
    found, in_header = kinds_of(uid)
    assert len({*found, in_header}) == 1
    assert in_header.startswith("2.25.")
    assert kinds_of(uid, Keep.UIDS) == ([uid] * len(KINDS), uid)


@pytest.mark.parametrize("uid", [corpus.CT, PRIVATE_CLASS, "1.2.840.10008.5.1.4.1.1.99999"])
def test_any_other_kind_stays(uid: str) -> None:
    assert kinds_of(uid) == ([uid] * len(KINDS), uid)
    assert kinds_of(uid, patient="10008") == ([uid] * len(KINDS), uid)
