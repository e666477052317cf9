"""One rule over what already lies in Orthanc: find what matches, and write a marker that names the rule for each.

Nothing is exported here. The markers are ordinary ones, which the processor works on as on any other; what the ledger
has for the same content is `unchanged` then, not done again.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date, datetime

from autorthanc_spool.core import marker
from autorthanc_spool.core.dicom import Level, Resource, Series
from autorthanc_spool.core.errors import OrthancFault, ResourceMissing, RuleUnavailable, StillArriving, UsageError
from autorthanc_spool.orthanc.answers import parse_time
from autorthanc_spool.orthanc.client import Orthanc
from autorthanc_spool.rules import Facts, Rule
from autorthanc_spool.run import plan
from autorthanc_spool.run.planner import deciding, may_match, with_answers
from autorthanc_spool.run.rulebook import RuleSet
from autorthanc_spool.run.tools import Tools
from autorthanc_spool.spool.ledger import Ledger
from autorthanc_spool.spool.spool import Spool


@dataclass(frozen=True)
class Period:
    """The days that count, both ends included; `by_arrival` goes by Orthanc's LastUpdate (UTC), else by StudyDate."""

    since: date | None = None
    until: date | None = None
    by_arrival: bool = False

    @property
    def is_bounded(self) -> bool:
        """Whether any day is left out."""
        return self.since is not None or self.until is not None

    def holds(self, day: date) -> bool:
        """Whether the day counts."""
        return not ((self.since and day < self.since) or (self.until and day > self.until))


@dataclass(frozen=True)
class Match:
    """A study or series that the rule matches. `is_done` says that the ledger has the work for this content."""

    level: Level
    resource_id: str
    last_update: str
    instances: int
    size_bytes: int
    is_done: bool


@dataclass(frozen=True)
class Candidates:
    """What may match, by the tags of the study alone; `undated` studies were left out for lack of a StudyDate."""

    studies: tuple[str, ...]
    looked_at: int
    undated: int


@dataclass(frozen=True)
class Unread:
    """A study that couldn't be looked at, and why."""

    resource_id: str
    reason: str


def chosen(rules: RuleSet, name: str) -> Rule:
    """Find an active rule by its name. Raises UsageError, or RuleUnavailable when its file is broken."""
    if any(broken.name == name for broken in rules.broken):
        raise RuleUnavailable(f"the rule file {name}.json is broken; `autorthanc-spool check` says where")
    rule = next((rule for rule in rules.rules if rule.name == name), None)
    if rule is None:
        raise UsageError(_unknown(rules, name))
    if not rule.is_active:
        raise UsageError(f'the rule {name} is not active; write "IsActive": true into {name}.json first')
    return rule


def _unknown(rules: RuleSet, name: str) -> str:
    if f"{name}.json" in rules.ignored:
        return f"{name}.json is ignored, because its name holds 'template' or 'master'; copy it to another name"
    known = [rule.name for rule in rules.rules if rule.is_active]
    nearest = difflib.get_close_matches(name.removesuffix(".json"), known, n=1)
    hint = f"did you mean {nearest[0]}?" if nearest else f"the active rules are: {', '.join(known) or 'none'}"
    return f"there is no rule {name!r}; {hint}"


def candidates(orthanc: Orthanc, rule: Rule, period: Period, today: date) -> Candidates:
    """List all studies, and leave out those that their own tags, or their day, rule out."""
    studies = orthanc.study_resources()
    undated, found = 0, []
    for study in studies:
        day = _day(study, period)
        undated += day is None
        if day is not None and period.holds(day) and _may_match(rule, study, today):
            found.append((study.last_update, study.resource_id))
    return Candidates(tuple(resource_id for _, resource_id in sorted(found)), len(studies), undated)


def _day(study: Resource, period: Period) -> date | None:
    if not period.is_bounded:
        return date.min
    if period.by_arrival:
        # What came to a series later moves the study's LastUpdate too.
        return parse_time(study.last_update).date()
    with suppress(ValueError):
        return datetime.strptime(study.study_tags.get("StudyDate", "").strip(), "%Y%m%d").date()
    return None


def _may_match(rule: Rule, study: Resource, today: date) -> bool:
    # A series that nothing is known about stands for those that weren't read: what the study's own tags don't decide
    # is then unanswered.
    unread = replace(study, level=rule.check_on, series=(Series("unread", {}),))
    return may_match(rule, Facts(unread, today))


def matches(tools: Tools, rule: Rule, studies: Iterable[str], rules: RuleSet) -> Iterator[list[Match] | Unread]:
    """Look at each study, several at a time, and give what of it matches, in the order of `studies`."""

    rivals = [one for one in deciding(rules) if not one.is_fallback and one.name != rule.name]
    today = tools.today()

    def look(study_id: str) -> list[Match] | Unread:
        try:
            return list(_in_study(tools.orthanc, tools.spool.ledger, rule, rivals, study_id, today))
        except ResourceMissing:
            # It was deleted since the list was made.
            return []
        except (OrthancFault, StillArriving) as error:
            return Unread(study_id, str(error))

    with ThreadPoolExecutor(tools.settings.download_threads, thread_name_prefix="replay") as pool:
        try:
            yield from pool.map(look, studies)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _in_study(
    orthanc: Orthanc, ledger: Ledger, rule: Rule, rivals: list[Rule], study_id: str, today: date
) -> Iterator[Match]:
    study = orthanc.resource(Level.STUDY, study_id)
    if rule.check_on is Level.STUDY:
        yield from _match(orthanc, ledger, rule, rivals, Facts(study, today))
        return
    for series in study.series:
        alone = replace(study, level=Level.SERIES, resource_id=series.resource_id, series=(series,))
        if may_match(rule, Facts(alone, today)):
            found = orthanc.resource(Level.SERIES, series.resource_id)
            yield from _match(orthanc, ledger, rule, rivals, Facts(found, today))


def _match(orthanc: Orthanc, ledger: Ledger, rule: Rule, rivals: list[Rule], facts: Facts) -> Iterator[Match]:
    if not may_match(rule, facts):
        return
    whole = orthanc.with_instances(facts.resource)
    facts = with_answers(orthanc, [rule], Facts(whole, facts.today), rivals)
    resource = facts.resource
    drawn = plan.make_plan(facts, [rule], [], ledger.read(resource.key), rivals=rivals)
    if drawn.jobs or drawn.unchanged:
        yield Match(
            resource.level,
            resource.resource_id,
            resource.last_update,
            instances=len(resource.instances),
            size_bytes=sum(instance.file_size_bytes for instance in resource.instances),
            is_done=bool(drawn.unchanged),
        )


@dataclass(frozen=True)
class Found:
    """All that a replay found."""

    matches: tuple[Match, ...]
    unread: tuple[Unread, ...]
    listed: Candidates


def gathered(looked: Iterable[list[Match] | Unread], listed: Candidates) -> Found:
    """Gather what `matches` gives."""
    found: list[Match] = []
    unread: list[Unread] = []
    for one in looked:
        if isinstance(one, Unread):
            unread.append(one)
        else:
            found.extend(one)
    return Found(tuple(found), tuple(unread), listed)


def write_marker(spool: Spool, rule: Rule, match: Match, clock: Callable[[], datetime]) -> str:
    """Write the marker of a match; give its name."""
    return spool.directories.put(marker.new(match.level, match.resource_id, "replay", clock(), rules=(rule.name,))).name
