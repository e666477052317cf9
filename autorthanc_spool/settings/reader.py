"""The only reader of the environment and of `.env`.

A variable is taken from the first layer that names it: command-line option, environment, `.env` in the working
directory; else its default counts. Two spellings of one variable, and a password and its file, are one variable here.
An empty value is none.
"""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from autorthanc_spool.core.errors import SettingsError
from autorthanc_spool.settings import contradictions, envfile
from autorthanc_spool.settings.values import Refused, SecretStr
from autorthanc_spool.settings.variables import FORMER_NAMES, NAMES, SITE, VARIABLES, Variable

# Orthanc's own default for its web server; used where ORTHANC_WEB_PORT isn't set.
DEFAULT_WEB_PORT = 8042

# A file with a password is one line; a larger one was named by mistake.
_PASSWORD_MAX_BYTES = 4096

# A misspelling shares most letters with the right name; below this ratio other programs' names would be blamed.
_SIMILARITY = 0.82


@dataclass(frozen=True)
class Settings:
    """Everything that can be set, checked; paths are absolute. The table in `variables` says what each means."""

    uid: int
    gid: int
    spool_gid: int
    web_port: int | None
    db_storage_path: Path
    stable_age_s: int
    aet_name: str
    aet_port: int
    dicom_modalities: dict[str, object]
    rules_path: Path
    output_path: Path
    deliver_roots: tuple[Path, ...]
    display_name: str
    authentication_enabled: bool
    postgres_port: int
    spool_path: Path
    orthanc_url: str
    orthanc_storage_path: Path | None
    username: str
    password: SecretStr | None
    poll_interval_s: float
    observer: Literal["inotify", "polling"]
    verify: Literal["md5", "size"]
    umask: int
    download_threads: int
    dicom_strict: bool
    reconcile_interval_s: float
    ca_file: Path | None
    allow_plain_http: bool
    audit_log: Path | None
    audit_key_file: Path
    pseudonym_key_file: Path
    forward_expiry_s: float
    done_retention_days: int
    done_unmatched_retention_days: int
    alert_age_s: float
    time_zone: str | None
    metrics_file: Path | None
    log_format: Literal["text", "json", "journal"] | None
    notify_command: str | None
    notify_urls: SecretStr | None
    processor_network: str
    uncollected_after_s: float
    log_level: Literal["debug", "info", "warning", "error"]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Given:
    """One value as it was given; `origin` finishes a sentence."""

    name: str
    text: str
    origin: str


class _Problem(Exception):
    """One sentence for the person who wrote the setting."""


# One source of values, the one that counts most first: spelling → value.
_Layer = Mapping[str, _Given]


def load_settings(overrides: Mapping[str, str], environ: Mapping[str, str], directory: Path) -> Settings:
    """Read all variables; `overrides` are command-line options by the name of the variable they stand for.

    Raises SettingsError with all problems at once.
    """
    file = envfile.read(directory / ".env", NAMES)
    layers = (
        _layer(overrides, lambda _: "given as an option"),
        _layer(environ, lambda _: "in the environment"),
        _layer(file.values, lambda name: f"in .env line {file.lines[name]}"),
    )
    problems = [*file.problems, *_former_names(file)]
    found: dict[str, Any] = {}
    for variable in VARIABLES:
        with _collected(problems):
            found[variable.field] = _value(variable, layers, directory)
    with _collected(problems):
        found["password"] = _password(found.pop("password_file", None), found.get("password"), layers)
    found["orthanc_url"] = found.get("orthanc_url") or f"http://127.0.0.1:{found.get('web_port') or DEFAULT_WEB_PORT}"
    if found.get("spool_gid") is None:
        found["spool_gid"] = found.get("gid")
    found["deliver_roots"] = found.get("deliver_roots") or ()
    problems += contradictions.of(found)
    if problems:
        raise SettingsError(problems)
    return Settings(**found, warnings=file.warnings + _misspelled(file, environ))


def written_badly(path: Path) -> list[str]:
    """Give what is wrong with the way in which a `.env` file is written, whatever its values are."""
    file = envfile.read(path, NAMES)
    problems = [*file.problems, *_former_names(file)]
    layer = _layer(file.values, lambda name: f"in .env line {file.lines[name]}")
    for variable in VARIABLES:
        with _collected(problems):
            _given(variable.spellings, (layer,))
    return problems


def _former_names(file: envfile.EnvFile) -> Iterator[str]:
    spellings = {variable.name: variable.spellings for variable in VARIABLES}
    for name, present in FORMER_NAMES.items():
        if file.values.get(name) and not file.values.keys() & set(spellings[present]):
            yield f"{name} in .env line {file.lines[name]} is a name of early versions of autorthanc; write {present}=…"


@contextmanager
def _collected(problems: list[str]) -> Iterator[None]:
    try:
        yield
    except _Problem as problem:
        problems.append(str(problem))


def environment_of(settings: Settings) -> dict[str, str]:
    """Write settings as the variables that a child process reads; the password is among them."""
    texts = {variable.name: _text(getattr(settings, variable.field, None)) for variable in VARIABLES}
    texts["AUTORTHANC_UMASK"] = f"{settings.umask:03o}"
    return {name: text for name, text in texts.items() if text is not None}


def _text(value: object) -> str | None:
    match value:
        case None:
            return None
        case bool():
            return str(value).lower()
        case dict():
            return json.dumps(value)
        case SecretStr():
            return value.get_secret_value()
        case tuple():
            return ":".join(map(str, value)) or None
        case float():
            # Never in the form 1e-05, which no reader of durations takes.
            return format(Decimal(repr(value)), "f")
    return str(value)


def _layer(texts: Mapping[str, str], origin: Callable[[str], str]) -> _Layer:
    return {name: _Given(name, texts[name], origin(name)) for name in NAMES & texts.keys() if texts[name].strip()}


def _value(variable: Variable, layers: Sequence[_Layer], directory: Path) -> object:
    given = _given(variable.spellings, layers)
    if given is None:
        return _placed(variable.parse(variable.default), directory) if variable.default else None
    if re.search(r"[\x00-\x1f\x7f]", given.text):
        raise _Problem(
            f"{given.name} {given.origin} holds a line break or another control character; "
            "write it on one line, and close its quotes."
        )
    try:
        return _placed(variable.parse(given.text if variable.is_secret else given.text.strip()), directory)
    except ValueError as reason:
        raise _Problem(_sentence(variable, given, reason)) from None


def _given(spellings: Sequence[str], layers: Sequence[_Layer]) -> _Given | None:
    for layer in layers:
        given = [layer[name] for name in spellings if name in layer]
        if len({one.text for one in given}) > 1:
            raise _Problem(
                f"{given[0].name} {given[0].origin} and {given[1].name} {given[1].origin} are one variable "
                f"in two spellings, with different values; take one of them out."
            )
        if given:
            return given[0]
    return None


def _placed(value: object, directory: Path) -> object:
    return Path(os.path.abspath(directory / value)) if isinstance(value, Path) else value  # noqa: PTH100 - keeps links


def _sentence(variable: Variable, given: _Given, reason: ValueError) -> str:
    # Python's own texts repeat the value, which may be a secret; only our own are shown.
    own = f" ({reason})" if isinstance(reason, Refused) else ""
    found = "" if variable.is_secret else f" is {_shown(given.text)}{own}"
    example = variable.example or variable.default
    return f"{given.name} {given.origin}{found}; expected {variable.expected}, for example {variable.name}={example}."


def _shown(text: str) -> str:
    # An address may hold a password before the @.
    harmless = f"***@{text.rpartition('@')[2]}" if "@" in text else text
    return repr(harmless if len(harmless) <= 80 else f"{harmless[:77]}...")


def _password(file: Path | None, password: SecretStr | None, layers: Sequence[_Layer]) -> SecretStr | None:
    for layer in layers:
        text, path = layer.get("ORTHANC_PASSWORD"), layer.get("ORTHANC_PASSWORD_FILE")
        if text and path:
            raise _Problem(
                f"{text.name} {text.origin} and {path.name} {path.origin} both give a password; take one of them out."
            )
        if text:
            return password
        if path and file is not None:
            return _password_from(file, path)
    return None


def _password_from(file: Path, given: _Given) -> SecretStr:
    where = f"{given.name} {given.origin}"
    try:
        with file.open("rb") as stream:
            data = stream.read(_PASSWORD_MAX_BYTES + 1)
    except OSError as error:
        raise _Problem(
            f"{where} names {file}, which can't be read ({error.strerror}); "
            "expected a file with the password in one line, readable for this user."
        ) from None
    try:
        password = data.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        password = ""
    if not password or len(data) > _PASSWORD_MAX_BYTES or re.search(r"[\x00-\x1f\x7f]", password):
        raise _Problem(f"{where} names {file}, which isn't one line of text; expected the password and nothing else.")
    return SecretStr(password)


def nearest_name(name: str) -> str | None:
    """Ask whether another variable was meant; None when it is one, or like none."""
    # ORTHANC__… is how the Orthanc image names parts of Orthanc's own configuration.
    if name in NAMES or name.startswith("ORTHANC__") or len(name) < 6:
        return None
    nearest = difflib.get_close_matches(name.upper(), sorted(NAMES), n=1, cutoff=_SIMILARITY)
    return f"did you mean {nearest[0]}?" if nearest else None


def _misspelled(file: envfile.EnvFile, environ: Mapping[str, str]) -> tuple[str, ...]:
    # In the environment other programs have their variables; only the prefix is ours alone.
    ours = [name for name in environ if name.startswith("AUTORTHANC_") and name != SITE]
    places = dict.fromkeys(ours, "in the environment") | {
        name: f"in .env line {file.lines[name]}" for name in file.values
    }
    return tuple(
        f"{name} {place} is not a variable of autorthanc-spool; {question}"
        for name, place in places.items()
        if (question := nearest_name(name))
    )
