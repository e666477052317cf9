"""Files that come with this program: what a site is laid out from, and what the program itself reads."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from pathlib import Path

from autorthanc_spool.core.errors import SpoolError
from autorthanc_spool.site import wheel

# Also what pyproject.toml puts into the wheel, below share/site.
SHIPPED = (
    ".dockerignore",
    ".env.example",
    "Dockerfile",
    "LICENSE",
    "README.md",
    "SECURITY.md",
    "automation_scripts",
    "constraints.txt",
    "deploy",
    "docker-compose.ohif.yml",
    "docker-compose.yml",
    "docs",
    "lua",
)

PACKAGE = Path(str(resources.files("autorthanc_spool")))


def files() -> dict[Path, bytes]:
    """Give all that a site is laid out from: the contents by path. The image is made of the wheel among them."""
    root = PACKAGE / "share" / "site"
    # From a checkout, the files are beside the package.
    if not root.is_dir():
        root = PACKAGE.parent
    found = {path.relative_to(root): path.read_bytes() for name in SHIPPED for path in _files(root / name)}
    return found | {Path("dist", wheel.NAME): wheel.wheel(PACKAGE, found)}


def lua_script() -> Path:
    """Find the script that Orthanc loads: in an installed package, else in a checkout."""
    return _find("lua/autorthanc_spool.lua", "share/autorthanc_spool.lua")


def example_rule() -> Path:
    """Find the rule that the demonstration shows; it isn't active as shipped."""
    return _find("automation_scripts/brain.json")


def _files(place: Path) -> Iterator[Path]:
    if place.is_file():
        yield place
    elif place.is_dir() and place.name != "__pycache__":
        for inside in sorted(place.iterdir()):
            yield from _files(inside)


def _find(in_site: str, *in_package: str) -> Path:
    # The package comes first: beside an installed one lie the packages of others.
    places = [
        *(PACKAGE / path for path in in_package),
        PACKAGE / "share" / "site" / in_site,
        PACKAGE.parent / in_site,
    ]
    for path in places:
        if path.is_file():
            return path
    raise SpoolError(f"{Path(in_site).name} is missing from this installation; install autorthanc-spool again")
