"""Values of settings: from text to a value. Each function raises ValueError; Refused where there is more to say."""

from __future__ import annotations

import json
import re
import shlex
import zoneinfo
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

_TRUE = {"true", "yes", "1"}
_FALSE = {"false", "no", "0"}
_DAY_S = 86400.0
_LONGEST_S = 3650 * _DAY_S
_SECONDS = {"d": _DAY_S, "h": 3600.0, "m": 60.0, "s": 1.0, "": 1.0}

# PS3.5 section 6.2: an application entity title has at most 16 characters.
_AET_MAX_CHARACTERS = 16

# A file, or an abbreviation with its hours: `:/etc/localtime`, `CET-1CEST`.
_POSIX_ZONE = re.compile(r":|(?:[A-Za-z]{3,}|<[^>]+>)[+-]?[0-9]")

# The highest user and group number of Linux; 2**32 - 1 means "leave it" to chown.
_MAX_ID = 2**32 - 2


class Refused(ValueError):
    """A value that can't be taken; the text says why, without repeating the value."""


@dataclass(frozen=True)
class SecretStr:
    """A password that doesn't show in logs, tracebacks and representations."""

    _value: str = field(repr=False)

    def get_secret_value(self) -> str:
        """Give the password itself."""
        return self._value


def boolean(text: str) -> bool:
    """Read true, false, yes, no, 1 or 0 in any letter case."""
    word = text.lower()
    if word not in _TRUE | _FALSE:
        raise ValueError
    return word in _TRUE


def whole_number(lowest: int, highest: int) -> Callable[[str], int]:
    """Make a reader of decimal digits within two bounds."""

    def read(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,20}", text) or not lowest <= int(text) <= highest:
            raise ValueError
        return int(text)

    return read


port = whole_number(1, 65535)
user_or_group = whole_number(0, _MAX_ID)


def seconds(text: str) -> float:
    """Read a positive number of seconds up to a day, with or without a fraction."""
    value = float(text)
    if not 0 < value <= _DAY_S:
        raise ValueError
    return value


def duration(text: str) -> float:
    """Read `5d`, `12h`, `30m`, `90s` or plain seconds; give seconds."""
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([dhms]?)", text.lower())
    if found is None:
        raise ValueError
    value = float(found[1]) * _SECONDS[found[2]]
    if not 0 < value <= _LONGEST_S:
        raise ValueError
    return value


def duration_or_none(text: str) -> float:
    """Read a duration, or 0 for none."""
    return 0.0 if re.fullmatch(r"0+(\.0+)?", text) else duration(text)


def command(text: str) -> str:
    """Read a command as a shell would split it; its words aren't expanded."""
    if not shlex.split(text):
        raise ValueError
    return text


def umask(text: str) -> int:
    """Read an octal file mode mask, with or without the leading zero or `0o`."""
    found = re.fullmatch(r"(?:0o)?([0-7]{1,4})", text)
    if found is None or int(found[1], 8) > 0o777:
        raise ValueError
    mask = int(found[1], 8)
    if mask & 0o700:
        raise Refused("it would take permissions from the owner, who must write here")
    return mask


def word(*words: str) -> Callable[[str], str]:
    """Make a reader of one of some words in any letter case."""

    def read(text: str) -> str:
        if text.lower() not in words:
            raise ValueError
        return text.lower()

    return read


def time_zone(text: str) -> str:
    """Read the name of a time zone, or what else POSIX has in TZ: of an unknown name, the C library would make UTC."""
    if not _POSIX_ZONE.match(text):
        try:
            zoneinfo.ZoneInfo(text)
        except zoneinfo.ZoneInfoNotFoundError:
            raise ValueError from None
    return text


def path(text: str) -> Path:
    """Read a path; a relative one is resolved by the caller."""
    if text.startswith("~"):
        raise Refused("~ isn't expanded here; write the path out")
    return Path(text)


def folders(text: str) -> tuple[Path, ...]:
    """Read whole paths of folders, with colons between."""
    found = tuple(Path(one) for one in text.split(":"))
    if any(not one.is_absolute() or ".." in one.parts for one in found):
        raise Refused("each begins with /, and .. isn't followed")
    if Path("/") in found:
        raise Refused("/ would allow every folder of the machine")
    return tuple(dict.fromkeys(found))


def aet(text: str) -> str:
    """Read an application entity title (PS3.5 section 6.2)."""
    if len(text) > _AET_MAX_CHARACTERS or not re.fullmatch(r"[ -\[\]-~]+", text):
        raise ValueError
    return text


def plain_text(text: str) -> str:
    """Take the text as it is."""
    return text


def secret(text: str) -> SecretStr:
    """Take a password as it is, with its spaces."""
    return SecretStr(text)


def user_name(text: str) -> str:
    """Read a user's name; HTTP's Basic authentication separates it from the password by a colon (RFC 7617)."""
    if ":" in text:
        raise ValueError
    return text


def url(text: str) -> str:
    """Read a base URL; a slash at its end is dropped."""
    parts = urlsplit(text)
    if parts.username is not None or parts.password is not None or "@" in parts.netloc:
        raise Refused("it holds a user; those go into ORTHANC_USERNAME and ORTHANC_PASSWORD")
    if parts.scheme.lower() not in {"http", "https"} or not parts.hostname or " " in text:
        raise ValueError
    if parts.query or parts.fragment or "?" in text or "#" in text:
        raise Refused("it goes on after ? or #, which a base address can't")
    if parts.port is not None and not 1 <= parts.port <= 65535:
        raise ValueError
    return text.rstrip("/")


def modalities(text: str) -> dict[str, object]:
    """Read Orthanc's `DicomModalities`: a JSON object of name → [AET, host, port] or an object with those keys.

    Source: https://orthanc.uclouvain.be/book/users/configuration.html
    """
    try:
        value = json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        raise Refused(f"it isn't JSON at character {error.pos + 1}: {error.msg}") from None
    except RecursionError:
        raise Refused("it is nested too deeply") from None
    if not isinstance(value, dict):
        raise Refused("it is JSON, but not an object")
    for name, modality in value.items():
        _check_modality(name, modality)
    return value


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise Refused("it names one thing twice")
    return value


def _check_modality(name: str, modality: object) -> None:
    # Orthanc refuses to start with any other name.
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise Refused(f"the name {json.dumps(name)} may hold letters, digits, - and _ only")
    match modality:
        case [title, host, number, *rest]:
            _check_address(name, title, host, number)
            if len(rest) > 1:
                raise Refused(f"{name} has more than AET, host, port and manufacturer")
        case {"AET": title, "Host": host, "Port": number}:
            _check_address(name, title, host, number)
        case _:
            raise Refused(f'{name} is neither ["AET", "host", port] nor an object with AET, Host and Port')


def _check_address(name: str, title: object, host: object, number: object) -> None:
    try:
        if not isinstance(title, str) or not title.strip():
            raise ValueError
        aet(title)
    except ValueError:
        raise Refused(f"the AET of {name} must be text of 1 to 16 ASCII characters without a backslash") from None
    if not isinstance(host, str) or not host.strip():
        raise Refused(f"the host of {name} must be text")
    if isinstance(number, bool) or not isinstance(number, int | str):
        raise Refused(f"the port of {name} must be a number")
    try:
        port(str(number))
    except ValueError:
        raise Refused(f"the port of {name} must be from 1 to 65535") from None
