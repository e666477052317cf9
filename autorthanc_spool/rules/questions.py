"""What a condition found, and what would have to be read to know more."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from autorthanc_spool.core.dicom import Series


@dataclass(frozen=True)
class Questions:
    """What must be read from Orthanc; false when that is nothing.

    `first_instances` are IDs of series whose first instance's tags are asked for, `hidden` pairs of series ID and tag
    of values that Orthanc leaves out of its lists, `siblings` whether the other series of a series' study are.
    """

    first_instances: frozenset[str] = frozenset()
    hidden: frozenset[tuple[str, str]] = frozenset()
    siblings: bool = False

    def __bool__(self) -> bool:
        """Whether anything must be read."""
        return bool(self.first_instances or self.hidden or self.siblings)


NONE = Questions()


def all_of(questions: Iterable[Questions]) -> Questions:
    """Ask them all, and what is in several once."""
    # Mostly they are one and the same.
    asked = {id(one): one for one in questions if one is not NONE}.values()
    if not asked:
        return NONE
    return Questions(
        frozenset().union(*(one.first_instances for one in asked)),
        frozenset().union(*(one.hidden for one in asked)),
        any(one.siblings for one in asked),
    )


@dataclass(frozen=True)
class Found:
    """A value, and the Orthanc ID of the series that has it; "" for what Orthanc says of patient and study."""

    value: str
    place: str = ""


@dataclass(frozen=True)
class Answer:
    """What is known of an attribute, and what must be read to know the rest."""

    found: tuple[Found, ...] = ()
    questions: Questions = NONE


_NOTHING = Answer()


def together(answers: Iterable[Answer]) -> Answer:
    """Put answers together, in their order."""
    given = list(answers)
    return Answer(tuple(found for one in given for found in one.found), all_of(one.questions for one in given))


def of_first_instance(series: Series, tag: str) -> Answer:
    """Look a tag up in the first instance of a series."""
    if series.first_instance_tags is None:
        return Answer(questions=Questions(first_instances=frozenset({series.resource_id})))
    if tag not in series.first_instance_tags:
        return _NOTHING
    value = series.first_instance_tags[tag]
    if value is None:
        return Answer(questions=Questions(hidden=frozenset({(series.resource_id, tag)})))
    return Answer((Found(value, series.resource_id),))
