"""The states of a marker and what leads from one to another.

A state is a directory of the spool; an event is a rename between two of them. Nothing else moves a marker.
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Where a marker can be; the value is the name of the directory."""

    INCOMING = "incoming"
    PROCESSING = "processing"
    DEFERRED = "deferred"
    FAILED = "failed"
    HOLD = "hold"
    DONE = "done"


class Event(StrEnum):
    """What can happen to a marker."""

    CLAIM = "claim"
    REJECT = "reject"
    SUPERSEDE = "supersede"
    FINISH = "finish"
    DEFER = "defer"
    FAIL = "fail"
    REQUEUE = "requeue"
    HOLD = "hold"
    RELEASE = "release"


TRANSITIONS: dict[tuple[State, Event], State] = {
    # By the processor.
    (State.INCOMING, Event.CLAIM): State.PROCESSING,
    (State.DEFERRED, Event.CLAIM): State.PROCESSING,
    (State.INCOMING, Event.REJECT): State.FAILED,
    (State.DEFERRED, Event.REJECT): State.FAILED,
    (State.PROCESSING, Event.REJECT): State.FAILED,
    (State.INCOMING, Event.SUPERSEDE): State.DONE,
    (State.DEFERRED, Event.SUPERSEDE): State.DONE,
    (State.PROCESSING, Event.FINISH): State.DONE,
    (State.PROCESSING, Event.DEFER): State.DEFERRED,
    (State.PROCESSING, Event.FAIL): State.FAILED,
    # By a person; `mv` at a shell does the same.
    (State.DONE, Event.REQUEUE): State.INCOMING,
    (State.FAILED, Event.REQUEUE): State.INCOMING,
    (State.DEFERRED, Event.REQUEUE): State.INCOMING,
    (State.HOLD, Event.REQUEUE): State.INCOMING,
    (State.HOLD, Event.RELEASE): State.INCOMING,
    (State.INCOMING, Event.HOLD): State.HOLD,
    (State.PROCESSING, Event.HOLD): State.HOLD,
    (State.DEFERRED, Event.HOLD): State.HOLD,
    (State.FAILED, Event.HOLD): State.HOLD,
    (State.DONE, Event.HOLD): State.HOLD,
}


def target(state: State, event: Event) -> State | None:
    """Where the event leads from this state; None when it can't happen there."""
    return TRANSITIONS.get((state, event))
