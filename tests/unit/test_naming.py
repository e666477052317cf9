import unicodedata
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autorthanc_spool.core import naming
from autorthanc_spool.core.dicom import Instance, Level, Resource, Series

ID = "0a4b249f-7fce45ca-4f722f72-de2a24df-92abc740"


def resource(level: Level = Level.STUDY, **tags: str) -> Resource:
    patient = {key: tags[key] for key in ("PatientID", "PatientName") if key in tags}
    study = {key: tags[key] for key in ("StudyID",) if key in tags}
    series = Series(ID, {key: tags[key] for key in ("SeriesNumber",) if key in tags})
    return Resource(level, ID, patient, study, (series,), (), "", True, False)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("ABC-1.2_3", "ABC-1.2_3"),
        ("Mu\u0308ller", "Müller"),
        ("../../etc/passwd", "__.._etc_passwd"),
        ("/etc", "_etc"),
        ("-rf", "_rf"),
        ("a\0b", "a_b"),
        ("name.", "name"),
        (" padded ", "padded"),
        ("\u202eabc", "_abc"),
        ("x.WORKING", "x_WORKING"),
        ("x.working", "x_working"),
        ("MIResearch-1", "MIResearch_1"),
        ("study.zip", "study_zip"),
        ("山田", "山田"),
        ("สมศักดิ์", "สมศักดิ์"),
        ("देवेन्द्र", "देवेन्द्र"),
        ("مُحمد", "مُحمد"),
        ("דָּוִד", "דָּוִד"),
        ("சுப்ரமணியம்", "சுப்ரமணியம்"),
        ("မောင်", "မောင်"),
        ("Nguye\u0302\u0303n", "Nguyễn"),
        ("x\u0323\u0302", "x\u0323\u0302"),
        ("\u0301abc", "_abc"),
        ("\u0e34\u0e4c", "__"),
        ("a/\u0301b", "a__b"),
        ("a.\u0301b-\u0301c_\u0301", "a._b-_c__"),
        ("\u0e2a\u200d\u0e21\u200c", "\u0e2a_\u0e21_"),
        ("葛\U000e0100城", "葛_城"),
        ("a\u034f\ufe0fb\u3164", "a__b_"),
        ("1\u20e3", "1_"),
        ("", "UNKNOWN"),
        ("   ", "UNKNOWN"),
    ],
)
def test_a_component_is_cleaned(text: str, name: str) -> None:
    assert naming.component(text) == name


@pytest.mark.parametrize(
    ("PatientName", "family"),
    [
        ("Doe^Jane", "Doe"),
        ("Doe", "Doe"),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "Yamada"),
        ("=山田^太郎", "山田"),
        ("^Jane=山田^太郎", "山田"),
        ("^Jane", ""),
        ("", ""),
    ],
)
def test_the_family_name_is_of_the_alphabetic_group_else_of_the_ideographic(PatientName: str, family: str) -> None:
    assert naming.family_name(PatientName) == family


def test_a_study_is_named_by_patient_family_name_and_study() -> None:
    assert naming.publication_name(resource(PatientID="P1", PatientName="Doe^Jane", StudyID="7")) == "P1-Doe-7"


def test_a_series_says_its_number_too() -> None:
    found = resource(Level.SERIES, PatientID="P1", PatientName="Doe", StudyID="7", SeriesNumber="3")
    assert naming.publication_name(found) == "P1-Doe-7-SE3"


def test_missing_parts_are_said() -> None:
    assert naming.publication_name(resource()) == "NOPID-UNKNOWN-UNKNOWN"
    assert naming.publication_name(resource(Level.SERIES)) == "NOPID-UNKNOWN-UNKNOWN-SEXX"
    assert naming.series_folder({}) == "SEXX-UNKNOWN-UNKNOWN"


def test_harmless_parts_make_no_harmful_whole() -> None:
    found = resource(PatientID="MIResearch", PatientName="X", StudyID="1")
    assert naming.publication_name(found) == "MIResearch_X-1"


def test_long_names_are_cut_and_stay_different() -> None:
    first = naming.publication_name(resource(PatientID="p" * 300, PatientName="a", StudyID="1"))
    second = naming.publication_name(resource(PatientID="p" * 299 + "q", PatientName="a", StudyID="1"))
    assert len(first.encode()) <= 200
    assert first != second


@pytest.mark.parametrize("length", range(60, 80))
def test_a_long_name_is_cut_before_a_letter_never_between_a_letter_and_its_marks(length: int) -> None:
    text = "x" * (length % 4) + "ดิ์" * length
    name = naming.component(text)
    kept, _, digits = name.rpartition("-")
    assert len(digits) == naming.HASH_DIGITS
    assert 180 < len(name.encode()) <= 200
    assert kept.lstrip("x") == "ดิ์" * kept.count("ด")


def test_a_letter_with_more_marks_than_fit_is_cut_as_a_whole() -> None:
    name = naming.component("a" + "\u0323" * 300)
    assert len(name) == 1 + naming.HASH_DIGITS
    assert name.startswith("_")


def test_the_folder_of_a_rule_is_called_as_it_always_was() -> None:
    assert naming.rule_folder("trial-7") == "trial-7"
    assert naming.rule_folder("สมอง t1") == "สมอง_t1"
    assert naming.rule_folder("สมศักดิ์") == "สมศ_กด__"
    assert naming.rule_folder("Mu\u0308ller") == "Müller"
    assert naming.rule_folder("") == "UNKNOWN"


def test_a_taken_name_gets_the_first_digits_of_the_id() -> None:
    assert naming.told_apart("P1-Doe-1", ID) == "P1-Doe-1-0a4b249f"
    assert len(naming.told_apart("x" * 200, ID).encode()) == 200


def assert_harmless(name: str) -> None:
    assert name
    assert name not in (".", "..")
    assert "/" not in name
    assert "\0" not in name
    assert name[0] not in ".-"
    assert name[-1] not in ". "
    assert len(name.encode()) <= 200
    assert ".working" not in name.lower()
    assert "miresearch-" not in name.lower()
    assert unicodedata.normalize("NFC", name) == name
    for before, character in pairwise("_" + name):
        category = unicodedata.category(character)
        is_mark = category in ("Mn", "Mc")
        assert category[0] == "L" or category == "Nd" or character in "._-" or is_mark
        # A mark is always on a letter, and nothing is invisible.
        assert not (is_mark and before in "._-")
        assert character not in "\u034f\u115f\u1160\u17b4\u17b5\u200b\u200c\u200d\u3164\ufe0f\uffa0"


hostile = st.text(max_size=300) | st.lists(
    st.sampled_from(
        [
            *("MIResearch", "-", ".WORKING", ".", "..", "/", "é", "e\u0301", "\u202e", "zip", "x" * 90),
            *("สมศักดิ์" * 8, "न्द्र", "\u0301", "\u0e34", "\u200d", "\ufe0f", "\u3164"),
        ]
    )
).map("".join)


@given(hostile)
def test_no_text_makes_a_harmful_component(text: str) -> None:
    assert_harmless(naming.component(text))


@given(hostile, hostile, hostile, hostile)
def test_no_tags_make_a_harmful_name(one: str, two: str, three: str, four: str) -> None:
    found = resource(Level.SERIES, PatientID=one, PatientName=two, StudyID=three, SeriesNumber=four)
    name = naming.publication_name(found)
    assert_harmless(name)
    assert_harmless(naming.told_apart(name, ID))


def instance(number: int, series_id: str, uid: str) -> Instance:
    return Instance(f"{number:08x}-7fce45ca-4f722f72-de2a24df-92abc740", series_id, uid, "1", 1, "uuid")


def test_uids_that_are_equal_after_cleaning_are_told_apart() -> None:
    series = (
        Series("a" * 8 + ID[8:], {"SeriesInstanceUID": "1/2"}),
        Series("b" * 8 + ID[8:], {"SeriesInstanceUID": "1_2"}),
    )
    instances = tuple(
        instance(number, series[number % 2].resource_id, "1/3" if number < 2 else "1_3") for number in range(4)
    )
    paths = naming.file_paths(series, instances)
    assert len(set(paths.values())) == 4


@given(st.lists(hostile, min_size=1, max_size=8))
def test_every_instance_has_a_path_of_its_own(uids: list[str]) -> None:
    series = Series(ID, {"SeriesInstanceUID": uids[0]})
    instances = tuple(instance(number, ID, uid) for number, uid in enumerate(uids))
    paths = naming.file_paths((series,), instances)
    assert len(set(paths.values())) == len(uids)
    for folder, name in paths.values():
        assert_harmless(folder)
        assert_harmless(name.removesuffix(".dcm"))
