"""Files made to smuggle a name out: in every place that a table of attributes doesn't speak of."""

import io

import pydicom
import pytest

from autorthanc_spool.deidentify.elements import EXPLICIT_LITTLE, UNDEFINED
from autorthanc_spool.deidentify.errors import DeidentificationError
from autorthanc_spool.rules import Keep, PrivateElement
from tests.deidentify import corpus
from tests.deidentify.corpus import Builder, Elements, Value
from tests.deidentify.make import anonymised

NAME = b"Smithfield^Johanna"
PATIENT: Elements = {
    0x00100010: ("PN", NAME),
    0x00100020: ("LO", b"PID-4711-77"),
    0x00100030: ("DA", b"19410203"),
    0x00080090: ("PN", b"Housemd^Gregory"),
}
NEEDLES = ("smithfield", "johanna", "4711-77", "19410203", "housemd")
ALL = frozenset(Keep) - {Keep.FULL_DATES}
EVERYTHING_KEPT = {"keep": ALL, "burned_in": "allow", "structured": "clean"}
PROFILES = [{}, {"keep": frozenset({Keep.DESCRIPTORS})}, EVERYTHING_KEPT]


def leaks(out: bytes) -> list[str]:
    lower = out.lower()
    encodings = ("ascii", "utf-16-le", "utf-16-be")
    return [needle for needle in NEEDLES if any(needle.encode(encoding) in lower for encoding in encodings)]


def make(elements: Elements, tail: bytes = b"") -> bytes:
    return corpus.file({**corpus.image(), **PATIENT, **elements}) + tail


UNLISTED: dict[str, Elements] = {
    "a sequence name": {0x00180024: ("SH", b"tse Smithfield")},
    "a convolution kernel": {0x00181210: ("SH", b"SMITHFIELD")},
    "a code's meaning": {corpus.OUTER: ("SQ", [{0x00080104: ("LO", b"head of Johanna Smithfield")}])},
    "a name within a word": {0x00180024: ("SH", b"xjohannasmith")},
    "an identifier in words": {0x00281055: ("LO", b"window of PID 4711/77")},
    "a birth date in words": {0x00281055: ("LO", b"born 3.2.1941, soft tissue")},
    "letters in a number": {0x00180050: ("DS", b"Smithfield^Johan")},
    "letters in an integer": {0x00200013: ("IS", b"smithfield")},
    "a word of a code": {0x00180015: ("CS", b"SMITHFIELDJOHANNA")},
    "letters in binary numbers": {
        0x00189073: ("FD", b"xx Smithfield xx"),
        0x00280120: ("US", b"smithfield"),
        0x00280009: ("AT", b"\0\0\0JohannaSmith"),
        0x00186030: ("UL", b"xxx 19410203"),
        0x00280106: ("SS", b"PID-4711-77 "),
        0x00186020: ("SL", b"\0PID-4711-77"),
        0x00189089: ("FL", NAME + b"  "),
        0x00720082: ("SV", b"housemd Gregory "),
        0x00720083: ("UV", b"\0housemd\0\0\0\0\0\0\0\0"),
    },
    "letters behind binary numbers": {0x00189073: ("FD", b"\0\0\0\0\0\0\xf0\x3fSmithfield")},
    "letters where an age should be": {0x0072005F: ("AS", b"Smithfield"), 0x00189073: ("AS", NAME)},
    "a UID that isn't one": {0x0008001A: ("UI", b"smithfield.johanna")},
    "a UID of a context": {corpus.OUTER: ("SQ", [{0x00080117: ("UI", b"1.2.Smithfield")}])},
    "an address": {0x00081190: ("UR", b"https://pacs/Smithfield")},
    "the address of a code": {corpus.OUTER: ("SQ", [{0x00080120: ("UR", b"urn:smithfield")}])},
    "opaque bytes": {0x0008041B: ("OB", b"Smithfield"), 0x00282000: ("OB", b"no profile")},
    "a time": {0x0008002A: ("DT", b"Smithfield+0100 ")},
    "an offset": {0x00080201: ("SH", b"+Smithfield")},
    "a character set": {0x00080005: ("CS", b"SMITHFIELD")},
    "a character set of an item": {corpus.OUTER: ("SQ", [{0x00080005: ("CS", b"ISO_IR 100\\SMITHFIELD")}])},
    "a character set of Python's": {0x00080005: ("CS", b"utf_16"), 0x00180024: ("SH", b"tse Smithfield")},
    "a character set with a NUL": {0x00080005: ("CS", b"ISO\0IR 1"), 0x00180024: ("SH", b"tse Smithfield")},
    "an escape": {0x00080005: ("CS", b"\\ISO 2022 IR 87"), 0x00180024: ("SH", b"\x1b$BSMITHFIELD\x1b(B")},
    "an age": {0x00101010: ("AS", b"Smithfield")},
    "a VR that isn't the attribute's": {0x00180024: ("OB", b"smithfield"), 0x00180050: ("OW", b"smithfield")},
    "text of unknown VR": {0x00180024: ("UN", b"smithfield"), 0x00281055: ("UN", b"Johanna Smithfield")},
    "a sequence where text should be": {0x00180024: ("SQ", [{0x00080104: ("LO", b"Smithfield")}])},
    "text where a sequence should be": {corpus.OUTER: ("LO", b"Smithfield")},
    "in letters of two bytes": {0x00180024: ("SH", "Smithfield".encode("utf-16-le"))},
    "after a NUL": {0x00180024: ("SH", b"tse\0smithfield")},
    "a name of another item": {
        corpus.OUTER: ("SQ", [{0x00180024: ("SH", b"for Housemd")}]),
        corpus.INNER: ("SQ", [{0x00100010: ("PN", b"Housemd^X")}]),
    },
    "a code of unknown VR": {
        corpus.OUTER: (
            "UN",
            corpus.IMPLICIT_LITTLE.item(Builder(corpus.IMPLICIT_LITTLE).element(0x00100010, "PN", NAME)),
        )
    },
    "an unknown attribute of unknown VR": {0x00187779: ("UN", NAME)},
    "a curve of any number": {0x50FE3000: ("OW", NAME), 0x5010200E: ("CS", b"SMITHFIELD")},
    "an overlay of any number": {0x60FE3000: ("OW", NAME), 0x60020022: ("LO", NAME), 0x60801500: ("LO", NAME)},
    "variable pixel data": {0x7F020010: ("OW", NAME)},
    "a group length": {0x00280000: ("UL", b"smithfield")},
    "the length of the whole": {0x00080001: ("UL", b"smithfield")},
    "a command": {0x00000110: ("US", b"smithfield")},
    "file meta information within": {0x00020016: ("AE", b"SMITHFIELD"), 0x00020102: ("OB", NAME)},
    "an icon": {0x00880200: ("SQ", [{0x00204000: ("LT", NAME), 0x7FE00010: ("OB", NAME)}])},
    "trailing padding": {0xFFFCFFFC: ("OB", NAME)},
    "a private item": {corpus.OUTER: ("SQ", [{0x00290010: ("LO", b"SMITHFIELD"), 0x00291001: ("UN", NAME)}])},
    "a private element without a creator": {0x00291001: ("LO", NAME), 0x00290001: ("LO", NAME)},
    "a digital signature": {
        0xFFFAFFFA: ("SQ", [{0x04000115: ("OB", NAME)}]),
        0x04000500: ("SQ", [{0x04000520: ("OB", NAME)}]),
    },
    "a passenger": {0x40101013: ("LT", b"Smithfield")},
    "the issuers of numbers": {
        tag: ("SQ", [{0x00400031: ("UT", b"housemd clinic"), 0x00400032: ("UT", b"smithfield.clinic")}])
        for tag in (0x00080051, 0x00100024, 0x00400026, 0x00400027)
    },
    "an order": {0x00401006: ("SH", b"SMITHFIELD")},
}


@pytest.mark.parametrize("options", PROFILES, ids=["basic", "descriptors", "everything"])
@pytest.mark.parametrize("where", UNLISTED)
def test_a_name_does_not_leave_in(where: str, options: dict[str, object]) -> None:
    out = anonymised(make(UNLISTED[where]), **options)
    assert leaks(out) == []
    pydicom.dcmread(io.BytesIO(out)).walk(lambda _, element: element.value)


DESCRIPTIONS = [
    b"MR of Smithfield",
    b"johanna, control",
    b"smithfieldjohanna",
    b"PID471177 control",
    b"control of 3 Feb 1941",
    b"03/02/41 control",
    b"born February 3rd, 1941",
    b"1.2.826.0.1.3680043.77777.4",
    b"asked for by dr housemd",
]


@pytest.mark.parametrize("description", DESCRIPTIONS)
@pytest.mark.parametrize("tag", [0x00081030, 0x0008103E, 0x00181030, 0x00104000, 0x00324000], ids=hex)
def test_a_description_with_an_identity_goes(description: bytes, tag: int) -> None:
    vr = "LT" if tag in (0x00104000, 0x00324000) else "LO"
    nested: Elements = {corpus.OUTER: ("SQ", [{0x00081030: ("LO", description)}])}
    out = anonymised(make({tag: (vr, description), **nested}), keep=frozenset({Keep.DESCRIPTORS}))
    assert description not in out
    assert leaks(out) == []


def test_a_description_without_an_identity_stays_and_only_then_the_code_is_written() -> None:
    data = make({0x00081030: ("LO", b"MR of the brain"), 0x0008103E: ("LO", b"t1 axial")})
    kept = pydicom.dcmread(io.BytesIO(anonymised(data, keep=frozenset({Keep.DESCRIPTORS}))))
    assert (kept.StudyDescription, kept.SeriesDescription) == ("MR of the brain", "t1 axial")
    assert [item.CodeValue for item in kept.DeidentificationMethodCodeSequence] == ["113100", "113105"]
    basic = pydicom.dcmread(io.BytesIO(anonymised(data)))
    assert "StudyDescription" not in basic
    assert [item.CodeValue for item in basic.DeidentificationMethodCodeSequence] == ["113100"]


CHARACTER_SETS: list[tuple[bytes, bytes, bytes]] = [
    (b"ISO_IR 192", "Müller^Jörg".encode(), b"Kopf von mueller Muller"),
    (b"ISO_IR 100", "Müller^Jörg".encode("latin-1"), "Kopf MÜLLER".encode("latin-1")),
    (b"ISO_IR 100", "Müller^Jörg".encode("latin-1"), b"Kopf Mueller"),
    (b"ISO_IR 100", b"Mueller^Joerg", "Kopf Müller".encode("latin-1")),
    (b"ISO_IR 100", "Sørensen^Åse".encode("latin-1"), b"knee soerensen"),
    (b"ISO_IR 144", "Люкceмбypг^Иван".encode("iso8859-5"), "голова люкceмбypг".encode("iso8859-5")),
    (b"GB18030", "王^小东".encode("gb18030"), "王小东的头".encode("gb18030")),
    (b"\\ISO 2022 IR 149", b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7", b"\x1b$)C\xfb\xf3\xd1\xce\xd4\xd7"),
    (b"\\ISO 2022 IR 87", b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B", b"\x1b$B;3ED\x1b(B head"),
    (b"ISO_IR 192", "Yamada^Tarou=山田^太郎=やまだ^たろう".encode(), "ﾔﾏﾀﾞ head".encode()),
    (b"ISO_IR 192", "Yamada^Tarou=山田^太郎=ヤマダ^タロウ".encode(), "やまださん head".encode()),
    (b"ISO_IR 192", "Yamada^Tarou=山田^太郎=やまだ^たろう".encode(), "山田さん head".encode()),
    (b"ISO_IR 192", "Hong^Gildong=洪^吉洞=홍^길동".encode(), "길동씨 head".encode()),
    (b"ISO_IR 100", "Müller^Jörg".encode("latin-1"), "Kopf MÜLLER, in UTF-8".encode()),
    (b"ISO_IR 100", "Müller^Jörg".encode(), "Kopf von Müller".encode("latin-1")),
    (b"GB18030", "王^小东".encode("gb18030"), "王小东的头".encode()),
    (b"ISO_IR 192", "Łukasz^Đorđe".encode(), b"head of LUKASZ"),
    (b"ISO_IR 100", "Sørensen^Åse".encode("latin-1"), b"knee sorensen"),
    (b"ISO_IR 101", "Łukasz^Bąk".encode("iso8859-2"), "głowa łukasz".encode("iso8859-2")),
]


@pytest.mark.parametrize(("names", "person", "description"), CHARACTER_SETS, ids=lambda one: one.decode("latin-1")[:12])
def test_a_name_is_found_in_any_character_set(names: bytes, person: bytes, description: bytes) -> None:
    elements: Elements = {
        0x00080005: ("CS", names),
        0x00100010: ("PN", person),
        0x00081030: ("LO", description),
        0x00180024: ("SH", description),
    }
    out = anonymised(corpus.file({**corpus.image(), **elements}), keep=frozenset({Keep.DESCRIPTORS}))
    assert description not in out
    assert person not in out


def test_two_bytes_that_are_reserved_carry_nothing() -> None:
    data = bytearray(make({}))
    at = data.rindex(b"\xe0\x7f\x10\x00OW")
    data[at + 6 : at + 8] = b"JS"
    out = anonymised(bytes(data))
    at = out.rindex(b"\xe0\x7f\x10\x00OW")
    assert out[at + 6 : at + 8] == b"\0\0"


def test_delimiters_carry_nothing() -> None:
    inner = Builder(EXPLICIT_LITTLE).data_set({0x00080100: ("SH", b"T-D1100")})
    header = EXPLICIT_LITTLE.header
    for tag in (0xFFFEE00D, 0xFFFEE0DD):
        item = header(0xFFFEE000, "", UNDEFINED) + inner + header(0xFFFEE00D, "", 0)
        sequence = header(corpus.OUTER, "SQ", UNDEFINED) + item + header(0xFFFEE0DD, "", 0)
        at = sequence.rindex(header(tag, "", 0))
        spoilt = sequence[: at + 4] + b"John" + sequence[at + 8 :]
        whole = corpus.file(corpus.image())
        where = whole.index(b"\x18\0\x50\0DS")
        with pytest.raises(DeidentificationError):
            anonymised(whole[:where] + spoilt + whole[where:])
        anonymised(whole[:where] + sequence + whole[where:])


SAFE = (
    PrivateElement("SAFE", 0x0029, 0x01),
    PrivateElement("SAFE", 0x0029, 0x02),
    PrivateElement("SAFE", 0x0029, 0x03),
)
SAFE_VALUES: list[tuple[str, Value]] = [
    ("LO", NAME),
    ("PN", b"Somebody^Else"),
    ("UN", b"xx smithfield"),
    ("DA", b"19410203"),
    ("DT", b"19410203120000"),
    ("UI", f"{corpus.UID_FAMILY}.4".encode()),
    (
        "SQ",
        [{0x00100010: ("PN", NAME), 0x00290010: ("LO", b"SAFE"), 0x00291001: ("LO", NAME), 0x00291009: ("LO", NAME)}],
    ),
]


@pytest.mark.parametrize(("vr", "value"), SAFE_VALUES, ids=lambda one: one if isinstance(one, str) else "")
def test_a_safe_private_element_is_looked_at_too(vr: str, value: Value) -> None:
    out = anonymised(make({0x00290010: ("LO", b"SAFE"), 0x00291001: (vr, value)}), safe_private=SAFE)
    assert leaks(out) == []
    assert b"Somebody" not in out
    assert corpus.UID_FAMILY.encode() not in out


def test_a_block_counts_by_its_creator_in_its_own_item() -> None:
    elements: Elements = {
        0x00290010: ("LO", b"SAFE"),
        0x00291001: ("LO", b"kept"),
        0x00290011: ("LO", b"OTHER"),
        0x00291101: ("LO", b"not kept"),
        corpus.OUTER: ("SQ", [{0x00290010: ("LO", b"OTHER"), 0x00291001: ("LO", b"not kept")}]),
    }
    found = pydicom.dcmread(io.BytesIO(anonymised(make(elements), safe_private=SAFE)))
    assert found[0x00291001].value == "kept"
    assert 0x00291101 not in found
    assert 0x00291001 not in found[corpus.OUTER].value[0]


def test_an_item_about_another_patient_gets_his_pseudonym() -> None:
    nested: Elements = {0x00100010: ("PN", b"Donor^D"), 0x00100020: ("LO", b"DONOR")}
    donor = pydicom.dcmread(io.BytesIO(anonymised(make({0x00100020: ("LO", b"DONOR")}))))
    found = pydicom.dcmread(io.BytesIO(anonymised(make({corpus.OUTER: ("SQ", [nested, {0x00100010: ("PN", NAME)}])}))))
    items = found[corpus.OUTER].value
    assert items[0].PatientID == items[0].PatientName == donor.PatientID
    assert items[1].PatientName == found.PatientID != donor.PatientID
