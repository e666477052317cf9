"""A rule file: bytes → `Rule`, or everything that is wrong with them."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Collection, Mapping, Sequence

from autorthanc_spool.rules import combinations, fields, located_json, templates
from autorthanc_spool.rules.located_json import NotJSON, Object
from autorthanc_spool.rules.model import ActionWord, Rule, with_implied
from autorthanc_spool.rules.problems import Refusal, RuleError, nearest
from autorthanc_spool.rules.reader import Item, Reader, is_note

# A rule takes less than a kilobyte, a long list of private elements some more; what is larger was put there by mistake.
MAX_BYTES = 256 * 1024

# Says why a path can't be delivered to, if it can't.
Refuses = Callable[[str], Refusal | None]

_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def parse_rule(name: str, data: bytes, known: Sequence[ActionWord], refuses: Refuses | None = None) -> Rule:
    """Read the content of NAME.json; `known` are the words of all actions, `refuses` judges what `Deliver` names.

    Raises RuleError with all problems at once.
    """
    reader = Reader()
    root = root_of(reader, data)
    rule = _rule(reader, name, root, known, refuses) if root else None
    if rule is None or reader.problems:
        raise RuleError(f"{name}.json", reader.problems, is_off=root is not None and says_off(root, fields.KEYS))
    return rule


def root_of(reader: Reader, data: bytes) -> Item | None:
    """Parse a file that people write; None when nothing can be made of it, and what is wrong is noted."""
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


def says_off(root: Item, keys: Collection[str]) -> bool:
    """Whether a file with these keys, in spite of its problems, says clearly that it isn't active.

    What looks like a mistyped ``"IsActive": true`` doesn't: then what the rule wants must wait until it is fixed.
    """
    if not isinstance(root.node.value, Object):
        return False
    members = root.node.value.members
    flags = [member.node.value for member in members if member.key == "IsActive"]
    if flags:
        return all(flag is False for flag in flags)
    others = [member.key for member in members if member.key not in keys and not is_note(member.key)]
    return not any(nearest(key, ["IsActive"]) for key in others)


def _rule(reader: Reader, name: str, root: Item, known: Sequence[ActionWord], refuses: Refuses | None) -> Rule:
    members = reader.members(root, fields.KEYS, required=fields.REQUIRED, elsewhere=fields.OF_CONDITIONS)
    asked = _asked(reader, members, known)
    combinations.check(reader, members, asked, known)
    keys = {key for action in asked for key in (*action.keys, *action.needs)}
    level, name_template = fields.CHECK_ON.take(reader, members), fields.NAME.take(reader, members)
    if name_template:
        templates.check_level(reader, members["Name"], name_template, level)
    anonymise = fields.ANONYMISE.take(reader, members)
    archive = fields.ZIP.take(reader, members)
    return Rule(
        name=name,
        check_on=level,
        is_active=fields.IS_ACTIVE.take(reader, members),
        comment=fields.COMMENT.take(reader, members),
        actions=with_implied(asked, known),
        conditions=fields.TAGS.take(reader, members),
        destination_modalities=_destinations(reader, members) if "DestinationModality" in keys else (),
        copies=fields.COPIES.take(reader, members),
        anonymise=anonymise.of_rule(name) if "Anonymise" in keys else None,
        zip=archive if "Zip" in keys else None,
        storage_commitment=fields.STORAGE_COMMITMENT.take(reader, members),
        delete_from_orthanc=fields.DELETE_FROM_ORTHANC.take(reader, members),
        name_template=name_template,
        files=fields.FILES.take(reader, members),
        between=fields.BETWEEN.take(reader, members),
        same_series=fields.SAME_SERIES.take(reader, members),
        selects_series=fields.SERIES.take(reader, members),
        is_fallback=fields.FALLBACK.take(reader, members),
        deliver=_delivered(reader, members, refuses),
    )


def _asked(reader: Reader, members: Mapping[str, Item], known: Sequence[ActionWord]) -> frozenset[ActionWord]:
    """Take the actions as they are written; none of them when one is wrong."""
    before = len(reader.problems)
    asked = fields.action(known).take(reader, members)
    return frozenset(asked) if len(reader.problems) == before else frozenset()


def _delivered(reader: Reader, members: Mapping[str, Item], refuses: Refuses | None) -> str:
    path = fields.DELIVER.take(reader, members)
    if path and refuses and (refusal := refuses(path)):
        reader.wrong(members["Deliver"], refusal.expected, refusal.hint, found=refusal.found)
    return path


def _destinations(reader: Reader, members: Mapping[str, Item]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for name in fields.DESTINATION_MODALITY.take(reader, members) if name))
