#!/usr/bin/python3
"""Turn `ORTHANC__…` variables, and files of that name in /run/secrets, into Orthanc's configuration; start Orthanc."""

import json
import os
import sys
from pathlib import Path

# Names that the rule "one capital letter a word" doesn't give.
ODD_NAMES = {
    "ORTHANC__STORE_MD5_FOR_ATTACHMENTS": "StoreMD5ForAttachments",
    "ORTHANC__POSTGRESQL__ENABLE_SSL": "PostgreSQL.EnableSsl",
}
ODD_SECTIONS = {"POSTGRESQL": "PostgreSQL"}
PLUGINS = {
    "POSTGRESQL_PLUGIN_ENABLED": "libOrthancPostgreSQLIndex.so",
    "DICOM_WEB_PLUGIN_ENABLED": "libOrthancDicomWeb.so",
}
PLUGIN_FOLDER = Path("/usr/share/orthanc/plugins")


def path_of(name: str) -> list[str]:
    """Give the keys that a variable stands for."""
    if name in ODD_NAMES:
        return ODD_NAMES[name].split(".")
    words = name.removeprefix("ORTHANC__").split("__")
    return [ODD_SECTIONS.get(word) or "".join(part.capitalize() for part in word.split("_")) for word in words]


def value_of(text: str) -> object:
    """Read JSON; anything else is text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def configuration() -> dict:
    """Collect variables first, then secrets, as the image does."""
    texts = {name: text for name, text in os.environ.items() if name.startswith("ORTHANC__")}
    secrets = (path for path in Path("/run/secrets").glob("*") if path.is_file())
    texts |= {path.name: path.read_text().rstrip("\n") for path in secrets if path.name.startswith("ORTHANC__")}
    plugins = [str(PLUGIN_FOLDER / library) for name, library in PLUGINS.items() if os.environ.get(name) == "true"]
    found: dict = {
        "StorageDirectory": "/var/lib/orthanc/db", "RemoteAccessAllowed": True, "AuthenticationEnabled": True,
        "Plugins": plugins,
    }  # fmt: skip
    for name, text in texts.items():
        *sections, key = path_of(name)
        section = found
        for word in sections:
            section = section.setdefault(word, {})
        section[key] = value_of(text)
    return found


def main() -> None:
    """Write the configuration and become Orthanc."""
    # The image writes there at each start, so that a read-only root file system breaks it; so does the stand-in.
    Path("/tmp/orthanc.json").write_text(json.dumps(configuration(), indent=2))
    os.execvp("Orthanc", ["Orthanc", *sys.argv[1:]])


main()
