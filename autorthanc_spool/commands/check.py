"""`check`: settings, folders, ports and rules."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import click

from autorthanc_spool.actions import WORDS
from autorthanc_spool.commands.options import with_settings
from autorthanc_spool.commands.views import describe
from autorthanc_spool.core.errors import FolderMissing, PseudonymTableInvalid, RulesInvalid, SettingsError, SpoolError
from autorthanc_spool.deidentify.pseudonym_table import PseudonymTables
from autorthanc_spool.rules import Rule, RuleError, hopeless, known_private, parse_rule
from autorthanc_spool.run import wiring
from autorthanc_spool.settings import Settings
from autorthanc_spool.spool.spool import Spool


@click.command("check")
@click.argument("files", nargs=-1, metavar="[FILE]...", type=click.Path(path_type=Path))
@with_settings
def command(settings: Settings, files: tuple[Path, ...]) -> None:
    """Check settings, folders, ports and rules, or some rule files alone: every problem with its place."""
    from autorthanc_spool.site import preflight

    if not files and (problems := preflight.problems(settings)):
        raise SettingsError(problems)
    if files:
        _show(_with_warnings(settings, [_check_file(path) for path in files]))
        return
    spool = wiring.find_spool(settings)
    _show(_with_warnings(settings, _look(settings, spool)))


@dataclass(frozen=True)
class Checked:
    """One rule file and what was found in it."""

    path: Path
    rule: Rule | None
    problem: str = ""
    is_ignored: bool = False
    # What is valid, and won't match or arrive.
    warnings: tuple[str, ...] = ()


def _look(settings: Settings, spool: Spool) -> list[Checked]:
    """Check all rule files of the folder."""
    if problems := list(wiring.replaced_folders(settings, spool)):
        raise FolderMissing("\n".join(problems))
    found = wiring.rulebook(settings, spool).read()
    folder = settings.rules_path
    checked = [_with_table(Checked(folder / f"{rule.name}.json", rule)) for rule in found.rules]
    checked += [Checked(broken.path, None, str(broken.error)) for broken in found.broken]
    checked += [Checked(folder / name, None, is_ignored=True) for name in found.ignored]
    return sorted(checked, key=lambda one: one.path)


def _check_file(path: Path) -> Checked:
    try:
        return _with_table(Checked(path, parse_rule(path.stem, path.read_bytes(), WORDS)))
    except RuleError as error:
        return Checked(path, None, str(error))
    except OSError as error:
        return Checked(path, None, f"{path}: it can't be read: {error.strerror}")


def _with_table(checked: Checked) -> Checked:
    """Look at the pseudonym table that a rule names, beside it; what is wrong there keeps the rule from working."""
    options = checked.rule.anonymise if checked.rule else None
    if options and options.pseudonym_table:
        try:
            PseudonymTables(checked.path.parent).read(options.pseudonym_table)
        except PseudonymTableInvalid as error:
            return Checked(checked.path, None, "\n".join(f"{checked.path.name}: {one}" for one in error.problems))
    return checked


def _with_warnings(settings: Settings, checked: list[Checked]) -> list[Checked]:
    known = _known_destinations(settings, [one.rule for one in checked if one.rule])
    return [replace(one, warnings=_hopeless(one.path, one.rule, known)) if one.rule else one for one in checked]


def _private(checked: Checked) -> list[str]:
    options = checked.rule.anonymise if checked.rule else None
    return [f"{checked.path.name}: warning: {one}" for one in known_private.warnings(options)]


def _hopeless(path: Path, rule: Rule, destinations: frozenset[str]) -> tuple[str, ...]:
    try:
        found = hopeless.warnings(rule, path.read_bytes(), destinations)
    except (OSError, ValueError):
        # It was changed since it was read.
        return ()
    return tuple(f"{path.name}:{one.line}: warning: {one}" for one in found)


def _known_destinations(settings: Settings, rules: list[Rule]) -> frozenset[str]:
    """The modalities of the settings; Orthanc, which may have others, is asked only about what they lack."""
    known = frozenset(settings.dicom_modalities)
    if known.issuperset(name for rule in rules for name in rule.destination_modalities):
        return known
    with suppress(SpoolError):
        known |= wiring.orthanc(settings).modalities()
    return known


def _show(checked: list[Checked]) -> None:
    """Show what was found in rule files. Raises RulesInvalid when one is."""
    for one in checked:
        if one.is_ignored:
            click.echo(f"{one.path.name}: ignored, because its name holds 'template' or 'master'")
        elif one.rule:
            click.echo(f"{one.path.name}: ok, {describe(one.rule)}")
            for warning in (*one.warnings, *_private(one)):
                click.echo(warning)
        else:
            click.echo(one.problem)
    broken = [one.path.name for one in checked if one.problem]
    if broken:
        raise RulesInvalid(f"{len(broken)} of {len(checked)} rule files can't be used: {', '.join(broken)}")
    click.echo("the settings are all right", err=True)
    if not checked:
        click.echo("there is no rule file yet: docs/rules.md shows how to write one", err=True)
