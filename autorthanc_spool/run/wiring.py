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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType, MappingProxyType
from typing import Any

from autorthanc_spool.core import naming
from autorthanc_spool.core.errors import (
    FolderMissing,
    OrthancUnavailable,
    SettingsError,
    SpoolError,
    SpoolUnavailable,
    Unavailable,
)
from autorthanc_spool.core.pulse import Pulse, no_pulse
from autorthanc_spool.core.states import State
from autorthanc_spool.deidentify.pseudonym_table import PseudonymTables
from autorthanc_spool.deidentify.region_files import RegionFiles
from autorthanc_spool.disk import durable, mounts
from autorthanc_spool.disk.mounts import KnownFolders
from autorthanc_spool.monitor import notice_target, statistics
from autorthanc_spool.monitor.heartbeat import Heartbeat
from autorthanc_spool.monitor.log import formatter
from autorthanc_spool.monitor.metrics import Metrics
from autorthanc_spool.monitor.notice import Notices, Watched
from autorthanc_spool.monitor.observer import Observer, Observers
from autorthanc_spool.monitor.page import Page
from autorthanc_spool.monitor.snapshot import Outside
from autorthanc_spool.monitor.statistics import Statistics
from autorthanc_spool.monitor.systemd import NO_MANAGER, Manager, Systemd
from autorthanc_spool.orthanc.client import Orthanc
from autorthanc_spool.orthanc.storage import Storage
from autorthanc_spool.outgoing.anonymiser import Anonymiser
from autorthanc_spool.outgoing.issuers import Issuers
from autorthanc_spool.outgoing.keyring import Keyring
from autorthanc_spool.output.folders import Output
from autorthanc_spool.output.places import Places
from autorthanc_spool.output.rights import Rights
from autorthanc_spool.rules import Rule
from autorthanc_spool.run import deliveries
from autorthanc_spool.run.access import make_spool, orthanc
from autorthanc_spool.run.doorbell import Doorbell
from autorthanc_spool.run.loop import Runner
from autorthanc_spool.run.rulebook import Rulebook
from autorthanc_spool.run.tools import Tools
from autorthanc_spool.settings import Settings, owners
from autorthanc_spool.spool.audit import AuditLog
from autorthanc_spool.spool.spool import Spool

log = logging.getLogger(__name__)

# After Orthanc was away, or a clock was set, many markers come due at once; this spreads them.
_JITTER = (0.8, 1.2)


def utc_now() -> datetime:
    """The time of this machine."""
    return datetime.now(UTC)


def tools(settings: Settings, stop: threading.Event, spool: Spool, pulse: Pulse | None = None) -> Tools:
    """Put everything together that a processor works with."""
    pulse = pulse or no_pulse()
    client = orthanc(settings, pulse)
    return Tools(
        settings=settings,
        spool=spool,
        orthanc=client,
        storage=storage(settings, client),
        rulebook=rulebook(settings, spool),
        known_folders=KnownFolders(spool.root / "state"),
        places=_places(settings, spool, pulse),
        anonymiser=Anonymiser(
            Keyring(settings.pseudonym_key_file, spool),
            PseudonymTables(settings.rules_path),
            RegionFiles(settings.rules_path),
            Issuers(client, spool.ledger),
            pulse,
        ),
        audit=AuditLog(settings.audit_log, socket.gethostname(), settings.audit_key_file, owners.of_spool(settings)),
        clock=utc_now,
        jitter=lambda: random.uniform(*_JITTER),  # noqa: S311 - it guards nothing
        stop=stop,
        pulse=pulse,
    )


def _places(settings: Settings, spool: Spool, pulse: Pulse) -> Places:
    """Make what opens the output and the folders that rules deliver to; nothing is opened yet."""
    owner = owners.of_output(settings)

    def make(root: Path, base: Path | None, check: Callable[[], None]) -> Output:
        return Output(root, Rights(owner, settings.umask, str(root)), pulse, base=base, check=check)

    return Places(settings.output_path, settings.deliver_roots, KnownFolders(spool.root / "state"), make)


def storage(settings: Settings, client: Orthanc) -> Storage | None:
    """Open Orthanc's storage, if it lies on this machine; nothing is looked at yet."""
    folder = settings.orthanc_storage_path
    return Storage(client, folder, verify_md5=settings.verify == "md5") if folder else None


def storage_complaint(settings: Settings) -> str:
    """Say why stored files can't be taken from Orthanc's storage, if they can't. Raises OrthancUnavailable."""
    found = storage(settings, orthanc(settings))
    return found.complaint() if found else ""


def rulebook(settings: Settings, spool: Spool) -> Rulebook:
    """Open the folder of rules."""
    kept = spool.root / "state" / "rules"
    return Rulebook(settings.rules_path, kept, folder_name=naming.rule_folder, refuses=deliveries.judge(settings))


def rulebook_alone(settings: Settings) -> Rulebook:
    """Open the folder of rules without a spool: nothing is kept of them, and nothing is known of broken ones."""
    nowhere = settings.spool_path / "state" / "rules"
    refuses = deliveries.judge(settings)
    return Rulebook(settings.rules_path, nowhere, folder_name=naming.rule_folder, keeps=False, refuses=refuses)


def run(
    settings: Settings,
    *,
    once: bool,
    idle_exit_s: float | None = None,
    manager: Manager = NO_MANAGER,
    environ: Mapping[str, str] = MappingProxyType({}),
) -> int:
    """Work on the spool; until a signal, until nothing came for so long, or once. Returns the exit code.

    `environ` is for the command of notices.
    """
    _log_to_stderr(settings, manager.journal_stream)
    stop, pulse = threading.Event(), Pulse(time.monotonic)
    parts, failed_before = _begin(settings, stop, pulse) if once else _begin_when_there(settings, stop, pulse)
    # Those who watch: the heartbeat, the page, the metrics, the notices.
    watching: list[Observer] = [Heartbeat(parts.spool.root, pulse), Systemd(manager.notify_socket, pulse)]
    observers = Observers(
        [*watching, *_for_people(settings), *_notices(settings, environ)],
        lambda: parts.known_folders.is_spool_there(parts.spool.root),
    )
    runner = Runner(parts, observers)
    # What was imported stays to the end: the garbage collector would look through it over and over while files come.
    gc.freeze()
    directories = parts.spool.directories
    # In the spool itself, PAUSED comes and goes.
    watched = [directories.of(State.INCOMING), directories.of(State.DEFERRED), directories.root, settings.rules_path]
    doorbell = Doorbell(
        watched, polling_s=settings.poll_interval_s if settings.observer == "polling" else None, pulse=pulse
    )
    with _signals(stop, doorbell):
        try:
            observers.begin()
            if once:
                runner.run_once(doorbell)
            else:
                runner.run(doorbell, idle_exit_s)
        except (SpoolUnavailable, FolderMissing) as error:
            error.exit_code = OrthancUnavailable.exit_code
            raise
        finally:
            observers.end()
            doorbell.close()
            parts.anonymiser.close()
    if not once:
        return 0
    # What names nothing is put into failed/ without a claim.
    rejected = _failed(parts.spool) - failed_before
    if runner.failed or rejected:
        return 1
    return OrthancUnavailable.exit_code if runner.waits else 0


def _begin(settings: Settings, stop: threading.Event, pulse: Pulse) -> tuple[Tools, set[str]]:
    """Make the working parts, look at the folders; also return which markers have failed before."""
    parts = tools(settings, stop, make_spool(settings, pulse), pulse)
    _check_folders(settings, parts.known_folders)
    parts.spool.sweep_locks()
    return parts, _failed(parts.spool)


def _begin_when_there(settings: Settings, stop: threading.Event, pulse: Pulse) -> tuple[Tools, set[str]]:
    """Begin; where a disk or a share is away, say so once, and wait for it."""
    is_said = False
    while True:
        try:
            begun = _begin(settings, stop, pulse)
        except (OSError, SpoolUnavailable) as error:
            cause = error if isinstance(error, OSError) else error.__cause__
            if not isinstance(cause, OSError) or not durable.is_away(cause):
                raise
            if not is_said:
                log.error("the processor can't begin: %s; it is tried again", durable.passing_reason(cause))
            is_said = True
            time.sleep(settings.poll_interval_s)
        else:
            if is_said:
                log.info("the processor begins")
            return begun


def _failed(spool: Spool) -> set[str]:
    return {item.name for item in spool.directories.items(State.FAILED)}


def _notices(settings: Settings, environ: Mapping[str, str]) -> Iterator[Notices]:
    for problem in notice_target.problems(settings):
        log.error("%s Notices aren't sent there.", problem)
    if found := notice_target.targets(settings, environ):
        ages = settings.alert_age_s, settings.uncollected_after_s
        yield Notices(Watched(settings.spool_path, settings.output_path, *ages, _delivered(settings)), found)


def _delivered(settings: Settings) -> Callable[[], Mapping[Path, Sequence[str]]]:
    """Make what lists the folders of rules in each place that they deliver to; by a rulebook of its own."""
    rules = rulebook_alone(settings)

    def look() -> dict[Path, list[str]]:
        found: dict[Path, list[str]] = {}
        with suppress(SpoolError):
            for rule in rules.read().rules:
                if rule.deliver:
                    found.setdefault(Path(rule.deliver), []).append(rule.folder)
        return found

    return look


def _for_people(settings: Settings) -> list[Observer]:
    """Make the observers that count, and that write the page; they look with a spool and a rulebook of their own."""
    spool = Spool(settings.spool_path, time.time)
    rules = rulebook_alone(settings)

    def outside() -> Outside:
        try:
            found = rules.read()
        except SpoolError:
            # The heartbeat has that as a trouble.
            return Outside({}, (), settings.alert_age_s)
        states = {rule.name: "active" if rule.is_active else "off" for rule in found.rules}
        states |= {broken.name: "broken" for broken in found.broken}
        return Outside(states, tuple(replaced_folders(settings, spool, found.rules)), settings.alert_age_s)

    def here() -> datetime:
        return utc_now().astimezone()

    watchers: list[Observer] = [Statistics(spool.root / statistics.FOLDER, here), Page(spool, outside, here)]
    if settings.metrics_file:
        watchers.append(Metrics(settings.metrics_file, spool, outside, here))
    return watchers


def replaced_folders(settings: Settings, spool: Spool, rules: Iterable[Rule] = ()) -> Iterator[str]:
    """Say which of the mounted folders, and of those that `rules` deliver to, don't answer or were replaced."""
    roots = KnownFolders(spool.root / "state")
    folders = {"rules": settings.rules_path, "output": settings.output_path, "spool": spool.root}
    for role, folder in folders.items():
        if not mounts.answers(folder):
            yield mounts.unanswered(folder)
            continue
        try:
            if roots.knows(role):
                roots.check(role, folder)
        except Unavailable as error:
            yield str(error)
    for root in sorted({rule.deliver for rule in rules if rule.is_active and rule.deliver}):
        if problem := replaced_delivery(spool, root):
            yield problem
        elif not deliveries.is_there(root):
            yield mounts.lacking("the output folder", Path(root))


def replaced_delivery(spool: Spool, root: str) -> str:
    """Say that a folder that rules deliver to doesn't answer, or isn't the one used before, if so."""
    if not mounts.answers(Path(root)):
        return mounts.unanswered(Path(root))
    roots = KnownFolders(spool.root / "state")
    try:
        if roots.knows_delivered(root):
            roots.check_delivered(root)
    except Unavailable as error:
        return str(error)
    return ""


def _check_folders(settings: Settings, roots: KnownFolders) -> None:
    """Make the output at first use; refuse to start where the rules never were."""
    if not roots.knows("output") and mounts.answers(settings.output_path) and not settings.output_path.exists():
        try:
            # Several processors may begin at once.
            settings.output_path.mkdir(parents=True, exist_ok=True)
            settings.output_path.chmod(0o777 & ~settings.umask)
            owner = owners.of_output(settings)
            if owner:
                os.chown(settings.output_path, *owner)
        except OSError as error:
            if durable.is_away(error):
                raise
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


def _log_to_stderr(settings: Settings, journal_stream: str) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter(settings.log_format or "", journal_stream, sys.stderr.fileno()))
    package = logging.getLogger("autorthanc_spool")
    package.addHandler(handler)
    package.setLevel(settings.log_level.upper())
    # What urllib3 warns of, a connection that was closed while idle, is tried again or said by us.
    logging.getLogger("urllib3").setLevel(logging.ERROR)


@contextmanager
def _signals(stop: threading.Event, doorbell: Doorbell) -> Iterator[None]:
    """Stop at SIGTERM, SIGINT, and when the terminal is closed; a second SIGINT interrupts at once."""

    def handle(number: int, frame: FrameType | None) -> Any:  # noqa: ARG001 - the signature is signal's
        if stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.set()
        doorbell.ring()

    numbers = [signal.SIGTERM, signal.SIGINT]
    # nohup asks us to live on without a terminal.
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
