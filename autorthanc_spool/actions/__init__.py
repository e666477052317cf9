"""What a rule can ask for: one file per action, one line each in `ACTIONS`.

The registry is the authority: a word that isn't in it is not an action, and each word is done by its own action alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from autorthanc_spool import rules
from autorthanc_spool.actions.anonymise import Anonymise
from autorthanc_spool.actions.download import Download
from autorthanc_spool.actions.forward import Forward
from autorthanc_spool.actions.zip import Zip
from autorthanc_spool.core.dicom import Resource
from autorthanc_spool.outgoing.anonymiser import Anonymiser
from autorthanc_spool.outgoing.job import (
    Action,
    ChangingAction,
    Delivery,
    Job,
    Product,
    PublishingAction,
    SendingAction,
    Sent,
)
from autorthanc_spool.outgoing.sources import Content, Originals
from autorthanc_spool.rules import Kind

__all__ = [
    "ACTIONS",
    "WORDS",
    "Action",
    "Delivery",
    "Job",
    "Product",
    "PublishingAction",
    "SendingAction",
    "Sent",
    "describe",
    "publishing_action",
    "sending_action",
    "source",
]

# The first action that publishes is what a rule gets that names none.
ACTIONS: tuple[PublishingAction | SendingAction | ChangingAction, ...] = (
    Download(),
    Zip(),
    Anonymise(),
    Forward(),
)
WORDS = tuple(action.word for action in ACTIONS)


def publishing_action(rule: rules.Rule) -> PublishingAction:
    """The action that makes what the rule publishes."""
    (word,) = rule.words(Kind.PUBLISHES)
    action: PublishingAction = _action(word)
    return action


def sending_action(rule: rules.Rule) -> SendingAction:
    """The action that sends to the rule's destinations."""
    (word,) = rule.words(Kind.SENDS)
    action: SendingAction = _action(word)
    return action


def source(originals: Originals, resource: Resource, rule: rules.Rule, anonymiser: Anonymiser) -> Content:
    """What leaves under the rule: the originals, or what an action makes of them."""
    for word in rule.words(Kind.CHANGES):
        action: ChangingAction = _action(word)
        return action.source(originals, resource, rule, anonymiser)
    return originals


def _action(word: str) -> Any:
    # A word without its action is a mistake in the program: nothing else is done in its place.
    return {action.word.word: action for action in ACTIONS}[word]


def describe(rule: rules.Rule, instances: int, words: Iterable[str]) -> str:
    """Say in a few words what these actions of a rule will do."""
    asked = set(words)
    return ", ".join(action.describe(rule, instances) for action in ACTIONS if action.word.word in asked)
