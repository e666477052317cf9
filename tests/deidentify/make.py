"""Short ways to de-identify in tests."""

from typing import Any

from autorthanc_spool.deidentify.file import Deidentified, Deidentifier
from autorthanc_spool.deidentify.key import Key
from autorthanc_spool.deidentify.profile import Profile
from autorthanc_spool.deidentify.pseudonym import Pseudonymiser
from autorthanc_spool.deidentify.pseudonym_table import PseudonymTable
from autorthanc_spool.rules import AnonymiseOptions

KEY = Key(bytes(range(32)))


def deidentifier(
    *, key: Key = KEY, project: str = "P", table: PseudonymTable | None = None, **options: Any
) -> Deidentifier:
    named = {"pseudonym_table": "table.csv"} if table is not None else {}
    return Deidentifier(Profile(AnonymiseOptions(project, **named, **options), table), Pseudonymiser(key, project))


def anonymised(data: bytes, **options: Any) -> bytes:
    found = deidentifier(**options).file(memoryview(data))
    assert isinstance(found, Deidentified), found
    return found.bytes(memoryview(data))
