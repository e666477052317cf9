"""`check`: settings, folders, ports and rules."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import click

from autorthanc_spool.actions import WORDS
from autorthanc_spool.commands.options import Place, examples, with_settings
from autorthanc_spool.commands.views import describe
from autorthanc_spool.core.counted import agreeing, counted
from autorthanc_spool.core.errors import (
    DetectorMissing,
    FolderMissing,
    PseudonymTableInvalid,
    RulesInvalid,
    SettingsError,
    SpoolError,
)
from autorthanc_spool.deidentify import codecs, models
from autorthanc_spool.deidentify.codecs import INSTALL
from autorthanc_spool.deidentify.pseudonym_table import PseudonymTables
from autorthanc_spool.deidentify.region_files import Reading, RegionFiles, read_regions
from autorthanc_spool.outgoing.keyring import Keyring
from autorthanc_spool.rules import Rule, RuleError, hopeless, known_private, parse_rule, pixel_regions
from autorthanc_spool.rules.pixel_regions import PixelRegions
from autorthanc_spool.run import access, deliveries, wiring
from autorthanc_spool.settings import Settings
from autorthanc_spool.spool.spool import Spool

_EXAMPLES = examples(
    ("check", "everything, before the first start or after a change"),
    ("check automation_scripts/brain.json", "one rule file alone, wherever it lies"),
)


@click.command("check", epilog=_EXAMPLES)
@click.argument("files", nargs=-1, metavar="[FILE]...", type=Place(path_type=Path))
@with_settings
def command(settings: Settings, files: tuple[Path, ...]) -> None:
    """Check settings, folders, ports and rules, or some rule files alone: every problem with its place."""
    from autorthanc_spool.site import preflight

    if not files and (problems := preflight.problems(settings)):
        raise SettingsError(problems)
    if files:
        _show(_with_warnings(settings, [_check_file(settings, path) for path in files]))
        return
    spool = access.find_spool(settings)
    _warn_of_storage(settings)
    checked = _look(settings, spool)
    _show(_with_warnings(settings, checked), _key_complaint(settings, spool, checked))


@dataclass(frozen=True)
class Checked:
    """One rule file and what was found in it."""

    path: Path
    rule: Rule | None
    problem: str = ""
    is_ignored: bool = False
    # What is valid, and won't match or arrive.
    warnings: tuple[str, ...] = ()
    # What a file of pixel regions says; it is not a rule.
    regions: str = ""


def _look(settings: Settings, spool: Spool) -> list[Checked]:
    """Check all rule files of the folder."""
    if problems := list(wiring.replaced_folders(settings, spool)):
        raise FolderMissing("\n".join(problems))
    found = wiring.rulebook(settings, spool).read()
    folder = settings.rules_path
    checked = [_with_needs(_with_place(spool, Checked(folder / f"{rule.name}.json", rule))) for rule in found.rules]
    checked += [Checked(broken.path, None, str(broken.error)) for broken in found.broken]
    checked += [Checked(folder / name, None, is_ignored=True) for name in found.ignored]
    checked += [_of_regions(one) for one in RegionFiles(folder).readings()]
    return sorted(checked, key=lambda one: one.path)


def _of_regions(reading: Reading) -> Checked:
    found = reading.outcome
    if isinstance(found, RuleError):
        return Checked(reading.path, None, str(found))
    warnings = tuple(f"{found.file}: warning: {one}" for one in pixel_regions.warnings(found))
    return Checked(reading.path, None, warnings=warnings, regions=f"{found.file}: ok, {_described(found)}")


def _described(found: PixelRegions) -> str:
    black = len(found.black_out)
    what = {"clean": "the image is clean", "withhold": "the image is withheld"}.get(found.image or "")
    what = what or f"{counted(black, 'rectangle')} {agreeing(black, 'is')} blacked out"
    what = f"all around {counted(len(found.keep), 'rectangle')} is blacked out" if found.keep else what
    state = "" if found.is_active else " (not active)"
    passing = len(found.conditions)
    return f"{what} where {counted(passing, 'condition')} {agreeing(passing, 'passes')}{state}"


def _check_file(settings: Settings, path: Path) -> Checked:
    if path.exists() and not path.is_file():
        return Checked(path, None, f"{path}: it isn't a file")
    try:
        if path.absolute().parent.name == pixel_regions.FOLDER:
            return _of_regions(Reading(path, read_regions(path.name, path.read_bytes())))
        rule = parse_rule(path.stem, path.read_bytes(), WORDS, deliveries.judge(settings))
        return _with_needs(Checked(path, rule))
    except RuleError as error:
        return Checked(path, None, str(error))
    except OSError as error:
        return Checked(path, None, f"{path}: it can't be read: {error.strerror}")


def _with_place(spool: Spool, checked: Checked) -> Checked:
    """Look whether a folder that a rule delivers to is another one than before; a missing one is only warned of."""
    rule = checked.rule
    if not (rule and rule.is_active and rule.deliver and deliveries.is_there(rule.deliver)):
        return checked
    problem = wiring.replaced_delivery(spool, rule.deliver)
    return Checked(checked.path, None, f"{checked.path.name}: {problem}") if problem else checked


def _with_needs(checked: Checked) -> Checked:
    """Look at what a rule can't work without: the pseudonym table that it names, beside it, and what detects text."""
    options = checked.rule.anonymise if checked.rule else None
    if options and options.detect:
        try:
            models.check()
        except DetectorMissing as error:
            return Checked(checked.path, None, f"{checked.path.name}: {error}")
    if options and options.pseudonym_table:
        try:
            PseudonymTables(checked.path.parent).read(options.pseudonym_table)
        except PseudonymTableInvalid as error:
            return Checked(checked.path, None, "\n".join(f"{checked.path.name}: {one}" for one in error.problems))
    return checked


def _with_warnings(settings: Settings, checked: list[Checked]) -> list[Checked]:
    rules = [one.rule for one in checked if one.rule]
    known, loops = _known_destinations(settings, rules), _leading_back(settings, rules)

    def found(one: Checked) -> tuple[str, ...]:
        if one.rule is None:
            return one.warnings
        return (*_hopeless(one.path, one.rule, known), *_in_the_way(settings, one), *_returning(one, loops))

    return [replace(one, warnings=found(one)) for one in checked]


def _in_the_way(settings: Settings, checked: Checked) -> list[str]:
    found = deliveries.in_the_way(settings, checked.rule) if checked.rule else ""
    return [f"{checked.path.name}: warning: {found}"] if found else []


def _of_anonymise(checked: Checked) -> list[str]:
    options = checked.rule.anonymise if checked.rule else None
    found = [*known_private.warnings(options)]
    if options and options.burned_in == "redact" and (missing := codecs.missing()):
        found.append(
            f"compressed images can't be blacked out, and are withheld: {', '.join(missing)} isn't installed; {INSTALL}"
        )
    return [f"{checked.path.name}: warning: {one}" for one in found]


def _delivery(checked: Checked) -> list[str]:
    missing = deliveries.missing(checked.rule) if checked.rule else ""
    return [f"{checked.path.name}: warning: {missing}"] if missing else []


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
        known |= access.orthanc(settings).modalities()
    return known


def _key_complaint(settings: Settings, spool: Spool, checked: list[Checked]) -> str:
    """Say why active rules can't anonymise, if the pseudonym key can't be used."""
    if not any(one.rule and one.rule.is_active and one.rule.anonymise for one in checked):
        return ""
    return Keyring(settings.pseudonym_key_file, spool).complaint(searches=True)


def _leading_back(settings: Settings, rules: list[Rule]) -> frozenset[str]:
    """The destinations that are Orthanc itself; none while Orthanc can't be asked."""
    names = {name for rule in rules if rule.forwards for name in rule.destination_modalities}
    with suppress(SpoolError):
        return access.leading_back(settings, names) if names else frozenset()
    return frozenset()


def _returning(checked: Checked, loops: frozenset[str]) -> list[str]:
    names = checked.rule.destination_modalities if checked.rule and checked.rule.forwards else ()
    text = "is Orthanc itself: what is sent there may come back as a new study, and be sent again, without end"
    return [f"{checked.path.name}: warning: DestinationModality: {name} {text}" for name in names if name in loops]


def _warn_of_storage(settings: Settings) -> None:
    """Say when Orthanc's storage isn't where the settings say; nothing, while Orthanc can't be asked."""
    with suppress(SpoolError):
        if complaint := wiring.storage_complaint(settings):
            click.echo(f"AUTORTHANC_ORTHANC_STORAGE_PATH: warning: {complaint}; files come by HTTP")


def _show(checked: list[Checked], key_complaint: str = "") -> None:
    """Show what was found in rule files. Raises RulesInvalid when one is, or can't do what it says."""
    for one in checked:
        if one.is_ignored:
            click.echo(f"{one.path.name}: ignored, because its name holds 'template' or 'master'")
        elif one.regions:
            for line in (one.regions, *one.warnings):
                click.echo(line)
        elif one.rule:
            click.echo(f"{one.path.name}: ok, {describe(one.rule)}")
            for warning in (*one.warnings, *_of_anonymise(one), *_delivery(one)):
                click.echo(warning)
        else:
            click.echo(one.problem)
    if key_complaint:
        click.echo(key_complaint)
    broken = [one.path.name for one in checked if one.problem]
    if broken:
        raise RulesInvalid(f"{len(broken)} of {len(checked)} rule files can't be used: {', '.join(broken)}")
    if key_complaint:
        raise RulesInvalid("what is to be anonymised waits until the pseudonym key can be used")
    click.echo("the settings are all right", err=True)
    if not checked:
        click.echo("there is no rule file yet: docs/rules.md shows how to write one", err=True)
