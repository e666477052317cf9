"""`autorthanc-spool init --upgrade DIR`: a site's shipped files, brought to this version.

What the site didn't change is replaced. What it changed stays, and the new one is laid beside it as `NAME.new`. What is
no longer shipped goes, unless the site changed it: the copy of this program above all, which earlier versions laid
out, and which Python would take for the program wherever it is started in the site.

A file is unchanged when it is as the manifest noted it. A site of before the manifest says nothing: whatever differs
from this version counts as changed there. First all is compared, then it is done; an upgrade that was cut short is
finished by the next one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from autorthanc_spool import __version__
from autorthanc_spool.core.errors import UsageError
from autorthanc_spool.site import manifest, shipped
from autorthanc_spool.site.init import put

# Earlier versions laid these out without noting it.
FORMER_PACKAGE = Path("autorthanc_spool")
FORMER_FILES = (Path("pyproject.toml"),)

Contents = dict[Path, bytes]


@dataclass(frozen=True)
class Upgrade:
    """What is to be done to a site's files: contents and paths relative to it. `left` is for a person to remove."""

    directory: Path
    added: Contents
    replaced: Contents
    beside: Contents
    removed: tuple[Path, ...]
    left: tuple[Path, ...]
    noted: manifest.Checksums

    def lines(self) -> list[str]:
        """Say what happened to each file, one a line."""
        words: dict[str, tuple[Path, ...]] = {
            "added": tuple(self.added),
            "replaced": tuple(self.replaced),
            "beside": tuple(self.beside),
            "removed": self.removed,
            "left": self.left,
        }
        return [f"{word:<9}{path}" for word, paths in words.items() for path in paths]

    def next_steps(self) -> str:
        """Say what a person does now."""
        lines = [f"{self.directory} is laid out as version {__version__}."]
        if self.beside:
            lines += ["You changed these, so they stayed; the new version lies beside each:"]
            lines += [f"  diff {original(path)} {path}" for path in self.beside]
            lines += ["Take over what is new in them, or: mv NAME.new NAME."]
        if self.left:
            lines += ["These are no longer shipped, and differ from what was. Nothing needs them; remove them:"]
            lines += [f"  {path}" for path in _shortened(self.left)]
        lines += [
            "With Docker: docker compose up --detach --build",
            "Without: copy units that changed to /etc/systemd/system, then systemctl daemon-reload and restart.",
        ]
        return "\n".join(lines)


def upgrade(directory: Path) -> Upgrade:
    """Bring a site to this version. Raises UsageError when there is no site, or it can't be written to."""
    try:
        found = compare(directory, shipped.files())
        for path, data in (found.added | found.replaced | found.beside).items():
            put(directory, path, data)
        for path in found.removed:
            _remove(directory, path)
        manifest.write(directory, found.noted)
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise UsageError(f"{directory}: can't be brought to this version: {error.strerror}{where}") from None
    return found


def compare(directory: Path, wanted: Contents) -> Upgrade:
    """Look what is to be done, and do nothing. Raises UsageError."""
    known = manifest.read(directory)
    there = {path: _content(directory / path) for path in (*wanted, *known, *_former(directory))}
    if directory.is_dir() and directory.samefile(shipped.PACKAGE.parent):
        raise UsageError(f"{directory} is a checkout of this project; git brings it to another version")
    if not any(there[path] is not None for path in wanted):
        raise UsageError(f"{directory} holds no site; `autorthanc-spool init {directory}` lays one out")
    noted = {path: manifest.checksum(data) for path, data in wanted.items()}
    unchanged = {path for path, data in there.items() if data and known.get(path) == manifest.checksum(data)}
    differ = {path for path in wanted if there[path] not in (None, wanted[path])}
    beside = {_new(path): wanted[path] for path in sorted(differ - unchanged)}
    _refuse_to_overwrite(directory, beside, known)
    former = {path for path in there.keys() - wanted.keys() - beside.keys() if there[path] is not None}
    removed = {path for path in former if path in unchanged or there[path] == _of_this_version(path)}
    return Upgrade(
        directory,
        added={path: wanted[path] for path in sorted(wanted) if there[path] is None},
        replaced={path: wanted[path] for path in sorted(differ & unchanged)},
        beside=beside,
        removed=tuple(sorted(removed)),
        left=tuple(sorted(former - removed)),
        noted={path: digest for path, digest in noted.items() if path not in differ - unchanged}
        | {path: manifest.checksum(data) for path, data in beside.items()}
        | {path: known[path] for path in former - removed if path in known},
    )


def original(path: Path) -> Path:
    """Whose new version this is."""
    return path.with_name(path.name.removesuffix(".new"))


def _new(path: Path) -> Path:
    return path.with_name(f"{path.name}.new")


def _refuse_to_overwrite(directory: Path, beside: Contents, known: manifest.Checksums) -> None:
    for path, data in beside.items():
        found = _content(directory / path)
        if found is not None and found != data and known.get(path) != manifest.checksum(found):
            raise UsageError(f"{directory / path} is there, and isn't as it was laid out; move it away first")


def _content(path: Path) -> bytes | None:
    """Read a file; None where there is none. A link is what the site made, so it counts as something else."""
    if path.is_symlink() or path.is_dir():
        return b""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _former(directory: Path) -> Iterator[Path]:
    """What earlier versions laid out here without noting it."""
    yield from (path for path in FORMER_FILES if os.path.lexists(directory / path))
    folder = directory / FORMER_PACKAGE
    if folder.is_dir():
        found = (path.relative_to(directory) for path in folder.rglob("*") if path.is_file())
        yield from (path for path in found if "__pycache__" not in path.parts)


def _of_this_version(path: Path) -> bytes | None:
    return _content(shipped.PACKAGE.parent / path) if path.is_relative_to(FORMER_PACKAGE) else None


def _remove(directory: Path, path: Path) -> None:
    target = directory / path
    target.unlink(missing_ok=True)
    cached = target.parent / "__pycache__"
    if target.suffix == ".py" and cached.is_dir():
        for compiled in cached.glob(f"{target.stem}.*.pyc"):
            compiled.unlink(missing_ok=True)
        with suppress(OSError):
            cached.rmdir()
    for folder in target.parents:
        if folder == directory:
            break
        try:
            folder.rmdir()
        except OSError:
            break


def _shortened(paths: tuple[Path, ...]) -> list[Path]:
    """Name the copy of the package once."""
    return list(dict.fromkeys(FORMER_PACKAGE if path.is_relative_to(FORMER_PACKAGE) else path for path in paths))
