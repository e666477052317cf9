"""The import arrows: a pure core that decides, a thin shell that does, one effect with one owner, no way back."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "autorthanc_spool"

# No files, no network, no clock, no chance: what these give depends on what they are given.
CORE = ("errors", "dicom", "marker", "lifecycle", "naming", "plan", "record", "rules")
NOT_PURE = {"os", "pathlib", "shutil", "socket", "subprocess", "threading", "time", "random", "secrets", "logging"}
NOT_PURE |= {"urllib3", "watchdog", "filelock", "click", "rich"}

# Who may import a library that has an effect.
OWNERS = {
    "urllib3": {"orthanc", "orthanc_transfer"},
    "filelock": {"locks"},
    "click": {"cli", "cli_options", "cli_upkeep", "views", "views_upkeep", "site.prepare"},
    "pynetdicom": {"demo.study"},
    "isal": {"archive"},
    "dotenv": {"settings.envfile"},
}

# Who may read the environment: the settings, by what the commands that start a process hand to them.
ENVIRONMENT_READERS = {"cli_options", "demo.demonstration", "site.prepare", "site.up"}


@dataclass(frozen=True)
class Module:
    """A module of the package: what it imports of ours and of others, and its syntax tree."""

    name: str
    ours: frozenset[str]
    others: frozenset[str]
    tree: ast.Module


@cache
def modules() -> dict[str, Module]:
    paths = {_name(path): path for path in PACKAGE.rglob("*.py")}
    return {name: _module(name, path, frozenset(paths)) for name, path in paths.items()}


def _name(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__").replace("__init__", "package")


def _module(name: str, path: Path, known: frozenset[str]) -> Module:
    tree = ast.parse(path.read_text())
    imported = set(_imported(tree, known))
    ours = frozenset(one.removeprefix("autorthanc_spool.") for one in imported if one.startswith("autorthanc_spool."))
    others = frozenset(one.partition(".")[0] for one in imported if not one.startswith("autorthanc_spool"))
    return Module(name, ours - {name}, others, tree)


def _imported(tree: ast.Module, known: frozenset[str]) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                below = f"{node.module}.{alias.name}"
                yield below if below.removeprefix("autorthanc_spool.") in known else node.module


def is_core(name: str) -> bool:
    return name.partition(".")[0] in CORE


@pytest.mark.parametrize("name", sorted(filter(is_core, modules())))
def test_the_core_is_pure_and_knows_nothing_of_the_shell(name: str) -> None:
    module = modules()[name]
    assert sorted(one for one in module.ours if not is_core(one)) == []
    assert sorted(module.others & NOT_PURE) == []


def test_the_core_is_where_the_design_says() -> None:
    assert {name for name in CORE if name in modules()} == set(CORE)


@pytest.mark.parametrize("library", sorted(OWNERS))
def test_a_library_with_an_effect_has_one_owner(library: str) -> None:
    assert {name for name, module in modules().items() if library in module.others} == OWNERS[library]


def test_only_the_commands_hand_the_environment_on() -> None:
    readers = {name for name, module in modules().items() if any(map(_reads_environment, ast.walk(module.tree)))}
    assert readers <= ENVIRONMENT_READERS


def _reads_environment(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv", "environb")


def test_no_module_is_imported_by_what_it_imports() -> None:
    def walk(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " → ".join((*way, name))
        if name not in seen:
            for below in sorted(modules()[name].ours & modules().keys()):
                walk(below, (*way, name))
            seen.add(name)

    seen: set[str] = set()
    for name in modules():
        walk(name, ())


def test_a_run_begins_without_what_only_some_rules_and_commands_need() -> None:
    program = "import sys, autorthanc_spool.cli; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert {"pydicom", "multiprocessing", "rich", "watchdog.observers"}.intersection(loaded) == set()


def test_no_module_grows_beyond_300_lines() -> None:
    large = {str(path.relative_to(PACKAGE)): len(path.read_text().splitlines()) for path in PACKAGE.rglob("*.py")}
    assert {name: lines for name, lines in large.items() if lines > 300} == {}


def test_the_docs_name_modules_that_there_are() -> None:
    text = (PACKAGE.parent / "docs" / "architecture.md").read_text()
    table = [line.split("|")[2] for line in text.splitlines() if line.startswith("| ")]
    named = {name for cell in table[1:] for name in re.findall(r"`([a-z_.]+)`", cell)}
    assert len(named) > 20
    assert named <= {name.partition(".")[0] for name in modules()}
