"""Settings that are right one by one and can't be right together."""

from __future__ import annotations

import ipaddress
import itertools
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from autorthanc_spool.disk import mounts

# Inside one another, these would watch, publish or tidy up each other's files.
_FOLDERS = {
    "rules_path": "ORTHANC_AUTOMATION_JSON_SCRIPTS_PATH",
    "output_path": "ORTHANC_AUTOMATION_STORAGE_PATH",
    "spool_path": "AUTORTHANC_SPOOL_PATH",
}

# Nothing but DICOM files and archives may lie in the output, least of all what leads back to patients.
_KEPT_OUT = {
    "pseudonym_key_file": "AUTORTHANC_PSEUDONYM_KEY_FILE",
    "audit_log": "AUTORTHANC_AUDIT_LOG",
    "audit_key_file": "AUTORTHANC_AUDIT_KEY_FILE",
    "metrics_file": "AUTORTHANC_METRICS_FILE",
}


_STORAGE = "AUTORTHANC_ORTHANC_STORAGE_PATH"


def of(found: Mapping[str, Any]) -> list[str]:
    """Give a sentence for each pair of settings that can't both hold; `found` is by field, and may lack some."""
    return [*_nested_folders(found), *_shared_ports(found), *_transport(found)]


def _nested_folders(found: Mapping[str, Any]) -> Iterator[str]:
    folders = {name: mounts.real(found[key]) for key, name in _FOLDERS.items() if key in found}
    for (name, folder), (other, second) in itertools.combinations(folders.items(), 2):
        if folder.is_relative_to(second) or second.is_relative_to(folder):
            yield f"{name} is {folder} and {other} is {second}; expected two folders, neither inside the other."
    for key, name in _KEPT_OUT.items():
        output = folders.get("ORTHANC_AUTOMATION_STORAGE_PATH")
        if output and found.get(key) and mounts.real(found[key]).is_relative_to(output):
            yield f"{name} is {found[key]}, inside the output; expected a path outside ORTHANC_AUTOMATION_STORAGE_PATH."
    for root, (name, folder) in itertools.product(found.get("deliver_roots") or (), folders.items()):
        if mounts.real(root).is_relative_to(folder):
            yield f"AUTORTHANC_DELIVER_ROOTS has {root}, inside {folder} ({name}); expected a folder outside of it."


def delivered(settings: Any, path: Path) -> Iterator[tuple[str, Path]]:
    """Name what a folder that a rule delivers to would lie in, or hold, although it is kept apart."""
    apart = {**_FOLDERS, "db_storage_path": "ORTAHNC_DB_STORAGE_PATH", "orthanc_storage_path": _STORAGE, **_KEPT_OUT}
    real = mounts.real(path)
    for key, name in apart.items():
        other = getattr(settings, key)
        if other and (real.is_relative_to(found := mounts.real(other)) or found.is_relative_to(real)):
            yield name, other


def _shared_ports(found: Mapping[str, Any]) -> Iterator[str]:
    names = {
        "web_port": "ORTHANC_WEB_PORT",
        "aet_port": "ORTHANC_AET_PORT",
        "postgres_port": "POSGRES_DOCKER_EXPOSE_PORT",
    }
    ports = {name: found[key] for key, name in names.items() if found.get(key)}
    for (name, port), (other, second) in itertools.combinations(ports.items(), 2):
        if port == second:
            yield f"{name} and {other} are both {port}; expected two different ports."


def _transport(found: Mapping[str, Any]) -> Iterator[str]:
    parts = urlsplit(found["orthanc_url"])
    if parts.scheme == "http" and not is_local(parts.hostname or "") and found.get("allow_plain_http") is False:
        yield (
            f"ORTHANC_URL is {found['orthanc_url']}, which sends the password to another machine in the clear; "
            "expected https://…, or AUTORTHANC_ALLOW_PLAIN_HTTP=true where the network between is protected."
        )
    ca_file = found.get("ca_file")
    if parts.scheme == "https" and ca_file:
        try:
            ca_file.open("rb").close()
            ssl.create_default_context(cafile=ca_file)
        except ssl.SSLError:
            yield f"AUTORTHANC_CA_FILE is {ca_file}, which holds no certificate; expected a PEM file."
        except OSError as error:
            yield f"AUTORTHANC_CA_FILE is {ca_file}, which can't be read ({error.strerror}); expected a PEM file."


def is_local(host: str) -> bool:
    """Whether a host is this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
