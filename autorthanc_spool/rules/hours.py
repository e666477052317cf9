"""The hours in which a rule runs, in local time; they may span midnight."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time, timedelta, tzinfo

# Whatever daylight saving does, each time of day comes within two days and an hour.
_MINUTES = 49 * 60


@dataclass(frozen=True)
class Hours:
    """From `begin` on, and before `end`."""

    begin: time
    end: time

    def __str__(self) -> str:
        return f"{self.begin:%H:%M}-{self.end:%H:%M}"

    def hold(self, now: datetime, zone: tzinfo | None = None) -> bool:
        """Whether it is one of these hours; without a zone, in that of this machine (TZ)."""
        local = now.astimezone(zone).time()
        if self.begin < self.end:
            return self.begin <= local < self.end
        return local >= self.begin or local < self.end

    def wait_s(self, now: datetime, zone: tzinfo | None = None) -> float:
        """How long it takes until they begin; 0 within them."""
        if self.hold(now, zone):
            return 0.0
        # Looked up minute by minute, because where clocks are changed a time of day may be missing, or come twice.
        whole = now.replace(second=0, microsecond=0)
        moments = (whole + timedelta(minutes=minute) for minute in range(1, _MINUTES))
        begin = next((moment for moment in moments if self.hold(moment, zone)), whole + timedelta(days=1))
        return (begin - now).total_seconds()


def parse(text: str) -> Hours:
    """Read ``20:00-06:00``."""
    begin, end = text.split("-")
    return Hours(time.fromisoformat(begin), time.fromisoformat(end))
