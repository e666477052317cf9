"""The fields of a rule and of its conditions: one row each, for the reader and for the JSON Schema.

A new field is a row here (of ANONYMISE and ZIP: in `options`), its attribute in `model`, and a line where `file` makes
the rule. Then `make schema`, and a test looks whether reader and schema agree.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from autorthanc_spool.core.dicom import Level
from autorthanc_spool.rules import options
from autorthanc_spool.rules.forms import (
    FLAG,
    TEXT,
    Field,
    Form,
    Schema,
    in_any_case,
    keys,
    list_of,
    matching,
    object_schema,
    one_or_more,
    required,
    word_in_any_case,
)
from autorthanc_spool.rules.model import ActionWord, AnonymiseOptions, Condition, Kind, ZipOptions
from autorthanc_spool.rules.problems import one_of, quoted
from autorthanc_spool.rules.reader import Item, Reader

_CHECK_ON = {"Study": Level.STUDY, "Series": Level.SERIES}
_LEVELS = {"Patient": "patient", "Study": "study", "Series": "series"}

# Several actions in one text, as people write them.
_SEPARATOR = re.compile(r"\s*[,;+&|/\s]\s*")


def _action(reader: Reader, item: Item, meanings: Mapping[str, ActionWord]) -> ActionWord | None:
    words = item.node.value
    listed = _SEPARATOR.split(words.strip().upper()) if isinstance(words, str) else []
    if len(listed) > 1 and set(listed) <= meanings.keys():
        hint = f"write a list: [{', '.join(quoted(word) for word in listed)}]"
        known = list(dict.fromkeys(meaning.word for meaning in meanings.values()))
        reader.wrong(item, one_of(known), hint, found=quoted(str(words)))
        return None
    return reader.word(item, meanings, any_case=True)


def _tag(reader: Reader, item: Item) -> tuple[str, str | None, str] | None:
    # The DICOM dictionary takes as long to import as all the rest of a run; a rule without conditions needs none.
    from autorthanc_spool.rules import vocabulary

    tag_name = reader.text(item)
    if tag_name is None:
        return None
    found = vocabulary.find(tag_name)
    if found is None:
        hint = reader.hint(lambda: vocabulary.suggestion(tag_name))
        reader.wrong(item, "a DICOM keyword or gggg,eeee", hint, found=quoted(tag_name))
        return None
    if obstacle := vocabulary.why_not(found[1]):
        reader.wrong(item, "a tag with a value that is text or numbers", found=f"{quoted(tag_name)}, {obstacle}")
    return tag_name, *found


def _tag_schema() -> Schema:
    # A schema can't tell keywords from other words, unless it lists the whole dictionary.
    patterns = [r"^[A-Za-z][A-Za-z0-9]*(?![\s\S])", r"^[0-9A-Fa-f]{4},[0-9A-Fa-f]{4}(?![\s\S])"]
    return {"type": "string", "anyOf": [{"enum": list(_OFTEN_ASKED)}, *({"pattern": one} for one in patterns)]}


# What an editor offers.
_OFTEN_ASKED = (
    "AccessionNumber", "BodyPartExamined", "DeviceSerialNumber", "ImageType", "InstitutionName", "Manufacturer",
    "ManufacturerModelName", "ModalitiesInStudy", "Modality", "NumberOfStudyRelatedInstances", "PatientBirthDate",
    "PatientID", "PatientName", "PatientSex", "PerformedProcedureStepDescription", "ProtocolName",
    "ReferringPhysicianName", "RequestedProcedureDescription", "SOPClassUID", "SeriesDate", "SeriesDescription",
    "SeriesInstanceUID", "SeriesNumber", "StationName", "StudyDate", "StudyDescription", "StudyID", "StudyInstanceUID",
)  # fmt: skip

_TAG_NAME: Field[tuple[str, str | None, str] | None] = Field(
    "TagName",
    Form(_tag, _tag_schema),
    None,
    "A DICOM keyword, or group and element in hexadecimal digits: gggg,eeee.",
    required=True,
)


def _level(reader: Reader, item: Item) -> str | None:
    # Templates of autorthanc leave it empty.
    return "" if item.node.value == "" else _LEVEL_WORD.read(reader, item)


_LEVEL_WORD = word_in_any_case(_LEVELS)
_LEVEL = Field(
    "Level",
    Form(_level, lambda: {"anyOf": [_LEVEL_WORD.schema(), {"const": ""}]}),
    "",
    "Read for compatibility; the level is that of the tag.",
)
_VALUE: Field[str | None] = Field(
    "Value",
    TEXT,
    None,
    "Text that the tag's value must contain, in any letter case. Empty: the tag must have a value.",
    required=True,
)
TAG_FIELDS: tuple[Field[Any], ...] = (_TAG_NAME, _LEVEL, _VALUE)
TAG_KEYS = keys(TAG_FIELDS)


def _condition(reader: Reader, item: Item) -> Condition | None:
    members = reader.members(item, TAG_KEYS, required=required(TAG_FIELDS))
    _LEVEL.take(reader, members)
    found, value = _TAG_NAME.take(reader, members), _VALUE.take(reader, members)
    if found is None or value is None:
        return None
    from autorthanc_spool.rules import vocabulary

    tag_name, keyword, tag = found
    if not vocabulary.is_free_text(tag) and any(unicodedata.category(character) == "Cc" for character in value):
        hint = r"a backslash is written twice: \\; \n, \t and the like stand for line breaks and tabs"
        reader.wrong(members["Value"], f"text that {tag_name} can hold", hint, found="a control character")
    return Condition(tag_name, keyword, tag, value)


# Orthanc takes letters, digits, dashes and little else; a name with a slash would be another address of its REST API.
MODALITIES = one_or_more(matching(r"[^\s/]+", "the name of a modality that Orthanc knows"))

CHECK_ON = Field(
    "CheckOn",
    word_in_any_case(_CHECK_ON),
    Level.STUDY,
    "Study: the rule looks at whole studies. Series: at each series by itself.",
    required=True,
)
IS_ACTIVE = Field("IsActive", FLAG, False, "The rule runs only if this is true.")
COMMENT = Field("Comment", TEXT, "", "What the rule is for, and whom to ask.")


def action(known: Sequence[ActionWord]) -> Field[tuple[ActionWord, ...]]:
    """The row of `Action`, for the words of all actions."""
    meanings = {spelling: one for one in known for spelling in (one.word, *one.spellings)}
    form = Form(lambda reader, item: _action(reader, item, meanings), lambda: in_any_case(meanings))
    default = tuple(one for one in known if one.kind is Kind.PUBLISHES)[:1]
    text = "What is done with what matches: one word or a list, in any order. Without it, DOWNLOAD."
    return Field("Action", one_or_more(form), default, text)


TAGS = Field(
    "Tags",
    list_of(Form(_condition, lambda: object_schema(TAG_FIELDS))),
    (),
    "Every one must pass. An empty list matches everything.",
    required=True,
)
# Without FORWARD nobody looks at this key: old templates carry it, whatever stands there.
DESTINATION_MODALITY = Field(
    "DestinationModality",
    Form(MODALITIES.read, dict),
    (),
    "Where FORWARD sends to: a name that Orthanc knows as a modality, or a list. Without FORWARD it means nothing.",
)
COPIES = Field("Copies", FLAG, True, "false leaves out the copies that Orthanc makes when it anonymises or modifies.")
ANONYMISE = Field(
    "Anonymise",
    Form(options.anonymise, options.anonymise_schema),
    AnonymiseOptions(""),
    "How ANONYMISE works.",
)
ZIP = Field("Zip", Form(options.archive, lambda: object_schema(options.ZIP_FIELDS)), ZipOptions(), "How ZIP works.")
STORAGE_COMMITMENT = Field(
    "StorageCommitment", FLAG, False, "Whether a destination of FORWARD has to confirm that it keeps what it received."
)
DELETE_FROM_ORTHANC = Field(
    "DeleteFromOrthanc",
    FLAG,
    False,
    "Whether what was exported is deleted from Orthanc when everything has succeeded.",
)


def rows(known: Sequence[ActionWord]) -> tuple[Field[Any], ...]:
    """All rows of a rule, for the words of all actions."""
    return (
        CHECK_ON, IS_ACTIVE, COMMENT, action(known), TAGS, DESTINATION_MODALITY, COPIES, ANONYMISE, ZIP,
        STORAGE_COMMITMENT, DELETE_FROM_ORTHANC,
    )  # fmt: skip


KEYS = keys(rows(()))
REQUIRED = required(rows(()))
