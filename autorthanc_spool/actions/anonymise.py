"""ANONYMISE: what leaves is made of the originals, without what says who the patient is."""

from __future__ import annotations

from autorthanc_spool import rules
from autorthanc_spool.core.counted import counted
from autorthanc_spool.core.dicom import Resource
from autorthanc_spool.outgoing.anonymiser import Anonymiser
from autorthanc_spool.outgoing.sources import Content, Originals
from autorthanc_spool.rules import AnonymiseOptions


class Anonymise:
    """Have everything that leaves anonymised, whatever else the rule does with it."""

    word = rules.ActionWord("ANONYMISE", rules.Kind.CHANGES, spellings=("ANONYMIZE",), keys=("Anonymise",))

    def describe(self, rule: rules.Rule, instances: int) -> str:
        """Say in a few words what it will do."""
        project = rule.anonymise.project if rule.anonymise else rule.name
        return f"anonymise {counted(instances, 'instance')} for the project {project}"

    def source(self, originals: Originals, resource: Resource, rule: rules.Rule, anonymiser: Anonymiser) -> Content:
        """Anonymise the first file, to know the names; the others when they are asked for."""
        return anonymiser.content(originals, resource, rule.anonymise or AnonymiseOptions(rule.name))
