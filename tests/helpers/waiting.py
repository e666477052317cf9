"""Waiting for what happens outside the test: polled, with a deadline, and a failure that says what didn't happen."""

import time
from collections.abc import Callable


def wait_until(predicate: Callable[[], object], timeout_s: float, what: str) -> None:
    deadline = time.monotonic() + timeout_s
    while not predicate():
        assert time.monotonic() < deadline, f"within {timeout_s} s it didn't happen that {what}"
        time.sleep(0.05)
