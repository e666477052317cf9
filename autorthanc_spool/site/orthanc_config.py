"""Orthanc's configuration, as `up` writes it. Pure.

Every setting that this program relies on is written, also where it is Orthanc's default: defaults differ between
versions. Source: https://orthanc.uclouvain.be/book/users/configuration.html
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from autorthanc_spool.settings import DEFAULT_WEB_PORT, Settings

# The button of docs/button.md: what the Lua script takes for a press is the user metadata 1024.
BUTTONS = {
    level: [
        {
            "HttpMethod": "PUT",
            "Id": f"autorthanc-{level}",
            "Tooltip": "Send through the rules",
            "Icon": "bi bi-send-check",
            # Relative to the page, as Orthanc may be served below another path.
            "Url": f"../../{path}/{{UUID}}/metadata/1024",
            "Payload": {"by": "button"},
            "StartMessage": f"The {level} is sent through the rules.",
        }
    ]
    for level, path in (("study", "studies"), ("series", "series"))
}

# Orthanc's own default is no limit: a peer that stops answering would hold a job permanently.
HTTP_TIMEOUT_S = 60


def web_port(settings: Settings) -> int:
    """The port of Orthanc's web server without Docker."""
    return settings.web_port or DEFAULT_WEB_PORT


def configuration(settings: Settings, lua_script: Path, explorer: Path | None = None) -> dict[str, Any]:
    """Describe an Orthanc that keeps its index and its files in the data folder and loads the script.

    `explorer` is the plugin Orthanc Explorer 2, where it is installed.
    """
    return {
        "Name": settings.display_name,
        "StorageDirectory": str(settings.db_storage_path),
        "IndexDirectory": str(settings.db_storage_path),
        "LuaScripts": [str(lua_script)],
        "Plugins": [str(explorer)] if explorer else [],
        "StableAge": settings.stable_age_s,
        **_web(settings),
        **_dicom(settings),
        **_storage(),
        **(_explorer() if explorer else {}),
    }


def text(configuration: dict[str, Any]) -> str:
    """Write a configuration as Orthanc reads it.

    Orthanc replaces `${NAME}` in the whole text before it parses it; a dollar can be in strings only, and is
    written in a way that this replacement doesn't see.
    """
    return json.dumps(configuration, indent=2).replace("$", "\\u0024") + "\n"


def _web(settings: Settings) -> dict[str, Any]:
    users = {settings.username: settings.password.get_secret_value()} if settings.password else {}
    return {
        "HttpServerEnabled": True,
        "HttpPort": web_port(settings),
        "HttpTimeout": HTTP_TIMEOUT_S,
        # Compressing DICOM takes thirty times the time of sending it.
        "HttpCompressionEnabled": False,
        # Without a password only this machine is let in.
        "RemoteAccessAllowed": settings.authentication_enabled,
        "AuthenticationEnabled": settings.authentication_enabled,
        "RegisteredUsers": users if settings.authentication_enabled else {},
        # Each of these lets whoever reaches the web port run code, write files, or bring files in past DICOM.
        "ExecuteLuaEnabled": False,
        "RestApiWriteToFileSystemEnabled": False,
        "WebDavEnabled": False,
    }


def _explorer() -> dict[str, Any]:
    return {
        "OrthancExplorer2": {"Enable": True, "IsDefaultOrthancUI": True, "UiOptions": {"CustomButtons": BUTTONS}},
    }


def _dicom(settings: Settings) -> dict[str, Any]:
    return {
        "DicomServerEnabled": True,
        "DicomAet": settings.aet_name,
        "DicomPort": settings.aet_port,
        "DicomModalities": settings.dicom_modalities,
        "DicomModalitiesInDatabase": False,
        # Scanners usually send without being listed, and to any title: refusing them would lose their studies.
        "DicomAlwaysAllowStore": not settings.dicom_strict,
        "DicomCheckCalledAet": settings.dicom_strict,
        # Private and newer storage classes are part of a study too: what is refused at the door is missing for good,
        # and nobody is told.
        "UnknownSopClassAccepted": True,
        "AcceptedTransferSyntaxes": ["1.2.840.10008.1.*"],
        "DicomAlwaysAllowFind": False,
        "DicomAlwaysAllowFindWorklist": False,
        "DicomAlwaysAllowGet": False,
        "DicomAlwaysAllowMove": False,
    }


def _storage() -> dict[str, Any]:
    return {
        # With a limit, Orthanc would delete the oldest patients to make room.
        "MaximumStorageSize": 0,
        "MaximumPatientCount": 0,
        "StorageCompression": False,
        "StoreDicom": True,
        "StoreMD5ForAttachments": True,
        "SyncStorageArea": True,
        "OverwriteInstances": False,
        "DeidentifyLogs": True,
    }
