"""Markers as runs have filed them."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.helpers.site import Site


def resource_id(number: int) -> str:
    return f"{number:08x}-7fce45ca-4f722f72-de2a24df-92abc740"


def filed(site: Site, number: int, state: str, rule: str = "brain", kind: str = "", hours: int = 0) -> Path:
    """Put a marker there as a run filed it some hours ago."""
    site.make_spool()
    when = (datetime.now(UTC) - timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ")
    error = {"kind": kind, "text": f"it is {kind}"} if kind else None
    outcome: dict[str, Any] = {"outcome": "failed" if kind else "published"} | ({"error": error} if error else {})
    place = f"{state}/2026-11-23" if state == "done" else state
    path = site.spool / place / f"20261123T212459Z-study-{resource_id(number)}.json"
    path.parent.mkdir(exist_ok=True)
    content = {"level": "Study", "id": resource_id(number), "source": "lua", "time": "2026-11-23T21:24:59Z"}
    content |= {"filed": {"path": f"{place}/{path.name}", "time": when}, "attempts": 1, "error": error}
    path.write_text(json.dumps(content | {"outcomes": {rule: outcome}}))
    return path
