"""Which studies and series a person means, and all that is known of each: asked at the moment, and kept nowhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path, PurePath

from autorthanc_spool.core import naming
from autorthanc_spool.core.dicom import Level, Resource
from autorthanc_spool.core.errors import OrthancFault, OrthancUnavailable, SpoolError
from autorthanc_spool.core.record import Record
from autorthanc_spool.core.states import State
from autorthanc_spool.disk import mounts
from autorthanc_spool.orthanc import finding
from autorthanc_spool.orthanc.finding import FoundStudy
from autorthanc_spool.output.working import published_name
from autorthanc_spool.run.tools import Tools
from autorthanc_spool.spool.directories import Item
from autorthanc_spool.spool.ledger import LedgerError

# More than a person looks through: a part of a name may be everybody's.
MOST_STUDIES = 100


@dataclass(frozen=True)
class Place:
    """What a rule published, and whether it still lies in the output."""

    rule: str
    path: Path
    outcome: str
    time: str
    instances: int
    size_bytes: int
    is_there: bool


@dataclass(frozen=True)
class Known:
    """All that is known of a study or series; `resource` is None where Orthanc has none, or wasn't asked."""

    level: Level
    resource_id: str
    resource: Resource | None
    record: Record
    places: tuple[Place, ...]
    markers: tuple[Item, ...]
    problem: str = ""


@dataclass(frozen=True)
class Findings:
    """What was found, how many more studies there are, and why Orthanc couldn't be asked."""

    known: tuple[Known, ...]
    left_out: int = 0
    trouble: SpoolError | None = None


def find(tools: Tools, text: str) -> Findings:
    """Find by PatientID, AccessionNumber, UID, name, beginning of an Orthanc ID, or a folder of the output."""
    keys = list(_of_folder(tools, text))
    studies: list[FoundStudy] = []
    left_out = 0
    trouble: SpoolError | None = None
    try:
        tools.orthanc.system()
        named = finding.studies(tools.orthanc, text)
        if not named:
            # Digits that are somebody's identifier are not meant as the beginning of another study's ID.
            named = list(finding.by_beginning(tools.orthanc, text))
            keys += _of_beginning(tools, text)
        study_ids = list(dict.fromkeys([*named, *_above(tools, keys)]))
        left_out = max(0, len(study_ids) - MOST_STUDIES)
        studies = [one for study_id in study_ids[:MOST_STUDIES] if (one := finding.study(tools.orthanc, study_id))]
    except (OrthancUnavailable, OrthancFault) as error:
        trouble = error
        keys += _of_beginning(tools, text)
    of_studies = {key: study.resource for study in studies for key in study.keys}
    keys = list(dict.fromkeys([*of_studies, *keys]))
    markers = _markers(tools, keys)
    known = (_known(tools, key, of_studies.get(key), markers.get(key, [])) for key in keys)
    # A series that nothing is known about is found by its study.
    worth = [one for one in known if one.level is Level.STUDY or one.markers or one.places or one.record.sendings]
    return Findings(tuple(worth), left_out, trouble)


def _above(tools: Tools, keys: Iterable[str]) -> Iterator[str]:
    """The IDs of the studies that hold what the ledger knows."""
    for key in keys:
        level, _, resource_id = key.partition("-")
        study_id = resource_id if level == Level.STUDY else finding.parent_study(tools.orthanc, resource_id)
        if study_id:
            yield study_id


def _of_folder(tools: Tools, text: str) -> Iterator[str]:
    """The resources to which a name in the output belongs, whether it still lies there or was taken."""
    parts = [part for part in PurePath(text).parts if part not in ("/", ".", "..")]
    # A name may lie in folders, and the text may go on inside of what was published.
    pairs = [(parts[at], "/".join(parts[at + 1 : end])) for at, end in combinations(range(len(parts) + 1), 2)]
    pairs = [(folder, name) for folder, name in pairs if name]
    if len(parts) == 1:
        pairs = [(folder, parts[0]) for folder in _rule_folders(tools)]
    for folder, name in pairs:
        published = published_name(name)
        for one in dict.fromkeys((published, published.removesuffix(".zip"))):
            if owner := tools.spool.ledger.owner(folder, one):
                yield owner


def _rule_folders(tools: Tools) -> set[str]:
    """The folders that rules publish into: those that there are, and those of rules whose output is away."""
    there = {name for root in ("", *tools.places.used()) for name in _folders(tools.places.path(root))}
    return there | {naming.rule_folder(path.stem) for path in tools.settings.rules_path.glob("*.json")}


def _folders(root: Path) -> Iterator[str]:
    # A share may be away, or not answer at all.
    with suppress(OSError):
        if mounts.answers(root):
            yield from (path.name for path in root.iterdir() if path.is_dir())


def _of_beginning(tools: Tools, text: str) -> list[str]:
    beginning = text.lower()
    if not finding.is_beginning(beginning):
        return []
    known = [*tools.spool.ledger.keys(), *(tools.spool.directories.key_of(item) for item in _items(tools))]
    return [key for key in known if key.partition("-")[2].startswith(beginning)]


def _items(tools: Tools) -> Iterator[Item]:
    for state in State:
        yield from tools.spool.directories.items(state)


def _markers(tools: Tools, keys: Iterable[str]) -> Mapping[str, list[Item]]:
    found: dict[str, list[Item]] = {key: [] for key in keys}
    for item in _items(tools) if found else ():
        key = tools.spool.directories.key_of(item)
        if key in found:
            found[key].append(item)
    return found


def _known(tools: Tools, key: str, study: Resource | None, markers: list[Item]) -> Known:
    level, _, resource_id = key.partition("-")
    problem = ""
    try:
        record = tools.spool.ledger.read(key)
    except LedgerError as error:
        record, problem = Record(key), str(error)
    places = tuple(_places(tools, record))
    return Known(Level(level), resource_id, study, record, places, tuple(markers), problem)


def _places(tools: Tools, record: Record) -> Iterator[Place]:
    for rule, entry in record.entries.items():
        if entry.name:
            root = tools.places.path(entry.root)
            path = root / naming.rule_folder(rule) / entry.name
            is_there = mounts.answers(root) and _inode(path) == entry.inode
            yield Place(rule, path, entry.outcome, entry.time, entry.instances, entry.size_bytes, is_there)


def _inode(path: Path) -> int | None:
    try:
        return path.lstat().st_ino
    except OSError:
        # It was taken, or the share is away.
        return None
