"""One rule's work on one resource: name, working directory, action, last look, publication."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from autorthanc_spool.actions import Job, Place, Product, publishing_action
from autorthanc_spool.actions.anonymiser import Anonymiser
from autorthanc_spool.actions.keyring import KEY_ID
from autorthanc_spool.actions.sources import Content, Originals
from autorthanc_spool.core import naming
from autorthanc_spool.core.dicom import Resource
from autorthanc_spool.core.errors import MarkerTaken, OutputConflict, StillArriving
from autorthanc_spool.core.marker import TIME_FORMAT
from autorthanc_spool.core.record import Entry, Intent, Record
from autorthanc_spool.disk.mounts import Roots
from autorthanc_spool.orthanc.client import Orthanc
from autorthanc_spool.output import publish
from autorthanc_spool.output.folders import Output, RuleFolder, output_trouble
from autorthanc_spool.rules import Rule
from autorthanc_spool.run import plan
from autorthanc_spool.run.rulebook import Rulebook
from autorthanc_spool.settings import Settings, owners
from autorthanc_spool.spool import audit
from autorthanc_spool.spool.audit import Amount, AuditLog
from autorthanc_spool.spool.spool import Claim, Spool

log = logging.getLogger(__name__)

# Originals that are being anonymised are held in memory whole; all together take no more than this, or one file's size.
HELD_BYTES = 1024**3

# A resource that changed while it was exported is looked at again after this long.
CHANGED_WAIT_S = 5.0

Outcome = dict[str, Any]


@dataclass(frozen=True)
class Tools:
    """What a processor works with."""

    settings: Settings
    spool: Spool
    orthanc: Orthanc
    rulebook: Rulebook
    roots: Roots
    output: Output
    anonymiser: Anonymiser
    audit: AuditLog
    clock: Callable[[], datetime]
    jitter: Callable[[], float]
    stop: threading.Event

    @property
    def owner(self) -> tuple[int, int] | None:
        """Whom new folders of the spool are given to."""
        return owners.of_spool(self.settings)


@dataclass(frozen=True)
class Task:
    """What is to be exported by which rule; `content` is the digest of the resource's instances."""

    rule: Rule
    resource: Resource
    content: str

    @property
    def folder(self) -> str:
        """The rule's folder below OUT."""
        return self.folder_of(self.rule)

    @staticmethod
    def folder_of(rule: Rule) -> str:
        """The folder of a rule below OUT."""
        return naming.component(rule.name)


class Exporter:
    """Exports, one task at a time, under the lock of the resource."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._ledger = tools.spool.ledger

    def export(self, claim: Claim, task: Task) -> Outcome:
        """Publish what the rule asks for, and tell what was done."""
        tools = self._tools
        tools.audit.check()
        tools.roots.check("output", tools.settings.output_path)
        with output_trouble(), tools.output.rule_folder(task.folder) as folder:
            content = self.content(task)
            tools.output.check_room(task.folder, sum(one.file_size_bytes for one in task.resource.instances))
            name = self._reserve(folder, task, content)
            return self._make(claim, task, folder, name, content)

    def content(self, task: Task) -> Content:
        """What leaves under this rule."""
        tools = self._tools
        originals = Originals(tools.orthanc, task.resource, verify_md5=tools.settings.verify == "md5")
        if task.rule.anonymise is None:
            return originals
        return tools.anonymiser.content(originals, task.resource, task.rule.anonymise)

    def threads(self, task: Task) -> int:
        """Where files are worked on between download and disk, more of them are under way, as many as memory holds."""
        threads = self._tools.settings.download_threads
        if task.rule.anonymise is None:
            return threads
        largest = max((one.file_size_bytes for one in task.resource.instances), default=1)
        return max(1, min(threads + self._tools.anonymiser.workers, HELD_BYTES // max(largest, 1)))

    def _reserve(self, folder: RuleFolder, task: Task, content: Content) -> str:
        """Find the name that belongs to the resource for ever, or make one its own."""
        key = task.resource.key
        sealed = self._ledger.read(key).sealed
        candidates = [content.name, naming.told_apart(content.name, content.identity)]
        if sealed:
            # What came after a deletion doesn't replace what holds the deleted files.
            later = hashlib.sha256(f"{content.identity} {len(sealed)}".encode()).hexdigest()
            candidates.append(naming.told_apart(content.name, later))
        for name in candidates:
            if {f"{task.folder}/{name}", f"{task.folder}/{name}.zip"}.intersection(sealed):
                continue
            owner = self._ledger.owner(task.folder, name)
            if owner == key:
                return name
            if owner is None and folder.is_free(name) and self._ledger.reserve(task.folder, name, key):
                return name
        raise OutputConflict(
            "in the rule's output something that isn't ours has the name that this would get; "
            "move it away and requeue the marker"
        )

    def _make(self, claim: Claim, task: Task, folder: RuleFolder, name: str, content: Content) -> Outcome:
        tools = self._tools
        with closing(folder.make_working(name)) as working:
            record = self._ledger.read(claim.marker.key)
            record = publish.begin(self._ledger, record, task.folder, name, working.inode)
            job = Job(task.rule, task.resource, content, tools.stop, self.threads(task))
            try:
                product = publishing_action(task.rule).run(job, Place(name, working))
                product = replace(product, details={**product.details, **content.told()})
                self.look_once_more(claim, task)
                job.check_stop()
                return self._publish(record, task, folder, product)
            except BaseException:
                # What can't be removed now is known to the ledger, and removed by the next run.
                if record.working:
                    with suppress(OSError):
                        folder.remove(record.working.name, working.inode)
                raise

    def look_once_more(self, claim: Claim, task: Task) -> None:
        """Refuse to publish or send what isn't the whole of it any more, or what a person took back."""
        before, orthanc = task.resource, self._tools.orthanc
        after = orthanc.with_instances(orthanc.resource(before.level, before.resource_id))
        same = after.is_stable and after.last_update == before.last_update
        if not same or plan.content_digest(after) != plan.content_digest(before):
            raise StillArriving(f"the {before.level} changed while it was exported", CHANGED_WAIT_S)
        if not claim.is_ours():
            raise MarkerTaken("a person took the marker out of processing/")

    def _publish(self, record: Record, task: Task, folder: RuleFolder, product: Product) -> Outcome:
        previous = record.entries.get(task.rule.name)
        if previous and f"{task.folder}/{previous.name}" in record.sealed:
            previous = None
        entry = Entry(
            content=task.content,
            fields=task.rule.fields_digest(),
            outcome="published",
            name=product.published_name,
            inode=product.inode,
            tree=product.tree,
            instances=len(product.files),
            size_bytes=sum(file.size_bytes for file in product.files),
            time=self._tools.clock().strftime(TIME_FORMAT),
            details={KEY_ID: product.details[KEY_ID]} if KEY_ID in product.details else {},
        )
        parked = publish.parking(folder, entry.name, previous)
        intent = Intent(task.rule.name, task.folder, entry, parked, self._line(task, entry))
        published = publish.publish(self._ledger, record, folder, intent, product.source)
        report_kept(record.key, published.kept)
        return _told(task, entry, product, published.kept)

    def _line(self, task: Task, entry: Entry) -> audit.Line:
        if not self._tools.audit.is_on:
            return {}
        amount = Amount(entry.instances, entry.size_bytes)
        return audit.line(task.resource, task.rule.name, entry.outcome, amount, time=entry.time)


def report_kept(key: str, kept: tuple[str, ...]) -> None:
    """Say that something was parked and not deleted; the marker's record says where."""
    if kept:
        log.warning("%s: %d earlier output(s) held more than was published, and are kept as .WORKING", key, len(kept))


def _told(task: Task, entry: Entry, product: Product, kept: tuple[str, ...]) -> Outcome:
    outcome: Outcome = {
        "outcome": entry.outcome,
        "path": f"{task.folder}/{entry.name}",
        "instances": entry.instances,
        "bytes": entry.size_bytes,
        "time": entry.time,
        **product.details,
        # As `md5sum --check` reads it, in the published folder or where the archive was unpacked.
        "md5sums": [f"{file.md5}  {file.path}" for file in product.files],
    }
    if kept:
        outcome["kept"] = [f"{task.folder}/{name}" for name in kept]
    return outcome
