"""`status`: which processors live, what lies in the spool, which rules are active, whether Orthanc answers.

A health check calls this every few seconds: with --check nothing is imported that only a person's view needs.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from functools import partial

import click

from autorthanc_spool.commands.options import examples, with_settings
from autorthanc_spool.core.errors import OrthancUnavailable, UsageError
from autorthanc_spool.monitor.facts import gather
from autorthanc_spool.monitor.health import Facts, OrthancFacts, exit_code, judge
from autorthanc_spool.monitor.heartbeat import here
from autorthanc_spool.run import access
from autorthanc_spool.settings import Settings

WATCH_S = 2.0
# A health check shouldn't take longer; Orthanc answers this within milliseconds.
PATIENCE_S = 8.0

_EXAMPLES = examples(
    ("status", "is it running, what waits, which rules are active?"),
    ("status --watch", "the same on a screen, every 2 s"),
    ("status --check", "from cron, which mails what it prints: only what is wrong"),
    ("status --check --notify", "from a timer: a processor that was stopped can't tell people so itself"),
    ("status --shape", "does the queue grow? age × rule"),
)


@click.command("status", epilog=_EXAMPLES)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--check", "is_check", is_flag=True, help="Say only what is wrong, also by the exit code.")
@click.option("--here", "is_here", is_flag=True, help="With --check: look at the processors of this machine alone.")
@click.option("--notify", is_flag=True, help="With --check: send notices when no processor can.")
@click.option("--watch", "is_watch", is_flag=True, help="Show it again every 2 s, until Ctrl-C.")
@click.option("--shape", "is_shape", is_flag=True, help="Show how old what waits is, by rule.")
@with_settings
def command(
    settings: Settings, as_json: bool, is_check: bool, is_here: bool, notify: bool, is_watch: bool, is_shape: bool
) -> int:
    """Show which processors are alive, what is in the spool, which rules are active, and whether Orthanc answers.

    With --check, the exit code is 0 when all is right, 1 when no processor looked at the spool lately or something
    waits for longer than AUTORTHANC_ALERT_AGE_S, and 75 when Orthanc is away: for a health check. With --here, too, it
    is 0 while a processor of this machine (container, pod) is at work, whatever waits, and 1 otherwise.
    """
    if is_check and (is_watch or is_shape):
        raise UsageError("--check goes with --json only")
    if (notify or is_here) and not is_check:
        raise UsageError("--here and --notify go with --check")
    if is_check:
        code = _check(settings, as_json, is_here)
        if notify:
            _notify(settings)
        return code
    from autorthanc_spool.commands import status_view

    # What is on a terminal stays there until the next look, which may take seconds, is done.
    begin = click.clear if is_watch and sys.stdout.isatty() else _nothing
    show = status_view.show_shape if is_shape else partial(status_view.show_whole, ask=ask)
    if is_watch:
        _watch(lambda: show(settings, as_json, begin))
    else:
        show(settings, as_json, begin)
    return 0


def _nothing() -> None:
    return None


def _check(settings: Settings, as_json: bool, is_here: bool) -> int:
    """Judge, without looking at what only a person wants to see."""
    spool = access.find_spool(settings)
    facts = Facts(here(spool.root)) if is_here else gather(spool, settings.alert_age_s, ask(settings))
    findings = judge(facts)
    for finding in findings:
        if as_json:
            click.echo(json.dumps(finding.content()))
        elif finding.is_alarm:
            click.echo(str(finding))
        else:
            click.echo(str(finding), err=True)
    return exit_code(findings)


def _notify(settings: Settings) -> None:
    from autorthanc_spool.monitor import notice_check

    notice_check.tell(access.find_spool(settings).root, settings, os.environ)


def _watch(show: Callable[[], None]) -> None:
    """Show it over and over."""
    try:
        while True:
            show()
            sys.stdout.flush()
            time.sleep(WATCH_S)
    except KeyboardInterrupt:
        click.echo(err=True)


def ask(settings: Settings) -> OrthancFacts:
    """Ask Orthanc, once and not for long: whoever looks doesn't want to wait for what hangs."""
    try:
        system = access.orthanc(settings).system(read_timeout_s=PATIENCE_S, resends=0)
    except OrthancUnavailable as error:
        return OrthancFacts(settings.orthanc_url, reachable=False, problem=str(error))
    return OrthancFacts(settings.orthanc_url, reachable=True, version=str(system.get("Version", "unknown")))
