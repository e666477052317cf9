"""What a rule is, once it has been read."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Literal

from autorthanc_spool.core.dicom import Level


class Action(StrEnum):
    """What a rule can ask for."""

    DOWNLOAD = "DOWNLOAD"
    ANONYMISE = "ANONYMISE"
    ZIP = "ZIP"
    FORWARD = "FORWARD"


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
    """How a rule anonymises. `pseudonym_table` is a file name beside the rules, `fixed` is keyword and value."""

    project: str
    keep: frozenset[Keep] = frozenset()
    safe_private: tuple[PrivateElement, ...] = ()
    pseudonym_table: str | None = None
    fixed: tuple[tuple[str, str], ...] = ()
    burned_in: Literal["withhold", "allow"] = "withhold"
    structured: Literal["withhold", "clean"] = "withhold"

    def of_rule(self, name: str) -> AnonymiseOptions:
        """The options of a rule: its name is the project where they name none."""
        return self if self.project else replace(self, project=name)


@dataclass(frozen=True)
class ZipOptions:
    """How a rule makes its archive."""

    compression: Literal["fast", "stored"] = "fast"


@dataclass(frozen=True)
class Condition:
    """One tag that must hold a value.

    `tag_name` is as written, `tag` is ``gggg,eeee`` in lower case; `keyword` is None where the dictionary has none.
    """

    tag_name: str
    keyword: str | None
    tag: str
    value: str


@dataclass(frozen=True)
class Rule:
    """A valid rule. `anonymise` and `zip` are there exactly if the rule does so, with the defaults filled in."""

    name: str
    check_on: Level
    is_active: bool = False
    comment: str = ""
    actions: frozenset[Action] = frozenset({Action.DOWNLOAD})
    conditions: tuple[Condition, ...] = ()
    destination_modalities: tuple[str, ...] = ()
    copies: bool = True
    anonymise: AnonymiseOptions | None = None
    zip: ZipOptions | None = None
    storage_commitment: bool = False
    delete_from_orthanc: bool = False

    @property
    def publishes(self) -> bool:
        """Whether something appears in ``OUT/RULE``; FORWARD alone publishes nothing."""
        return Action.DOWNLOAD in self.actions

    @property
    def forwards(self) -> bool:
        """Whether it is sent to other destinations."""
        return Action.FORWARD in self.actions

    def fields_digest(self) -> str:
        """Digest the fields that shape what is published, in hexadecimal digits; it is done again when they change.

        Fields at their default are left out, so that a field that comes later changes no digest that is recorded.
        """
        content: dict[str, Any] = {"actions": sorted(self.actions - {Action.FORWARD})}
        if self.anonymise:
            content["anonymise"] = _anonymise_content(self.anonymise)
        if self.zip and self.zip != ZipOptions():
            content["zip"] = {"compression": self.zip.compression}
        return _digest(content)

    def sending_digest(self) -> str:
        """Digest the fields that shape what is sent to a destination; it is sent again when they change."""
        content: dict[str, Any] = {}
        if self.anonymise:
            content["anonymise"] = _anonymise_content(self.anonymise)
        if self.storage_commitment:
            content["commitment"] = True
        return _digest(content)


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def with_implied(asked: frozenset[Action]) -> frozenset[Action]:
    """Add what the asked actions imply: an archive is made of a download, and what isn't forwarded is published."""
    if Action.ZIP in asked or Action.FORWARD not in asked:
        return asked | {Action.DOWNLOAD}
    return asked


def _anonymise_content(options: AnonymiseOptions) -> dict[str, Any]:
    content: dict[str, Any] = {
        "keep": sorted(options.keep),
        "safe_private": [[one.creator, one.group, one.element] for one in sorted(options.safe_private)],
        "pseudonym_table": options.pseudonym_table,
        "fixed": dict(options.fixed),
        "burned_in": options.burned_in if options.burned_in != "withhold" else None,
        "structured": options.structured if options.structured != "withhold" else None,
    }
    return {"project": options.project} | {key: value for key, value in content.items() if value}
