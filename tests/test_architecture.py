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

from autorthanc_spool.commands import main

PACKAGE = Path(__file__).parents[1] / "autorthanc_spool"

# What each family may import of the others. Arrows go one way: what a family may import never imports it back.
ARROWS = {
    "core": set(),
    "disk": {"core"},
    "rules": {"core"},
    "orthanc": {"core"},
    "settings": {"disk", "core"},
    "deidentify": {"rules", "disk", "core"},
    "spool": {"disk", "core"},
    "output": {"spool", "disk", "core"},
    "outgoing": {"output", "spool", "deidentify", "rules", "orthanc", "disk", "core"},
    "actions": {"outgoing", "output", "rules", "orthanc", "disk", "core"},
    "monitor": {"spool", "settings", "disk", "core"},
    "run": {
        "monitor",
        "actions",
        "outgoing",
        "output",
        "spool",
        "deidentify",
        "rules",
        "orthanc",
        "settings",
        "disk",
        "core",
    },
    "doctor": {"run", "monitor", "output", "spool", "orthanc", "settings", "disk", "core"},
    "site": {"run", "monitor", "spool", "settings", "disk", "core"},
    "demo": {"site", "run", "settings", "core"},
    "commands": {
        "demo",
        "doctor",
        "site",
        "run",
        "monitor",
        "actions",
        "outgoing",
        "spool",
        "deidentify",
        "rules",
        "settings",
        "disk",
        "core",
    },
}

# No files, no network, no clock, no chance: what these give depends on what they are given.
PURE = ("core", "rules", "run.plan")
NOT_PURE = {"os", "pathlib", "shutil", "socket", "subprocess", "threading", "time", "random", "secrets", "logging"}
NOT_PURE |= {"urllib3", "watchdog", "filelock", "click", "rich"}

# Who may import a library that has an effect.
OWNERS = {
    "urllib3": {"orthanc.client"},
    "http": {"orthanc.client", "orthanc.connections", "orthanc.transfer"},
    "filelock": {"disk.locks"},
    "pynetdicom": {"demo.study", "doctor.storage"},
    "isal": {"disk.archive"},
    "dotenv": {"settings.envfile"},
}

# Who may read the environment: the settings, by what the commands that start a process hand to them.
ENVIRONMENT_READERS = {
    "commands.options",
    "commands.run",
    "commands.status",
    "demo.demonstration",
    "site.prepare",
    "site.up",
}


# The keys of what a record keeps of a rule's work and its errors: `core.outcome`,
# `core.marker` and `core.record` spell them.
RECORD_KEYS = {
    "outcome", "outcomes", "md5sums", "kept", "committed", "deleted_from_orthanc", "needed_bytes", "last_update",
    "waits_for", "traceback", "deferrals", "deaths", "attempts", "filed", "pseudonym_key", "withheld", "emptied",
    "private_removed", "private_cleaned", "cut_from_pixels", "blacked_out", "archive_bytes", "archive_md5",
    "superseded_by", "takeovers", "sealed", "owed", "owes",
}  # fmt: skip

# Who uses such a word in a text of its own.
OTHER_TEXTS = {
    ("spool.audit", "outcome"): "a line of the audit log, which has a format of its own",
    ("commands.list", "attempts"): "what `list --json` prints",
    ("commands.list", "outcomes"): "what `list --json` prints",
    ("commands.replay", "last_update"): "what `replay --json` prints",
    ("monitor.metrics", "outcome"): "a label of a metric",
}

# Who compares the kind of something that isn't an error of ours: of a row of Orthanc's log of changes.
OTHER_KINDS = {"doctor.probe", "doctor.traffic"}


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


def family(name: str) -> str:
    return name.partition(".")[0]


def is_pure(name: str) -> bool:
    return name in PURE or family(name) in PURE


@pytest.mark.parametrize("name", sorted(filter(is_pure, modules())))
def test_what_decides_is_pure(name: str) -> None:
    module = modules()[name]
    assert sorted(one for one in module.ours if not is_pure(one)) == []
    assert sorted(module.others & NOT_PURE) == []


def test_every_module_belongs_to_a_family() -> None:
    assert {family(name) for name in modules()} - {"package", "__main__"} == set(ARROWS)


@pytest.mark.parametrize("importer", sorted(ARROWS))
def test_a_family_imports_only_what_is_below_it(importer: str) -> None:
    imported = {family(one) for name, module in modules().items() if family(name) == importer for one in module.ours}
    assert imported - {importer, "__version__"} <= ARROWS[importer]


def test_the_arrows_go_one_way() -> None:
    for importer, imported in ARROWS.items():
        assert [one for one in imported if importer in ARROWS[one]] == []


def test_only_commands_speak_the_language_of_the_command_line() -> None:
    users = {name for name, module in modules().items() if "click" in module.others}
    assert {name for name in users if family(name) != "commands"} == {"site.prepare"}


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
    program = "import sys, autorthanc_spool.commands.main, autorthanc_spool.commands.run; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert {"pydicom", "multiprocessing", "rich", "watchdog.observers"}.intersection(loaded) == set()


def test_the_list_of_commands_is_shown_without_importing_them() -> None:
    program = "import sys\nfrom autorthanc_spool.commands.main import cli\n"
    program += "cli.main(['--help'], standalone_mode=False)\nprint(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert [name for name in main.COMMANDS if f"autorthanc_spool.commands.{name}" in loaded.split()] == []
    assert [name for name in main.COMMANDS if f"\n  {name} " not in loaded] == []


@pytest.mark.parametrize("command", ["run", "status"])
def test_rules_are_read_without_pydicom(command: str) -> None:
    """It takes as long to import as all the rest, twice as long where numpy and codecs lie beside it."""
    program = f"import sys, autorthanc_spool.commands.{command}\nfrom autorthanc_spool.rules import vocabulary\n"
    program += "assert vocabulary.find('PatientID'), 'unknown'\nprint(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert {"pydicom", "numpy"}.intersection(loaded) == set()


def test_every_file_of_a_command_is_in_the_list_of_commands_and_the_other_way_round() -> None:
    files = {name.removeprefix("commands.") for name, module in modules().items() if _defines(module, "command")}
    assert files == set(main.COMMANDS)


def _defines(module: Module, name: str) -> bool:
    is_command = family(module.name) == "commands"
    return is_command and any(isinstance(one, ast.FunctionDef) and one.name == name for one in module.tree.body)


def test_the_docs_name_modules_that_there_are() -> None:
    text = (PACKAGE.parent / "docs" / "architecture.md").read_text()
    table = [line for line in text.splitlines() if line.startswith("| ")]
    named = {name for line in table[1:] for name in re.findall(r"`([a-z][a-z_.]*)`", line)}
    assert len(named) > 20
    assert named <= {*modules(), *ARROWS}


def test_only_core_spells_the_keys_of_a_record() -> None:
    found = {
        (name, node.value)
        for name, module in modules().items()
        if family(name) != "core"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Constant) and node.value in RECORD_KEYS
    }
    assert found == set(OTHER_TEXTS)


def test_no_class_is_recognised_by_its_name() -> None:
    found = {
        name
        for name, module in modules().items()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Compare) and _compares_a_class_name(node)
    }
    assert found == OTHER_KINDS


def _compares_a_class_name(node: ast.Compare) -> bool:
    sides = [node.left, *node.comparators]
    is_named = any(isinstance(side, ast.Attribute) and side.attr in ("kind", "__name__") for side in sides)
    texts = [one for side in sides for one in ast.walk(side) if isinstance(one, ast.Constant)]
    return is_named and any(isinstance(one.value, str) for one in texts)


def test_no_module_of_tests_imports_another_one() -> None:
    """What several need is in tests/helpers: pytest would load the module a second time."""
    importer = re.compile(r"^\s*from tests[.\w]*\.test_\w+ import|^\s*import tests[.\w]*\.test_", re.MULTILINE)
    tests = PACKAGE.parent / "tests"
    assert [str(path.relative_to(tests)) for path in tests.rglob("*.py") if importer.search(path.read_text())] == []
