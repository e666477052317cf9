"""Table E.1-1 is the one that the standard has, by way of another implementation of it."""

import itertools

from dicomanonymizer.dicomfields_selector import dicom_anonymization_database_selector

from autorthanc_spool.deidentify.table import RESOLVED, Code, table

ACTIONS = {
    "D_TAGS": "D",
    "Z_TAGS": "Z",
    "X_TAGS": "X",
    "U_TAGS": "U",
    "Z_D_TAGS": "Z/D",
    "X_Z_TAGS": "X/Z",
    "X_D_TAGS": "X/D",
    "X_Z_D_TAGS": "X/Z/D",
    "X_Z_U_STAR_TAGS": "X/Z/U*",
}


def test_tags_and_actions_are_those_of_edition_2026c() -> None:
    published = dicom_anonymization_database_selector("dicomfields_2026c")
    # Ranges (curves, overlays) have more than two numbers; the policy has them in code.
    theirs = {
        tag[0] << 16 | tag[1]: action for name, action in ACTIONS.items() for tag in published[name] if len(tag) == 2
    }
    ours = {tag: row.action for tag, row in table().items()}
    assert len(ours) == 652
    assert ours == theirs
    assert {len(tag) for tag in itertools.chain(*published.values())} == {2, 4}


def test_of_a_compound_code_the_one_is_taken_that_keeps_every_file_valid() -> None:
    assert RESOLVED["X/Z/D"] is RESOLVED["Z/D"] is RESOLVED["X/D"] is Code.DUMMY
    assert RESOLVED["X/Z"] is Code.EMPTY
    assert {row.action for row in table().values()} == set(RESOLVED)
