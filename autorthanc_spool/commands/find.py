"""`find`: which studies a person means, and what happened to each."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from typing import Any

import click

from autorthanc_spool.commands.list import remark, summary
from autorthanc_spool.commands.options import examples, with_settings
from autorthanc_spool.commands.views import echo_json, on_one_line, size
from autorthanc_spool.core.dicom import Level, Resource
from autorthanc_spool.core.errors import UsageError
from autorthanc_spool.core.states import State
from autorthanc_spool.run import access, wiring
from autorthanc_spool.run import find as finding
from autorthanc_spool.run.find import Known, Place
from autorthanc_spool.settings import Settings
from autorthanc_spool.spool.directories import shown
from autorthanc_spool.spool.spool import Spool

# Who it is, and which examination: what a person asks Orthanc Explorer for.
_TAGS = ("PatientID", "PatientName", "AccessionNumber", "StudyDate", "StudyDescription", "StudyInstanceUID")
_EXAMPLES = examples(
    ("find 0012345", "by PatientID or AccessionNumber"),
    ("find output/brain/0012345-Doe-1", "by a folder or archive of the output, also when it was taken"),
    ("find - --json", "TEXT is read from standard input, where no other user of this machine can see it"),
)


@click.command("find", epilog=_EXAMPLES)
@click.argument("text", metavar="TEXT")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for each study or series.")
@with_settings
def command(settings: Settings, text: str, as_json: bool) -> int:
    """Find a study, and what happened to it: where its markers are, what each rule did, what lies in the output.

    TEXT is a PatientID, an AccessionNumber, a StudyInstanceUID, any part of a name, the beginning of an Orthanc
    ID, or a folder of the output. Orthanc is asked each time, and nothing about a patient is kept.

    Exit code 1 when nothing is found, 75 when Orthanc can't be asked: then only Orthanc IDs and folders of the output
    are found, as far as the ledger knows them.
    """
    wanted = (sys.stdin.readline() if text == "-" else text).strip()
    if not wanted:
        raise UsageError("TEXT is empty; give a PatientID, an AccessionNumber, a name, an Orthanc ID or a folder")
    spool = access.find_spool(settings)
    found = finding.find(wiring.tools(settings, threading.Event(), spool), wanted)
    for known in found.known:
        if as_json:
            echo_json(_object(spool, known, was_asked=found.trouble is None))
        else:
            for line in _history(spool, known, was_asked=found.trouble is None):
                click.echo(line)
    if found.left_out:
        click.echo(f"{found.left_out:,} more studies match; give a longer part of the name, or an ID", err=True)
    if found.trouble:
        click.echo(f"Orthanc couldn't be asked, so only what the ledger knows is shown: {found.trouble}", err=True)
        return found.trouble.exit_code
    if not found.known:
        click.echo(
            "Orthanc has no such study: did it arrive there, and is it spelled right? A study that was deleted from "
            "Orthanc is found by its Orthanc ID or its folder in the output alone, as nothing about a patient is kept",
            err=True,
        )
        return 1
    return 0


def _history(spool: Spool, known: Known, *, was_asked: bool) -> Iterator[str]:
    yield f"{known.level} {known.resource_id}  {on_one_line(_who(known.resource))}".rstrip()
    yield f"  Orthanc   {_in_orthanc(known, was_asked)}"
    record = known.record
    if record.refused:
        yield f"  refused   by a person, {record.refused}: `autorthanc-spool enqueue` takes that back"
    if record.deleted:
        yield f"  deleted   from Orthanc by a rule, {record.deleted}"
    for place in known.places:
        yield f"  output    {_place(place)}"
    for rule, sent in record.sendings.items():
        for destination, one in sent.items():
            state = f"{one.outcome} {one.time}" if one.outcome else "not all of it has arrived"
            yield f"  sent      {on_one_line(f'to {destination} by {rule}: {state}')}"
    for item in known.markers:
        yield f"  marker    {item.shown}  {remark(summary(spool, item))}".rstrip()
    if known.problem:
        yield f"  ledger    {on_one_line(known.problem)}"
    if known.level is Level.STUDY and (hint := _hint(known)):
        yield f"  next      {hint}"


def _who(resource: Resource | None) -> str:
    tags = _tags(resource)
    parts = [tags[name] for name in _TAGS[:-1] if tags.get(name)]
    return ", ".join(parts)


def _tags(resource: Resource | None) -> dict[str, str]:
    return {**resource.patient_tags, **resource.study_tags} if resource else {}


def _in_orthanc(known: Known, was_asked: bool) -> str:
    resource = known.resource
    if resource is None:
        return "has no such study (or no longer)" if was_asked else "not asked"
    if known.level is Level.SERIES:
        return "there, in a study above"
    rest = "stable" if resource.is_stable else "still arriving"
    return f"there, {rest}, {len(resource.series)} series, last arrival {resource.last_update} (UTC)"


def _place(place: Place) -> str:
    there = "lies there" if place.is_there else "was taken, or replaced"
    what = f"{place.instances:,} files, {size(place.size_bytes)}"
    return on_one_line(f"{place.path}: {place.outcome} by {place.rule}, {what}, {place.time}; it {there}")


def _hint(known: Known) -> str:
    command, resource_id = "autorthanc-spool", known.resource_id
    states = {item.state for item in known.markers}
    if State.FAILED in states:
        return f"`{command} show {resource_id}` says why it failed"
    if states or known.resource is None:
        has_done = known.places or known.record.sendings
        is_quiet = states == {State.DONE} and not has_done
        return f"`{command} explain study {resource_id}` says why no rule did anything" if is_quiet else ""
    if not known.resource.is_stable:
        return "it is exported once nothing more has arrived for ORTHANC_STABLE_AGE seconds"
    if known.record.seen or known.places:
        return f"it was looked at before; `{command} explain study {resource_id}` says what would be done"
    return (
        f"no run has looked at it: it was in Orthanc before the first run, or no processor runs (`{command} status`); "
        f"`{command} explain study {resource_id}` says which rules match, `{command} enqueue study {resource_id}` has "
        "it done"
    )


def _object(spool: Spool, known: Known, *, was_asked: bool) -> dict[str, Any]:
    resource, record = known.resource, known.record
    tags = _tags(resource)
    return {
        "level": str(known.level),
        "id": known.resource_id,
        "in_orthanc": resource is not None if was_asked else None,
        "is_stable": resource.is_stable if resource else None,
        "last_arrival": resource.last_update if resource else None,
        "series": [one.resource_id for one in resource.series] if resource else [],
        "tags": {name: tags[name] for name in _TAGS if name in tags},
        "refused": record.refused or None,
        "deleted": record.deleted or None,
        "places": [_place_object(place) for place in known.places],
        "sent": [
            {"rule": rule, "destination": name, "result": one.outcome or None, "time": one.time or None}
            for rule, sent in record.sendings.items()
            for name, one in sent.items()
        ],
        "markers": [summary(spool, item) for item in known.markers],
        "problem": known.problem or None,
    }


def _place_object(place: Place) -> dict[str, Any]:
    return {
        "rule": place.rule,
        "path": shown(str(place.path)),
        "result": place.outcome,
        "time": place.time,
        "instances": place.instances,
        "bytes": place.size_bytes,
        "is_there": place.is_there,
    }
