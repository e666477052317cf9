"""`audit`: what left of a study, for whoever may read the audit log and its key."""

from __future__ import annotations

from pathlib import Path

import click

from autorthanc_spool.commands.options import Place, examples, uid_of, with_settings
from autorthanc_spool.core.errors import SettingsError
from autorthanc_spool.settings import Settings
from autorthanc_spool.spool import audit_key, audit_search

_EXAMPLES = examples(
    ("audit --study 1.2.276.0.7230010.3.1.2.1", "to whom and when it left"),
    ("audit --study 1.2.276.0.7230010.3.1.2.1 audit.jsonl.1", "in a log that was rotated away, too"),
)


@click.command("audit", epilog=_EXAMPLES)
@click.option("--study", "study_uid", required=True, metavar="UID", help="The StudyInstanceUID, as Orthanc has it.")
@click.argument("files", nargs=-1, metavar="[FILE]...", type=Place(path_type=Path, exists=True, dir_okay=False))
@with_settings
def command(settings: Settings, study_uid: str, files: tuple[Path, ...]) -> None:
    """Print the audit log's lines of a study: from the log and what logrotate made of it, or from some files."""
    StudyInstanceUID = uid_of(study_uid, "--study")
    if not files and settings.audit_log is None:
        raise SettingsError(["AUTORTHANC_AUDIT_LOG isn't set, so there is no audit log; name a file of lines."])
    key = audit_key.read(settings.audit_key_file)
    if key is None:
        text = "there is no key {}: only lines of versions without a key can be found (AUTORTHANC_AUDIT_KEY_FILE)"
        click.echo(f"warning: {text.format(settings.audit_key_file)}", err=True)
    places = files or (audit_search.files_of(settings.audit_log) if settings.audit_log else [])
    count = 0
    for line in audit_search.lines(places, StudyInstanceUID, key):
        click.echo(line)
        count += 1
    click.echo(f"{count} lines in {len(places)} files", err=True)
