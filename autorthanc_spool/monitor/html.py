"""The page as text: one self-contained file, made from what `snapshot` found."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping
from html import escape
from importlib import resources
from typing import Any

from autorthanc_spool.core.counted import counted
from autorthanc_spool.core.states import State
from autorthanc_spool.monitor.counts import Number
from autorthanc_spool.monitor.health import Kind, span

_FILES = resources.files("autorthanc_spool.monitor")
_STYLE = _FILES.joinpath("page.css").read_text(encoding="utf-8")
_SCRIPT = _FILES.joinpath("page.js").read_text(encoding="utf-8")
_SCRIPT_HASH = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()

_STATES = {
    State.INCOMING: "to do",
    State.PROCESSING: "being worked on",
    State.DEFERRED: "waiting",
    State.FAILED: "failed",
    State.HOLD: "on hold",
}
_PHRASES = {
    Kind.NOT_RUNNING: "No processor is running",
    Kind.SILENT: "A processor is stuck",
    Kind.DIED: "A processor died",
    Kind.ORTHANC: "Orthanc doesn't answer",
    Kind.WAITING: "Something waits for too long",
    Kind.PAUSED: "Paused",
    Kind.FOLDER: "A folder is missing",
    Kind.RULE: "A rule is broken",
}
_COLUMNS = ("matched", "published", "forwarded", "deferred", "failed", "files")
_BAR_WIDTH, _HEIGHT = 24, 120
# Every sixth hour has its name below it.
_NAMED = 6


def page(found: Mapping[str, Any]) -> str:
    """Write the whole page."""
    level = "good" if found["healthy"] else "bad" if any(one["alarm"] for one in found["findings"]) else "warn"
    headline = _headline(found)
    body = "".join((
        _findings(found["findings"]), _states(found["states"]), _chart(found["hours"]),
        _kinds("Why it waits", found["waiting_by"]), _kinds("Why it failed", found["failed_by"]),
        _rules(found["rules"]), _processors(found["processors"]), _surroundings(found),
    ))  # fmt: skip
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{_SCRIPT_HASH}'; connect-src 'self'"
    return f"""<!doctype html>
<html lang="en" class="{level}" data-time="{found["time_s"]}">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}"><meta name="color-scheme" content="light dark">
<noscript><meta http-equiv="refresh" content="30"></noscript>
<title>{headline} · autorthanc_spool</title><style>{_STYLE}</style></head>
<body><header><p class="name">autorthanc_spool</p><div role="status"><h1>{headline}</h1></div>
<p class="sum">{_summary(found)}</p>
<p>As of <time datetime="{escape(found["time"])}">{escape(found["time"][:19].replace("T", " "))}</time>
<span id="age"></span> <button type="button" id="hold" hidden>Pause reloading</button></p></header>
<main>{body}</main><script>{_SCRIPT}</script></body></html>
"""


def _headline(found: Mapping[str, Any]) -> str:
    """Say what isn't right: of several things the gravest, and how many more there are."""
    findings = found["findings"]
    if not findings:
        return "All right"
    first = next((one for one in findings if one["alarm"]), findings[0])
    phrase = _PHRASES.get(first["kind"]) or f"Trouble with {first['about']}"
    if first["kind"] == Kind.FAILED:
        phrase = f"{found['states'][State.FAILED]['count']:,} failed"
    return escape(phrase if len(findings) == 1 else f"{phrase}, and {len(findings) - 1} more")


def _summary(found: Mapping[str, Any]) -> str:
    """The day's outcomes so far, and who works: the second glance."""
    left = sum(one["published"] + one["forwarded"] for one in found["rules"].values())
    at_work = sum(one["alive"] and not one["silent"] for one in found["processors"])
    processors = counted(at_work, "processor") if at_work else "no processors"
    return f"{left:,} published or forwarded today · {processors} at work"


def _findings(findings: Iterable[Mapping[str, Any]]) -> str:
    rows = "".join(map(_finding, findings))
    title = "<h2>What isn't right, and what to do</h2>"
    return f'<section class="all">{title}<ul class="findings">{rows}</ul></section>' if rows else ""


def _finding(one: Mapping[str, Any]) -> str:
    since, text = _apart(one["text"])
    # What processors report ends with what to do, as lines of the log do.
    what, *rest = text.split("; ")
    more = [f"<span>{_prose(sentence)}</span>" for sentence in (*rest, one["fix"]) if sentence]
    begin = f"<small>since {escape(since)}</small>" if since else ""
    mark = "alarm" if one["alarm"] else "notice"
    return f'<li class="{mark}"><strong>{_prose(what)}</strong>{"".join(more)}{begin}</li>'


def _apart(text: str) -> tuple[str, str]:
    """Take the time from the beginning of a sentence."""
    found = re.fullmatch(r"since (\S+)T(\S+)Z: (.*)", text, re.DOTALL)
    return (f"{found[1]} {found[2]} UTC", found[3]) if found else ("", text)


def _prose(text: str) -> str:
    """Write a sentence, with what is in backticks as code."""
    parts = escape(text[:1].upper() + text[1:]).split("`")
    return "".join(f"<code>{part}</code>" if place % 2 else part for place, part in enumerate(parts))


def _states(states: Mapping[str, Mapping[str, Any]]) -> str:
    tiles = ""
    for state, word in _STATES.items():
        one = states[state]
        age = "" if one["oldest_age_s"] is None else f"oldest {span(one['oldest_age_s'])}"
        mark = "" if not one["count"] else " red" if state is State.FAILED else " some"
        tiles += f'<li class="tile{mark}"><b>{one["count"]:,}</b><span>{word}</span><small>{age}</small></li>'
    return f'<section class="now"><h2>Now</h2><ul class="tiles">{tiles}</ul></section>'


def _kinds(title: str, kinds: Mapping[str, int]) -> str:
    rows = "".join(f"<tr><th scope=row>{escape(kind)}</th><td>{number:,}</td></tr>" for kind, number in kinds.items())
    head = "<thead><tr><th scope=col>kind (see docs/errors.md)</th><th scope=col>studies and series</th></tr></thead>"
    return f"<section><h2>{title}</h2><table>{head}<tbody>{rows}</tbody></table></section>" if rows else ""


def _chart(hours: list[Mapping[str, Any]]) -> str:
    most = max(1, *(one["left"] + one["failed"] for one in hours))
    left, failed = sum(one["left"] for one in hours), sum(one["failed"] for one in hours)
    text = f"{left:,} published or forwarded, {failed:,} failed"
    width = len(hours) * _BAR_WIDTH
    lines = f'<line x1="0" x2="{width}" y1="0" y2="0" class="most"/><line x1="0" x2="{width}" y1="{_HEIGHT}" '
    lines += f'y2="{_HEIGHT}"/><text x="{width + 6}" y="5">{most:,}</text>'
    key = f'<span><i class="left"></i>{left:,} published or forwarded</span> '
    key += f'<span><i class="failed"></i>{failed:,} failed in a rule</span>'
    return (
        f'<section><h2>Last 24 hours</h2><p class="key">{key}</p><svg role="img" aria-label="{text}; at most {most:,} '
        f'in an hour" preserveAspectRatio="xMinYMid" '
        f'viewBox="0 -20 {width + 44} {_HEIGHT + 50}">{lines}{_bars(hours, most)}</svg></section>'
    )


def _bars(hours: list[Mapping[str, Any]], most: int) -> str:
    bars = ""
    for place, one in enumerate(hours):
        x, up, down = place * _BAR_WIDTH, one["left"] * _HEIGHT / most, one["failed"] * _HEIGHT / most
        for name, y, height in (("left", _HEIGHT - up, up), ("failed", _HEIGHT - up - down, down)):
            if height:
                bars += f'<rect class="{name}" x="{x + 3}" y="{y:.1f}" width="{_BAR_WIDTH - 6}" height="{height:.1f}"/>'
        if place % _NAMED == 0:
            bars += f'<text x="{x + 2}" y="{_HEIGHT + 22}">{one["begin"]}</text>'
    return bars


def _rules(rules: Mapping[str, Mapping[str, Any]]) -> str:
    head = "".join(f"<th scope=col>{name}</th>" for name in ("rule", "state", *_COLUMNS, "size"))
    rows = ""
    for name, one in rules.items():
        cells = "".join(_number(column, one[column]) for column in _COLUMNS)
        size = f'<td data-label="size"{_ZERO if not one["bytes"] else ""}>{_size(one["bytes"])}</td>'
        state = f'<td data-label="state"><span class="chip {one["state"]}">{one["state"]}</span></td>'
        rows += f"<tr><th scope=row>{escape(name)}</th>{state}{cells}{size}</tr>"
    if not rows:
        return '<section class="all"><h2>Rules today</h2><p>There are no rules.</p></section>'
    table = f"<table class=wide><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return f'<section class="all"><h2>Rules today</h2>{table}</section>'


_ZERO = ' class="zero"'


def _number(column: str, number: int) -> str:
    mark = _ZERO if not number else ' class="bad"' if column == Number.FAILED else ""
    return f'<td data-label="{column}"{mark}>{number:,}</td>'


def _processors(processors: Iterable[Mapping[str, Any]]) -> str:
    head = "".join(f"<th scope=col>{name}</th>" for name in ("processor", "state", "version", "runs for", "last look"))
    rows = ""
    for one in processors:
        word = "dead" if not one["alive"] else "silent" if one["silent"] else "works" if one["works"] else "idle"
        cells = f'<td data-label="state"><span class="chip {word}">{word}</span></td>'
        looked = "never" if one["looked_s"] is None else f"{span(one['looked_s'])} ago"
        for label, text in (("version", one["version"]), ("runs for", span(one["running_s"])), ("last look", looked)):
            cells += f'<td data-label="{label}">{escape(text)}</td>'
        rows += f"<tr><th scope=row>{escape(one['host'])}, process {one['pid']}</th>{cells}</tr>"
    if not rows:
        return "<section><h2>Processors</h2><p>No processor is running.</p></section>"
    table = f"<table class=wide><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return f"<section><h2>Processors</h2>{table}</section>"


def _surroundings(found: Mapping[str, Any]) -> str:
    orthanc = {True: ("active", "answers"), False: ("broken", "doesn't answer"), None: ("off", "unknown")}
    folders = ("broken", "not the right ones") if found["folder_problems"] else ("active", "in place")
    work = ("off", "paused") if found["paused"] else ("active", "goes on")
    rows = "".join(
        f'<tr><th scope=row>{name}</th><td><span class="chip {mark}">{text}</span></td></tr>'
        for name, (mark, text) in (
            ("Orthanc", orthanc[found["orthanc_reachable"]]),
            ("Folders of rules, output and spool", folders),
            ("Work", work),
        )
    )
    return f"<section><h2>Surroundings</h2><table><tbody>{rows}</tbody></table></section>"


def _size(size_bytes: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size_bytes < 1000:
            return f"{size_bytes:.0f} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.1f} TB"
