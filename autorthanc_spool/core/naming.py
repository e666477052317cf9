"""Names of what is published, made of tags that anybody may have written.

Tags are hostile input. Whatever becomes a component of a path went through `component`; whatever becomes the name of
a published folder went through `publication_name` as a whole, because two harmless parts can make a harmful name.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable, Mapping

from autorthanc_spool.core.dicom import Instance, Level, Resource, Series
from autorthanc_spool.core.template import Component, Template, Value

# File systems allow 255 bytes; what is left is for ".WORKING", ".zip" and the name of a parked folder.
MAX_NAME_BYTES = 200
HASH_DIGITS = 8

NO_PATIENT_ID = "NOPID"
UNKNOWN = "UNKNOWN"
NO_SERIES_NUMBER = "XX"

# hurahura takes no folder whose name holds ".WORKING" and treats "MIResearch-" as a mark of its own; a name that ends
# in ".zip" would be taken for an archive. File systems may fold letter case, so it doesn't count here.
_RESERVED = re.compile(r"\.(?=WORKING)|(?<=MIResearch)-|\.(?=zip$)", re.IGNORECASE)

# Letters and marks that show nothing, so that two names look the same (Unicode: Default_Ignorable_Code_Point): fillers
# of Korean, inherent vowels of Khmer, selectors of variants, the grapheme joiner.
_INVISIBLE = frozenset("\u115f\u1160\u3164\uffa0")
_INVISIBLE_MARK = re.compile("[\u034f\u17b4\u17b5\u180b-\u180d\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef]")


def component(text: str, missing: str = UNKNOWN) -> str:
    """Make one safe component of a path from any text; `missing` stands for an empty one.

    NFC; letters and decimal digits of any script with the marks on them, ``.``, ``_`` and ``-`` stay, anything else
    becomes ``_``; no leading ``.`` or ``-``, no trailing ``.``; nothing reserved; at most `MAX_NAME_BYTES` bytes, with
    a hash when cut.
    """
    return _finish(_cleaned(text), text) or missing


def rule_folder(name: str) -> str:
    """Name the folder of a rule: a component without marks, as it was called before names kept them.

    What lies there is found by this name: it must not change with a version of the program.
    """
    without_marks = "".join("_" if _is_mark(character) else character for character in _cleaned(name))
    return _finish(without_marks, name) or UNKNOWN


def family_name(PatientName: str) -> str:
    """Take the family name of a PN: of the alphabetic group, else of the ideographic one (PS3.5 section 6.2.1)."""
    groups = [group.split("^")[0].strip(" \0") for group in PatientName.split("\\")[0].split("=")]
    return next((family for family in groups[:2] if family), "")


def publication_name(resource: Resource, template: Template | None = None) -> str:
    """Name the published folder: ``pid-name-examid``, of a series with ``-SE<SeriesNumber>``.

    A template names it otherwise, and may put it into folders: then the name is a path, with slashes.
    """
    if template:
        return "/".join(filled(parts, lambda wanted: text_of(resource, wanted)) for parts in template.components)
    patient, study = resource.patient_tags, resource.study_tags
    parts = [
        component(patient.get("PatientID", ""), NO_PATIENT_ID),
        component(family_name(patient.get("PatientName", ""))),
        component(study.get("StudyID", "")),
    ]
    if resource.level is Level.SERIES:
        parts.append("SE" + component(resource.series[0].tags.get("SeriesNumber", ""), NO_SERIES_NUMBER))
    return joined(parts)


def filled(parts: Component, text_of: Callable[[Value], str]) -> str:
    """Make one component of a template's; what can't be seen or is missing leaves no empty one."""
    name = "".join(_cleaned(part) if isinstance(part, str) else _value(part, text_of(part)) for part in parts)
    return _finish(name, name) or UNKNOWN


def text_of(resource: Resource, wanted: Value) -> str:
    """What is known of an attribute: Orthanc's word, else that of the first file that has a value."""
    listed = _listed(resource)
    if listed.get(wanted.keyword, "").strip(" \0"):
        return listed[wanted.keyword]
    return next(filter(None, (_in_first_file(one, wanted.tag) for one in in_order(resource.series))), "")


def unanswered(resource: Resource, template: Template) -> frozenset[str]:
    """The tags of a template of which Orthanc lists no value, and that no file read so far has a value for."""
    listed = _listed(resource)
    # Orthanc lists what the first file to arrive says, which may be nothing.
    asked = (wanted for wanted in template.values if not listed.get(wanted.keyword, "").strip(" \0"))
    return frozenset(wanted.tag for wanted in asked if not text_of(resource, wanted))


def in_order(series: tuple[Series, ...]) -> list[Series]:
    """Sort series as they are asked: the order is the same whenever a study is named."""
    return sorted(series, key=lambda one: one.resource_id)


def _listed(resource: Resource) -> Mapping[str, str]:
    tags = {**resource.patient_tags, **resource.study_tags}
    if resource.level is Level.SERIES:
        return {**resource.series[0].tags, **tags}
    if "Modality" not in tags:
        tags["Modality"] = "-".join(sorted({one.tags["Modality"] for one in resource.series if "Modality" in one.tags}))
    return tags


def _in_first_file(series: Series, tag: str) -> str:
    return ((series.first_instance_tags or {}).get(tag) or "").strip(" \0")


def _value(wanted: Value, text: str) -> str:
    if wanted.keyword == "PatientName":
        text = family_name(text)
    missing = {"PatientID": NO_PATIENT_ID, "SeriesNumber": NO_SERIES_NUMBER}.get(wanted.keyword, UNKNOWN)
    return component(wanted.text(text), missing)


def joined(parts: list[str]) -> str:
    """Join components to one name that is safe as a whole."""
    name = "-".join(parts)
    return _finish(name, name)


def told_apart(name: str, identity: str) -> str:
    """Give a name that is taken its second form: ``-`` and the first 8 hexadecimal digits of the identity."""
    suffix = "-" + identity[:HASH_DIGITS]
    folders, slash, last = name.rpartition("/")
    return folders + slash + _finish(_cut(last, last, MAX_NAME_BYTES - len(suffix)) + suffix, last)


def series_folder(tags: Mapping[str, str]) -> str:
    """Name the folder of a series: ``SE<SeriesNumber>-<SeriesDate>-<SeriesInstanceUID>``."""
    number = component(tags.get("SeriesNumber", ""), NO_SERIES_NUMBER)
    return joined(["SE" + number, component(tags.get("SeriesDate", "")), component(tags.get("SeriesInstanceUID", ""))])


def file_paths(series: tuple[Series, ...], instances: tuple[Instance, ...]) -> dict[str, tuple[str, str]]:
    """Give each instance, by its Orthanc ID, its place (series folder, file name) inside the publication.

    UIDs are unique where DICOM is kept to; where cleaning makes two of them equal, the Orthanc ID tells them apart.
    """
    folders: dict[str, str] = {}
    for one in sorted(series, key=lambda item: item.resource_id):
        folders[one.resource_id] = _unique(series_folder(one.tags), one.resource_id, set(folders.values()))
    paths: dict[str, tuple[str, str]] = {}
    taken: dict[str, set[str]] = {folder: set() for folder in folders.values()}
    for instance in sorted(instances, key=lambda item: item.resource_id):
        folder = folders[instance.series_id]
        stem = _unique(component(instance.SOPInstanceUID), instance.resource_id, taken[folder])
        taken[folder].add(stem)
        paths[instance.resource_id] = (folder, f"{stem}.dcm")
    return paths


def _unique(name: str, identity: str, taken: set[str]) -> str:
    return told_apart(name, identity) if name in taken else name


def _cleaned(text: str) -> str:
    clean: list[str] = []
    has_base = False
    for character in unicodedata.normalize("NFC", text).strip(" \0"):
        # A mark belongs to the letter before; on its own, or on a separator, it would change how that looks.
        is_kept = has_base if _is_mark(character) else _is_harmless(character)
        clean.append(character if is_kept else "_")
        has_base = is_kept and character not in "._-"
    return "".join(clean)


def _is_harmless(character: str) -> bool:
    category = unicodedata.category(character)
    return (category[0] == "L" or category == "Nd" or character in "._-") and character not in _INVISIBLE


def _is_mark(character: str) -> bool:
    """Whether it is a vowel sign or an accent of a letter: without them, many scripts can't be read."""
    return unicodedata.category(character) in ("Mn", "Mc") and not _INVISIBLE_MARK.fullmatch(character)


def _finish(name: str, original: str) -> str:
    name = _cut(name, original, MAX_NAME_BYTES)
    name = re.sub(r"^[.-]+", "_", name)
    name = re.sub(r"\.+$", "", name)
    return _RESERVED.sub("_", name)


def _cut(name: str, original: str, limit_bytes: int) -> str:
    data = name.encode()
    if len(data) <= limit_bytes:
        return name
    suffix = "-" + hashlib.sha256(original.encode(errors="surrogatepass")).hexdigest()[:HASH_DIGITS]
    kept = data[: limit_bytes - len(suffix)].decode(errors="ignore")
    # A letter goes with all its marks.
    while kept and _is_mark(name[len(kept)]):
        kept = kept[:-1]
    return kept + suffix
