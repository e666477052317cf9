"""Where rules may deliver to: below the folders of AUTORTHANC_DELIVER_ROOTS, apart from all that is ours."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from autorthanc_spool.disk import mounts
from autorthanc_spool.output.folders import obstacle
from autorthanc_spool.rules import Refusal, Refuses, Rule
from autorthanc_spool.settings import Settings, contradictions

# Room for a rule's folder and the names in it: Linux takes paths of 4095 bytes.
LONGEST_BYTES = 1000

# Two paths have most of their folders in common; below this ratio of common letters, another one is meant.
_SIMILARITY = 0.8

_VARIABLE = "AUTORTHANC_DELIVER_ROOTS"


def judge(settings: Settings) -> Refuses:
    """Make what says why a path can't be delivered to, if it can't."""
    return lambda path: _refusal(settings, path)


def is_there(root: str) -> bool:
    """Whether there is such a folder, for this user; also one on a share that doesn't answer at the moment."""
    return not mounts.answers(Path(root)) or os.path.isdir(root)  # noqa: PTH112 - Path.is_dir() raises where a folder above is closed


def missing(rule: Rule) -> str:
    """Say that what a rule delivers to isn't there at the moment, if it isn't."""
    if not rule.deliver or is_there(rule.deliver):
        return ""
    if os.path.lexists(rule.deliver):
        return f"Deliver: {rule.deliver} is not a folder; name a folder, or move away what is there"
    siblings: list[str] = []
    with suppress(OSError):
        siblings = [str(one) for one in Path(rule.deliver).parent.iterdir() if one.is_dir()]
    hint = _did_you_mean(rule.deliver, siblings) or "what matches waits until it is mounted or made"
    return f"Deliver: there is no folder {rule.deliver} at the moment; {hint}"


def in_the_way(settings: Settings, rule: Rule) -> str:
    """Say that something else is where a rule's folder would be, if so; nothing while that can't be looked at."""
    root = Path(rule.deliver) if rule.deliver else settings.output_path
    with suppress(OSError):
        return obstacle(root / rule.folder) if rule.is_active and mounts.answers(root) else ""
    return ""


def _refusal(settings: Settings, path: str) -> Refusal | None:
    for name, folder in contradictions.delivered(settings, Path(path)):
        found = f"{_quoted(path)}, which is, contains or is inside {folder} ({name})"
        hint = 'without "Deliver", a rule publishes into the output' if folder == settings.output_path else None
        return Refusal(found, f"a folder apart from it, {_allowed(settings)}", hint)
    if len(path.encode()) > LONGEST_BYTES:
        return Refusal(f"a path of {len(path.encode())} bytes", f"one of at most {LONGEST_BYTES}")
    bases = [root for root in settings.deliver_roots if Path(path).is_relative_to(root)]
    if not bases:
        return Refusal(_quoted(path), f"a folder {_allowed(settings)}", _hint(settings, path))
    if not mounts.answers(Path(path)):
        # The rules are read all the same: what doesn't answer holds up what is delivered there, and nothing else.
        return None
    base = max(bases, key=lambda root: len(root.parts))
    below = Path(os.path.realpath(base), Path(path).relative_to(base))
    if Path(os.path.realpath(below)) != below:
        return Refusal(
            f"{_quoted(path)}, with a link in it", "a path without links", f"links below {base} aren't followed"
        )
    return None


def _allowed(settings: Settings) -> str:
    if not settings.deliver_roots:
        return f"of {_VARIABLE}, which isn't set"
    return f"at or below {' or '.join(map(str, settings.deliver_roots))} ({_VARIABLE})"


def _hint(settings: Settings, path: str) -> str:
    """Put the allowed folder into the place of as many parts of the path."""
    parts = Path(path).parts
    candidates = [str(Path(root, *parts[len(root.parts) :])) for root in settings.deliver_roots]
    return _did_you_mean(path, candidates) or f"where it is right, add the folder to {_VARIABLE} in .env"


def _did_you_mean(path: str, candidates: Iterable[str]) -> str:
    meant = difflib.get_close_matches(path, list(candidates), n=1, cutoff=_SIMILARITY)
    return f"did you mean {_quoted(meant[0])}?" if meant else ""


def _quoted(path: str) -> str:
    return json.dumps(path, ensure_ascii=not path.isprintable())
