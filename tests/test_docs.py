"""What README and docs say is true: every snippet can be read, every command, setting, key and error is described."""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

import autorthanc_spool
from autorthanc_spool.actions import WORDS
from autorthanc_spool.commands.main import cli
from autorthanc_spool.core import errors, marker
from autorthanc_spool.core.dicom import Level
from autorthanc_spool.rules import fields, options, parse_rule, pixel_regions
from autorthanc_spool.settings.variables import VARIABLES

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "spool" / "README.md"]
PROGRAM = "autorthanc-spool"

_CONTEXT = click.Context(cli)
COMMANDS = {name: cli.get_command(_CONTEXT, name) for name in cli.list_commands(_CONTEXT)}

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CODE_SPAN = re.compile(r"`([^`\n]+)`")


@dataclass(frozen=True)
class Snippet:
    """A block of code in a page."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def snippets(*languages: str) -> list[Snippet]:
    found = []
    for page in PAGES:
        text = page.read_text()
        for match in _FENCE.finditer(text):
            if match[1] in languages:
                found.append(Snippet(page.name, text.count("\n", 0, match.start()) + 1, match[1], match[2]))
    return found


def commands() -> Iterator[tuple[str, list[str]]]:
    """Every call of the program that a page shows, in a block or in a sentence: where, and its words."""
    for snippet in snippets("sh", "console", ""):
        for line in snippet.text.splitlines():
            yield from ((str(snippet), words) for words in _calls(line.removeprefix("$ ")))
    for page in PAGES:
        for span in _CODE_SPAN.findall(_FENCE.sub("", page.read_text())):
            yield from ((page.name, words) for words in _calls(span))


def _calls(line: str) -> Iterator[list[str]]:
    try:
        words = shlex.split(line, comments=True)
    except ValueError:
        return
    # In front may be sudo, a user, an environment; behind, a pipe.
    if PROGRAM in words:
        call = words[words.index(PROGRAM) + 1 :]
        ends = [position for position, word in enumerate(call) if word in ("|", "&&", ";", ">", "2>")]
        yield call[: ends[0]] if ends else call


@pytest.mark.parametrize("snippet", snippets("json"), ids=str)
def test_every_json_snippet_is_a_rule_or_pixel_regions_or_a_marker(snippet: Snippet) -> None:
    content = json.loads(snippet.text)
    if "CheckOn" in content:
        parse_rule("snippet", snippet.text.encode(), WORDS)
    elif "Tags" in content:
        pixel_regions.parse_regions("snippet", snippet.text.encode())
    else:
        marker.parse("snippet.json", snippet.text.encode())


@pytest.mark.parametrize("call", [*commands()], ids=lambda call: f"{call[0]}: {' '.join(call[1])}")
def test_every_call_of_the_program_names_a_command_and_options_that_exist(call: tuple[str, list[str]]) -> None:
    words = call[1]
    if not words or words[0].startswith("-"):
        return
    if words[0] == "COMMAND":
        return
    command = COMMANDS.get(words[0])
    assert command, f"there is no command {words[0]}"
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    used = {word.partition("=")[0].strip("[]") for word in words[1:] if word.startswith(("-", "[--"))}
    assert used - known - {"--help", "-h"} == set()


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_is_described_and_says_what_it_does(name: str) -> None:
    described = (ROOT / "docs" / "commands.md").read_text()
    assert re.search(rf"`{name}\b", described)
    assert COMMANDS[name].get_short_help_str()


def test_every_option_has_a_help_text() -> None:
    silent = [
        f"{name} {parameter.opts[0]}"
        for name, command in COMMANDS.items()
        for parameter in command.params
        if isinstance(parameter, click.Option) and not parameter.help
    ]
    assert silent == []


def test_every_setting_is_described() -> None:
    settings = (ROOT / "docs" / "settings.md").read_text()
    assert [one.name for one in VARIABLES if f"`{one.name}`" not in settings] == []


def test_every_key_of_a_rule_is_described() -> None:
    rules = (ROOT / "docs" / "rules.md").read_text()
    keys = (*fields.KEYS, *fields.TAG_KEYS, *options.ANONYMISE_KEYS, *options.PRIVATE_KEYS, *options.ZIP_KEYS)
    assert [key for key in keys if f"`{key}`" not in rules and f'"{key}"' not in rules] == []


def test_every_key_of_pixel_regions_is_described() -> None:
    text = (ROOT / "docs" / "anonymise.md").read_text()
    keys = (*pixel_regions.KEYS, *pixel_regions.AREA_KEYS)
    assert [key for key in keys if f"`{key}`" not in text and f'"{key}"' not in text] == []


def all_errors() -> set[str]:
    for module in pkgutil.walk_packages(autorthanc_spool.__path__, "autorthanc_spool."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found, queue = set(), [errors.SpoolError]
    while queue:
        queue += (below := queue.pop().__subclasses__())
        found |= {one.__name__ for one in below}
    return found


def test_every_kind_of_error_that_a_marker_can_name_is_described() -> None:
    described = (ROOT / "docs" / "errors.md").read_text()
    never_in_a_marker = {"UsageError", "SettingsError", "RulesInvalid", "RuleError", "MarkerTaken", "ClaimLost"}
    families = {"Unavailable", "DeidentificationError"}
    assert sorted(kind for kind in all_errors() - never_in_a_marker - families if f"`{kind}`" not in described) == []


def test_every_error_is_drawn_in_the_hierarchy() -> None:
    drawn = errors.__doc__ or ""
    assert (
        sorted(kind for kind in all_errors() if not re.search(rf"─ {kind}\b|^    {kind}\b", drawn, re.MULTILINE)) == []
    )


def test_the_first_rule_of_the_readme_is_the_one_that_is_shipped() -> None:
    shown = next(snippet for snippet in snippets("json") if snippet.page == "README.md")
    shipped = json.loads((ROOT / "automation_scripts" / "brain.json").read_text())
    ours = json.loads(shown.text)
    assert {**ours, "IsActive": False} == {key: value for key, value in shipped.items() if key != "Comment"}
    assert parse_rule("brain", shown.text.encode(), WORDS).check_on is Level.STUDY


def test_the_matrix_of_faults_names_tests_that_exist_and_all_tests_of_faults() -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / "reliability.md").read_text()))
    definition = re.compile(r"^def (test_\w+)", re.MULTILINE)
    files = {path: set(definition.findall(path.read_text())) for path in (ROOT / "tests").rglob("test_*.py")}
    assert sorted(named - set().union(*files.values())) == []
    of_faults = set().union(*(names for path, names in files.items() if path.parent.name == "reliability"))
    assert sorted(of_faults - named) == []
