"""Whether our Lua script is active, by what came: each study that became stable left a marker."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from autorthanc_spool.core.dicom import Level, resource_key
from autorthanc_spool.core.errors import MarkerError
from autorthanc_spool.core.marker import named_resource
from autorthanc_spool.core.states import State
from autorthanc_spool.doctor.finding import Finding, broken, ok, warning
from autorthanc_spool.orthanc.questions import last_changes
from autorthanc_spool.run.tools import Tools
from autorthanc_spool.spool.directories import Item
from autorthanc_spool.spool.ledger import LedgerError

# Some days of a busy site, and few enough to be read at once.
ROWS = 20_000
STUDIES = 100
# Records of what no rule matched are the first to go.
LONGEST = timedelta(days=3)
# Lua writes the marker within a second after the row.
MARGIN = timedelta(seconds=10)

LUA_FIX = (
    "name lua/autorthanc_spool.lua in Orthanc's LuaScripts, as the last one if others define OnStableStudy, and start "
    "Orthanc with AUTORTHANC_SPOOL_PATH in its environment as a member of the spool's group; its log says what fails"
)


def evidence(tools: Tools) -> Iterator[Finding]:
    """Compare Orthanc's latest StableStudy rows with the markers that Lua wrote."""
    begin = _since(tools)
    if begin is None:
        yield _none_yet()
        return
    end = tools.orthanc.now() - MARGIN
    rows = last_changes(tools.orthanc, ROWS)
    stable = [row for row in rows if row.kind == "StableStudy" and begin < row.time < end]
    studies = list(dict.fromkeys(row.resource_id for row in reversed(stable)))[:STUDIES]
    if not studies:
        yield _none_yet()
        return
    without = set(studies) - _announced(tools, set(studies), begin)
    without = {study for study in without if not _is_deleted(tools, study)}
    those = f"of the last {len(studies)} studies that became stable"
    if not without:
        yield ok("Lua script", f"{those}, each has its marker")
    elif len(without) == len(studies):
        yield broken("Lua script", f"{those}, none has a marker from Lua", LUA_FIX)
    else:
        text = f"{those}, {len(without)} have no marker from Lua; reconciliation writes them"
        yield warning("Lua script", text, f"where that goes on: {LUA_FIX}")


def _since(tools: Tools) -> datetime | None:
    """When the processor first met Orthanc, or a few days ago; None when it never did."""
    try:
        first = (tools.spool.root / "state" / "baseline.json").stat().st_mtime
    except FileNotFoundError:
        return None
    kept_days = tools.settings.done_unmatched_retention_days
    longest = min(LONGEST, timedelta(days=kept_days)) if kept_days else LONGEST
    return max(datetime.fromtimestamp(first, UTC), tools.clock() - longest)


def _none_yet() -> Finding:
    text = "nothing became stable lately, so there is no evidence that it is active"
    return warning("Lua script", text, "`autorthanc-spool doctor --probe` sends a synthetic study")


def _is_deleted(tools: Tools, study: str) -> bool:
    """Whether a person deleted the marker of a study."""
    with suppress(LedgerError):
        return tools.spool.ledger.read(resource_key(Level.STUDY, study)).refused != ""
    return False


def _announced(tools: Tools, studies: set[str], begin: datetime) -> set[str]:
    """Which of the studies have a marker that Lua wrote."""
    return {named[1] for item in _items(tools, begin) if (named := _lua_marker(tools, item, studies))}


def _items(tools: Tools, begin: datetime) -> Iterable[Item]:
    first_day = begin.date().isoformat()
    for state in State:
        for item in tools.spool.directories.items(state):
            if state is not State.DONE or item.path.parent.name >= first_day:
                yield item


def _lua_marker(tools: Tools, item: Item, studies: set[str]) -> tuple[Level, str] | None:
    named = named_resource(item.name)
    if named is None or named[0] is not Level.STUDY or named[1] not in studies:
        return None
    with suppress(FileNotFoundError, MarkerError):
        if tools.spool.directories.read(item).source == "lua":
            return named
    return None
