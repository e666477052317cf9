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
from contextlib import contextmanager
from datetime import UTC, datetime
from types import FrameType
from typing import Any

from autorthanc_spool.actions.anonymise import Anonymiser
from autorthanc_spool.actions.issuers import Issuers
from autorthanc_spool.actions.keyring import Keyring
from autorthanc_spool.core import naming
from autorthanc_spool.core.errors import (
    FolderMissing,
    OrthancUnavailable,
    SettingsError,
    SpoolUnavailable,
    Unavailable,
    UsageError,
)
from autorthanc_spool.core.states import State
from autorthanc_spool.deidentify.pseudonym_table import PseudonymTables
from autorthanc_spool.disk.mounts import Roots
from autorthanc_spool.orthanc.client import Orthanc
from autorthanc_spool.output.folders import Output
from autorthanc_spool.run.doorbell import Doorbell
from autorthanc_spool.run.loop import Runner
from autorthanc_spool.run.rulebook import Rulebook
from autorthanc_spool.run.tools import Tools
from autorthanc_spool.settings import Settings, owners
from autorthanc_spool.spool.audit import AuditLog
from autorthanc_spool.spool.spool import Spool

# After Orthanc was away, or a clock was set, many markers come due at once; this spreads them.
_JITTER = (0.8, 1.2)


def utc_now() -> datetime:
    """The time of this machine."""
    return datetime.now(UTC)


def find_spool(settings: Settings) -> Spool:
    """Open the spool that is there. Raises UsageError when there is none, and changes nothing then."""
    if not Spool(settings.spool_path, time.time).directories.of(State.INCOMING).is_dir():
        raise UsageError(
            f"there is no spool at {settings.spool_path}; name the folder that holds your .env with --site DIR or "
            "AUTORTHANC_SITE, or the spool with --spool. In a new site, `autorthanc-spool up` or `run` makes it"
        )
    # The folders that Lua writes into may be all that there is of it.
    return make_spool(settings)


def make_spool(settings: Settings) -> Spool:
    """Open the spool, and lay out what is missing of it."""
    spool = Spool(settings.spool_path, time.time)
    try:
        spool.directories.lay_out(owners.of_spool(settings))
    except OSError as error:
        raise SettingsError(
            [f"AUTORTHANC_SPOOL_PATH: the spool {settings.spool_path} can't be made or used: {error.strerror}"]
        ) from None
    return spool


def tools(settings: Settings, stop: threading.Event, spool: Spool) -> Tools:
    """Put everything together that a processor works with."""
    client = orthanc(settings)
    return Tools(
        settings=settings,
        spool=spool,
        orthanc=client,
        rulebook=rulebook(settings, spool),
        roots=Roots(spool.root / "state"),
        output=Output(settings.output_path, owners.of_output(settings), settings.umask),
        anonymiser=Anonymiser(
            Keyring(settings.pseudonym_key_file, spool),
            PseudonymTables(settings.rules_path),
            Issuers(client, spool.ledger),
        ),
        audit=AuditLog(settings.audit_log, socket.gethostname(), settings.audit_key_file, owners.of_spool(settings)),
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
    return Rulebook(settings.rules_path, spool.root / "state" / "rules", folder_name=naming.rule_folder)


def run(settings: Settings, *, once: bool) -> int:
    """Work on the spool; until a signal, or once. Returns the exit code."""
    _log_to_stderr(settings)
    stop = threading.Event()
    parts = tools(settings, stop, make_spool(settings))
    _check_folders(settings, parts.roots)
    parts.spool.sweep_locks()
    failed_before = {item.name for item in parts.spool.directories.items(State.FAILED)}
    runner = Runner(parts)
    # What was imported stays to the end: the garbage collector would look through it over and over while files come.
    gc.freeze()
    directories = parts.spool.directories
    watched = [directories.of(State.INCOMING), directories.of(State.DEFERRED), settings.rules_path]
    doorbell = Doorbell(watched, polling_s=settings.poll_interval_s if settings.observer == "polling" else None)
    with _signals(stop, doorbell):
        try:
            (runner.run_once if once else runner.run)(doorbell)
        except (SpoolUnavailable, FolderMissing) as error:
            error.exit_code = OrthancUnavailable.exit_code
            raise
        finally:
            doorbell.close()
            parts.anonymiser.close()
    # What names nothing is put into failed/ without a claim.
    rejected = {item.name for item in parts.spool.directories.items(State.FAILED)} - failed_before
    if not once:
        return 0
    if runner.failed or rejected:
        return 1
    return OrthancUnavailable.exit_code if runner.waits else 0


def replaced_folders(settings: Settings, spool: Spool) -> Iterator[str]:
    """Tell of each mounted folder that isn't the one that was used before."""
    roots = Roots(spool.root / "state")
    folders = {"rules": settings.rules_path, "output": settings.output_path, "spool": spool.root}
    for role, folder in folders.items():
        try:
            if roots.knows(role):
                roots.check(role, folder)
        except Unavailable as error:
            yield str(error)


def _check_folders(settings: Settings, roots: Roots) -> None:
    """Make the output at first use; refuse to start where the rules never were."""
    if not roots.knows("output") and not settings.output_path.exists():
        try:
            settings.output_path.mkdir(parents=True)
            settings.output_path.chmod(0o777 & ~settings.umask)
            owner = owners.of_output(settings)
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
