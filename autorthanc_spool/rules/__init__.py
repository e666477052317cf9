"""Rules: what a person wrote into ``automation_scripts/NAME.json``, and whether it matches a study or series.

Pure: bytes and tags come in, values go out. `rulebook` reads the folder. docs/rules.md describes the format,
automation_scripts/schema/rule.schema.json does so for editors.
"""

from __future__ import annotations

from autorthanc_spool.rules import hopeless
from autorthanc_spool.rules.file import MAX_BYTES, parse_rule
from autorthanc_spool.rules.matching import ConditionVerdict, Verdict, judge, unanswered
from autorthanc_spool.rules.model import (
    ActionWord,
    AnonymiseOptions,
    Condition,
    Keep,
    Kind,
    PrivateElement,
    Rule,
    ZipOptions,
)
from autorthanc_spool.rules.problems import Problem, RuleError

__all__ = [
    "MAX_BYTES",
    "ActionWord",
    "AnonymiseOptions",
    "Condition",
    "ConditionVerdict",
    "Keep",
    "Kind",
    "PrivateElement",
    "Problem",
    "Rule",
    "RuleError",
    "Verdict",
    "ZipOptions",
    "hopeless",
    "judge",
    "parse_rule",
    "unanswered",
]
