"""A rule file: bytes → `Rule`, or everything that is wrong with them."""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Mapping, Sequence

from autorthanc_spool.core.dicom import Level
from autorthanc_spool.rules import combinations, located_json, options
from autorthanc_spool.rules.located_json import NotJSON, Object
from autorthanc_spool.rules.model import (
    ActionWord,
    AnonymiseOptions,
    Condition,
    Kind,
    Rule,
    ZipOptions,
    with_implied,
)
from autorthanc_spool.rules.problems import RuleError, nearest, one_of, quoted
from autorthanc_spool.rules.reader import Item, Reader, is_note, take

# A rule takes less than a kilobyte, a long list of private elements some more; what is larger was put there by mistake.
MAX_BYTES = 256 * 1024

KEYS = (
    "CheckOn",
    "IsActive",
    "Comment",
    "Action",
    "Tags",
    "DestinationModality",
    "Copies",
    "Anonymise",
    "Zip",
    "StorageCommitment",
    "DeleteFromOrthanc",
)
TAG_KEYS = ("TagName", "Level", "Value")

_CHECK_ON = {"Study": Level.STUDY, "Series": Level.SERIES}
_LEVELS = {"Patient": "patient", "Study": "study", "Series": "series"}

# Several actions in one text, as people write them.
_SEPARATOR = re.compile(r"\s*[,;+&|/\s]\s*")

# Orthanc takes letters, digits, dashes and little else; a name with a slash would be another address of its REST API.
_MODALITY = re.compile(r"[^\s/]+")

_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def parse_rule(name: str, data: bytes, known: Sequence[ActionWord]) -> Rule:
    """Read the content of NAME.json; `known` are the words of all actions.

    Raises RuleError with all problems at once.
    """
    reader = Reader()
    root = _root(reader, data)
    rule = _rule(reader, name, root, known) if root else None
    if rule is None or reader.problems:
        raise RuleError(f"{name}.json", reader.problems, is_off=root is not None and _says_off(root))
    return rule


def _root(reader: Reader, data: bytes) -> Item | None:
    text = _decoded(reader, data)
    if text is None:
        return None
    try:
        return Item("", located_json.parse(text))
    except NotJSON as error:
        reader.note(error.line, "", error.found, error.expected, error.hint)
        return None


def _decoded(reader: Reader, data: bytes) -> str | None:
    if len(data) > MAX_BYTES:
        reader.note(0, "", f"more than {MAX_BYTES // 1024} KiB", "a rule, which is much smaller")
        return None
    if data.startswith(_UTF16_MARKS) or b"\0" in data:
        reader.note(0, "", "something else than UTF-8", "text in UTF-8", "in the editor, save it again as UTF-8")
        return None
    if data.startswith(codecs.BOM_UTF8):
        hint = 'in the editor, save it as "UTF-8", not as "UTF-8 with BOM"'
        reader.note(1, "", "a byte order mark", "UTF-8 without one", hint)
        data = data.removeprefix(codecs.BOM_UTF8)
    if not data.strip():
        reader.note(0, "", "an empty file", "an object: {…}")
        return None
    for number, line in enumerate(data.split(b"\n"), start=1):
        try:
            line.decode()
        except UnicodeDecodeError as error:
            found = f"the byte {line[error.start]:02x}, which isn't UTF-8"
            reader.note(number, "", found, "text in UTF-8", "in the editor, save it again as UTF-8")
    return data.decode(errors="replace")


def _says_off(root: Item) -> bool:
    """Whether the file, in spite of its problems, says clearly that the rule isn't active.

    What looks like a mistyped ``"IsActive": true`` doesn't: then what the rule wants must wait until it is mended.
    """
    if not isinstance(root.node.value, Object):
        return False
    members = root.node.value.members
    flags = [member.node.value for member in members if member.key == "IsActive"]
    if flags:
        return all(flag is False for flag in flags)
    others = [member.key for member in members if member.key not in KEYS and not is_note(member.key)]
    return not any(nearest(key, ["IsActive"]) for key in others)


def _rule(reader: Reader, name: str, root: Item, known: Sequence[ActionWord]) -> Rule:
    members = reader.members(root, KEYS, required=("CheckOn", "Tags"))
    asked = _asked(reader, members, known)
    combinations.check(reader, members, asked, known)
    keys = {key for action in asked for key in (*action.keys, *action.needs)}
    anonymise = take(members, "Anonymise", lambda item: options.anonymise(reader, item, name), AnonymiseOptions(name))
    archive = take(members, "Zip", lambda item: options.archive(reader, item), ZipOptions())
    return Rule(
        name=name,
        check_on=take(members, "CheckOn", lambda item: reader.word(item, _CHECK_ON, any_case=True), Level.STUDY),
        is_active=take(members, "IsActive", reader.flag, False),
        comment=take(members, "Comment", reader.text, ""),
        actions=with_implied(asked, known),
        conditions=take(members, "Tags", lambda item: _conditions(reader, item), ()),
        destination_modalities=_destinations(reader, members) if "DestinationModality" in keys else (),
        copies=take(members, "Copies", reader.flag, True),
        anonymise=anonymise if "Anonymise" in keys else None,
        zip=archive if "Zip" in keys else None,
        storage_commitment=take(members, "StorageCommitment", reader.flag, False),
        delete_from_orthanc=take(members, "DeleteFromOrthanc", reader.flag, False),
    )


def _asked(reader: Reader, members: Mapping[str, Item], known: Sequence[ActionWord]) -> frozenset[ActionWord]:
    """Take the actions as they are written; none of them when one is wrong."""
    if "Action" not in members:
        return frozenset({next(one for one in known if one.kind is Kind.PUBLISHES)})
    items = reader.one_or_more(members["Action"]) or []
    actions = [_action(reader, item, known) for item in items]
    return frozenset() if None in actions else frozenset(action for action in actions if action)


def _action(reader: Reader, item: Item, known: Sequence[ActionWord]) -> ActionWord | None:
    meanings = {spelling: one for one in known for spelling in (one.word, *one.spellings)}
    words = item.node.value
    listed = _SEPARATOR.split(words.strip().upper()) if isinstance(words, str) else []
    if len(listed) > 1 and set(listed) <= meanings.keys():
        hint = f"write a list: [{', '.join(quoted(word) for word in listed)}]"
        reader.wrong(item, one_of([one.word for one in known]), hint, found=quoted(str(words)))
        return None
    return reader.word(item, meanings, any_case=True)


def _conditions(reader: Reader, item: Item) -> tuple[Condition, ...]:
    conditions = [_condition(reader, one) for one in reader.items(item) or []]
    return tuple(condition for condition in conditions if condition)


def _condition(reader: Reader, item: Item) -> Condition | None:
    # The DICOM dictionary takes as long to import as all the rest of a run; a rule without conditions needs none.
    from autorthanc_spool.rules import vocabulary

    members = reader.members(item, TAG_KEYS, required=("TagName", "Value"))
    # Old templates carry an empty one.
    if (level := members.get("Level")) and level.node.value != "":
        reader.word(level, _LEVELS, any_case=True)
    found = take(members, "TagName", lambda one: _tag(reader, one), None)
    value = take(members, "Value", reader.text, None)
    if found is None or value is None:
        return None
    tag_name, keyword, tag = found
    if not vocabulary.is_free_text(tag) and any(unicodedata.category(character) == "Cc" for character in value):
        hint = r"a backslash is written twice: \\; \n, \t and the like stand for line breaks and tabs"
        reader.wrong(members["Value"], f"text that {tag_name} can hold", hint, found="a control character")
    return Condition(tag_name, keyword, tag, value)


def _tag(reader: Reader, item: Item) -> tuple[str, str | None, str] | None:
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


def _destinations(reader: Reader, members: Mapping[str, Item]) -> tuple[str, ...]:
    # Without FORWARD nobody looks at this key: old templates carry it, whatever stands there.
    items: list[Item] = take(members, "DestinationModality", reader.one_or_more, [])
    names = [reader.matching(item, _MODALITY, "the name of a modality that Orthanc knows") for item in items]
    return tuple(dict.fromkeys(name for name in names if name))
