"""`explain`: what each rule wanted and found."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from autorthanc_spool.actions import describe
from autorthanc_spool.commands.options import Place, examples, resource_id_of, with_settings
from autorthanc_spool.commands.views import echo_json
from autorthanc_spool.core.dicom import RESOURCE_ID_PATTERN, Level, resource_key
from autorthanc_spool.core.errors import UsageError
from autorthanc_spool.rules import Condition, Facts, Rule
from autorthanc_spool.run import access, deliveries, loose_files, wiring
from autorthanc_spool.run import draft as drafts
from autorthanc_spool.run.plan import Plan
from autorthanc_spool.run.planner import deciding, verdict_of
from autorthanc_spool.run.processor import Processor
from autorthanc_spool.run.rulebook import RuleSet
from autorthanc_spool.run.tools import Tools
from autorthanc_spool.settings import Settings
from autorthanc_spool.spool.directories import shown

_FILE = "file"
# As much of a long text as can be read in a list; `--json` has all of it.
_SHOWN_CHARACTERS = 400


_EXAMPLES = examples(
    ("explain study 0a4b249f-7fce45ca-4f722f72-de2a24df-92abc740", "which rules match it, and why the others don't"),
    ("explain study 0a4b249f-7fce45ca-4f722f72-de2a24df-92abc740 --rule draft.json", "would this rule take it?"),
    ("explain file /data/study", "the same for DICOM files, without Orthanc"),
)


@click.command("explain", epilog=_EXAMPLES)
@click.argument("what", metavar="study|series|file", type=click.Choice([*map(str, Level), _FILE], case_sensitive=False))
@click.argument("names", metavar="ID|PATH...", nargs=-1, required=True)
@click.option("--rule", "draft", metavar="FILE", type=Place(path_type=Path), help="Try this rule file alone.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a rule and line.")
@with_settings
def command(settings: Settings, what: str, names: tuple[str, ...], draft: Path | None, as_json: bool) -> None:
    """Show for each rule and tag what was wanted, what was found, and what would be done.

    `study ID` and `series ID` ask Orthanc; `file PATH...` asks DICOM files, or folders of them, without Orthanc.
    """
    rule = drafts.read(draft, deliveries.judge(settings)) if draft else None
    if what == _FILE:
        found = _rules_alone(settings, rule)
        for plan in _plans_of_files(tuple(map(Path, names)), found, rule):
            _show(plan, as_json)
        if rule is None:
            _tell_of_broken(found)
        return
    if len(names) > 1:
        raise UsageError(f"explain {what} takes one Orthanc ID")
    parts = wiring.tools(settings, threading.Event(), access.find_spool(settings))
    parts.orthanc.system()
    found = parts.rulebook.read()
    plan = _plan(parts, found, Level(what), resource_id_of(names[0]), rule)
    _show(plan, as_json)
    if rule is None:
        _tell_of_broken(found, plan.waiting)


def _plan(parts: Tools, rules: RuleSet, level: Level, resource_id: str, draft: Rule | None) -> Plan:
    """Plan the run of a resource, and don't do it. Raises ResourceMissing, OrthancUnavailable."""
    record = parts.spool.ledger.read(resource_key(level, resource_id))
    if draft is None:
        return Processor(parts).explain(level, resource_id, rules, record)
    return Processor(parts).explain(level, resource_id, drafts.beside(rules, draft), record, (draft.name,))


def _plans_of_files(paths: tuple[Path, ...], rules: RuleSet, draft: Rule | None) -> Iterator[Plan]:
    """Judge DICOM files as studies, and as each series of them: by all rules, or by a draft beside them."""
    rivals = [one for one in deciding(rules) if not one.is_fallback]
    chosen = rules.rules if draft is None else (draft,)
    today = wiring.utc_now().astimezone().date()
    for study in loose_files.studies(paths, _left_out):
        alone = [replace(study, level=Level.SERIES, resource_id=one.resource_id, series=(one,)) for one in study.series]
        for resource in (study, *(replace(one, siblings=study.series) for one in alone)):
            facts = Facts(resource, today)
            asked = [one for one in chosen if one.check_on is resource.level]
            yield Plan(resource, tuple(verdict_of(one, rivals, facts) for one in asked), (), (), ())


def _left_out(path: Path) -> None:
    click.echo(f"{shown(str(path))}: not a DICOM file, or one that can't be read; it is left out", err=True)


def _rules_alone(settings: Settings, draft: Rule | None) -> RuleSet:
    """The rules of the folder, with a draft beside them, without anything being kept of them."""
    if draft is None and not settings.rules_path.is_dir():
        raise UsageError(
            f"there are no rules at {settings.rules_path}; name the folder that holds your .env with --site DIR or "
            "AUTORTHANC_SITE, or one rule with --rule FILE"
        )
    if draft is None:
        return wiring.rulebook_alone(settings).read()
    # A draft can be tried where there is no site.
    found = wiring.rulebook_alone(settings).read() if settings.rules_path.is_dir() else RuleSet((), (), ())
    return drafts.beside(found, draft)


def _tell_of_broken(rules: RuleSet, waiting: tuple[str, ...] = ()) -> None:
    """Say which rules couldn't be tried, because their files are broken."""
    for one in rules.broken:
        if one.name not in waiting:
            click.echo(f"{one.name}: its file is broken, so it isn't tried:\n{one.error}", err=True)


def _show(explained: Plan, as_json: bool) -> None:
    """Show what each rule wanted and found."""
    for verdict in explained.verdicts:
        if as_json:
            echo_json(_verdict_object(verdict, explained))
            continue
        click.echo(
            f"{_of_which(explained)}{verdict.rule.name}: {'matches' if verdict.matches else verdict.reason}"
            f"{_fate(verdict, explained)}"
        )
        for one in verdict.conditions:
            found = ", ".join(map(_found, one.found, one.places)) or "nothing"
            mark = "yes" if one.passed else "no "
            click.echo(f"  {mark} {one.condition.tag_name}: wanted {_wanted(one.condition)}, found {found}")
    for name in explained.waiting:
        reason = "its file is broken; its last valid version matches"
        if as_json:
            echo_json({"rule": name, "matches": True, "reason": reason, "would_run": False, "would_wait": True})
        else:
            click.echo(f"{name}: {reason}, so this would wait in deferred/")
    if not explained.verdicts and not explained.waiting and not _of_which(explained):
        click.echo("there is no rule", err=True)


def _of_which(explained: Plan) -> str:
    # Only files have neither instances in Orthanc nor an ID of Orthanc.
    resource = explained.resource
    return "" if RESOURCE_ID_PATTERN.fullmatch(resource.resource_id) else f"{resource.level} {resource.resource_id}: "


def _wanted(condition: Condition) -> str:
    wanted = dict(condition.wanted)
    negation = "not " if wanted.pop("Not", False) else ""
    if set(wanted) == {"Value"}:
        return f"{negation}{wanted['Value']!r}"
    return negation + " and ".join(f"{key} {json.dumps(value, ensure_ascii=False)}" for key, value in wanted.items())


def _found(value: str, place: str) -> str:
    cut = f"{value[:_SHOWN_CHARACTERS]}…" if len(value) > _SHOWN_CHARACTERS else value
    return f"{cut!r} in series {place}" if place else repr(cut)


def _fate(verdict: Any, explained: Plan) -> str:
    job = explained.job(verdict.rule)
    if job:
        to = replace(job.rule, destination_modalities=job.destinations)
        deletion = ", then delete them from Orthanc" if explained.deletes == job.rule else ""
        left = len(explained.resource.series) - len(job.resource.series)
        part = f" of {len(job.resource.series)} series, without {left} that don't match" if left else ""
        return f": would {describe(to, len(job.resource.instances), job.words)}{part}{deletion}{_hours(job.rule)}"
    return ": done already" if verdict.rule in explained.unchanged else ""


def _hours(rule: Rule) -> str:
    wait_s = rule.between.wait_s(wiring.utc_now()) if rule.between else 0.0
    return f"; waits in deferred/ until its hours begin ({rule.between}, local time)" if wait_s else ""


def _verdict_object(verdict: Any, explained: Plan) -> dict[str, Any]:
    of_which = _of_which(explained).removesuffix(": ").split(" ", 1)
    return {
        **({of_which[0]: of_which[1]} if len(of_which) > 1 else {}),
        "rule": verdict.rule.name,
        "matches": verdict.matches,
        "reason": verdict.reason,
        "would_run": explained.job(verdict.rule) is not None,
        "would_wait": explained.job(verdict.rule) is not None and bool(_hours(verdict.rule)),
        "between": str(verdict.rule.between) if verdict.rule.between else None,
        "series": list(verdict.series),
        "tags": [
            {
                "tag": one.condition.tag_name,
                "wanted": one.condition.wanted.get("Value", dict(one.condition.asked.wanted)),
                "not": one.condition.is_negated,
                "found": list(one.found),
                "found_in_series": [place or None for place in one.places],
                "passed": one.passed,
                "passed_by_series": list(one.series),
            }
            for one in verdict.conditions
        ],
    }
