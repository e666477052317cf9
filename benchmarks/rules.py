"""What 500 rules of 20 conditions cost on a study: the target is 1 ms for all of them together."""

from __future__ import annotations

import json
import timeit
from datetime import date

from autorthanc_spool.actions import WORDS
from autorthanc_spool.core.dicom import Level, Resource, Series
from autorthanc_spool.core.record import Record
from autorthanc_spool.rules import Facts, Rule, parse_rule, unanswered
from autorthanc_spool.run import plan
from benchmarks.measure import spread

RULES = 500
REPEATS = 20
TODAY = date(2026, 1, 31)
TARGET_MS = 1.0

CONTAINS = (
    "StudyDescription", "SeriesDescription", "PatientID", "ProtocolName", "BodyPartExamined", "Manufacturer",
    "StationName", "AccessionNumber", "InstitutionName", "ImageType", "PatientSex", "PatientName", "SequenceName",
    "DeviceSerialNumber",
)  # fmt: skip


# Which condition fails without a file being asked.
FIRST, LAST, NONE = "the first condition decides", "the last condition decides", "the files decide"


def rule(number: int, deciding: str) -> Rule:
    """A rule of 20 conditions."""
    many = [{"TagName": name, "Value": f"wanted {number} {name[:3]}"} for name in CONTAINS]
    others = [
        {"TagName": "StudyDate", "AtLeast": "-30d"},
        {"TagName": "SliceThickness", "AtMost": 1},
        {"TagName": "SeriesNumber", "Equals": str(number)},
        {"TagName": "MagneticFieldStrength", "AtLeast": 1.5},
        {"TagName": "ManufacturerModelName", "Matches": f"model {number}$"},
    ]
    certain = {"TagName": "Modality", "Equals": "MR" if deciding == NONE else "PT"}
    tags = [*many, *others, certain] if deciding == LAST else [certain, *many, *others]
    return parse_rule(f"r{number}", json.dumps({"CheckOn": "Study", "IsActive": True, "Tags": tags}).encode(), WORDS)


def study(*, is_read: bool) -> Resource:
    """A study of ten series, whose first images were read or not."""
    listed = {"Modality": "MR"}
    first = {"0018,0050": "1"} if is_read else None
    series = tuple(Series(f"s{number}", listed, first, instances=9) for number in range(10))
    tags = {"StudyDescription": "brain", "StudyDate": "20260101"}
    return Resource(Level.STUDY, "study", {"PatientID": "1"}, tags, series, (), "", is_stable=True, is_copy=False)


def main() -> None:
    """Print the time of what a run does first: see what must be read, and draw the plan."""
    for deciding, is_read in ((FIRST, True), (LAST, False), (NONE, False), (NONE, True)):
        rules = [rule(number, deciding) for number in range(RULES)]

        def judge(rules: list[Rule] = rules, is_read: bool = is_read, is_open: bool = deciding == NONE) -> None:
            facts = Facts(study(is_read=is_read), TODAY)
            assert bool(unanswered(rules, facts)) is (is_open and not is_read)
            assert not plan.make_plan(facts, rules, [], Record("study-x")).jobs

        judge()
        figures = [1000 * one for one in timeit.repeat(judge, number=1, repeat=REPEATS)]
        where = f"{deciding}, which {'were' if is_read else 'were not'} read" if deciding == NONE else deciding
        print(f"{RULES} rules of 20 conditions, {where}: {spread(figures)} ms; target {TARGET_MS} ms")


if __name__ == "__main__":
    main()
