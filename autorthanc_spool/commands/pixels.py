"""`pixels`: pictures of what would be blacked out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from autorthanc_spool.commands.options import Place, examples, with_settings
from autorthanc_spool.core.counted import counted
from autorthanc_spool.core.errors import PixelRegionsInvalid, SpoolError, UsageError
from autorthanc_spool.deidentify.codecs import INSTALL
from autorthanc_spool.deidentify.errors import DeidentificationError, Malformed
from autorthanc_spool.deidentify.region_files import RegionFiles
from autorthanc_spool.rules import AnonymiseOptions
from autorthanc_spool.rules.pixel_regions import PixelRegions, parse_regions
from autorthanc_spool.run import draft as drafts
from autorthanc_spool.run import loose_files
from autorthanc_spool.settings import Settings
from autorthanc_spool.spool.directories import shown

NO_FILES = "there are no files in these folders; name files, or a folder that holds some"

_EXAMPLES = examples(
    ("pixels ultrasound/ --out pictures", "what is known of these images, and what would be black"),
    ("pixels one.dcm --regions draft.json --out pictures", "the same by a file of pixel_regions/ that isn't there yet"),
)


@click.command("pixels", epilog=_EXAMPLES)
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=Place(path_type=Path))
@click.option("--out", required=True, metavar="DIR", type=Place(path_type=Path), help="Where the PNGs go.")
@click.option("--rule", "draft", metavar="FILE", type=Place(path_type=Path), help="Take the options of this rule.")
@click.option(
    "--regions",
    multiple=True,
    metavar="FILE",
    type=Place(path_type=Path),
    help="Try this file of pixel_regions/ in place of those in the folder of rules; it needn't be active.",
)
@with_settings
def command(
    settings: Settings, paths: tuple[Path, ...], out: Path, draft: Path | None, regions: tuple[Path, ...]
) -> None:
    """Write a PNG for each image: before and after blacking out, side by side. Say what is decided, and why.

    PATH is a DICOM file, or a folder of them. The pictures show patients: keep them from others.
    """
    try:
        from autorthanc_spool.commands.pictures import PictureFolder
        from autorthanc_spool.deidentify.breakdown import check_codec
        from autorthanc_spool.deidentify.inspection import inspect
    except ImportError as error:
        raise missing(error) from None
    options = options_of(draft)
    files = regions_of(settings, regions)
    pictures = PictureFolder(out, settings.output_path)
    seen = broken = 0
    for path in loose_files.files(paths):
        seen += 1
        try:
            data = memoryview(content_of(path))
            check_codec(data)
            inspection = inspect(data, options, files)
            click.echo(f"{shown(str(path))}: {inspection.said}")
            for name in pictures.add(path, inspection):
                click.echo(f"  {shown(str(name))}")
        except DeidentificationError as error:
            broken += 1
            click.echo(f"{shown(str(path))}: {error}")
    if not seen:
        raise UsageError(NO_FILES)
    if broken:
        raise SpoolError(f"{counted(broken, 'file')} can't be looked at")


def options_of(draft: Path | None) -> AnonymiseOptions:
    """The options of a rule, or those that black out the most."""
    if draft is None:
        return AnonymiseOptions("pixels", burned_in="redact", recode=True)
    rule = drafts.read(draft)
    if rule.anonymise is None:
        raise UsageError(f"{draft}: the rule doesn't anonymise")
    return rule.anonymise


def regions_of(settings: Settings, drafts: Sequence[Path] = ()) -> tuple[PixelRegions, ...]:
    """The files of pixel regions that are given, else those that are active. Raises RuleError, PixelRegionsInvalid."""
    if not drafts:
        return RegionFiles(settings.rules_path).read()
    try:
        return tuple(parse_regions(path.stem, path.read_bytes()) for path in drafts)
    except OSError as error:
        raise PixelRegionsInvalid(f"{error.filename}: the file can't be read: {error.strerror}") from None


def content_of(path: Path) -> bytes:
    """Read a file; one that can't be read is one of many. Raises Malformed."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise Malformed(f"it can't be read: {error.strerror}") from None


def missing(error: ImportError) -> UsageError:
    """Say what to install for pictures."""
    return UsageError(f"pictures need {error.name}, which isn't installed: {INSTALL}")
