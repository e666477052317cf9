"""Rules: what a person wrote into ``automation_scripts/NAME.json``, and whether it matches a study or series.

Pure: bytes and tags come in, values go out. `rulebook` reads the folder. docs/rules.md describes the format,
automation_scripts/schema/rule.schema.json does so for editors.
"""

from __future__ import annotations

from autorthanc_spool.rules import hopeless
from autorthanc_spool.rules.file import MAX_BYTES, Refuses, parse_rule
from autorthanc_spool.rules.matching import (
    ConditionVerdict,
    Facts,
    Verdict,
    deciding_rival,
    judge,
    leaving,
    matches,
    unanswered,
)
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
from autorthanc_spool.rules.problems import Problem, Refusal, RuleError

__all__ = [
    "MAX_BYTES",
    "ActionWord",
    "AnonymiseOptions",
    "Condition",
    "ConditionVerdict",
    "Facts",
    "Keep",
    "Kind",
    "PrivateElement",
    "Problem",
    "Refusal",
    "Refuses",
    "Rule",
    "RuleError",
    "Verdict",
    "ZipOptions",
    "deciding_rival",
    "hopeless",
    "judge",
    "leaving",
    "matches",
    "parse_rule",
    "unanswered",
]
