"""Files that come with this program and aren't Python."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from autorthanc_spool.errors import SpoolError

_PACKAGE = Path(str(resources.files("autorthanc_spool")))


def lua_script() -> Path:
    """Find the script that Orthanc loads: in an installed package, else in a checkout."""
    return _find("share/autorthanc_spool.lua", "lua/autorthanc_spool.lua")


def example_rule() -> Path:
    """Find the rule that the demonstration shows; it isn't active as shipped."""
    return _find("share/automation_scripts/brain.json", "automation_scripts/brain.json")


def _find(in_package: str, in_checkout: str) -> Path:
    # The package comes first: beside an installed one lie the packages of others.
    for path in (_PACKAGE / in_package, _PACKAGE.parent / in_checkout):
        if path.is_file():
            return path
    raise SpoolError(f"{Path(in_package).name} is missing from this installation; install autorthanc-spool again")
