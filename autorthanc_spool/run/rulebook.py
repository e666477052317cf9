"""The folder of rules: which files count, what is in them, and what was in them when they were last valid.

Every ``*.json`` without a leading dot is a rule; subfolders aren't looked into; names with ``template`` or ``master``
are ignored. Files are opened at every read, because only opening makes an NFS client ask the server, but they are read
only when they have changed.

The last valid version of each file lies in ``state/rules/`` of the spool under the same name, so that a rule whose
file is broken still knows what it would match, also after a restart. It is removed with the rule file. But an editor
may move the old file away before it writes the new one: so the absence of a file counts only when the folder has
rested; until then the file is broken.
"""

from __future__ import annotations

import os
import stat
import time
import unicodedata
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from autorthanc_spool.actions import WORDS
from autorthanc_spool.core.errors import RulesUnavailable, SpoolUnavailable
from autorthanc_spool.disk import durable
from autorthanc_spool.rules import MAX_BYTES, Problem, Refuses, Rule, RuleError, parse_rule

_SUFFIX = ".json"
_IGNORED_WORDS = ("template", "master")

# Control characters, bytes that aren't UTF-8, and line separators: a log line would break at them.
_UNPRINTABLE = {"Cc", "Cs", "Zl", "Zp"}

# The coarsest time stamps are those of FAT: within this time a file can change while its stamp stays. It is also ample
# for an editor to put the new file where the old one was.
REST_S = 2.0

# After this time, nobody is still writing what lies unfinished in `state/rules/`.
_LEFT_OVER_S = 3600.0


@dataclass(frozen=True)
class BrokenRule:
    """A rule file that can't be used. What matches `last_valid`, its last valid and active version, must wait."""

    name: str
    path: Path
    error: RuleError
    last_valid: Rule | None


@dataclass(frozen=True)
class RuleSet:
    """The rules at one moment, sorted by name; `ignored` are names of files."""

    rules: tuple[Rule, ...]
    broken: tuple[BrokenRule, ...]
    ignored: tuple[str, ...]


@dataclass(frozen=True)
class _Reading:
    """What was found in a file; without a signature it has to be read again."""

    outcome: Rule | RuleError
    data: bytes = b""
    signature: tuple[int, ...] | None = None


class Rulebook:
    """Reads the rules in `folder`, and keeps their last valid versions in `kept`, beside other processes.

    `folder_name` gives the name of a rule's folder in the output, `refuses` judges what a rule delivers to. With
    `keeps` false nothing is written: for looking at rules, of another folder perhaps, without touching what a running
    processor relies on.
    """

    def __init__(
        self,
        folder: Path,
        kept: Path,
        folder_name: Callable[[str], str] = str,
        *,
        keeps: bool = True,
        refuses: Refuses | None = None,
    ) -> None:
        self._refuses = refuses
        self._folder = folder
        self._kept = _Kept(kept)
        self._folder_name = folder_name
        self._keeps = keeps
        self._readings: dict[str, _Reading] = {}

    def read(self) -> RuleSet:
        """Read the files that have changed.

        Raises RulesUnavailable when the folder can't be read or looks unmounted, SpoolUnavailable when nothing can be
        kept.
        """
        with durable.passing_trouble(SpoolUnavailable, "the spool"):
            return self._look()

    def _look(self) -> RuleSet:
        kept = self._kept.names()
        names, ignored = self._names(kept)
        found = {name: self._reading(name) for name in names | kept}
        self._readings = {name: reading for name, reading in found.items() if reading}
        outcomes = {name: reading.outcome for name, reading in self._readings.items()}
        outcomes |= self._clashes(outcomes, kept)
        if missing := kept - outcomes.keys():
            outcomes |= self._missing(missing)
        if self._keeps:
            self._keep(outcomes)
        ordered = sorted(outcomes.items(), key=lambda pair: _rule_name(pair[0]))
        return RuleSet(
            rules=tuple(outcome for _, outcome in ordered if isinstance(outcome, Rule)),
            broken=tuple(self._broken(name, outcome) for name, outcome in ordered if isinstance(outcome, RuleError)),
            ignored=ignored,
        )

    def _names(self, kept: set[str]) -> tuple[set[str], tuple[str, ...]]:
        try:
            entries = [path.name for path in self._folder.iterdir()]
        except OSError as error:
            raise RulesUnavailable(
                f"the folder of rules {self._folder} can't be read ({error.strerror}); "
                "mount it, create it, or fix its owner or mode"
            ) from None
        if kept and not entries:
            raise RulesUnavailable(
                f"the folder of rules {self._folder} is empty, but it held rules before; is it mounted? "
                "If the rules were removed on purpose, put any other file into it"
            )
        files = {name for name in entries if name.lower().endswith(_SUFFIX) and not name.startswith(".")}
        ignored = {name for name in files if any(word in name.lower() for word in _IGNORED_WORDS)}
        return files - ignored, tuple(sorted(ignored))

    def _reading(self, name: str) -> _Reading | None:
        """Read a file if it has changed; None when it isn't there."""
        if obstacle := _name_obstacle(name):
            return _Reading(obstacle)
        path = self._folder / name
        try:
            # Opening a pipe, for instance, would wait for somebody to write into it.
            if not stat.S_ISREG(path.stat().st_mode):
                return _Reading(_error(name, "something else of this name, a folder perhaps", "a file"))
            with path.open("rb") as stream:
                return self._read(name, stream)
        except FileNotFoundError:
            link = _error(name, "a link that leads nowhere", "a file", "fix the link, or delete it")
            return _Reading(link) if path.is_symlink() else None
        except OSError as error:
            hint = "fix its owner or mode, or the disk"
            return _Reading(_error(name, f"a file that can't be read ({error.strerror})", "a readable file", hint))

    def _read(self, name: str, stream: IO[bytes]) -> _Reading:
        status = os.fstat(stream.fileno())
        signature = durable.signature(status)
        before = self._readings.get(name)
        if before and before.signature == signature:
            return before
        data = stream.read(MAX_BYTES + 1)
        has_rested = abs(time.time() - max(status.st_mtime, status.st_ctime)) >= REST_S
        outcome = before.outcome if before and before.data == data else self._parsed(name, data)
        return _Reading(outcome, data, signature if has_rested else None)

    def _parsed(self, name: str, data: bytes) -> Rule | RuleError:
        try:
            return parse_rule(_rule_name(name), data, WORDS, self._refuses)
        except RuleError as error:
            return error

    def _clashes(self, outcomes: Mapping[str, Rule | RuleError], kept: set[str]) -> dict[str, RuleError]:
        """Refuse rules whose folder in the output would be another rule's; the one that was valid before has it."""
        claims: dict[str, list[str]] = {}
        for name, outcome in outcomes.items():
            if isinstance(outcome, Rule) or name in kept:
                claims.setdefault(self._folder_name(_rule_name(name)), []).append(name)
        clashes = {}
        for folder, names in claims.items():
            owner = min(names, key=lambda name: (name not in kept, _rule_name(name) != folder, name))
            for name in names:
                outcome = outcomes[name]
                if name != owner and isinstance(outcome, Rule):
                    found = f"a name that gives the same folder {folder}/ in the output as {owner}"
                    clashes[name] = _error(name, found, "another name", is_off=not outcome.is_active)
        return clashes | _nested(outcomes)

    def _missing(self, names: set[str]) -> dict[str, RuleError]:
        """Count files that are gone as broken until the folder has rested; then they are forgotten."""
        if abs(time.time() - self._changed_s()) >= REST_S:
            for name in names if self._keeps else ():
                self._kept.forget(name, self._folder)
            return {}
        hint = "somebody may be saving it; if it was deleted, this ends in a moment"
        return {
            name: _error(name, "no file", "the one that was there a moment ago", hint)
            for name in names
            if self._kept.rule(name)
        }

    def _changed_s(self) -> float:
        try:
            return self._folder.stat().st_mtime
        except OSError as error:
            raise RulesUnavailable(
                f"the folder of rules {self._folder} went away ({error.strerror}); mount it"
            ) from None

    def _keep(self, outcomes: Mapping[str, Rule | RuleError]) -> None:
        self._kept.sweep(time.time())
        for name, outcome in outcomes.items():
            if isinstance(outcome, Rule):
                self._kept.keep(name, self._readings[name].data)

    def _broken(self, name: str, error: RuleError) -> BrokenRule:
        last_valid = None if error.is_off else self._kept.rule(name)
        return BrokenRule(_rule_name(name), self._folder / name, error, last_valid)


class _Kept:
    """The last valid versions. Any number of processes may read and write them at the same time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def names(self) -> set[str]:
        """List the files that exist."""
        try:
            entries = [path.name for path in self._folder.iterdir()]
        except FileNotFoundError:
            return set()
        return {name for name in entries if name.endswith(_SUFFIX) and not name.startswith(".")}

    def rule(self, name: str) -> Rule | None:
        """Read the last valid version, if it was active. It runs nothing, so what it asks for needn't be available."""
        data = self._data(name)
        try:
            rule = parse_rule(_rule_name(name), data, WORDS) if data is not None else None
        except RuleError:
            return None
        return rule if rule and rule.is_active else None

    def keep(self, name: str, data: bytes) -> None:
        """Keep a valid version. Readers see it or the one before, never a part of it."""
        if self._data(name) == data:
            return
        # Process numbers repeat where containers share a spool.
        unfinished = self._folder / f".{uuid.uuid4().hex}"
        self._folder.mkdir(mode=0o750, exist_ok=True)
        durable.create(unfinished, data)
        durable.replace(unfinished, self._folder / name)

    def forget(self, name: str, folder: Path) -> None:
        """Remove the version of a file that is no longer in the folder."""
        # Another process may have seen the file come back, and have kept it, since we looked.
        if not os.path.lexists(folder / name):
            (self._folder / name).unlink(missing_ok=True)

    def sweep(self, now_s: float) -> None:
        """Remove what processes left behind that died while they kept a version."""
        for path in self._folder.glob(".*"):
            with suppress(FileNotFoundError):
                if now_s - path.stat().st_mtime > _LEFT_OVER_S:
                    path.unlink()

    def _data(self, name: str) -> bytes | None:
        try:
            return (self._folder / name).read_bytes()
        except FileNotFoundError:
            return None


def _rule_name(file_name: str) -> str:
    return file_name[: -len(_SUFFIX)]


def _nested(outcomes: Mapping[str, Rule | RuleError]) -> dict[str, RuleError]:
    """Refuse rules that deliver into the folder of another one: its studies would lie among this one's."""
    delivering = {name: one for name, one in outcomes.items() if isinstance(one, Rule) and one.deliver}
    nested = {}
    for name, rule in delivering.items():
        for other, above in delivering.items():
            if other != name and f"{rule.deliver}/".startswith(f"{above.deliver}/{above.folder}/"):
                found = f'a "Deliver" inside {above.deliver}/{above.folder}/, which is the folder of {other}'
                nested[name] = _error(name, found, "another folder", is_off=not rule.is_active)
    return nested


def _name_obstacle(name: str) -> RuleError | None:
    if any(unicodedata.category(character) in _UNPRINTABLE for character in name):
        return _error(name, "a file name with characters that can't be shown", "a name in UTF-8", "rename it")
    if not name.endswith(_SUFFIX):
        return _error(name, f'a name that ends in "{name[-len(_SUFFIX) :]}"', f'"{_SUFFIX}"', "rename it")
    return None


def _error(name: str, found: str, expected: str, hint: str | None = None, *, is_off: bool = False) -> RuleError:
    return RuleError(name, [Problem(0, "", found, expected, hint)], is_off=is_off)
