"""What a rule can ask for: one file per action, one line each here."""

from __future__ import annotations

from collections.abc import Iterable

from autorthanc_spool import rules
from autorthanc_spool.actions.download import Download
from autorthanc_spool.actions.forward import Forward
from autorthanc_spool.actions.job import Delivery, Job, Product, PublishingAction, SendingAction, Sent
from autorthanc_spool.actions.zip import Zip

__all__ = [
    "ACTIONS",
    "PUBLISHING",
    "SENDING",
    "Delivery",
    "Job",
    "Product",
    "PublishingAction",
    "SendingAction",
    "Sent",
    "publishing_action",
    "sending_action",
]

PUBLISHING: tuple[PublishingAction, ...] = (Download(), Zip())
SENDING: tuple[SendingAction, ...] = (Forward(),)
ACTIONS = (*PUBLISHING, *SENDING)


def publishing_action(rule: rules.Rule) -> PublishingAction:
    """The action that makes what the rule publishes."""
    word = rules.Action.ZIP if rules.Action.ZIP in rule.actions else rules.Action.DOWNLOAD
    return next(action for action in PUBLISHING if action.word is word)


def sending_action(rule: rules.Rule) -> SendingAction:
    """The action that sends to the rule's destinations."""
    return next(action for action in SENDING if action.word in rule.actions)


def describe(rule: rules.Rule, instances: int, words: Iterable[rules.Action]) -> str:
    """Tell in a few words what these actions of a rule will do."""
    asked = set(words)
    if rules.Action.ZIP in asked:
        # One archive instead of the folder.
        asked.discard(rules.Action.DOWNLOAD)
    return ", ".join(action.describe(rule, instances) for action in ACTIONS if action.word in asked)
