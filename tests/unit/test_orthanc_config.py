"""Orthanc's configuration: safe by default, and nothing in it expands."""

import json
from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from autorthanc_spool.settings import Settings, load_settings
from autorthanc_spool.site import orthanc_config

SITE = Path("/nowhere/site")
SCRIPT = Path("/nowhere/autorthanc_spool.lua")


def settings_of(**environ: str) -> Settings:
    return load_settings({}, {"ORTHANC_PASSWORD": "secret"} | environ, SITE)


def configuration_of(**environ: str) -> dict[str, object]:
    return orthanc_config.configuration(settings_of(**environ), SCRIPT)


def test_settings_reach_orthanc() -> None:
    modalities = {"PACS": ["PACSAET", "10.0.0.5", 104]}
    configuration = configuration_of(
        ORTHANC_DISPLAY_NAME="our archive",
        ORTHANC_STABLE_AGE="77",
        ORTHANC_AET_NAME="OURS",
        ORTHANC_AET_PORT="104",
        ORTHANC_WEB_PORT="8080",
        ORTHANC_DICOM_MODALITIES=json.dumps(modalities),
        ORTHANC_USERNAME="reader",
        ORTAHNC_DB_STORAGE_PATH="/data",
    )
    expected = {
        "Name": "our archive",
        "StableAge": 77,
        "DicomAet": "OURS",
        "DicomPort": 104,
        "HttpPort": 8080,
        "DicomModalities": modalities,
        "RegisteredUsers": {"reader": "secret"},
        "StorageDirectory": "/data",
        "IndexDirectory": "/data",
        "LuaScripts": [str(SCRIPT)],
    }
    assert {key: configuration[key] for key in expected} == expected


def test_without_a_web_port_orthanc_keeps_its_own() -> None:
    assert configuration_of()["HttpPort"] == 8042


def test_nobody_runs_code_or_writes_files_through_the_web_port() -> None:
    configuration = configuration_of()
    for key in ("ExecuteLuaEnabled", "RestApiWriteToFileSystemEnabled", "WebDavEnabled"):
        assert configuration[key] is False


def test_nothing_is_recycled_and_everything_has_a_checksum() -> None:
    configuration = configuration_of()
    assert configuration["MaximumStorageSize"] == 0
    assert configuration["MaximumPatientCount"] == 0
    assert configuration["StoreMD5ForAttachments"] is True
    assert configuration["HttpTimeout"] == orthanc_config.HTTP_TIMEOUT_S


def test_scanners_that_are_not_listed_may_store_unless_strict() -> None:
    assert configuration_of()["DicomAlwaysAllowStore"] is True
    assert configuration_of()["DicomCheckCalledAet"] is False
    strict = configuration_of(AUTORTHANC_DICOM_STRICT="true")
    assert strict["DicomAlwaysAllowStore"] is False
    assert strict["DicomCheckCalledAet"] is True


def test_without_authentication_only_this_machine_is_let_in() -> None:
    configuration = configuration_of(ORTHANC_AUTHENTICATION_ENABLED="false")
    assert configuration["AuthenticationEnabled"] is False
    assert configuration["RemoteAccessAllowed"] is False
    assert configuration["RegisteredUsers"] == {}


@given(st.text())
def test_no_text_is_expanded_or_changed(name: str) -> None:
    written = orthanc_config.text({"Name": name})
    assert "$" not in written
    assert json.loads(written) == {"Name": name}


def test_the_text_of_all_settings_reads_back() -> None:
    settings = replace(settings_of(), display_name="${HOME} $x")
    configuration = orthanc_config.configuration(settings, SCRIPT)
    assert json.loads(orthanc_config.text(configuration)) == configuration


def test_buttons_come_with_the_plugin_that_shows_them() -> None:
    plugin = Path("/nowhere/libOrthancExplorer2.so")
    configuration = orthanc_config.configuration(settings_of(), SCRIPT, plugin)
    assert configuration["Plugins"] == [str(plugin)]
    assert configuration["OrthancExplorer2"]["UiOptions"]["CustomButtons"] == orthanc_config.BUTTONS
    assert configuration_of().keys() == configuration.keys() - {"OrthancExplorer2"}


def test_the_button_of_the_docs_is_the_one_of_up() -> None:
    page = (Path(__file__).parents[2] / "docs" / "button.md").read_text()
    section = page.partition("```jsonc\n")[2].partition("```")[0]
    shown = json.loads("{" + section + "}")["OrthancExplorer2"]["UiOptions"]["CustomButtons"]
    assert shown == {"study": orthanc_config.BUTTONS["study"]}
