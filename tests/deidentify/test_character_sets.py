"""A misspelt SpecificCharacterSet is corrected, so that the text that stays can be read."""

import io

import pydicom
import pytest

from autorthanc_spool.deidentify.character_sets import DEFINED_TERMS, corrected
from autorthanc_spool.rules import Keep, PrivateElement
from tests.deidentify import corpus
from tests.deidentify.corpus import Elements
from tests.deidentify.make import anonymised

DESCRIPTORS = frozenset({Keep.DESCRIPTORS})


def image(names: bytes, codec: str, words: str, **more: bytes) -> bytes:
    elements: Elements = {
        **corpus.image(),
        0x00080005: ("CS", names),
        0x00100010: ("PN", more.get("name", b"Nobody")),
        0x0008103E: ("LO", words.encode(codec)),
        corpus.OUTER: ("SQ", [{0x00080104: ("LO", words.encode(codec))}]),
    }
    return corpus.file(elements)


def read(data: bytes) -> pydicom.Dataset:
    return pydicom.dcmread(io.BytesIO(data))


MISSPELT = [
    ("ISO IR 192", "ISO_IR 192", "utf-8", "Schädel 头 голова"),
    ("ISO_IR_192", "ISO_IR 192", "utf-8", "Schädel 头"),
    ("ISO_IR192", "ISO_IR 192", "utf-8", "Schädel"),
    ("ISO 2022 IR 192", "ISO_IR 192", "utf-8", "Schädel"),
    ("UTF-8", "ISO_IR 192", "utf-8", "Schädel 头"),
    ("utf8", "ISO_IR 192", "utf-8", "Schädel 头"),
    ("GB2312", "GB18030", "gb2312", "头部"),
    ("GB 18030", "GB18030", "gb18030", "头部"),
    ("gbk", "GBK", "gbk", "头部"),
    ("ISO 2022 GBK", "GBK", "gbk", "头部"),
    ("ISO-IR 100", "ISO_IR 100", "latin-1", "Schädel"),
    ("iso_ir_100", "ISO_IR 100", "latin-1", "Schädel"),
    ("ISO_IR100", "ISO_IR 100", "latin-1", "Schädel"),
    ("IR 100", "ISO_IR 100", "latin-1", "Schädel"),
    ("latin1", "ISO_IR 100", "latin-1", "Schädel"),
    ("ISO 8859-1", "ISO_IR 100", "latin-1", "Schädel"),
    ("ISO-8859-1", "ISO_IR 100", "latin-1", "Schädel"),
    ("windows-1252", "ISO_IR 100", "cp1252", "Schädel"),
    ("ISO 8859-2", "ISO_IR 101", "iso8859-2", "głowa"),
    ("ISO-8859-5", "ISO_IR 144", "iso8859-5", "голова"),
    ("ISO 8859-7", "ISO_IR 126", "iso8859-7", "κεφάλι"),
    ("TIS-620", "ISO_IR 166", "tis-620", "ศีรษะ"),
    ("Shift_JIS", "ISO_IR 13", "shift_jis", "ｱﾀﾏ"),
]


@pytest.mark.parametrize(("names", "term", "codec", "words"), MISSPELT, ids=lambda one: one)
def test_it_is_written_as_the_defined_term_and_the_text_is_read_by_it(
    names: str, term: str, codec: str, words: str
) -> None:
    found = read(anonymised(image(names.encode(), codec, words), keep=DESCRIPTORS))
    assert found.SpecificCharacterSet == term
    assert found.SeriesDescription == words
    assert found[corpus.OUTER].value[0].CodeMeaning == words


@pytest.mark.parametrize("term", sorted(DEFINED_TERMS))
def test_a_defined_term_stays(term: str) -> None:
    assert corrected([term]) == [term]
    assert corrected(["", term]) == ["", term]
    assert term.encode() in anonymised(image(term.encode(), "ascii", "head"))


@pytest.mark.parametrize(
    ("names", "terms"),
    [
        (r"\ISO_IR 87", r"\ISO 2022 IR 87"),
        (r"ISO-IR 100\ISO-IR 144", r"ISO 2022 IR 100\ISO 2022 IR 144"),
        (r"iso 2022 ir 6\iso2022ir87", r"ISO 2022 IR 6\ISO 2022 IR 87"),
        (r"\ISO 2022 58", r"\ISO 2022 IR 58"),
    ],
)
def test_beside_others_a_term_is_that_of_code_extensions(names: str, terms: str) -> None:
    assert "\\".join(corrected(names.split("\\")) or []) == terms


def test_an_item_is_corrected_by_its_own() -> None:
    item: Elements = {0x00080005: ("CS", b"UTF-8"), 0x00080104: ("LO", "头".encode())}
    data = corpus.file({**corpus.image(), 0x00080005: ("CS", b"latin1"), corpus.OUTER: ("SQ", [item])})
    found = read(anonymised(data))
    assert (found.SpecificCharacterSet, found[corpus.OUTER].value[0].SpecificCharacterSet) == (
        "ISO_IR 100",
        "ISO_IR 192",
    )
    assert found[corpus.OUTER].value[0].CodeMeaning == "头"


@pytest.mark.parametrize(
    ("names", "codec", "words"),
    [
        ("UTF-8", "latin-1", "Schädel"),
        ("latin1", "cp1252", "Kopf – Hals"),
        ("Shift_JIS", "shift_jis", "頭"),
        ("ISO_IR 87", "euc-jp", "頭"),
        ("ASCII", "latin-1", "Schädel"),
        ("GB2312", "latin-1", "Kopf Ö"),
    ],
)
def test_where_the_text_is_not_in_the_corrected_set_none_is_named(names: str, codec: str, words: str) -> None:
    out = anonymised(image(names.encode(), codec, words), keep=DESCRIPTORS)
    assert "SpecificCharacterSet" not in read(out)
    assert words.encode(codec) in out


@pytest.mark.parametrize("names", ["utf_16", "EUC-KR", "Big5", "KOI8-R", "ISO_IR 1", "SMITHFIELD", r"ISO_IR 100\Smith"])
def test_what_names_nothing_that_dicom_knows_goes(names: str) -> None:
    out = anonymised(image(names.encode(), "ascii", "head"), keep=DESCRIPTORS)
    assert "SpecificCharacterSet" not in read(out)
    assert read(out).SeriesDescription == "head"


@pytest.mark.parametrize(("names", "codec"), [("UTF-8", "utf-8"), ("latin1", "latin-1"), ("UTF-8", "latin-1")])
def test_a_name_is_found_under_a_misspelt_set(names: str, codec: str) -> None:
    for words in ("Kopf von Mueller", "Kopf Müller"):
        out = anonymised(image(names.encode(), codec, words, name="Müller^Eva".encode(codec)), keep=DESCRIPTORS)
        assert words.encode(codec) not in out


def test_a_patient_has_one_pseudonym_however_his_set_is_spelt() -> None:
    patients = {
        read(
            anonymised(
                corpus.file({**corpus.image(), 0x00080005: ("CS", names), 0x00100020: ("LO", "Größe-1".encode(codec))})
            )
        ).PatientID
        for names, codec in ((b"ISO_IR 192", "utf-8"), (b"UTF-8", "utf-8"), (b"latin1", "latin-1"))
    }
    assert len(patients) == 1


def test_of_unknown_vr_it_is_written_as_what_it_is() -> None:
    data = image(b"ISO_IR 192", "utf-8", "头").replace(b"\x08\0\x05\0CS", b"\x08\0\x05\0??")
    found = read(anonymised(data, keep=DESCRIPTORS))
    assert (found.SpecificCharacterSet, found.SeriesDescription) == ("ISO_IR 192", "头")


# A name as PN, and a text that says it.
UNDECLARED = [
    ("cp932", "山田^太郎", "頭部 山田 様"),
    ("cp932", "田中^花子", "花子ちゃん"),
    ("cp932", "表^ソ", "表ソ MR"),
    ("cp932", "山田 太郎", "太郎"),
    ("euc_jp", "山田\u3000太郎", "山田 MR"),
    ("euc_jp", "山田^太郎", "太郎 MR"),
    ("big5", "王^小明", "小明頭部"),
    ("big5", "王小明", "小明頭部"),
    ("big5", "林^明", "林明 MR"),
    ("big5", "陳^美玲", "MR陳美玲"),
    ("euc_kr", "홍^길동", "길동씨"),
    ("euc_kr", "Hong^Gildong=洪^吉洞=홍^길동", "吉洞 MR"),
    ("gb2312", "王^小东", "小东的头"),
    ("iso2022_jp", "山田^太郎", "頭部山田"),
    ("iso2022_kr", "홍^길동", "머리 길동"),
    ("cp1251", "Иванов^Пётр", "голова Иванова"),
]
# The lumbar spine, the belly.
OTHER_WORDS = {"euc_kr": "요추", "iso2022_kr": "요추", "cp1251": "живот"}
SETS = [
    "",
    "ISO_IR 100",
    "ISO_IR 192",
    "ISO_IR 13",
    "Shift_JIS",
    "Big5",
    "EUC-KR",
    "GB2312",
    r"ISO_IR 192\ISO 2022 IR 87",
]


def encoded(words: str, codec: str) -> bytes:
    # Python's codec shifts out and in; DICOM's code extension of this set has its second half in 8 bits.
    return b"\x1b$)C" + words.encode("euc_kr") if codec == "iso2022_kr" else words.encode(codec)


@pytest.mark.parametrize("names", SETS, ids=lambda one: one or "none")
@pytest.mark.parametrize(("codec", "name", "words"), UNDECLARED)
def test_the_bytes_of_a_name_are_found_whatever_set_is_named(codec: str, name: str, words: str, names: str) -> None:
    others = OTHER_WORDS.get(codec, "腰椎")
    elements: Elements = {
        **corpus.image(),
        0x00080005: ("CS", names.encode()),
        0x00100010: ("PN", encoded(name, codec)),
        0x0008103E: ("LO", encoded(words, codec)),
        0x00281055: ("LO", encoded(words, codec)),
        0x00290010: ("LO", b"SAFE"),
        0x00291001: ("UN", encoded(words, codec)),
        0x00324000: ("LT", encoded(others, codec)),
    }
    out = anonymised(corpus.file(elements), keep=DESCRIPTORS, safe_private=(PrivateElement("SAFE", 0x0029, 0x01),))
    assert encoded(words, codec) not in out
    assert encoded(others, codec) in out


def test_bytes_without_their_escapes_are_found_beside_a_name_that_has_them() -> None:
    name = b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf"
    data = image(rb"\ISO 2022 IR 149", "euc_kr", "길동 MR", name=name)
    assert "길동".encode("euc_kr") not in anonymised(data, keep=DESCRIPTORS)


@pytest.mark.parametrize(
    ("names", "codec", "name", "words"),
    [
        ("ISO_IR 100", "latin-1", "Öz^Åsa", "Özet av Åsarna"),
        ("ISO_IR 144", "iso8859-5", "Ли^Ева", "Лицо левая"),
        ("ISO_IR 192", "utf-8", "Ли^Ян", "Лицо, январь"),
        ("ISO_IR 192", "utf-8", "王^明", "明天 王府"),
    ],
)
def test_text_that_is_in_its_set_is_compared_as_text(names: str, codec: str, name: str, words: str) -> None:
    elements: Elements = {
        **corpus.image(),
        0x00080005: ("CS", names.encode()),
        0x00100010: ("PN", name.encode(codec)),
        0x00281055: ("LO", words.encode(codec)),
    }
    assert words.encode(codec) in anonymised(corpus.file(elements))
