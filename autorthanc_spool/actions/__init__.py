"""What a rule can ask for: one file per action, one line each here."""

from __future__ import annotations

from autorthanc_spool import rules
from autorthanc_spool.actions.download import Download
from autorthanc_spool.actions.job import Action, Job, Product
from autorthanc_spool.actions.zip import Zip

__all__ = ["ACTIONS", "Action", "Job", "Product", "publishing_action"]

ACTIONS: tuple[Action, ...] = (Download(), Zip())


def publishing_action(rule: rules.Rule) -> Action:
    """The action that makes what the rule publishes."""
    word = rules.Action.ZIP if rules.Action.ZIP in rule.actions else rules.Action.DOWNLOAD
    return next(action for action in ACTIONS if action.word is word)
