"""The Compose file, read by Docker Compose itself, which checks it against the specification's schema; no engine."""

import json
import re
import subprocess
from typing import Any

import pytest
from deploy_tools import CHECKOUT, compose

from autorthanc_spool import __version__
from autorthanc_spool.settings import load_settings
from autorthanc_spool.settings.variables import NAMES, VARIABLES
from autorthanc_spool.site import orthanc_config

PASSWORD = {"ORTHANC_PASSWORD": "Sentinel1"}
RUNNING = {"index-db", "orthanc", "nginx", "processor"}
FIRST = {"init", "ports"}

# What Docker Compose settles itself, and so doesn't take from `.env`.
WITHOUT_DOCKER = {
    "ORTHANC_URL",  # the service's name
    "AUTORTHANC_ALLOW_PLAIN_HTTP",  # the network between is internal
    "ORTHANC_PASSWORD_FILE",  # Compose takes the password from `.env` alone
}


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(compose("config", "--format", "json", environ=PASSWORD))
    return found


@pytest.fixture(scope="module")
def services(project: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = project["services"]
    return found


def variables() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads(compose("config", "--variables", "--format", "json"))
    return found


def test_a_key_that_the_specification_lacks_is_refused(tmp_path: Any) -> None:
    (tmp_path / "compose.yml").write_text("services: {one: {image: x, helthcheck: {}}}")
    with pytest.raises(subprocess.CalledProcessError) as raised:
        compose("config", folder=tmp_path)
    assert "helthcheck" in raised.value.stderr


def test_all_services_are_there(services: dict[str, Any]) -> None:
    assert services.keys() == RUNNING | FIRST


def test_without_a_password_one_sentence_names_the_variable_and_the_file() -> None:
    with pytest.raises(subprocess.CalledProcessError) as raised:
        compose("config")
    assert "Write ORTHANC_PASSWORD='…' into the file .env" in raised.value.stderr


def test_a_password_is_all_that_must_be_set() -> None:
    assert compose("config", "--quiet", environ=PASSWORD) == ""


def test_every_variable_that_the_file_takes_is_a_documented_one() -> None:
    assert variables().keys() <= NAMES


def test_every_documented_variable_has_its_effect_with_compose() -> None:
    documented = {variable.name for variable in VARIABLES}
    assert documented - variables().keys() == WITHOUT_DOCKER


def test_the_example_file_names_every_variable_that_the_file_takes() -> None:
    example = (CHECKOUT / ".env.example").read_text()
    named = set(re.findall(r"^#?([A-Z_]+)=", example, re.MULTILINE))
    other_spellings = {variable.other_spelling for variable in VARIABLES}
    assert variables().keys() - other_spellings <= named
    assert named - variables().keys() == WITHOUT_DOCKER


def test_defaults_are_the_documented_ones(services: dict[str, Any]) -> None:
    given = services["init"]["environment"]
    defaults = {variable.name: variable.default for variable in VARIABLES if variable.default}
    assert {name: given[name] for name in defaults if name in given} == {
        name: default for name, default in defaults.items() if name in given
    }
    # Only with Docker it has a default of its own.
    assert given["ORTHANC_WEB_PORT"] == "80"


@pytest.mark.parametrize(
    ("odd", "right", "service"),
    [
        ("ORTAHNC_DB_STORAGE_PATH", "ORTHANC_DB_STORAGE_PATH", "orthanc"),
        ("POSGRES_DOCKER_EXPOSE_PORT", "POSTGRES_DOCKER_EXPOSE_PORT", "index-db"),
    ],
)
def test_the_right_spelling_counts_as_the_odd_one(odd: str, right: str, service: str) -> None:
    both = [
        json.loads(compose("config", "--format", "json", environ={**PASSWORD, name: "7001"}))["services"][service]
        for name in (odd, right)
    ]
    assert both[0] == both[1]
    assert "7001" in json.dumps(both[0])


def test_only_web_and_dicom_ports_are_open_to_others(services: dict[str, Any]) -> None:
    ports = {
        name: [(port.get("host_ip", "everywhere"), port["published"], port["target"]) for port in service["ports"]]
        for name, service in services.items()
        if "ports" in service
    }
    assert ports == {
        "nginx": [("everywhere", "80", 8080)],
        "orthanc": [("everywhere", "4006", 4242)],
        "index-db": [("127.0.0.1", "5432", 5432)],
    }


def test_every_service_has_no_more_rights_than_it_needs(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["mem_limit"], name
        assert service["logging"]["options"].keys() == {"max-size", "max-file"}, name
        assert not service.get("privileged"), name
    assert {name for name, service in services.items() if service.get("cap_add")} == FIRST
    assert {name for name, service in services.items() if service["user"].startswith("0:")} == FIRST
    # The entry point of Orthanc's image writes to /etc.
    assert {name for name, service in services.items() if not service.get("read_only")} == {"orthanc"}


def test_all_four_have_a_health_check_and_start_in_order(services: dict[str, Any]) -> None:
    assert {name for name, service in services.items() if "healthcheck" in service} == RUNNING
    order = {
        name: {other: wait["condition"].removeprefix("service_") for other, wait in service["depends_on"].items()}
        for name, service in services.items()
        if "depends_on" in service
    }
    done = "completed_successfully"
    assert order == {
        "ports": {"init": done},
        "index-db": {"init": done, "ports": done},
        "orthanc": {"init": done, "ports": done, "index-db": "healthy"},
        "nginx": {"orthanc": "healthy"},
        "processor": {"init": done, "orthanc": "healthy"},
    }


def test_the_processor_has_no_way_out_of_the_machine(project: dict[str, Any], services: dict[str, Any]) -> None:
    internal = {name for name, network in project["networks"].items() if network.get("internal")}
    assert services["processor"]["networks"].keys() <= internal
    # nginx doesn't see the database.
    assert not services["nginx"]["networks"].keys() & services["index-db"]["networks"].keys()


def test_one_line_of_env_lets_its_notices_out_and_nobody_else(project: dict[str, Any]) -> None:
    more = {"AUTORTHANC_PROCESSOR_NETWORK": "outside", "AUTORTHANC_NOTIFY_URLS": "json://hooks.example.org"}
    opened = json.loads(compose("config", "--format", "json", environ={**PASSWORD, **more}))
    assert not opened["networks"]["outside"].get("internal")
    assert opened["services"]["processor"]["networks"].keys() == {"inside", "outside"}
    assert opened["services"]["processor"]["environment"]["AUTORTHANC_NOTIFY_URLS"] == "json://hooks.example.org"
    without = {name: one.get("networks") for name, one in project["services"].items() if name != "processor"}
    assert without.items() <= {name: one.get("networks") for name, one in opened["services"].items()}.items()


def test_several_processors_can_run(services: dict[str, Any]) -> None:
    assert not services["processor"].keys() & {"container_name", "hostname", "ports"}
    scaled = json.loads(compose("config", "--format", "json", environ=PASSWORD))["services"]["processor"]
    assert scaled.get("scale", 1) == 1


def test_rules_are_read_only_and_nothing_is_read_from_an_env_file(services: dict[str, Any]) -> None:
    rules = [mount for mount in services["processor"]["volumes"] if mount["target"] == "/automation"]
    assert [mount["read_only"] for mount in rules] == [True]
    assert not [name for name, service in services.items() if service.get("env_file")]


def test_the_processor_only_reads_orthanc_s_storage(services: dict[str, Any]) -> None:
    mounts = [mount for mount in services["processor"]["volumes"] if mount["target"] == "/orthanc-db"]
    assert [mount["read_only"] for mount in mounts] == [True]
    assert services["processor"]["environment"]["AUTORTHANC_ORTHANC_STORAGE_PATH"] == ""


def test_a_group_of_the_spools_own_lets_orthanc_in_and_is_the_one_of_what_is_private() -> None:
    environ = {**PASSWORD, "GID": "2002", "AUTORTHANC_SPOOL_GID": "2001"}
    services = json.loads(compose("config", "--format", "json", environ=environ))["services"]
    assert services["orthanc"]["group_add"] == ["2001"]
    assert (services["processor"]["user"], services["processor"]["group_add"]) == ("1000:2001", ["2002"])
    for name in ("init", "processor"):
        given = services[name]["environment"]
        assert (given["GID"], given["AUTORTHANC_SPOOL_GID"]) == ("2002", "2001")


def test_without_one_there_is_one_group(services: dict[str, Any]) -> None:
    assert services["orthanc"]["group_add"] == services["processor"]["group_add"] == ["1000"]
    assert services["processor"]["user"] == "1000:1000"


def test_the_password_reaches_no_service_but_the_one_that_hands_it_out(services: dict[str, Any]) -> None:
    named = {name for name, service in services.items() if PASSWORD["ORTHANC_PASSWORD"] in json.dumps(service)}
    assert named == {"init"}


def test_a_folder_needs_no_dot_in_front(services: dict[str, Any]) -> None:
    environ = {**PASSWORD, "ORTHANC_AUTOMATION_STORAGE_PATH": "output", "AUTORTHANC_SPOOL_PATH": "spool"}
    assert (
        json.loads(compose("config", "--format", "json", environ=environ))["services"]["processor"]["volumes"]
        == services["processor"]["volumes"]
    )


def test_images_are_pinned_to_a_release(services: dict[str, Any]) -> None:
    images = {service["image"] for service in services.values()}
    assert f"autorthanc-spool:{__version__}" in images
    assert all(re.search(r":\d+\.\d+(\.\d+)?(-[a-z-]+)?$", image) for image in images)


def test_mounted_files_are_shipped(services: dict[str, Any]) -> None:
    made_later = {"orthanc-db", "output", "spool", "secrets", "automation_scripts"}
    sources = {mount["source"] for service in services.values() for mount in service.get("volumes", [])}
    files = {source for source in sources if source.startswith("/")} - {str(CHECKOUT / name) for name in made_later}
    # The project's own folder, for `.env`.
    files.remove(str(CHECKOUT))
    assert files
    assert not [source for source in files if not (CHECKOUT / source).is_file()]


def test_orthanc_is_set_up_as_without_docker(services: dict[str, Any]) -> None:
    settings = load_settings({}, PASSWORD, CHECKOUT / "nowhere")
    alone = orthanc_config.configuration(settings, CHECKOUT / "lua")
    named = {re.sub(r"(?<!^)(?=[A-Z][a-z])|(?<=[a-z])(?=[A-Z])", "_", key).upper(): key for key in alone}
    with_compose = {
        named[name]: json.loads(text)
        for variable, text in services["orthanc"]["environment"].items()
        if (name := variable.removeprefix("ORTHANC__").replace("MD5_FOR", "MD5FOR")) in named
    }
    differ = {key for key, value in with_compose.items() if value != alone[key]}
    assert differ == {"LuaScripts", "DicomPort"}
    assert len(with_compose) > 12


def test_the_override_lets_a_viewer_in_and_changes_nothing_else(project: dict[str, Any]) -> None:
    files = ("-f", "docker-compose.yml", "-f", "docker-compose.ohif.yml")
    found = json.loads(compose(*files, "config", "--format", "json", environ=PASSWORD))
    added = found["services"]["nginx"]["volumes"].pop()
    assert added["target"] == "/etc/nginx/autorthanc.d/ohif.conf"
    assert found == project


def test_the_buttons_are_those_of_up(services: dict[str, Any]) -> None:
    given = services["orthanc"]["environment"]["ORTHANC__ORTHANC_EXPLORER_2__UI_OPTIONS__CUSTOM_BUTTONS"]
    assert json.loads(given) == orthanc_config.BUTTONS
