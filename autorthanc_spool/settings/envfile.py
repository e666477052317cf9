"""The `.env` file: one `NAME=value` a line, read as it is, without expanding anything.

Docker Compose reads the same file and expands `$` outside single quotes, where other readers take it as it is. A
value that two programs would read differently is refused here, so that nobody looks for a password that isn't one.
"""

from __future__ import annotations

import io
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from dotenv.parser import Binding, parse_stream

_QUOTE = re.compile(r"""[^=]*=\s*(["'])""")


@dataclass(frozen=True)
class EnvFile:
    """What a `.env` file says: values and line numbers (from 1) by name, problems and warnings as sentences."""

    values: dict[str, str] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def read(path: Path, ours: Collection[str]) -> EnvFile:
    """Read a `.env` file; one that is missing is empty. Only values of our own variables are judged."""
    try:
        text = path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return EnvFile()
    except UnicodeDecodeError as error:
        return EnvFile(problems=(f".env can't be decoded as UTF-8 (byte {error.start}); save it as UTF-8.",))
    except OSError as error:
        return EnvFile(problems=(f".env can't be read ({error.strerror}); it must be a file that this user may read.",))
    return parse(text, ours)


def parse(text: str, ours: Collection[str]) -> EnvFile:
    """Read the text of a `.env` file. The last of several lines with one name counts, as it does for Compose."""
    values: dict[str, str] = {}
    lines: dict[str, int] = {}
    problems: list[str] = []
    warnings: list[str] = []
    for binding in parse_stream(io.StringIO(text, newline="")):
        if binding.key is None and not binding.error:
            continue
        line = _line(binding)
        problem = _problem(binding, line, ours)
        if problem is not None:
            problems.append(problem)
        elif binding.key is not None and binding.value is not None:
            if binding.key in ours and values.get(binding.key, binding.value) != binding.value:
                warnings.append(f"{binding.key} is in .env line {lines[binding.key]} and {line}; line {line} counts.")
            values[binding.key] = binding.value
            lines[binding.key] = line
    return EnvFile(values, lines, tuple(problems), tuple(warnings))


def _line(binding: Binding) -> int:
    # The parser counts the empty lines above a line as a part of it.
    original = binding.original.string
    blank = original[: len(original) - len(original.lstrip())]
    return binding.original.line + len(re.findall(r"\r\n|\n|\r", blank))


def _problem(binding: Binding, line: int, ours: Collection[str]) -> str | None:
    if binding.error:
        # The line may hold a password, so it isn't shown.
        return (
            f".env line {line} can't be read; expected NAME=value with nothing after a closing quote, "
            "and every quote closed on its line. Comments begin with #."
        )
    if binding.key not in ours:
        return None
    if binding.value is None:
        return f"{binding.key} in .env line {line} has no value; write {binding.key}=value, or take the line out."
    return _ambiguity(binding.key or "", binding.value, binding.original.string, line)


def _ambiguity(name: str, value: str, original: str, line: int) -> str | None:
    found = _QUOTE.match(original)
    quote = found[1] if found else ""
    if "$" in value and quote != "'":
        return (
            f"{name} in .env line {line} holds a $ outside single quotes, which Docker Compose would expand; "
            f"write {name}='…' in single quotes."
        )
    if quote and f"{quote}{value}{quote}" not in original:
        # Docker Compose keeps some of the backslashes in quotes that other readers drop.
        return (
            f"{name} in .env line {line} holds a backslash before a quote or another backslash, which not every reader "
            f"of this file takes alike; write the value without quotes, or in a file where there is {name}_FILE."
        )
    return None
