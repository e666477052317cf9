"""The fields of a rule and of its conditions: one row each, for the reader and for the JSON Schema.

A new field is a row here (of ANONYMISE and ZIP: in `options`), its attribute in `model`, and a line where `file` makes
the rule. Then `make schema`, and a test looks whether reader and schema agree.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from autorthanc_spool.core.dicom import Level
from autorthanc_spool.core.template import Template
from autorthanc_spool.rules import hours, kinds, options, templates
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
from autorthanc_spool.rules.located_json import Object
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
_NOT = Field("Not", FLAG, False, "true: the condition passes exactly when it would not have.")
TAG_FIELDS: tuple[Field[Any], ...] = (_TAG_NAME, _LEVEL, *kinds.FIELDS, _NOT)
TAG_KEYS = keys(TAG_FIELDS)
# Where the keys of a condition belong that were written into the rule itself.
OF_CONDITIONS = {key: f'it belongs in a condition: "Tags": [{{"TagName": …, "{key}": …}}]' for key in TAG_KEYS}
OF_CONDITIONS["TagName"] = 'it belongs in a condition: "Tags": [{"TagName": …, "Value": …}]'


def _condition(reader: Reader, item: Item) -> Condition | None:
    before = len(reader.problems)
    of_rules = dict.fromkeys(KEYS, 'it belongs in the rule itself, beside "Tags"')
    members = reader.members(item, TAG_KEYS, required=required(TAG_FIELDS), elsewhere=of_rules)
    if not isinstance(item.node.value, Object):
        return None
    _LEVEL.take(reader, members)
    found, is_negated = _TAG_NAME.take(reader, members), _NOT.take(reader, members)
    kind = _kind(reader, item, members)
    if found is None or kind is None:
        for field in kinds.FIELDS if found is None else ():
            field.take(reader, members)
        return None
    from autorthanc_spool.rules import vocabulary

    tag_name, keyword, tag = found
    vr = vocabulary.value_representation(tag) or ""
    asked = kind.read(reader, members, kinds.Tag(tag_name, vr, vocabulary.is_free_text(tag)))
    return Condition(tag_name, keyword, tag, asked, is_negated) if asked and len(reader.problems) == before else None


def _kind(reader: Reader, item: Item, members: Mapping[str, Item]) -> kinds.Kind | None:
    """Find the one kind that a condition is of."""
    asked = kinds.asked_for(members)
    if not asked:
        hint = f"or one of {', '.join(quoted(field.key) for field in kinds.FIELDS[1:])}"
        missing = Item(f"{item.field}.{kinds.FIELDS[0].key}", item.node)
        reader.wrong(missing, "this key, which must be there", hint, found="nothing")
        return None
    if len(asked) > 1:
        (_, first), (_, second) = asked[:2]
        hint = "write one condition for each"
        reader.wrong(members[second], "one of them", hint, found=f"{quoted(first)} and {quoted(second)}")
        return None
    return asked[0][0]


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
    list_of(Form(_condition, lambda: {**object_schema(TAG_FIELDS), **kinds.schema()})),
    (),
    "All of them must pass. An empty list matches everything.",
    required=True,
)
# Without FORWARD nobody looks at this key: old templates carry it, whatever is there.
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
NAME: Field[Template | None] = Field(
    "Name",
    Form(templates.read_name, templates.schema),
    None,
    "The name of what is published, instead of pid-name-examid: {PatientID}-{StudyDate}, with folders "
    "{StudyDate:%Y-%m}/{PatientID}.",
)
FILES: Field[Template | None] = Field(
    "Files",
    Form(templates.read_files, templates.schema),
    None,
    "The names of the files in what is published: {SeriesNumber}-{SeriesDescription}/{InstanceNumber}. The suffix is "
    ".dcm.",
)

# What the settings allow, they know alone: `deliver` only reads a path.
_PATH = matching(
    r"/(?!\.{1,2}(?:/|(?![\s\S])))[^/\x00-\x1f\x7f]+(?:/(?!\.{1,2}(?:/|(?![\s\S])))[^/\x00-\x1f\x7f]+)*/?",
    "the whole path of a folder, from / on",
    "without . or .. in it",
)


def _deliver(reader: Reader, item: Item) -> str | None:
    text = _PATH.read(reader, item)
    return None if text is None else text.removesuffix("/")


DELIVER = Field(
    "Deliver",
    Form(_deliver, _PATH.schema),
    "",
    "A folder, of those that AUTORTHANC_DELIVER_ROOTS allows, that is published into instead of the output.",
)

_HOUR = "([01][0-9]|2[0-3]):[0-5][0-9]"
_HOURS = matching(
    f"(?!([0-9:]{{5}})-\\1){_HOUR}-{_HOUR}", 'two different times of day, as "20:00-06:00"', "midnight is 00:00"
)


def _between(reader: Reader, item: Item) -> hours.Hours | None:
    text = _HOURS.read(reader, item)
    return None if text is None else hours.parse(text)


BETWEEN: Field[hours.Hours | None] = Field(
    "Between",
    Form(_between, _HOURS.schema),
    None,
    "The hours in which the rule runs, in local time (TZ), as 20:00-06:00. Outside of them, what matches waits.",
)

_SERIES = {"all": False, "matching": True}
SAME_SERIES = Field("SameSeries", FLAG, False, "true: one and the same series must pass all conditions on series tags.")
SERIES = Field(
    "Series",
    word_in_any_case(_SERIES),
    False,
    "Which series of a study are exported: all, or those alone that pass the rule's conditions on series tags.",
)
FALLBACK = Field(
    "Fallback", FLAG, False, "true: the rule is asked only when no other active rule on its level matches."
)


def rows(known: Sequence[ActionWord]) -> tuple[Field[Any], ...]:
    """All rows of a rule, for the words of all actions."""
    return (
        CHECK_ON, IS_ACTIVE, COMMENT, action(known), TAGS, DESTINATION_MODALITY, COPIES, ANONYMISE, ZIP,
        STORAGE_COMMITMENT, DELETE_FROM_ORTHANC, SAME_SERIES, SERIES, FALLBACK, NAME, FILES, BETWEEN,
        DELIVER,
    )  # fmt: skip


KEYS = keys(rows(()))
REQUIRED = required(rows(()))
