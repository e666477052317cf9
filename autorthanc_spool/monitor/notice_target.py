"""Where notices go: a command, and Apprise addresses. What can't be sent is said without what may be secret."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import shlex
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from autorthanc_spool.monitor.notice_plan import Event, Notice
from autorthanc_spool.settings import Settings
from autorthanc_spool.settings.variables import NAMES

# A command that takes longer than this hangs.
COMMAND_S = 30.0
# What Apprise calls an event; a later version may have left one that isn't here.
_KINDS: Mapping[str, str] = {Event.ENDED: "success", Event.UNCOLLECTED: "info", Event.FAILED: "failure"}
_EXTRA = "pip install 'autorthanc-spool[notify]'"


class NotSent(Exception):
    """A notice couldn't be sent; the text says why, without an address."""


class Target(Protocol):
    """Takes notices."""

    @property
    def name(self) -> str:
        """What it is called, in messages and in what is remembered."""

    def send(self, notice: Notice) -> None:
        """Send one. Raises NotSent."""

    def stop(self) -> None:
        """End what is still being sent: the processor ends."""


@dataclass(frozen=True)
class Command:
    """Runs a command without a shell, with the notice as JSON on standard input and in variables."""

    words: tuple[str, ...]
    variables: Mapping[str, str]
    timeout_s: float = COMMAND_S
    name: str = "AUTORTHANC_NOTIFY_COMMAND"
    _running: set[int] = field(default_factory=set, compare=False)

    def send(self, notice: Notice) -> None:
        """Run it to its end, or end it with all that it started."""
        # Settings hold passwords, and the command has its own.
        environ = {name: value for name, value in self.variables.items() if name not in NAMES} | _variables(notice)
        content = json.dumps({"format": 1, **asdict(notice)}, ensure_ascii=False).encode(errors="backslashreplace")
        try:
            process = subprocess.Popen(
                self.words, env=environ, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True
            )
        except OSError as error:
            raise NotSent(f"it can't be started: {error.strerror}") from None
        self._running.add(process.pid)
        try:
            process.communicate(content, self.timeout_s)
        except subprocess.TimeoutExpired:
            raise NotSent(f"it didn't end within {self.timeout_s:g} s") from None
        finally:
            self._running.discard(process.pid)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if process.returncode != 0:
            raise NotSent(f"it ended with exit code {process.returncode}")

    def stop(self) -> None:
        """End the command, with all that it started."""
        for group in tuple(self._running):
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)


@dataclass(frozen=True)
class Address:
    """One Apprise address."""

    name: str
    url: str

    def stop(self) -> None:
        """Apprise has time limits of its own."""

    def send(self, notice: Notice) -> None:
        """Send by Apprise, which has time-outs of its own."""
        service = _service(self.url)
        kind = _KINDS.get(notice.event, "warning")
        if not service or not service.notify(title=notice.title, body=notice.text, notify_type=kind):
            raise NotSent(f"{_scheme(self.url)}:// didn't take it")


def targets(settings: Settings, environ: Mapping[str, str]) -> tuple[Target, ...]:
    """Give all that the settings name and that can be used."""
    found: list[Target] = []
    if settings.notify_command:
        found.append(Command(tuple(shlex.split(settings.notify_command)), environ))
    if _has_apprise():
        found += (Address(name, url) for name, url in _addresses(settings))
    return tuple(found)


def problems(settings: Settings) -> Iterator[str]:
    """Give a sentence for each thing that keeps notices from being sent."""
    addresses = _addresses(settings)
    if addresses and not _has_apprise():
        yield f"AUTORTHANC_NOTIFY_URLS is set, and Apprise isn't installed; {_EXTRA}."
        return
    for name, url in addresses:
        if _service(url) is None:
            yield (
                f"{name} in AUTORTHANC_NOTIFY_URLS ({_scheme(url)}://…) isn't understood by Apprise; expected "
                "addresses as https://github.com/caronc/apprise lists them, separated by spaces."
            )


def _addresses(settings: Settings) -> list[tuple[str, str]]:
    text = settings.notify_urls.get_secret_value() if settings.notify_urls else ""
    return [(f"address {number}", url) for number, url in enumerate(text.split(), start=1)]


def _has_apprise() -> bool:
    return importlib.util.find_spec("apprise") is not None


def _service(url: str) -> Any:
    # It logs addresses, and answers of servers, with what may be secret in them.
    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
    import apprise

    return apprise.Apprise.instantiate(url, suppress_exceptions=True)


def _scheme(url: str) -> str:
    scheme, separator, _ = url.partition("://")
    return scheme if separator and scheme.isalnum() else "?"


def _variables(notice: Notice) -> dict[str, str]:
    found = {name: getattr(notice, name) for name in ("event", "about", "title", "text", "time", "count")}
    return {f"AUTORTHANC_NOTICE_{name.upper()}": str(value) for name, value in found.items()}
