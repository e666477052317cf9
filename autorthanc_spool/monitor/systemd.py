"""What systemd hears of a processor: that it is ready, that it works, that it ends (sd_notify(3), Type=notify).

A message is one datagram to the socket that systemd names in NOTIFY_SOCKET. The watchdog hears of the work, not of the
ticker: while nothing moves, it isn't fed, and systemd restarts the processor after WatchdogSec.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass

from autorthanc_spool.core.pulse import Pulse
from autorthanc_spool.monitor.health import SILENT_S
from autorthanc_spool.monitor.observer import Observer


@dataclass(frozen=True)
class Manager:
    """What systemd says in the environment of a service; empty without it."""

    notify_socket: str = ""
    journal_stream: str = ""

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Manager:
        """Read what systemd asks for from the environment."""
        return cls(environ.get("NOTIFY_SOCKET", ""), environ.get("JOURNAL_STREAM", ""))


NO_MANAGER = Manager()


class Systemd(Observer):
    """Reports to systemd; without its socket, to nobody."""

    def __init__(self, address: str, pulse: Pulse) -> None:
        self._address = address
        self._pulse = pulse

    def begin(self) -> None:
        """Ready: settings and folders are right, and markers are looked for."""
        self._tell("READY=1")

    def tick(self) -> None:
        """Feed the watchdog while the work goes on."""
        moved_s, patience_s = self._pulse.last
        if time.monotonic() - moved_s <= max(SILENT_S, patience_s):
            self._tell("WATCHDOG=1")

    def end(self) -> None:
        """Say that the processor ends."""
        self._tell("STOPPING=1")

    def _tell(self, message: str) -> None:
        if not self._address:
            return
        # An @ is an abstract socket, whose name begins with a zero byte.
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as connection:
            connection.sendto(message.encode(), address)
