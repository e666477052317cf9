"""What was read off an image, compared with what its file says."""

import random
from itertools import product

import pytest

from autorthanc_spool.deidentify import nearly, text
from autorthanc_spool.deidentify.needles import Needle, NeedleKind
from autorthanc_spool.deidentify.shown_identity import Identity


def identity(
    *,
    names: tuple[str, ...] = ("Kowalska^Yuki",),
    identifiers: tuple[str, ...] = ("0007123456",),
    days: tuple[str, ...] = ("19470305",),
) -> Identity:
    kinds = ((NeedleKind.NAME, names), (NeedleKind.IDENTIFIER, identifiers), (NeedleKind.DAY, days))
    return Identity([Needle(kind, one.encode(), text.DEFAULT) for kind, ones in kinds for one in ones])


@pytest.mark.parametrize(
    "shown",
    [
        *("KOWALSKA^YUKI", "Yuki Kowalska", "kowalska, y.", "KOWALSKAYUKI", "Kowa1ska", "KOWAISKA", "Kovalska"),
        *("ID: 0007123456", "7123456", "712-34-56", "MRN7I23456", "O0O7l23456", "7123456 AX 5"),
        *(
            "05.03.1947",
            "1947-03-05",
            "03/05/1947",
            "19470305",
            "5 Mar 1947",
            "March 5, 1947",
            "05 MAR 1947",
            "05.O3.1947",
        ),
        *("DOB 05.03.47", "*05/03/1947", "05-MRZ-1947"),
    ],
)
def test_an_image_shows_its_patient_in_any_spelling_and_with_the_errors_of_a_recogniser(shown: str) -> None:
    assert identity().is_shown_by(["AXIAL T1", shown])


@pytest.mark.parametrize(
    "shown",
    [
        *("AXIAL T1 TSE", "R", "Slice 12/34", "512 x 512", "TE 12.5 TR 4500", "kV 120 mA 250", "", "W 400 L 40"),
        *("07.08.2019", "12:03:45", "Schmidt, Anna", "9912888", "KOWAL", "CTDIvol 12.34 DLP 567.8", "1947"),
    ],
)
def test_what_is_written_in_other_images_doesnt_show_it(shown: str) -> None:
    assert not identity().is_shown_by([shown])


def test_words_of_the_field_dont_show_a_patient_who_is_called_so() -> None:
    assert not identity(names=("Head^Neck",)).is_shown_by(["HEAD FIRST SUPINE"])
    assert identity(names=("Head^Neck",)).is_shown_by(["HEAD, NECK"])


def test_a_short_identifier_counts_as_a_whole_word_only() -> None:
    assert identity(identifiers=("4711",)).is_shown_by(["ID 4711"])
    assert not identity(identifiers=("4711",)).is_shown_by(["Se 24711", "47110", "4712"])


def test_names_in_other_scripts_are_compared_as_they_are() -> None:
    needle = Needle(NeedleKind.NAME, "山田^太郎".encode(), ("utf8",))
    assert Identity([needle]).is_shown_by(["患者 山田 太郎"])
    assert not Identity([needle]).is_shown_by(["患者 鈴木"])


def _distance_within(word: str, other: str) -> int:
    """The fewest errors of a word in a text, wherever it is: by the table of Sellers."""
    row = [0] * (len(other) + 1)
    for number, sign in enumerate(word, 1):
        above, row = row, [number] * (len(other) + 1)
        for place, seen in enumerate(other, 1):
            row[place] = min(above[place] + 1, row[place - 1] + 1, above[place - 1] + (sign != seen))
    return min(row)


def test_errors_are_counted_as_by_the_textbook() -> None:
    dice = random.Random(7)
    answers = set()
    for length, _ in product(range(4, 14), range(60)):
        word = "".join(dice.choices("ab1", k=length))
        other = "".join(dice.choices("ab1", k=dice.randint(0, 20)))
        expected = _distance_within(word, other) <= nearly.errors_allowed(word)
        assert nearly.is_nearly_in(word, other) == expected, (word, other)
        answers.add(expected)
    assert answers == {True, False}
