"""The options of ANONYMISE and ZIP: the objects `Anonymise` and `Zip` of a rule file.

An option is one row: key, form, default, and what editors show of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from autorthanc_spool.rules.forms import (
    FLAG,
    Field,
    Form,
    Schema,
    keys,
    list_of,
    matching,
    object_schema,
    required,
    with_notes,
    word,
)
from autorthanc_spool.rules.located_json import Array
from autorthanc_spool.rules.model import AnonymiseOptions, Keep, PrivateElement, ZipOptions
from autorthanc_spool.rules.reader import Item, Reader

_BURNED_IN: dict[str, Literal["withhold", "allow", "redact"]] = {
    "withhold": "withhold", "allow": "allow", "redact": "redact",
}  # fmt: skip
_DETECT: dict[str, Literal["check", "blackout"]] = {"check": "check", "blackout": "blackout"}
_STRUCTURED: dict[str, Literal["withhold", "clean"]] = {"withhold": "withhold", "clean": "clean"}
_ISSUER: dict[str, Literal["ignore", "apart"]] = {"ignore": "ignore", "apart": "apart"}
_MALFORMED: dict[str, Literal["fail", "withhold"]] = {"fail": "fail", "withhold": "withhold"}
_COMPRESSION: dict[str, Literal["fast", "stored"]] = {"fast": "fast", "stored": "stored"}

# LO in the default repertoire, without the separator of values (PS3.5 table 6.2-1); padding isn't part of it.
_CREATOR = Field(
    "Creator",
    matching(r"(?! )[ -\[\]-~]{1,64}(?<! )", "a private creator as the files have it"),
    "",
    "The private creator, as the files have it.",
    required=True,
)
# Private groups are odd, and begin at 0009 (PS3.5 section 7.1).
_GROUP = Field(
    "Group",
    matching(r"(?!000[1-7]|[Ff]{4})[0-9a-fA-F]{3}[13579bdfBDF]", 'a private group, which is odd, as "0019"'),
    "",
    "The private group, in four hexadecimal digits.",
    required=True,
)
_ELEMENT = Field(
    "Element",
    matching(
        r"([Xx]{2})?[0-9a-fA-F]{2}",
        'the last two hex digits of the element, as "0c"',
        "the first two depend on the file",
    ),
    "",
    "The last two hexadecimal digits of the element.",
    required=True,
)
_PRIVATE = (_CREATOR, _GROUP, _ELEMENT)
PRIVATE_KEYS = keys(_PRIVATE)


def _keep(reader: Reader, item: Item) -> frozenset[Keep] | None:
    kept = frozenset(_KEEPS.read(reader, item) or ())
    if kept >= {Keep.MODIFIED_DATES, Keep.FULL_DATES}:
        reader.wrong(item, "one of the two", found=f"{Keep.MODIFIED_DATES} and {Keep.FULL_DATES}")
    return kept


def _keep_schema() -> Schema:
    dates = [{"contains": {"const": str(keep)}} for keep in (Keep.MODIFIED_DATES, Keep.FULL_DATES)]
    return {**_KEEPS.schema(), "not": {"type": "array", "allOf": dates}}


def _private_element(reader: Reader, item: Item) -> PrivateElement | None:
    before = len(reader.problems)
    parts = _private_parts(reader, item)
    creator, group, element = (field.take(reader, parts) for field in _PRIVATE)
    # What is wrong in one of the three was noted with its place.
    if len(reader.problems) > before:
        return None
    return PrivateElement(creator, int(group, 16), int(element[-2:], 16))


def _private_parts(reader: Reader, item: Item) -> dict[str, Item]:
    if not isinstance(item.node.value, Array):
        return reader.members(item, PRIVATE_KEYS, required=required(_PRIVATE))
    parts = reader.items(item) or []
    if len(parts) != len(PRIVATE_KEYS):
        reader.wrong(item, "creator, group and element", found=f"a list of {len(parts)}")
        return {}
    return dict(zip(PRIVATE_KEYS, parts, strict=True))


def _private_schema() -> Schema:
    three = {"type": "array", "minItems": 3, "maxItems": 3, "items": [field.schema() for field in _PRIVATE]}
    return {"anyOf": [object_schema(_PRIVATE), three]}


def _fixed(reader: Reader, item: Item) -> tuple[tuple[str, str], ...]:
    # As in `file`: only for those who need the DICOM dictionary.
    from autorthanc_spool.rules.vocabulary import TRIAL_KEYWORDS, max_trial_characters

    members = reader.members(item, TRIAL_KEYWORDS, expected="the keyword of a ClinicalTrial… attribute")
    values = [(keyword, _fixed_value(reader, one, max_trial_characters(keyword))) for keyword, one in members.items()]
    return tuple(sorted((keyword, value) for keyword, value in values if value is not None))


def _fixed_value(reader: Reader, item: Item, limit: int) -> str | None:
    value = reader.text(item)
    if value is not None and not re.fullmatch(_trial_pattern(limit), value):
        # Other characters would depend on the character set of each file.
        reader.wrong(item, f"1 to {limit} ASCII characters without backslash", found="other text")
        return None
    return value


def _fixed_schema() -> Schema:
    from autorthanc_spool.rules.vocabulary import TRIAL_KEYWORDS, max_trial_characters

    forms = {one: matching(_trial_pattern(max_trial_characters(one)), "") for one in TRIAL_KEYWORDS}
    return with_notes({keyword: form.schema() for keyword, form in forms.items()})


def _trial_pattern(limit: int) -> str:
    return rf"(?=.*\S)[ -\[\]-~]{{1,{limit}}}"


_KEEPS = list_of(word({str(keep): keep for keep in Keep}))

_PROJECT = Field(
    "Project",
    matching(r"[^\n]*\S[^\n]*", "a name"),
    "",
    "Pseudonyms of two projects can't be linked. Without it, the rule's name.",
)
_KEEP = Field(
    "Keep",
    Form(_keep, _keep_schema),
    frozenset(),
    "What stays, although it would go: options of the profile in PS3.15 Annex E.",
)
_SAFE_PRIVATE = Field(
    "SafePrivate", list_of(Form(_private_element, _private_schema)), (), "Private elements that are kept."
)
# A name beside the rules, not a way out of their folder; what ends in .json there is read as a rule.
_PSEUDONYM_TABLE: Field[str | None] = Field(
    "PseudonymTable",
    matching(
        r"(?!.*\.[Jj][Ss][Oo][Nn](?![\s\S]))[^./\s\x00-\x1f][^/\x00-\x1f]*",
        "the name of a CSV file beside the rules",
        "no folder, no leading dot, and not .json, which would be read as a rule",
    ),
    None,
    "A CSV file beside the rules, with the columns PatientID and Pseudonym.",
)
_SET = Field("Set", Form(_fixed, _fixed_schema), (), "Fixed values for ClinicalTrial… attributes.")
_BURNED = Field(
    "BurnedIn",
    word(_BURNED_IN),
    "withhold",
    "What happens to images that may show the patient's name. redact: black out what regions of ultrasound and "
    "pixel_regions/*.json say, and withhold what neither knows.",
)
_RECODE = Field(
    "Recode", FLAG, False, "true: lossy compressed images are redacted, too, and stored uncompressed; with redact."
)
_DETECTION: Field[Literal["check", "blackout"] | None] = Field(
    "Detect",
    word(_DETECT),
    None,
    "Look for text in the pixels. check: withhold images that show a name, an identifier or a date of their file. "
    "blackout: black out all text; with redact.",
)
_REPORTS = Field("Structured", word(_STRUCTURED), "withhold", "What happens to structured reports.")

_ISSUERS = Field(
    "Issuer", word(_ISSUER), "ignore", "apart: one PatientID of two issuers is two patients; not with PseudonymTable."
)
_UNREADABLE = Field("Malformed", word(_MALFORMED), "fail", "What happens to files that can't be read.")

ANONYMISE_FIELDS: tuple[Field[Any], ...] = (
    _KEEP, _SAFE_PRIVATE, _PROJECT, _PSEUDONYM_TABLE, _ISSUERS, _SET, _BURNED, _RECODE, _DETECTION,
    _REPORTS, _UNREADABLE,
)  # fmt: skip
ANONYMISE_KEYS = keys(ANONYMISE_FIELDS)

_PACKING = Field(
    "Compression", word(_COMPRESSION), "fast", "fast: deflated. stored: not compressed, for files that are."
)
ZIP_FIELDS = (_PACKING,)
ZIP_KEYS = keys(ZIP_FIELDS)


def anonymise(reader: Reader, item: Item) -> AnonymiseOptions:
    """Read the options of ANONYMISE; the project is empty unless they name one."""
    members = reader.members(item, ANONYMISE_KEYS)
    issuer = _ISSUERS.take(reader, members)
    if issuer == "apart" and "PseudonymTable" in members:
        hint = "a table knows patients by their PatientID alone"
        reader.wrong(members["Issuer"], 'no "apart" beside PseudonymTable', hint, found='"apart"')
    burned_in, recode = _BURNED.take(reader, members), _RECODE.take(reader, members)
    detect = _DETECTION.take(reader, members)
    _check_redaction(reader, members, burned_in, recode=recode, detect=detect)
    return AnonymiseOptions(
        project=_PROJECT.take(reader, members),
        keep=_KEEP.take(reader, members),
        safe_private=tuple(sorted({*_SAFE_PRIVATE.take(reader, members)})),
        pseudonym_table=_PSEUDONYM_TABLE.take(reader, members),
        fixed=_SET.take(reader, members),
        burned_in=burned_in,
        recode=recode,
        detect=detect,
        structured=_REPORTS.take(reader, members),
        issuer=issuer,
        malformed=_UNREADABLE.take(reader, members),
    )


def _check_redaction(reader: Reader, members: Mapping[str, Item], burned_in: str, *, recode: bool, detect: Any) -> None:
    """Refuse what means nothing unless images are redacted."""
    if burned_in == "redact":
        return
    hint = 'add "BurnedIn": "redact", or remove it'
    if recode:
        reader.wrong(members["Recode"], "false", hint, found='true without "BurnedIn": "redact"')
    if detect == "blackout":
        reader.wrong(members["Detect"], '"check"', hint, found='"blackout" without "BurnedIn": "redact"')


def anonymise_schema() -> Schema:
    """Describe the options of ANONYMISE."""
    both = {"required": ["Issuer", "PseudonymTable"], "properties": {"Issuer": {"const": "apart"}}}
    redacts = {"required": ["BurnedIn"], "properties": {"BurnedIn": {"const": "redact"}}}
    recodes = {"required": ["Recode"], "properties": {"Recode": {"const": True}}}
    blackens = {"required": ["Detect"], "properties": {"Detect": {"const": "blackout"}}}
    needed = {"if": {"anyOf": [recodes, blackens]}, "then": redacts}
    return {**object_schema(ANONYMISE_FIELDS), "not": both, **needed}


def archive(reader: Reader, item: Item) -> ZipOptions:
    """Read the options of ZIP."""
    return ZipOptions(_PACKING.take(reader, reader.members(item, ZIP_KEYS)))
