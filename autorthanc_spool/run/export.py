"""One rule's work on one resource: name, working directory, action, last look, publication."""

from __future__ import annotations

import hashlib
import logging
from contextlib import ExitStack, closing, suppress
from dataclasses import replace

from autorthanc_spool.actions import Job, Product, publishing_action, source
from autorthanc_spool.core import naming
from autorthanc_spool.core.errors import ClaimLost, OutputConflict, StillArriving, Unavailable
from autorthanc_spool.core.outcome import PSEUDONYM, PSEUDONYM_KEY, Outcome, Word
from autorthanc_spool.core.record import Entry, Intent, Record, Working, place
from autorthanc_spool.outgoing.sources import Content, Originals
from autorthanc_spool.output import publish
from autorthanc_spool.output.folders import RuleFolder, output_trouble
from autorthanc_spool.output.places import Places
from autorthanc_spool.output.working import working_name
from autorthanc_spool.run import plan
from autorthanc_spool.run.plan import PlannedJob
from autorthanc_spool.run.tools import Tools
from autorthanc_spool.spool.ledger import HeldRecord
from autorthanc_spool.spool.spool import Claim

log = logging.getLogger(__name__)

# Originals that are being anonymised are held in memory whole; all together take no more than this, or one file's size.
HELD_BYTES = 1024**3

# A resource that changed while it was exported is looked at again after this long.
CHANGED_WAIT_S = 5.0


class Exporter:
    """Exports, one task at a time, under the lock of the resource."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._ledger = tools.spool.ledger

    def export(self, claim: Claim, job: PlannedJob) -> Outcome:
        """Publish what the rule asks for, and return what was done."""
        tools = self._tools
        claim.check()
        tools.audit.check()
        output = tools.places.at(job.rule.deliver)
        # What an earlier run or rule left may lie just where this one begins: its share may be back by now.
        recover(claim.record, tools.places)
        with output_trouble(job.rule.deliver), output.rule_folder(job.rule.folder) as folder:
            content = self.content(job)
            output.check_room(job.rule.folder, sum(one.file_size_bytes for one in job.resource.instances))
            stays = self._seal(claim.record, folder, job)
            name = self._reserve(claim.record.now, folder, job, content)
            outcome = self._make(claim, job, folder, name, content)
            return replace(outcome, kept=(*stays, *outcome.kept))

    def content(self, job: PlannedJob) -> Content:
        """What leaves under this rule."""
        tools = self._tools
        verify_md5 = tools.settings.verify == "md5"
        originals = Originals(
            tools.orthanc, job.resource, job.rule.name_template, verify_md5=verify_md5, storage=tools.storage
        )
        return source(originals, job.resource, job.rule, tools.anonymiser)

    def threads(self, job: PlannedJob) -> int:
        """Where files are worked on between download and disk, more of them are under way, as many as memory holds."""
        threads = self._tools.settings.download_threads
        if not job.rule.changes:
            return threads
        largest = max((one.file_size_bytes for one in job.resource.instances), default=1)
        return max(1, min(threads + self._tools.anonymiser.workers, HELD_BYTES // max(largest, 1)))

    @staticmethod
    def _seal(record: HeldRecord, folder: RuleFolder, job: PlannedJob) -> tuple[str, ...]:
        """Keep what may be the only copy: what was published and isn't in Orthanc any more. Give where it is.

        Somebody deleted it there, or Orthanc did to make room. What is there now is published beside it.
        """
        previous = record.now.entries.get(job.rule.name)
        if previous is None or previous.root != job.rule.deliver:
            return ()
        where = f"{job.rule.folder}/{previous.name}"
        is_there = bool(previous.name) and folder.inode(previous.name) == previous.inode
        if not is_there or where in record.now.sealed:
            return ()
        if plan.has_all(job.read, previous, record.now.held.get(job.rule.name, "")):
            return ()
        record.write(replace(record.now, sealed=tuple(sorted({*record.now.sealed, where}))))
        log.warning("%s: Orthanc no longer has all that %s published; that stays", record.now.key, job.rule.name)
        return (place(previous.root, job.rule.folder, previous.name),)

    def _reserve(self, record: Record, folder: RuleFolder, job: PlannedJob, content: Content) -> str:
        """Find the name that belongs to the resource permanently, or make one its own."""
        key, sealed = record.key, record.sealed
        candidates = [content.name, naming.told_apart(content.name, content.identity)]
        if sealed:
            # What came later doesn't replace what may be the only copy.
            later = hashlib.sha256(f"{content.identity} {len(sealed)}".encode()).hexdigest()
            candidates.append(naming.told_apart(content.name, later))
        self._reserve_folders(job.rule.folder, content.name)
        for name in candidates:
            if {f"{job.rule.folder}/{name}", f"{job.rule.folder}/{name}.zip"}.intersection(sealed):
                continue
            owner = self._ledger.owner(job.rule.folder, name)
            if owner == key:
                return name
            if owner is None and folder.is_free(name) and self._ledger.reserve(job.rule.folder, name, key):
                return name
        raise OutputConflict(
            "in the rule's output something that isn't ours has the name that this would get; "
            "move it away and requeue the marker"
        )

    def _reserve_folders(self, folder: str, name: str) -> None:
        """Have no study published where the name has a folder; refuse to publish into one that was."""
        parts = name.split("/")
        for end in range(1, len(parts)):
            if not self._ledger.reserve_folder(folder, "/".join(parts[:end])):
                raise OutputConflict(
                    'the rule\'s "Name" would put this into a folder that was published as a study; '
                    "write another Name, then requeue the marker"
                )

    def _make(self, claim: Claim, planned: PlannedJob, folder: RuleFolder, name: str, content: Content) -> Outcome:
        tools, record = self._tools, claim.record
        takeovers = record.now.takeovers
        working = folder.make_working(name, takeovers, hides_time=planned.rule.changes)
        with closing(working), ExitStack() as undo:
            made = working_name(name, takeovers)
            begun = Working(planned.rule.folder, made, working.inode, planned.rule.deliver)
            publish.begin(record, folder, begun, is_new=working.is_new)
            undo.callback(_remove_working, record, folder, working.inode)
            job = Job(planned.rule, planned.resource, content, tools.stop, self.threads(planned), tools.pulse)
            folders, slash, last = name.rpartition("/")
            product = publishing_action(planned.rule).run(job, last, working)
            product = replace(
                product,
                published_name=folders + slash + product.published_name,
                source=folders + slash + product.source,
                details={**product.details, **content.details()},
            )
            self.look_once_more(claim, planned)
            job.check_stop()
            outcome = self._publish(claim, planned, folder, product)
            undo.pop_all()
            return outcome

    def look_once_more(self, claim: Claim, job: PlannedJob) -> None:
        """Refuse to publish or send what is no longer the whole of it, or what a person took back."""
        before, orthanc = job.read, self._tools.orthanc
        after = orthanc.with_instances(orthanc.resource(before.level, before.resource_id))
        same = after.is_stable and after.last_update == before.last_update
        if not same or plan.content_digest(after) != plan.content_digest(before):
            raise StillArriving(f"the {before.level} changed while it was exported", CHANGED_WAIT_S)
        claim.check()

    def _publish(self, claim: Claim, job: PlannedJob, folder: RuleFolder, product: Product) -> Outcome:
        record = claim.record
        root, previous = job.rule.deliver, record.now.entries.get(job.rule.name)
        # What was delivered to another place stays there, as what may be the only copy does.
        if previous and (previous.root != root or f"{job.rule.folder}/{previous.name}" in record.now.sealed):
            previous = None
        entry = Entry(
            content=job.content,
            fields=job.rule.fields_digest(),
            outcome=Word.PUBLISHED,
            name=product.published_name,
            inode=product.inode,
            tree=product.tree,
            instances=len(product.files),
            size_bytes=sum(file.size_bytes for file in product.files),
            time=self._tools.now(),
            details={key: product.details[key] for key in (PSEUDONYM_KEY, PSEUDONYM) if key in product.details},
            root=root,
        )
        parked = publish.parking(folder, entry.name, previous)
        line = self._tools.audit.published(job.resource, job.rule.name, entry, product.details)
        intent = Intent(job.rule.name, job.rule.folder, entry, parked, line, plan.held(job.resource))
        kept = publish.publish(record, folder, intent, product.source, claim.check)
        _report_kept(record.now.key, kept)
        return Outcome(
            entry.outcome,
            path=place(root, job.rule.folder, entry.name),
            instances=entry.instances,
            size_bytes=entry.size_bytes,
            time=entry.time,
            # As `md5sum --check` reads it, in the published folder or where the archive was unpacked.
            md5sums=tuple(f"{file.md5}  {file.path}" for file in product.files),
            kept=tuple(place(root, job.rule.folder, name) for name in kept),
            details=product.details,
        )


def _remove_working(record: HeldRecord, folder: RuleFolder, inode: int) -> None:
    """Remove what was begun. What can't be removed now is known to the ledger, and removed by the next run.

    Where the work was lost, it belongs to whoever has it now.
    """
    with suppress(OSError, ClaimLost, Unavailable):
        record.check()
        # While an intent stands, the folder keeps its inode: by that alone recovery knows what was renamed.
        if record.now.working and not record.now.intent:
            folder.remove(record.now.working.name, inode)


def recover(record: HeldRecord, places: Places) -> None:
    """Decide what an earlier run or rule left undecided. Raises FolderMissing, OutputUnavailable."""
    if not publish.is_clear(record.now):
        with output_trouble():
            kept = publish.recover(record, places.at)
        _report_kept(record.now.key, kept)


def _report_kept(key: str, kept: tuple[str, ...]) -> None:
    """Say that something was parked and not deleted; the marker's record says where."""
    if kept:
        log.warning("%s: %d earlier output(s) held more than was published, and are kept as .WORKING", key, len(kept))
