"""A draft of a rule: a file that needn't lie in the folder of rules, nor be active, tried without being done."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from autorthanc_spool.actions import WORDS
from autorthanc_spool.core.errors import UsageError
from autorthanc_spool.rules import Refuses, Rule, parse_rule
from autorthanc_spool.run.rulebook import RuleSet


def read(path: Path, refuses: Refuses | None = None) -> Rule:
    """Read a draft as if it were active. Raises RuleError, and UsageError when there is no such file."""
    if path.exists() and not path.is_file():
        raise UsageError(f"{path} isn't a file; --rule takes a rule file")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: the rule file can't be read: {error.strerror}; --rule takes a file here") from None
    return replace(parse_rule(path.stem, data, WORDS, refuses), is_active=True)


def beside(rules: RuleSet, draft: Rule) -> RuleSet:
    """The rules with the draft in the place of the one of its name."""
    return replace(
        rules,
        rules=(*_others(rules.rules, draft), draft),
        broken=tuple(one for one in rules.broken if one.name != draft.name),
    )


def _others(rules: Iterable[Rule], draft: Rule) -> Iterable[Rule]:
    return (one for one in rules if one.name != draft.name)
