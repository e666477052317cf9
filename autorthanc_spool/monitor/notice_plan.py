"""What people are told of, and when: decided on values, sent elsewhere.

A trouble is reported once when it begins and once when it ends. What failed, and what nobody collects, is reported
once for each marker or output, bundled over a minute. Nothing in a notice identifies a patient: no output name, no name
that a person may have given a file, and of failed markers the kind of error alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from autorthanc_spool.spool.directories import shown

BUNDLE_S = 60.0
# Nobody would read more than these; the oldest go first.
MOST_WAITING = 100
MOST_NAMED = 10
# Troubles that are seen in the spool: what waits for too long, of each kind of error by itself, destinations, and
# processors that are stopped, hang, or died.
WAITING = "what waits for "
DESTINATION = "the destination "
PROCESSOR = "the processor "
_IN_SPOOL = (WAITING, DESTINATION, PROCESSOR)


class Event(StrEnum):
    """What a notice is about."""

    BEGAN = "trouble-began"
    ENDED = "trouble-ended"
    FAILED = "failed"
    UNCOLLECTED = "uncollected"


@dataclass(frozen=True)
class Notice:
    """One message. `about` is the trouble, `time` is UTC; `resources` are levels and Orthanc IDs."""

    event: str
    about: str
    title: str
    text: str
    time: str
    count: int = 1
    resources: tuple[str, ...] = ()


@dataclass(frozen=True)
class Found:
    """Something to be reported once: `stamp` differs when it is another one of the same name, `kind` sums it up."""

    stamp: str
    kind: str
    resource: str = ""


@dataclass(frozen=True)
class Bundle:
    """What was reported already, by name, and since when (seconds) something new waits to be reported."""

    told: Mapping[str, str] = field(default_factory=dict)
    since: float | None = None


@dataclass(frozen=True)
class Queued:
    """A notice and those who haven't got it yet."""

    notice: Notice
    to: tuple[str, ...]


@dataclass(frozen=True)
class Told:
    """All that is remembered: the troubles that were reported, by when they began, and what is still to be sent."""

    troubles: Mapping[str, str] = field(default_factory=dict)
    failed: Bundle = Bundle()
    uncollected: Bundle = Bundle()
    outbox: tuple[Queued, ...] = ()


@dataclass(frozen=True)
class Seen:
    """What is to be seen now. `changes` are troubles that began (with a text) or ended (None), in order.

    `current` are all troubles of this processor, which says what is over only once it `has_looked`. The others are None
    where nobody looked.
    """

    changes: tuple[tuple[str, str | None], ...] = ()
    current: frozenset[str] = frozenset()
    has_looked: bool = False
    waiting: Mapping[str, str] | None = None
    failed: Mapping[str, Found] | None = None
    uncollected: Mapping[str, Found] | None = None
    is_end: bool = False


def decide(told: Told, seen: Seen, now_s: float, now: str, targets: tuple[str, ...]) -> Told:
    """Give what is remembered after this, with the new notices in its outbox."""
    troubles, notices = dict(told.troubles), []
    for what, text in [*seen.changes, *_waiting(told, seen), *_over(told, seen)]:
        if text is not None and what not in troubles:
            troubles[what] = now
            notices.append(_notice(Event.BEGAN, what, f"{what}: trouble", text, now))
        elif text is None and what in troubles:
            text = f"{what}: all right again; the trouble began {troubles.pop(what)}"
            notices.append(_notice(Event.ENDED, what, f"{what}: all right again", text, now))
    failed, new = _bundled(told.failed, seen.failed, now_s, seen.is_end)
    if new:
        hint = "`autorthanc-spool list failed` says why, `autorthanc-spool requeue MARKER` tries again"
        notices.append(_summary(Event.FAILED, "failed/", new, f"went to failed/ and need a person; {hint}", now))
    uncollected, new = _bundled(told.uncollected, seen.uncollected, now_s, seen.is_end)
    if new:
        notices.append(_summary(Event.UNCOLLECTED, "the output", new, "were published and haven't been collected", now))
    outbox = (*told.outbox, *(Queued(one, targets) for one in notices))
    return Told(troubles, failed, uncollected, outbox[-MOST_WAITING:])


def delivered(told: Told, notice: Notice, target: str) -> Told:
    """Strike a target off a notice, and the notice when all have it."""
    left = (replace(one, to=tuple(to for to in one.to if to != target)) if one.notice == notice else one
            for one in told.outbox)  # fmt: skip
    return replace(told, outbox=tuple(one for one in left if one.to))


def _over(told: Told, seen: Seen) -> Iterable[tuple[str, None]]:
    """Troubles of an earlier process that this one doesn't find."""
    if seen.has_looked:
        yield from (
            (what, None) for what in told.troubles if what not in seen.current and not what.startswith(_IN_SPOOL)
        )


def _waiting(told: Told, seen: Seen) -> Iterable[tuple[str, str | None]]:
    if seen.waiting is not None:
        yield from seen.waiting.items()
        known = [what for what in told.troubles if what.startswith(_IN_SPOOL)]
        yield from ((what, None) for what in known if what not in seen.waiting)


def _bundled(
    bundle: Bundle, found: Mapping[str, Found] | None, now_s: float, is_end: bool
) -> tuple[Bundle, dict[str, Found]]:
    if found is None:
        return bundle, {}
    told = {name: stamp for name, stamp in bundle.told.items() if name in found}
    new = {name: one for name, one in found.items() if told.get(name) != one.stamp}
    if not new:
        return Bundle(told), {}
    since = now_s if bundle.since is None else bundle.since
    # A clock that was set back doesn't hold it up.
    if not is_end and since <= now_s < since + BUNDLE_S:
        return Bundle(told, since), {}
    return Bundle({**told, **{name: one.stamp for name, one in new.items()}}), new


def _summary(event: Event, about: str, new: Mapping[str, Found], what: str, now: str) -> Notice:
    kinds = Counter(one.kind for one in new.values())
    counted = ", ".join(f"{number} × {kind}" for kind, number in sorted(kinds.items()))
    resources = tuple(sorted({one.resource for one in new.values() if one.resource}))[:MOST_NAMED]
    text = f"{len(new)} {what} ({counted})."
    named = f" Among them: {', '.join(resources)}." if resources else ""
    notice = _notice(event, about, f"{len(new)} {event}: {counted}", text + named, now)
    return replace(notice, count=len(new), resources=resources)


def _notice(event: Event, about: str, title: str, text: str, now: str) -> Notice:
    """Make one of single lines: a title is the subject of a mail, and no variable of a command holds a zero byte."""
    about, title, text = (shown(" ".join(one.split())) for one in (about, title, text))
    return Notice(event, about, title, text, now)
