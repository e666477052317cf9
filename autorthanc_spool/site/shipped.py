"""Files that come with this program and aren't Python."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from autorthanc_spool.core.errors import SpoolError

_PACKAGE = Path(str(resources.files("autorthanc_spool")))


def lua_script() -> Path:
    """Find the script that Orthanc loads: in an installed package, else in a checkout."""
    return _find("lua/autorthanc_spool.lua", "share/autorthanc_spool.lua")


def example_rule() -> Path:
    """Find the rule that the demonstration shows; it isn't active as shipped."""
    return _find("automation_scripts/brain.json")


def _find(in_site: str, *in_package: str) -> Path:
    # The package comes first: beside an installed one lie the packages of others.
    places = [
        *(_PACKAGE / path for path in in_package),
        _PACKAGE / "share" / "site" / in_site,
        _PACKAGE.parent / in_site,
    ]
    for path in places:
        if path.is_file():
            return path
    raise SpoolError(f"{Path(in_site).name} is missing from this installation; install autorthanc-spool again")
