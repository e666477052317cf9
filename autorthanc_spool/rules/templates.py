"""`Name` and `Files`: how a rule names what it publishes, and the files in it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from autorthanc_spool.core.dicom import Level
from autorthanc_spool.core.template import MAX_COMPONENTS, Template, Value
from autorthanc_spool.rules import computed, terms
from autorthanc_spool.rules.problems import did_you_mean, quoted
from autorthanc_spool.rules.reader import Item, Reader

# A slash in braces is a mistake of its own.
_SLASH = re.compile(r"/(?![^{}]*\})")
_PART = re.compile(r"\{([^{}]*)\}|([^{}]+)|([{}])")
# Directives of strftime that mean the same in every language.
_DATE_FORMAT = re.compile(r"(?:%[YymdjGVu]|[^%/{}])+")
# A schema recognises dates by their names.
_VALUE_PATTERN = rf"\{{(?:[A-Za-z][A-Za-z0-9]*|[A-Za-z]*Date(?!Time)[A-Za-z]*:{_DATE_FORMAT.pattern})\}}"


@dataclass(frozen=True)
class _Scope:
    """What a template is for: an example, and attributes that it may not name."""

    example: str
    refused: frozenset[str] = frozenset()


_NAME = _Scope('"{PatientID}-{StudyDate}", or with folders "{StudyDate:%Y-%m}/{PatientID}"', terms.IMAGE_KEYWORDS)
_FILES = _Scope('"{SeriesNumber}-{SeriesDescription}/{InstanceNumber}"')


def read_name(reader: Reader, item: Item) -> Template | None:
    """Read the template of a name; what is wrong is noted."""
    return _read(reader, item, _NAME)


def read_files(reader: Reader, item: Item) -> Template | None:
    """Read the template of the files inside; what is wrong is noted."""
    return _read(reader, item, _FILES)


def schema() -> dict[str, str]:
    """Describe a template to editors; which attributes there are, and go with which level, a schema can't tell."""
    component = rf"[ .]*(?:[^{{}}/ .]|{_VALUE_PATTERN})(?:[^{{}}/]|{_VALUE_PATTERN})*"
    return {"type": "string", "pattern": rf"^{component}(?:/{component}){{0,{MAX_COMPONENTS - 1}}}(?![\s\S])"}


def check_level(reader: Reader, item: Item, template: Template, level: Level) -> None:
    """Note what a study has no single value of."""
    if level is not Level.STUDY:
        return
    for keyword in sorted(template.tags.keys() - terms.STUDY_KEYWORDS - {"Modality"}):
        hint = 'write a rule with "CheckOn": "Series", or name it in "Files"'
        reader.wrong(item, "attributes of patients and studies", hint, quoted(keyword))


def _read(reader: Reader, item: Item, scope: _Scope) -> Template | None:
    text = reader.text(item)
    if text is None:
        return None
    before = len(reader.problems)
    if text.startswith("/"):
        reader.wrong(
            item, f"a path below the rule's folder: {scope.example}", "leave the first slash out", quoted(text)
        )
        return None
    written = _SLASH.split(text)
    components = tuple(tuple(_parts(reader, item, component, scope)) for component in written)
    if not all(one.strip(" .") for one in written):
        reader.wrong(item, f"names that can't be empty, nor . or ..: {scope.example}", found=quoted(text))
    if len(written) > MAX_COMPONENTS:
        reader.wrong(item, f"{MAX_COMPONENTS} at most", found=f"{len(written)} names with slashes between them")
    return Template(components) if len(reader.problems) == before else None


def _parts(reader: Reader, item: Item, component: str, scope: _Scope) -> Iterator[str | Value]:
    for named, text, brace in _PART.findall(component):
        if text:
            yield text
        elif brace:
            reader.wrong(item, f"each {{ with its }}: {scope.example}", found=f"{quoted(brace)} alone")
        elif value := _value(reader, item, named, scope):
            yield value


def _value(reader: Reader, item: Item, named: str, scope: _Scope) -> Value | None:
    # The DICOM dictionary takes as long to import as all the rest of a run.
    from autorthanc_spool.rules import vocabulary

    keyword, colon, date_format = named.partition(":")
    tag = _tag(reader, item, keyword)
    if tag is None:
        return None
    if keyword in scope.refused:
        reader.wrong(item, "attributes of patients, studies and series", '"Files" names images', quoted(keyword))
        return None
    if colon and vocabulary.value_representation(tag) != "DA":
        reader.wrong(item, f"{{{keyword}}} without a format, which only dates have", found=quoted(named))
        return None
    if colon and not _DATE_FORMAT.fullmatch(date_format):
        hint = "as {StudyDate:%Y-%m}; of the directives, %Y %y %m %d %j %G %V %u"
        reader.wrong(item, "a format for dates", hint, quoted(date_format))
        return None
    return Value(keyword, tag, date_format)


def _tag(reader: Reader, item: Item, keyword: str) -> str | None:
    """Find the tag of an attribute that files have with a value that is text or numbers."""
    from autorthanc_spool.rules import vocabulary

    obstacle, hint = "", None
    found = vocabulary.find(keyword) if keyword in vocabulary.KEYWORDS else None
    if found is None:
        hint = reader.hint(lambda: did_you_mean(keyword, vocabulary.KEYWORDS))
    elif why_not := vocabulary.why_not(found[1]):
        obstacle = f", {why_not}"
    elif keyword in computed.ATTRIBUTES or found[1] in terms.IN_NO_FILE:
        obstacle = ", which no file has"
        hint = "{Modality} has the modalities of a study" if keyword == "ModalitiesInStudy" else None
    else:
        return found[1]
    reader.wrong(item, "an attribute that a name may have", hint, quoted(keyword) + obstacle)
    return None
