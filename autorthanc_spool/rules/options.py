"""The options of ANONYMISE and ZIP: the objects `Anonymise` and `Zip` of a rule file."""

from __future__ import annotations

import re
from typing import Literal

from autorthanc_spool.rules.located_json import Array
from autorthanc_spool.rules.model import AnonymiseOptions, Keep, PrivateElement, ZipOptions
from autorthanc_spool.rules.reader import Item, Reader, take

ANONYMISE_KEYS = (
    *("Keep", "SafePrivate", "Project", "PseudonymTable", "Issuer", "Set"),
    *("BurnedIn", "Structured", "Malformed"),
)
PRIVATE_KEYS = ("Creator", "Group", "Element")
ZIP_KEYS = ("Compression",)

_KEEP = {str(keep): keep for keep in Keep}
_BURNED_IN: dict[str, Literal["withhold", "allow"]] = {"withhold": "withhold", "allow": "allow"}
_STRUCTURED: dict[str, Literal["withhold", "clean"]] = {"withhold": "withhold", "clean": "clean"}
_ISSUER: dict[str, Literal["ignore", "apart"]] = {"ignore": "ignore", "apart": "apart"}
_MALFORMED: dict[str, Literal["fail", "withhold"]] = {"fail": "fail", "withhold": "withhold"}
_COMPRESSION: dict[str, Literal["fast", "stored"]] = {"fast": "fast", "stored": "stored"}

_NOT_BLANK = re.compile(r".*\S.*")
# A name beside the rules, not a way out of their folder; what ends in .json there is read as a rule.
_TABLE = re.compile(r"(?!.*\.json$)[^./\s\x00-\x1f][^/\x00-\x1f]*", re.IGNORECASE)
# LO in the default repertoire, without the separator of values (PS3.5 table 6.2-1); padding isn't part of it.
_CREATOR = re.compile(r"(?! )[ -\[\]-~]{1,64}(?<! )")
# Private groups are odd, and begin at 0009 (PS3.5 section 7.1).
_PRIVATE_GROUP = re.compile(r"(?!000[1-7]|ffff)[0-9a-f]{3}[13579bdf]", re.IGNORECASE)
_LAST_BYTE = re.compile(r"(?:xx)?([0-9a-f]{2})", re.IGNORECASE)


def anonymise(reader: Reader, item: Item, rule_name: str) -> AnonymiseOptions:
    """Read the options of ANONYMISE; the project is the rule's name unless it says another."""
    members = reader.members(item, ANONYMISE_KEYS)
    return AnonymiseOptions(
        project=take(members, "Project", lambda one: reader.matching(one, _NOT_BLANK, "a name"), rule_name),
        keep=take(members, "Keep", lambda one: _keep(reader, one), frozenset()),
        safe_private=take(members, "SafePrivate", lambda one: _safe_private(reader, one), ()),
        pseudonym_table=take(members, "PseudonymTable", lambda one: _table(reader, one), None),
        fixed=take(members, "Set", lambda one: _fixed(reader, one), ()),
        burned_in=take(members, "BurnedIn", lambda one: reader.word(one, _BURNED_IN), "withhold"),
        structured=take(members, "Structured", lambda one: reader.word(one, _STRUCTURED), "withhold"),
        issuer=take(members, "Issuer", lambda one: _issuer(reader, one, "PseudonymTable" in members), "ignore"),
        malformed=take(members, "Malformed", lambda one: reader.word(one, _MALFORMED), "fail"),
    )


def archive(reader: Reader, item: Item) -> ZipOptions:
    """Read the options of ZIP."""
    members = reader.members(item, ZIP_KEYS)
    return ZipOptions(take(members, "Compression", lambda one: reader.word(one, _COMPRESSION), "fast"))


def _keep(reader: Reader, item: Item) -> frozenset[Keep]:
    found = [reader.word(one, _KEEP) for one in reader.items(item) or []]
    kept = frozenset(keep for keep in found if keep)
    if kept >= {Keep.MODIFIED_DATES, Keep.FULL_DATES}:
        reader.wrong(item, "one of the two", found=f"{Keep.MODIFIED_DATES} and {Keep.FULL_DATES}")
    return kept


def _issuer(reader: Reader, item: Item, has_table: bool) -> Literal["ignore", "apart"] | None:
    found = reader.word(item, _ISSUER)
    if found == "apart" and has_table:
        hint = "a table knows patients by their PatientID alone"
        reader.wrong(item, 'no "apart" beside PseudonymTable', hint, found='"apart"')
    return found


def _table(reader: Reader, item: Item) -> str | None:
    expected = "the name of a CSV file beside the rules"
    hint = "no folder, no leading dot, and not .json, which would be read as a rule"
    return reader.matching(item, _TABLE, expected, hint)


def _safe_private(reader: Reader, item: Item) -> tuple[PrivateElement, ...]:
    found = [_private_element(reader, one) for one in reader.items(item) or []]
    return tuple(sorted({element for element in found if element}))


def _private_element(reader: Reader, item: Item) -> PrivateElement | None:
    parts = _private_parts(reader, item)
    creator = take(
        parts, "Creator", lambda one: reader.matching(one, _CREATOR, "a private creator as the files have it"), None
    )
    group = take(parts, "Group", lambda one: _private_group(reader, one), None)
    element = take(parts, "Element", lambda one: _last_byte(reader, one), None)
    if creator is None or group is None or element is None:
        return None
    return PrivateElement(creator, group, element)


def _private_parts(reader: Reader, item: Item) -> dict[str, Item]:
    if not isinstance(item.node.value, Array):
        return reader.members(item, PRIVATE_KEYS, required=PRIVATE_KEYS)
    parts = reader.items(item) or []
    if len(parts) != len(PRIVATE_KEYS):
        reader.wrong(item, "creator, group and element", found=f"a list of {len(parts)}")
        return {}
    return dict(zip(PRIVATE_KEYS, parts, strict=True))


def _private_group(reader: Reader, item: Item) -> int | None:
    found = reader.matching(item, _PRIVATE_GROUP, 'a private group, which is odd, as "0019"')
    return int(found, 16) if found and _PRIVATE_GROUP.fullmatch(found) else None


def _last_byte(reader: Reader, item: Item) -> int | None:
    expected = 'the last two hex digits of the element, as "0c"'
    found = reader.matching(item, _LAST_BYTE, expected, "the first two depend on the file")
    return int(found[-2:], 16) if found and _LAST_BYTE.fullmatch(found) else None


def _fixed(reader: Reader, item: Item) -> tuple[tuple[str, str], ...]:
    # As in `file`: only for those who need the DICOM dictionary.
    from autorthanc_spool.rules.vocabulary import TRIAL_KEYWORDS, max_trial_characters

    members = reader.members(item, TRIAL_KEYWORDS, expected="the keyword of a ClinicalTrial… attribute")
    values = [(keyword, _fixed_value(reader, one, max_trial_characters(keyword))) for keyword, one in members.items()]
    return tuple(sorted((keyword, value) for keyword, value in values if value is not None))


def _fixed_value(reader: Reader, item: Item, limit: int) -> str | None:
    value = reader.text(item)
    if value is not None and not re.fullmatch(rf"(?=.*\S)[ -\[\]-~]{{1,{limit}}}", value):
        # Other characters would depend on the character set of each file.
        reader.wrong(item, f"1 to {limit} ASCII characters without backslash", found="other text")
        return None
    return value
