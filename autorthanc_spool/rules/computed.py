"""Attributes that are in no file, because a DICOM node computes them when it is asked (PS3.4 section C.3.4).

Here they are computed from what Orthanc lists of the study and its series.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from autorthanc_spool.core.dicom import Resource, Series
from autorthanc_spool.rules.questions import Answer, Found, Questions, of_first_instance, together

_SOP_CLASS_UID = "0008,0016"


def _of_study(compute: Callable[[tuple[Series, ...]], str]) -> Callable[[Resource], Answer]:
    """Compute something of all series of the study; on a series, the others have to be asked for."""

    def answer(resource: Resource) -> Answer:
        if resource.study_series is None:
            return Answer(questions=Questions(siblings=True))
        unlisted = _unlisted(resource.study_series)
        # Of a part of it nothing can be said: neither that it is so, nor that it isn't.
        return Answer(questions=unlisted) if unlisted else Answer((Found(compute(resource.study_series)),))

    return answer


def _of_series(resource: Resource) -> Answer:
    found = tuple(Found(str(one.instances), one.resource_id) for one in resource.series if one.instances)
    return Answer(found, _unlisted(resource.series))


def _sop_classes(resource: Resource) -> Answer:
    # Each file has its own, and Orthanc lists none: the first one speaks for its series, as with other tags.
    return together(of_first_instance(series, _SOP_CLASS_UID) for series in resource.series)


def _unlisted(series: tuple[Series, ...]) -> Questions:
    # A series without instances stands for those that nothing is known about yet, before a study is looked at.
    unknown = (one.resource_id for one in series if not one.instances and one.first_instance_tags is None)
    return Questions(first_instances=frozenset(unknown))


def _modalities(series: tuple[Series, ...]) -> str:
    listed = (one.tags.get("Modality", "").strip(" \0") for one in series)
    return "\\".join(dict.fromkeys(filter(None, listed)))


ATTRIBUTES: Mapping[str, Callable[[Resource], Answer]] = MappingProxyType(
    {
        "ModalitiesInStudy": _of_study(_modalities),
        "SOPClassesInStudy": _sop_classes,
        "NumberOfStudyRelatedSeries": _of_study(lambda series: str(len(series))),
        "NumberOfStudyRelatedInstances": _of_study(lambda series: str(sum(one.instances for one in series))),
        "NumberOfSeriesRelatedInstances": _of_series,
    }
)
