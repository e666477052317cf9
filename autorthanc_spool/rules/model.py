"""What a rule is, once it has been read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, StrEnum
from functools import cached_property
from typing import Any, Literal

from autorthanc_spool.core import naming
from autorthanc_spool.core.dicom import Level
from autorthanc_spool.core.template import Template
from autorthanc_spool.rules.asked import Asked
from autorthanc_spool.rules.hours import Hours
from autorthanc_spool.rules.terms import LISTED_KEYWORDS, STUDY_KEYWORDS


class Kind(Enum):
    """What an action does with the files that leave."""

    PUBLISHES = "publishes"
    SENDS = "sends"
    CHANGES = "changes what leaves"


@dataclass(frozen=True, order=True)
class ActionWord:
    """A word that a rule may ask for, as its action describes it; the registry of actions is the authority.

    `spellings` are others for the same. `instead_of` are the words of publishing actions that it takes the place of,
    and that asking for it asks for too. `needs` are keys of a rule that have to be there with it, `keys` those that
    mean nothing without it.
    """

    word: str
    kind: Kind = field(compare=False)
    spellings: tuple[str, ...] = field(default=(), compare=False)
    instead_of: frozenset[str] = field(default=frozenset(), compare=False)
    needs: tuple[str, ...] = field(default=(), compare=False)
    keys: tuple[str, ...] = field(default=(), compare=False)

    def __str__(self) -> str:
        return self.word


class Keep(StrEnum):
    """Options of the de-identification profile: what is kept that would go otherwise (PS3.15 section E.3)."""

    MODIFIED_DATES = "ModifiedDates"
    FULL_DATES = "FullDates"
    PATIENT_CHARACTERISTICS = "PatientCharacteristics"
    DEVICE = "Device"
    INSTITUTION = "Institution"
    UIDS = "UIDs"
    DESCRIPTORS = "Descriptors"


@dataclass(frozen=True, order=True)
class PrivateElement:
    """A private element that is safe to keep; `element` is the last byte, as the block may lie anywhere."""

    creator: str
    group: int
    element: int


@dataclass(frozen=True)
class AnonymiseOptions:
    """How a rule anonymises. `pseudonym_table` is a file name beside the rules, `fixed` is keyword and value.

    `issuer` says whether one PatientID of two issuers is one patient or two, `malformed` what happens to a file that
    can't be read. `recode` redacts lossy compressed images, too; `detect` says what is done about text in pixels.
    """

    project: str
    keep: frozenset[Keep] = frozenset()
    safe_private: tuple[PrivateElement, ...] = ()
    pseudonym_table: str | None = None
    fixed: tuple[tuple[str, str], ...] = ()
    burned_in: Literal["withhold", "allow", "redact"] = "withhold"
    recode: bool = False
    detect: Literal["check", "blackout"] | None = None
    structured: Literal["withhold", "clean"] = "withhold"
    issuer: Literal["ignore", "apart"] = "ignore"
    malformed: Literal["fail", "withhold"] = "fail"

    def of_rule(self, name: str) -> AnonymiseOptions:
        """The options of a rule: its name is the project where they name none."""
        return self if self.project else replace(self, project=name)


@dataclass(frozen=True)
class ZipOptions:
    """How a rule makes its archive."""

    compression: Literal["fast", "stored"] = "fast"


@dataclass(frozen=True)
class Condition:
    """What is asked of one tag.

    `tag_name` is as written, `tag` is ``gggg,eeee`` in lower case; `keyword` is None where the dictionary has none.
    """

    tag_name: str
    keyword: str | None
    tag: str
    asked: Asked
    is_negated: bool = False

    @cached_property
    def inverts(self) -> bool:
        """Whether it passes where no value passes."""
        return self.is_negated is not self.asked.is_negative

    @cached_property
    def of_series(self) -> bool:
        """Whether it is about series: all attributes are, but those of patient and study."""
        return self.keyword not in STUDY_KEYWORDS

    @property
    def wanted(self) -> Mapping[str, Any]:
        """What is wanted, as it is written in a rule file."""
        return {"Not": True, **self.asked.wanted} if self.is_negated else self.asked.wanted


@dataclass(frozen=True)
class Rule:
    """A valid rule.

    `actions` are those asked for and implied; `anonymise` and `zip` are there exactly if the rule does so, with the
    defaults filled in. `deliver` is the path that it publishes into, "" for the output.
    """

    name: str
    check_on: Level
    is_active: bool = False
    comment: str = ""
    actions: frozenset[ActionWord] = frozenset()
    conditions: tuple[Condition, ...] = ()
    destination_modalities: tuple[str, ...] = ()
    copies: bool = True
    anonymise: AnonymiseOptions | None = None
    zip: ZipOptions | None = None
    storage_commitment: bool = False
    delete_from_orthanc: bool = False
    name_template: Template | None = None
    files: Template | None = None
    between: Hours | None = None
    same_series: bool = False
    selects_series: bool = False
    is_fallback: bool = False
    deliver: str = ""

    @cached_property
    def cheapest_first(self) -> tuple[Condition, ...]:
        """The conditions, first those on what Orthanc always lists: where one of them fails, no other is looked at."""
        return tuple(sorted(self.conditions, key=lambda one: one.keyword not in LISTED_KEYWORDS))

    @cached_property
    def tags_of_files(self) -> frozenset[str]:
        """The tags that it asks for beside what Orthanc always lists."""
        return frozenset(one.tag for one in self.conditions if one.keyword not in LISTED_KEYWORDS)

    @cached_property
    def asks_files_only(self) -> bool:
        """Whether these can fail only by what a file says: not where one is negated, nor where series are chosen."""
        negated = any(one.inverts for one in self.conditions if one.tag in self.tags_of_files)
        return not (negated or self.same_series or self.selects_series)

    @property
    def folder(self) -> str:
        """The rule's folder below the output, or below what it delivers to."""
        return naming.rule_folder(self.name)

    @property
    def publishes(self) -> bool:
        """Whether something appears in ``OUT/RULE``; FORWARD alone publishes nothing."""
        return bool(self.words(Kind.PUBLISHES))

    @property
    def forwards(self) -> bool:
        """Whether it is sent to other destinations."""
        return bool(self.words(Kind.SENDS))

    @property
    def changes(self) -> bool:
        """Whether what leaves is something else than what Orthanc has."""
        return bool(self.words(Kind.CHANGES))

    def words(self, kind: Kind) -> tuple[str, ...]:
        """The words of one kind that are carried out: not those that another one takes the place of."""
        return tuple(sorted(one.word for one in carried_out(self.actions) if one.kind is kind))

    def fields_digest(self) -> str:
        """Digest the fields that shape what is published, in hexadecimal digits; it is done again when they change.

        Fields at their default are left out, so that a field that comes later changes no digest that is recorded.
        """
        content: dict[str, Any] = {"actions": sorted(one.word for one in self.actions if one.kind is not Kind.SENDS)}
        if self.anonymise:
            content["anonymise"] = _anonymise_content(self.anonymise)
        if self.zip and self.zip != ZipOptions():
            content["zip"] = {"compression": self.zip.compression}
        content |= self._selection()
        return _digest(content)

    def sending_digest(self) -> str:
        """Digest the fields that shape what is sent to a destination; it is sent again when they change."""
        content: dict[str, Any] = {}
        if self.anonymise:
            content["anonymise"] = _anonymise_content(self.anonymise)
        if self.storage_commitment:
            content["commitment"] = True
        content |= self._selection()
        return _digest(content)

    def _selection(self) -> dict[str, Any]:
        """Where conditions choose the series that leave, they shape what leaves."""
        if not self.selects_series:
            return {}
        return {"series": [[one.tag, dict(one.wanted)] for one in self.conditions if one.of_series]}


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def with_implied(asked: frozenset[ActionWord], known: Sequence[ActionWord]) -> frozenset[ActionWord]:
    """Add what the asked actions imply; what isn't sent is published, by the first action that publishes."""
    implied = {one for one in known if any(one.word in other.instead_of for other in asked)}
    if all(one.kind is Kind.CHANGES for one in asked):
        implied |= {next(one for one in known if one.kind is Kind.PUBLISHES)}
    return asked | implied


def carried_out(actions: frozenset[ActionWord]) -> frozenset[ActionWord]:
    """Those of some actions that no other one takes the place of."""
    return frozenset(one for one in actions if not any(one.word in other.instead_of for other in actions))


def _anonymise_content(options: AnonymiseOptions) -> dict[str, Any]:
    content: dict[str, Any] = {
        "keep": sorted(options.keep),
        "safe_private": [[one.creator, one.group, one.element] for one in sorted(options.safe_private)],
        "pseudonym_table": options.pseudonym_table,
        "fixed": dict(options.fixed),
        "burned_in": options.burned_in if options.burned_in != "withhold" else None,
        "recode": options.recode,
        "detect": options.detect,
        "structured": options.structured if options.structured != "withhold" else None,
        "issuer": options.issuer if options.issuer != "ignore" else None,
        "malformed": options.malformed if options.malformed != "fail" else None,
    }
    return {"project": options.project} | {key: value for key, value in content.items() if value}
