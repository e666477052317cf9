"""From settings to working parts: the one place that makes a spool, an Orthanc, a rulebook, and puts them together."""

from __future__ import annotations

import gc
import logging
import os
import random
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

from autorthanc_spool.actions.anonymiser import Anonymiser
from autorthanc_spool.actions.keyring import Keyring
from autorthanc_spool.core import naming
from autorthanc_spool.core.dicom import Level, resource_key
from autorthanc_spool.core.errors import FolderMissing, OrthancUnavailable, SettingsError, SpoolError, Unavailable
from autorthanc_spool.core.states import State
from autorthanc_spool.deidentify.errors import PseudonymTableInvalid
from autorthanc_spool.deidentify.pseudonym_table import PseudonymTables
from autorthanc_spool.disk.mounts import Roots
from autorthanc_spool.disk.usage import Usage, usage
from autorthanc_spool.orthanc.client import Orthanc
from autorthanc_spool.output.folders import Output
from autorthanc_spool.rules import Rule, RuleError, hopeless, parse_rule
from autorthanc_spool.run.doorbell import Doorbell
from autorthanc_spool.run.export import Tools
from autorthanc_spool.run.loop import Runner
from autorthanc_spool.run.plan import Plan
from autorthanc_spool.run.processor import Processor
from autorthanc_spool.run.reconcile import Sweep, reconcile
from autorthanc_spool.run.rulebook import Rulebook, RuleSet
from autorthanc_spool.settings import Settings
from autorthanc_spool.spool.audit import AuditLog
from autorthanc_spool.spool.spool import Spool

# After Orthanc was away, or a clock was set, many markers come due at once; this spreads them.
_JITTER = (0.8, 1.2)


def utc_now() -> datetime:
    """The time of this machine."""
    return datetime.now(UTC)


def open_spool(settings: Settings) -> Spool:
    """Open the spool, and lay out what is missing of it."""
    spool = Spool(settings.spool_path, time.time)
    try:
        spool.lay_out(_owner(settings))
    except OSError as error:
        raise SettingsError(
            [f"AUTORTHANC_SPOOL_PATH: the spool {settings.spool_path} can't be made or used: {error.strerror}"]
        ) from None
    return spool


def tools(settings: Settings, stop: threading.Event) -> Tools:
    """Put everything together that a processor works with."""
    spool = open_spool(settings)
    return Tools(
        settings=settings,
        spool=spool,
        orthanc=orthanc(settings),
        rulebook=rulebook(settings, spool),
        roots=Roots(spool.root / "state"),
        output=Output(settings.output_path, _owner(settings), settings.umask),
        anonymiser=Anonymiser(Keyring(settings.pseudonym_key_file, spool), PseudonymTables(settings.rules_path)),
        audit=AuditLog(settings.audit_log, socket.gethostname(), _owner(settings)),
        clock=utc_now,
        jitter=lambda: random.uniform(*_JITTER),  # noqa: S311 - it guards nothing
        stop=stop,
    )


def orthanc(settings: Settings) -> Orthanc:
    """Make the client; nothing is asked yet."""
    return Orthanc(
        settings.orthanc_url,
        settings.username,
        settings.password.get_secret_value() if settings.password else None,
        ca_file=settings.ca_file,
        connections=settings.download_threads,
    )


def rulebook(settings: Settings, spool: Spool) -> Rulebook:
    """Open the folder of rules."""
    return Rulebook(settings.rules_path, spool.root / "state" / "rules", folder_name=naming.component)


def run(settings: Settings, *, once: bool) -> int:
    """Work on the spool; until a signal, or once. Returns the exit code."""
    _log_to_stderr(settings)
    stop = threading.Event()
    parts = tools(settings, stop)
    _check_folders(settings, parts.roots)
    parts.spool.sweep_locks()
    failed_before = {item.name for item in parts.spool.items(State.FAILED)}
    runner = Runner(parts)
    # What was imported stays to the end: the garbage collector would look through it over and over while files come.
    gc.freeze()
    watched = [parts.spool.directory(state) for state in (State.INCOMING, State.DEFERRED)] + [settings.rules_path]
    doorbell = Doorbell(watched, polling_s=settings.poll_interval_s if settings.observer == "polling" else None)
    with _signals(stop, doorbell):
        try:
            (runner.run_once if once else runner.run)(doorbell)
        finally:
            doorbell.close()
            parts.anonymiser.close()
    # What names nothing is put into failed/ without a claim.
    rejected = {item.name for item in parts.spool.items(State.FAILED)} - failed_before
    return 1 if once and (runner.failed or rejected) else 0


@dataclass(frozen=True)
class Status:
    """What `status` shows."""

    spool: Path
    counts: dict[str, int]
    oldest_incoming: str
    next_due_s: float | None
    rules: RuleSet | None
    rules_problem: str
    orthanc: str
    orthanc_url: str
    usage: Usage
    done_retention_days: int
    done_unmatched_retention_days: int
    folder_problems: tuple[str, ...]


def status(settings: Settings) -> Status:
    """Look at everything, and change nothing."""
    spool = open_spool(settings)
    rules, problem = None, ""
    try:
        rules = rulebook(settings, spool).read()
    except SpoolError as error:
        problem = str(error)
    try:
        answer = f"answers, version {orthanc(settings).system().get('Version', 'unknown')}"
    except OrthancUnavailable as error:
        answer = str(error)
    incoming = spool.items(State.INCOMING)
    return Status(
        spool=spool.root,
        counts={str(state): len(spool.items(state)) for state in State},
        oldest_incoming=incoming[0].name if incoming else "",
        next_due_s=spool.next_due_s(),
        rules=rules,
        rules_problem=problem,
        orthanc=answer,
        orthanc_url=settings.orthanc_url,
        usage=usage(spool.root, settings.output_path),
        done_retention_days=settings.done_retention_days,
        done_unmatched_retention_days=settings.done_unmatched_retention_days,
        folder_problems=tuple(_replaced(settings, spool)),
    )


def _replaced(settings: Settings, spool: Spool) -> Iterator[str]:
    """Tell of each mounted folder that isn't the one that was used before."""
    roots = Roots(spool.root / "state")
    folders = {"rules": settings.rules_path, "output": settings.output_path, "spool": spool.root}
    for role, folder in folders.items():
        try:
            if roots.knows(role):
                roots.check(role, folder)
        except Unavailable as error:
            yield str(error)


@dataclass(frozen=True)
class Checked:
    """One rule file and what was found in it."""

    path: Path
    rule: Rule | None
    problem: str = ""
    is_ignored: bool = False
    # What is valid, and won't match or arrive.
    warnings: tuple[str, ...] = ()


def check(settings: Settings, files: tuple[Path, ...]) -> list[Checked]:
    """Check rule files; without any, all of the folder."""
    if files:
        return _with_warnings(settings, [_check_file(path) for path in files])
    spool = open_spool(settings)
    if problems := list(_replaced(settings, spool)):
        raise FolderMissing("\n".join(problems))
    found = rulebook(settings, spool).read()
    folder = settings.rules_path
    checked = [_with_table(Checked(folder / f"{rule.name}.json", rule)) for rule in found.rules]
    checked += [Checked(broken.path, None, str(broken.error)) for broken in found.broken]
    checked += [Checked(folder / name, None, is_ignored=True) for name in found.ignored]
    return _with_warnings(settings, sorted(checked, key=lambda one: one.path))


def _check_file(path: Path) -> Checked:
    try:
        return _with_table(Checked(path, parse_rule(path.stem, path.read_bytes())))
    except RuleError as error:
        return Checked(path, None, str(error))
    except OSError as error:
        return Checked(path, None, f"{path}: it can't be read: {error.strerror}")


def _with_table(checked: Checked) -> Checked:
    """Look at the pseudonym table that a rule names, beside it; what is wrong there keeps the rule from working."""
    options = checked.rule.anonymise if checked.rule else None
    if options and options.pseudonym_table:
        try:
            PseudonymTables(checked.path.parent).read(options.pseudonym_table)
        except PseudonymTableInvalid as error:
            return Checked(checked.path, None, "\n".join(f"{checked.path.name}: {one}" for one in error.problems))
    return checked


def _with_warnings(settings: Settings, checked: list[Checked]) -> list[Checked]:
    known = _known_destinations(settings, [one.rule for one in checked if one.rule])
    return [replace(one, warnings=_hopeless(one.path, one.rule, known)) if one.rule else one for one in checked]


def _hopeless(path: Path, rule: Rule, destinations: frozenset[str]) -> tuple[str, ...]:
    try:
        found = hopeless.warnings(rule, path.read_bytes(), destinations)
    except (OSError, ValueError):
        # It was changed since it was read.
        return ()
    return tuple(f"{path.name}:{one.line}: warning: {one}" for one in found)


def _known_destinations(settings: Settings, rules: list[Rule]) -> frozenset[str]:
    """The modalities of the settings; Orthanc, which may have others, is asked only about what they lack."""
    known = frozenset(settings.dicom_modalities)
    if known.issuperset(name for rule in rules for name in rule.destination_modalities):
        return known
    with suppress(SpoolError):
        known |= orthanc(settings).modalities()
    return known


def explain(settings: Settings, level: Level, resource_id: str) -> Plan:
    """Plan the run of a resource, and don't do it. Raises ResourceMissing, OrthancUnavailable."""
    parts = tools(settings, threading.Event())
    parts.orthanc.system()
    rules = parts.rulebook.read()
    record = parts.spool.ledger.read(resource_key(level, resource_id))
    return Processor(parts).explain(level, resource_id, rules, record)


def reconcile_now(settings: Settings) -> Sweep:
    """Look for studies that were missed, and write their markers. Raises OrthancUnavailable."""
    spool, server = open_spool(settings), orthanc(settings)
    server.system()
    sweep = reconcile(spool, server, settings.stable_age_s, utc_now())
    if sweep is None:
        raise SpoolError("another process is reconciling at this moment; that is as good")
    return sweep


def _owner(settings: Settings) -> tuple[int, int] | None:
    return (settings.uid, settings.gid) if os.geteuid() == 0 else None


def _check_folders(settings: Settings, roots: Roots) -> None:
    """Make the output at first use; refuse to start where the rules never were."""
    if not roots.knows("output") and not settings.output_path.exists():
        try:
            settings.output_path.mkdir(parents=True)
            settings.output_path.chmod(0o777 & ~settings.umask)
            owner = _owner(settings)
            if owner:
                os.chown(settings.output_path, *owner)
        except OSError as error:
            raise SettingsError(
                [f"ORTHANC_AUTOMATION_STORAGE_PATH: {settings.output_path} can't be made: {error.strerror}"]
            ) from None
    if not roots.knows("rules") and not settings.rules_path.is_dir():
        raise SettingsError(
            [
                f"ORTHANC_AUTOMATION_JSON_SCRIPTS_PATH: there is no folder {settings.rules_path}; "
                f"create it (mkdir -p {settings.rules_path}) and put a rule into it (docs/rules.md)"
            ]
        )


def _log_to_stderr(settings: Settings) -> None:
    handler = logging.StreamHandler(sys.stderr)
    formatter = logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%SZ")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    package = logging.getLogger("autorthanc_spool")
    package.addHandler(handler)
    package.setLevel(settings.log_level.upper())
    # What urllib3 warns of, a connection that was closed while idle, is tried again or said by us.
    logging.getLogger("urllib3").setLevel(logging.ERROR)


@contextmanager
def _signals(stop: threading.Event, doorbell: Doorbell) -> Iterator[None]:
    """Stop at SIGTERM and SIGINT; a second SIGINT interrupts at once."""

    def handle(number: int, frame: FrameType | None) -> Any:  # noqa: ARG001 - the signature is signal's
        if stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.set()
        doorbell.ring()

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
