"""The spool, the output and the rules, as this process sees them."""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from rich.filesize import decimal
from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from autorthanc_spool.core.errors import SpoolError
from autorthanc_spool.core.states import State
from autorthanc_spool.disk import durable, mounts
from autorthanc_spool.disk.usage import free_bytes
from autorthanc_spool.doctor.finding import Finding, broken, ok, warning
from autorthanc_spool.monitor.facts import gather
from autorthanc_spool.monitor.health import Kind, is_at_work, judge, span
from autorthanc_spool.output.folders import obstacle
from autorthanc_spool.output.rights import Rights, sentence
from autorthanc_spool.output.working import WORKING
from autorthanc_spool.run.tools import Tools
from autorthanc_spool.run.troubles import FOLDER_OF_RULE
from autorthanc_spool.settings import owners

# Below the first figure the next large study may not fit; below the second one not even a marker is safe.
SPOOL_ROOM_BYTES = (1_000_000_000, 100_000_000)
OUTPUT_ROOM_BYTES = (10_000_000_000, 1_000_000_000)
# A local file system reports a new file within milliseconds.
INOTIFY_PATIENCE_S = 5.0
# What is being written among the markers is there for moments.
SCRATCH_S = 60.0

# The troubles of a processor whose cause `doctor` looks at itself.
LOOKED_AT = {"Orthanc", "the audit log", "the output", "the pseudonym key", "the rules", "the spool"}

_SHARED = ("", "tmp", *(str(state) for state in State), "locks")
_PRIVATE = ("ledger", "ledger/names", "state", "state/filing", "state/rules", "state/processors")


def spool(tools: Tools) -> Iterator[Finding]:
    """Look at the spool: modes, renames, locks, events, room, and whether anybody works on it."""
    root = tools.spool.root
    yield from _modes(root)
    yield from _one_file_system(root)
    yield from _writable(root)
    with tools.spool.locked("doctor", 1.0):
        pass
    yield ok("locks", "can be taken")
    yield from _events(tools)
    yield from _room("spool", root, SPOOL_ROOM_BYTES, "AUTORTHANC_DONE_RETENTION_DAYS says how long records stay")
    yield from _strangers(tools)
    yield from _processors(tools)


def audit_log(tools: Tools) -> Iterator[Finding]:
    """Look at the audit log, if there is one."""
    if tools.settings.audit_log:
        tools.audit.check()
        yield ok("audit log", f"{tools.settings.audit_log} can be written")


def pseudonym_key(tools: Tools) -> Iterator[Finding]:
    """Look at the pseudonym key, if an active rule needs it."""
    if not any(rule.is_active and rule.anonymise for rule in tools.rulebook.read().rules):
        return
    path = tools.settings.pseudonym_key_file
    if complaint := tools.anonymiser.key_complaint(searches=True):
        text, _, fix = complaint.partition("; ")
        yield broken("pseudonym key", text, fix)
    elif path.exists():
        yield ok("pseudonym key", f"{path} is the one that this spool uses; a backup of it is up to you")
    else:
        yield ok("pseudonym key", "there is none yet; it is made when something is anonymised for the first time")


def _modes(root: Path) -> Iterator[Finding]:
    open_to_all, closed_to_group, private = [], [], []
    for name in (*_SHARED, *_PRIVATE):
        mode = (root / name).stat().st_mode
        open_to_all += [name or "."] if mode & 0o007 else []
        closed_to_group += [name or "."] if name in _SHARED and mode & 0o2070 != 0o2070 else []
        private += [name] if name in _PRIVATE and mode & 0o020 else []
    fix = f"cd {root} && chmod"
    if open_to_all:
        yield warning("spool", f"open to every user: {_some(open_to_all)}", f"{fix} o= {_some(open_to_all)}")
    if closed_to_group:
        text = f"not open to its whole group, as which Orthanc writes markers: {_some(closed_to_group)}"
        yield warning("spool", text, f"{fix} g+rwxs {_some(closed_to_group)}")
    if private:
        yield warning("spool", f"open to writing by the group: {_some(private)}", f"{fix} g-w {_some(private)}")
    if not (open_to_all or closed_to_group or private):
        yield ok("spool", f"{root} is open to its group (GID {root.stat().st_gid}) and to nobody else")


def _some(names: list[str]) -> str:
    return " ".join(names)


def _one_file_system(root: Path) -> Iterator[Finding]:
    devices = {name: (root / name).stat().st_dev for name in (*_SHARED[1:], *_PRIVATE)}
    others = [name for name, device in devices.items() if device != devices["tmp"]]
    if others:
        text = f"not on the file system of tmp/: {_some(others)}; markers can't be renamed to and from there"
        yield broken("spool", text, "mount the spool as one folder, not some of its folders")


def _writable(root: Path) -> Iterator[Finding]:
    # Names with a leading dot are not markers.
    name = f".doctor-{uuid.uuid4().hex}"
    durable.create(root / "tmp" / name, b"")
    try:
        durable.move(root / "tmp" / name, root / "incoming" / name)
    finally:
        for folder in ("tmp", "incoming"):
            (root / folder / name).unlink(missing_ok=True)
    yield ok("markers", "can be written into tmp/ and renamed into incoming/ by this user")


class _Ear(FileSystemEventHandler):
    def __init__(self) -> None:
        self.heard = threading.Event()

    def on_any_event(self, event: FileSystemEvent) -> None:  # noqa: ARG002 - any event will do
        self.heard.set()


def _events(tools: Tools) -> Iterator[Finding]:
    settings = tools.settings
    poll = f"{settings.poll_interval_s:g} s"
    if settings.observer == "polling":
        yield ok("events", f"AUTORTHANC_OBSERVER is polling: the spool is looked through every {poll}")
        return
    if _hears(tools.spool.root / "tmp"):
        yield ok("events", "inotify reports new files")
        return
    text = f"inotify doesn't report new files here; markers are found at the next poll, within {poll}"
    yield warning("events", text, "set AUTORTHANC_OBSERVER=polling, or raise fs.inotify.max_user_watches")


def _hears(folder: Path) -> bool:
    ear, path = _Ear(), folder / f".doctor-{uuid.uuid4().hex}"
    try:
        observer = Observer()
        observer.schedule(ear, str(folder))
        observer.start()
    except OSError:
        return False
    try:
        path.touch()
        return ear.heard.wait(INOTIFY_PATIENCE_S)
    finally:
        path.unlink(missing_ok=True)
        observer.stop()
        observer.join()


def _room(what: str, folder: Path, limits: tuple[int, int], fix: str) -> Iterator[Finding]:
    free = free_bytes(folder)
    if free is None:
        yield broken(what, f"the free space of {folder} isn't known", "is it mounted?")
    elif free < limits[1]:
        yield broken(what, f"only {decimal(free)} free in {folder}", f"free some space; {fix}")
    elif free < limits[0]:
        yield warning(what, f"only {decimal(free)} free in {folder}", f"free some space; {fix}")
    else:
        yield ok(what, f"{decimal(free)} free")


def _strangers(tools: Tools) -> Iterator[Finding]:
    """Look for what lies among the markers and is never looked at: other names, folders, forgotten scratch files."""
    folder = tools.spool.directories.of(State.INCOMING)
    now = time.time()
    with os.scandir(folder) as entries:
        found = [one for one in entries if not _is_marker(one.name) and _age_s(one, now) > SCRATCH_S]
    if found:
        # A name may be a patient's.
        text = f"{len(found)} thing(s) in incoming/ are not markers and are never looked at; a marker is NAME.json"
        yield warning("markers", text, f"ls -A {folder} | grep -v '^[^.].*[.]json$', and move them away")


def _is_marker(name: str) -> bool:
    return name.endswith(".json") and not name.startswith(".")


def _age_s(entry: os.DirEntry[str], now: float) -> float:
    try:
        return now - entry.stat(follow_symlinks=False).st_mtime
    except FileNotFoundError:
        return 0.0


def _processors(tools: Tools) -> Iterator[Finding]:
    """Check whether anybody works on the spool."""
    facts = gather(tools.spool, tools.settings.alert_age_s)
    findings = judge(facts)
    for found in findings:
        what = "markers" if found.kind is Kind.WAITING else "processor"
        if found.kind in (Kind.NOT_RUNNING, Kind.SILENT, Kind.DIED, Kind.WAITING, Kind.PAUSED):
            is_broken = found.is_alarm and found.kind is not Kind.WAITING
            yield (broken if is_broken else warning)(what, found.text, found.fix)
    for found in findings:
        # What a processor saw itself of the spool, the output, the rules and Orthanc is looked at here as well.
        if found.kind is Kind.TROUBLE and not _is_looked_at(found.about):
            yield warning(found.about.removeprefix("the "), found.text, found.fix)
    for one in facts.processors:
        if is_at_work(one):
            looked = "" if one.looked_s is None else f", last look {span(one.looked_s)} ago"
            yield ok("processor", f"{one.name} lives since {one.since}{looked}")


def _is_looked_at(trouble: str) -> bool:
    return trouble in LOOKED_AT or trouble.startswith(("the rule ", FOLDER_OF_RULE))


def output(tools: Tools) -> Iterator[Finding]:
    """Look at the output: whether it is the one that it was, whether a rename publishes there, room."""
    folder = tools.settings.output_path
    if mounts.answers(folder) and not folder.exists() and not tools.places.knows(""):
        yield warning("output", f"there is no folder {folder} yet", "`autorthanc-spool run` makes it")
        return
    yield from _root(tools, "")


def delivered(tools: Tools) -> Iterator[Finding]:
    """Look at each folder that active rules deliver to, as at the output."""
    for root in sorted({rule.deliver for rule in tools.rulebook.read().rules if rule.is_active and rule.deliver}):
        try:
            yield from _root(tools, root)
        except SpoolError as error:
            yield broken("output", str(error))
        except OSError as error:
            reason = durable.passing_reason(error) or error.strerror
            yield broken("output", f"{root} can't be used: {reason}", "mount it, or fix its owner or mode")


def _root(tools: Tools, root: str) -> Iterator[Finding]:
    folder = tools.places.path(root)
    if not mounts.answers(folder):
        yield broken("output", *mounts.unanswered(folder).split("; "))
        return
    if tools.places.knows(root):
        tools.places.at(root)
    name = f".autorthanc-doctor-{uuid.uuid4().hex}"
    (folder / f"{name}{WORKING}").mkdir()
    try:
        durable.move(folder / f"{name}{WORKING}", folder / name)
        ignored = tuple(_ignored(tools, folder / name))
    finally:
        for left in (folder / f"{name}{WORKING}", folder / name):
            if left.is_dir():
                left.rmdir()
    yield ok("output", f"a folder can be made in {folder} and renamed")
    yield from ignored
    yield from _room("output", folder, OUTPUT_ROOM_BYTES, "move published studies away")


def _ignored(tools: Tools, folder: Path) -> Iterator[Finding]:
    """Look what a share makes of owners and permissions."""
    rights = Rights(owners.of_output(tools.settings), tools.settings.umask, str(folder.parent))
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        for what in rights.tried(descriptor, 0o777):
            text = sentence(str(folder.parent), what, os.fstat(descriptor))
            yield warning("output", text, "mount it with the owner and permissions that its consumer needs")
    finally:
        os.close(descriptor)


def rules(tools: Tools) -> Iterator[Finding]:
    """Look at the rules, and at the folder of each in the output."""
    folder = tools.settings.rules_path
    if tools.known_folders.knows("rules"):
        tools.known_folders.check("rules", folder)
    found = tools.rulebook.read()
    for one in found.broken:
        yield broken("rules", f"{one.name}.json can't be used", "`autorthanc-spool check` says what is wrong in it")
    active = [rule for rule in found.rules if rule.is_active]
    # What doesn't answer is covered by the finding about the output.
    answering = {root for root in {rule.deliver for rule in active} if mounts.answers(tools.places.path(root))}
    for rule in active:
        if rule.deliver in answering:
            yield from _rule_folder(tools.places.path(rule.deliver) / rule.folder)
    if not active:
        yield warning("rules", f"no rule in {folder} is active, so nothing is exported", "docs/rules.md shows how")
    elif not found.broken:
        yield ok("rules", f"{len(active)} active: {', '.join(rule.name for rule in active)}")


def _rule_folder(folder: Path) -> Iterator[Finding]:
    try:
        found = obstacle(folder)
        is_there = os.path.lexists(folder)
    except OSError as error:
        raise SpoolError(f"{folder} can't be looked at: {error.strerror}") from None
    if found:
        text, _, fix = found.partition("; ")
        yield broken("output", text, fix)
    elif is_there and not os.access(folder, os.W_OK | os.X_OK):
        yield broken("output", f"this user can't write in {folder}", "fix its owner or mode, or UID and GID")
