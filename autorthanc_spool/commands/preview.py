"""`preview`: what ANONYMISE would do, attribute by attribute, for the person who signs."""

from __future__ import annotations

import html
import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from autorthanc_spool.commands.options import Place, examples, with_settings
from autorthanc_spool.commands.pixels import NO_FILES, content_of, missing
from autorthanc_spool.core.counted import counted
from autorthanc_spool.core.dicom import RESOURCE_ID_PATTERN, Instance, Level
from autorthanc_spool.core.errors import ResourceMissing, UsageError
from autorthanc_spool.deidentify.errors import DeidentificationError
from autorthanc_spool.deidentify.key import Key
from autorthanc_spool.deidentify.pseudonym_table import PseudonymTables
from autorthanc_spool.deidentify.region_files import RegionFiles
from autorthanc_spool.disk import mounts
from autorthanc_spool.outgoing.sources import Originals
from autorthanc_spool.rules import AnonymiseOptions, Rule
from autorthanc_spool.run import access, loose_files, wiring
from autorthanc_spool.run import draft as drafts
from autorthanc_spool.settings import Settings
from autorthanc_spool.spool.directories import shown

if TYPE_CHECKING:
    from autorthanc_spool.deidentify.comparison import Compared
    from autorthanc_spool.deidentify.profile import Profile

_SHOWN_CHARACTERS = 60

_EXAMPLES = examples(
    ("preview trial 0a4b249f-7fce45ca-4f722f72-de2a24df-92abc740", "a study as it would leave under the rule trial"),
    ("preview trial.json study/ --html preview.html", "files, by a draft of a rule, as a page with all images"),
)


@dataclass
class _Series:
    """What is shown of a series: all attributes of the first file that leaves, and the fate of each."""

    attributes: list[Compared] = field(default_factory=list)
    fates: list[tuple[str, str]] = field(default_factory=list)
    pictures: list[tuple[str, str]] = field(default_factory=list)


@click.command("preview", epilog=_EXAMPLES)
@click.argument("rule_name", metavar="RULE")
@click.argument("what", metavar="ID|PATH...", nargs=-1, required=True)
@click.option("--html", "page", metavar="FILE", type=Place(path_type=Path), help="Write a page, with all images.")
@click.option("--changed", is_flag=True, help="Leave out attributes that stay as they are.")
@with_settings
def command(settings: Settings, rule_name: str, what: tuple[str, ...], page: Path | None, changed: bool) -> None:
    """Show what ANONYMISE would do: each attribute before, after and why; of each series, those of one file.

    RULE is the name of a rule, or a file that holds one. ID is Orthanc's, of a study or series; PATH a DICOM file or a
    folder. Nothing is published. What is shown is a patient's: keep it from others.
    """
    options = _options(settings, rule_name)
    if page is not None and mounts.real(page).is_relative_to(mounts.real(settings.output_path)):
        raise UsageError(f"--html {page}: that is in the output, where pipelines look; name another place")
    profile = _profile(settings, options)
    found = _previewed(_files(settings, what), profile, settings, has_pictures=page is not None)
    if not found:
        raise UsageError(NO_FILES)
    for name, series in found.items():
        _show(name, series, only_changed=changed)
    if page is not None:
        page.touch(mode=0o600)
        page.write_text(_page(rule_name, found, only_changed=changed), encoding="utf-8")
        click.echo(f"written: {page}", err=True)


def _options(settings: Settings, name: str) -> AnonymiseOptions:
    rule = _rule(settings, name)
    if rule.anonymise is None:
        raise UsageError(f"the rule {rule.name} doesn't anonymise")
    return rule.anonymise


def _rule(settings: Settings, name: str) -> Rule:
    if Path(name).is_file():
        return drafts.read(Path(name))
    rules = wiring.rulebook_alone(settings).read().rules
    found = next((one for one in rules if one.name == name.removesuffix(".json")), None)
    if found is None:
        known = ", ".join(one.name for one in rules) or "none"
        raise UsageError(f"there is no valid rule {name}; the valid ones are: {known}. A file of one may be named, too")
    return found


def _profile(settings: Settings, options: AnonymiseOptions) -> Profile:
    from autorthanc_spool.deidentify.profile import Profile

    table = PseudonymTables(settings.rules_path).read(options.pseudonym_table) if options.pseudonym_table else None
    regions = RegionFiles(settings.rules_path).read() if options.burned_in == "redact" else ()
    return Profile(options, table, regions)


def _key(settings: Settings) -> Key:
    """Read the key, where there is one; another one for this time only, where there is none yet."""
    from autorthanc_spool.deidentify.key import open_key

    if settings.pseudonym_key_file.exists():
        return open_key(settings.pseudonym_key_file, frozenset())
    click.echo("there is no pseudonym key yet: pseudonyms and UIDs will differ from those shown", err=True)
    return Key(secrets.token_bytes(32))


def _files(settings: Settings, what: Iterable[str]) -> Iterator[tuple[str, Callable[[], bytes]]]:
    for one in what:
        if not RESOURCE_ID_PATTERN.fullmatch(one.lower()):
            yield from ((shown(str(path)), partial(content_of, path)) for path in loose_files.files([Path(one)]))
            continue
        orthanc = access.orthanc(settings)
        for level in Level:
            try:
                resource = orthanc.with_instances(orthanc.resource(level, one.lower()))
            except ResourceMissing:
                continue
            originals = Originals(orthanc, resource, verify_md5=True)
            for instance in resource.instances:
                yield instance.resource_id, partial(_joined, originals, instance)
            break
        else:
            raise UsageError(f"Orthanc has no study or series {one}")


def _joined(originals: Originals, instance: Instance) -> bytes:
    return b"".join(originals.open(instance))


def _previewed(
    files: Iterable[tuple[str, Callable[[], bytes]]], profile: Profile, settings: Settings, *, has_pictures: bool
) -> dict[str, _Series]:
    from autorthanc_spool.deidentify.breakdown import check_codec
    from autorthanc_spool.deidentify.comparison import compared
    from autorthanc_spool.deidentify.file import Deidentifier, Held
    from autorthanc_spool.deidentify.pseudonym import Pseudonymiser

    tool = Deidentifier(profile, Pseudonymiser(_key(settings), profile.options.project), None)
    found: dict[str, _Series] = {}
    for name, read in files:
        try:
            data = read()
            if profile.needs_codecs:
                check_codec(memoryview(data))
            made = tool.file(memoryview(data))
        except DeidentificationError as error:
            found.setdefault("files that can't be read", _Series()).fates.append((name, str(error)))
            continue
        series = found.setdefault(f"series {made.identity.SeriesInstanceUID}", _Series())
        if isinstance(made, Held):
            series.fates.append((name, f"withheld: {made.reason}"))
        else:
            series.fates.append((name, _fate(made.black.boxes, made.black.sources)))
            if not series.attributes:
                series.attributes = compared(data, made.bytes(memoryview(data)), profile.options)
        if has_pictures:
            series.pictures += _picture(name, data, profile)
    return found


def _fate(boxes: int, sources: Iterable[str]) -> str:
    return f"leaves with {counted(boxes, 'box')} blacked out, by {' and '.join(sources)}" if boxes else "leaves"


def _picture(name: str, data: bytes, profile: Profile) -> list[tuple[str, str]]:
    try:
        from autorthanc_spool.commands.pictures import thumbnail
        from autorthanc_spool.deidentify.breakdown import check_codec
        from autorthanc_spool.deidentify.inspection import inspect
    except ImportError as error:
        raise missing(error) from None
    try:
        if not profile.needs_codecs:
            check_codec(memoryview(data))
    except DeidentificationError as error:
        return [(f"{name}: {error}", "")]
    found = inspect(memoryview(data), profile.options, profile.regions)
    return [(f"{name}: {found.said}", "" if found.frames is None or found.is_withheld else thumbnail(found))]


def _show(name: str, series: _Series, *, only_changed: bool) -> None:
    click.echo(f"{name}:")
    for file, fate in series.fates:
        click.echo(f"  {file}: {fate}")
    for one in _chosen(series, only_changed=only_changed):
        values = _cut(one.before) if one.change == "same" else f"{_cut(one.before)} -> {_cut(one.after)}"
        click.echo(f"  {one.place} {one.keyword}: {one.change}, {values}  [{one.why}]")


def _chosen(series: _Series, *, only_changed: bool) -> list[Compared]:
    return [one for one in series.attributes if one.change != "same" or not only_changed]


def _cut(text: str | None) -> str:
    if text is None:
        return "nothing"
    return repr(text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…")


_STYLE = """
body { font: 14px/1.4 sans-serif; margin: 2em; color: #111; background: #fff }
table { border-collapse: collapse; margin: 1em 0 }
td, th { border: 1px solid #bbb; padding: .2em .5em; text-align: left; vertical-align: top; overflow-wrap: anywhere }
.removed { background: #fde8e8 } .changed { background: #fff6d6 }
.added { background: #e6f4ea } figure { display: inline-block; width: 250px; margin: .4em; vertical-align: top }
figcaption { font-size: 12px; overflow-wrap: anywhere }
"""


def _page(rule_name: str, found: dict[str, _Series], *, only_changed: bool) -> str:
    """Write a page that holds everything itself."""
    said = html.escape
    parts = [f"<!DOCTYPE html><html lang=en><meta charset=utf-8><title>Preview of {said(rule_name)}</title>"]
    parts += [f"<style>{_STYLE}</style><h1>Preview of {said(rule_name)}</h1>"]
    parts += ["<p>The column “before” shows a patient's data. Remove this file when you have looked at it.</p>"]
    for name, series in found.items():
        parts.append(f"<h2>{said(name)}</h2><ul>")
        parts += [f"<li>{said(file)}: {said(fate)}</li>" for file, fate in series.fates]
        parts.append("</ul>")
        for caption, picture in series.pictures:
            shown = f'<img alt="as it would leave" src="data:image/png;base64,{picture}">' if picture else "no picture"
            parts.append(f"<figure>{shown}<figcaption>{said(caption)}</figcaption></figure>")
        rows = _chosen(series, only_changed=only_changed)
        if rows:
            parts.append("<table><tr><th>attribute<th><th>before<th>after<th>why</tr>")
        for one in rows:
            cells = (one.place, one.keyword, one.before or "", one.after or "", one.why)
            parts.append(f"<tr class={one.change}>{''.join(f'<td>{said(cell)}' for cell in cells)}</tr>")
        parts.append("</table>" if rows else "")
    return "\n".join(parts) + "\n"
