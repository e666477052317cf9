"""Settings: names, defaults, precedence, and one message for all that is wrong."""

import re
import subprocess
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autorthanc_spool.core.errors import SettingsError
from autorthanc_spool.settings import Settings, envfile, environment_of, load_settings
from autorthanc_spool.settings.variables import NAMES, VARIABLES

ROOT = Path(__file__).parents[2]
PASSWORD = "correct horse"
SITE = Path("/nowhere/site")

# These names and defaults are the contract with sites that have such files.
DEFAULTS = {
    "UID": 1000,
    "GID": 1000,
    "ORTAHNC_DB_STORAGE_PATH": SITE / "orthanc-db",
    "ORTHANC_STABLE_AGE": 300,
    "ORTHANC_AET_NAME": "AUTORTHANCAET",
    "ORTHANC_AET_PORT": 4006,
    "ORTHANC_DICOM_MODALITIES": {},
    "ORTHANC_AUTOMATION_JSON_SCRIPTS_PATH": SITE / "automation_scripts",
    "ORTHANC_AUTOMATION_STORAGE_PATH": SITE / "output",
    "ORTHANC_DISPLAY_NAME": "autorthanc",
    "ORTHANC_AUTHENTICATION_ENABLED": True,
    "POSGRES_DOCKER_EXPOSE_PORT": 5432,
    "AUTORTHANC_SPOOL_PATH": SITE / "spool",
    "ORTHANC_URL": "http://127.0.0.1:8042",
    "ORTHANC_USERNAME": "orthanc",
    "ORTHANC_PASSWORD": None,
    "ORTHANC_WEB_PORT": None,
}


def problems_of(environ: dict[str, str], directory: Path = SITE, options: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(SettingsError) as raised:
        load_settings(options or {}, environ, directory)
    return raised.value.problems


def only_problem_of(environ: dict[str, str], directory: Path = SITE) -> str:
    (problem,) = problems_of(environ, directory)
    return problem


def from_file(directory: Path, text: str) -> Settings:
    (directory / ".env").write_text(text)
    return load_settings({}, {}, directory)


def test_the_defaults_are_those_of_the_contract() -> None:
    settings = load_settings({}, {}, SITE)
    fields_by_name = {variable.name: variable.field for variable in VARIABLES}
    assert {name: getattr(settings, fields_by_name[name]) for name in DEFAULTS} == DEFAULTS


def test_every_variable_has_its_field_and_every_field_its_variable() -> None:
    expected = {variable.field for variable in VARIABLES} - {"password_file"} | {"warnings"}
    assert {field.name for field in fields(Settings)} == expected


def test_option_beats_environment_beats_file_beats_default(tmp_path: Path) -> None:
    names = ("ORTHANC_AET_NAME", "ORTHANC_DISPLAY_NAME", "ORTHANC_USERNAME")
    (tmp_path / ".env").write_text("".join(f"{name}=file\n" for name in names))
    settings = load_settings({names[0]: "option"}, {names[0]: "env", names[1]: "env"}, tmp_path)
    assert (settings.aet_name, settings.display_name, settings.username) == ("option", "env", "file")
    assert settings.aet_port == 4006


def test_an_empty_value_is_none(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("ORTHANC_AET_PORT=\nORTHANC_PASSWORD=''\nORTHANC_AET_NAME=FILE\n")
    settings = load_settings({}, {"ORTHANC_AET_NAME": " "}, tmp_path)
    assert (settings.aet_port, settings.password, settings.aet_name) == (4006, None, "FILE")


def test_relative_paths_begin_at_the_working_directory(tmp_path: Path) -> None:
    settings = load_settings({}, {"AUTORTHANC_SPOOL_PATH": "a/../b", "AUTORTHANC_AUDIT_LOG": "/x/audit"}, tmp_path)
    assert settings.spool_path == tmp_path / "b"
    assert settings.audit_log == Path("/x/audit")


def test_one_message_lists_every_problem_with_its_place(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("# a comment\n\n\nORTHANC_AET_PORT=abc\nwhat is this\nUID=-1 # no\n")
    problems = problems_of({"ORTHANC_STABLE_AGE": "0"}, tmp_path, {"AUTORTHANC_VERIFY": "sha"})
    expected = [
        r"\.env line 5 can't be read; expected NAME=value.*",
        r"UID in \.env line 6 is '-1'; expected a number.*, for example UID=1000\.",
        r"ORTHANC_STABLE_AGE in the environment is '0'; expected a whole number of seconds.*",
        r"ORTHANC_AET_PORT in \.env line 4 is 'abc'; expected a port from 1 to 65535, for example.*=4006\.",
        r"AUTORTHANC_VERIFY given as an option is 'sha'; expected md5 or size.*",
    ]
    assert len(problems) == len(expected)
    assert all(re.fullmatch(pattern, problem) for pattern, problem in zip(expected, problems, strict=True))


@pytest.mark.parametrize("name", ["ORTAHNC_DB_STORAGE_PATH", "ORTHANC_DB_STORAGE_PATH"])
def test_both_spellings_of_the_data_folder_are_read(name: str) -> None:
    assert load_settings({}, {name: "/data"}, SITE).db_storage_path == Path("/data")


def test_two_spellings_with_different_values_are_a_problem(tmp_path: Path) -> None:
    environ = {"POSGRES_DOCKER_EXPOSE_PORT": "1", "POSTGRES_DOCKER_EXPOSE_PORT": "2"}
    assert "one variable in two spellings" in only_problem_of(environ)
    assert load_settings({}, dict.fromkeys(environ, "3"), SITE).postgres_port == 3


def test_two_spellings_in_different_places_follow_precedence(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("ORTAHNC_DB_STORAGE_PATH=/file\n")
    assert load_settings({}, {"ORTHANC_DB_STORAGE_PATH": "/env"}, tmp_path).db_storage_path == Path("/env")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ORTHANC_WEB_PORT", "0"),
        ("ORTHANC_WEB_PORT", "65536"),
        ("ORTHANC_WEB_PORT", "٨٠"),
        ("ORTHANC_AUTHENTICATION_ENABLED", "on"),
        ("ORTHANC_AET_NAME", "SEVENTEENLETTERSS"),
        ("ORTHANC_AET_NAME", "BACK\\SLASH"),
        ("ORTHANC_AET_NAME", "ÄTHER"),
        ("AUTORTHANC_UMASK", "080"),
        ("AUTORTHANC_UMASK", "777"),
        ("AUTORTHANC_POLL_INTERVAL_S", "nan"),
        ("AUTORTHANC_POLL_INTERVAL_S", "0"),
        ("AUTORTHANC_FORWARD_EXPIRY", "5w"),
        ("AUTORTHANC_FORWARD_EXPIRY", "0d"),
        ("AUTORTHANC_OBSERVER", "kqueue"),
        ("ORTHANC_USERNAME", "a:b"),
        ("AUTORTHANC_SPOOL_PATH", "~/spool"),
        ("AUTORTHANC_DELIVER_ROOTS", "share"),
        ("AUTORTHANC_DELIVER_ROOTS", "/mnt/share:"),
        ("AUTORTHANC_DELIVER_ROOTS", "/mnt/../etc"),
        ("AUTORTHANC_DELIVER_ROOTS", "/"),
        ("ORTHANC_URL", "127.0.0.1:8042"),
        ("ORTHANC_URL", "ftp://localhost"),
        ("ORTHANC_URL", "http://"),
        ("ORTHANC_URL", "http://localhost:99999"),
        ("ORTHANC_URL", "http://localhost/?x=1"),
        ("ORTHANC_DICOM_MODALITIES", "PACS"),
        ("ORTHANC_DICOM_MODALITIES", "[]"),
        ("ORTHANC_DICOM_MODALITIES", '{"a b": ["A", "h", 104]}'),
        ("ORTHANC_DICOM_MODALITIES", '{"a": ["A", "h"]}'),
        ("ORTHANC_DICOM_MODALITIES", '{"a": ["A", "h", 0]}'),
        ("ORTHANC_DICOM_MODALITIES", '{"a": ["A", "h", true]}'),
        ("ORTHANC_DICOM_MODALITIES", '{"a": {"AET": "A", "Host": "h"}}'),
        ("ORTHANC_DICOM_MODALITIES", '{"a": ["A", "h", 1], "a": ["A", "h", 2]}'),
        ("ORTHANC_DICOM_MODALITIES", "[" * 100_000),
        ("ORTHANC_DISPLAY_NAME", "two\nlines"),
    ],
)
def test_a_value_that_cannot_be_used_is_one_problem_that_names_its_variable(name: str, text: str) -> None:
    problem = only_problem_of({name: text})
    assert problem.startswith(f"{name} in the environment ")
    assert len(problem) < 400


@pytest.mark.parametrize(
    ("name", "text", "field", "value"),
    [
        ("ORTHANC_AUTHENTICATION_ENABLED", "No", "authentication_enabled", False),
        ("AUTORTHANC_DICOM_STRICT", "1", "dicom_strict", True),
        ("AUTORTHANC_FORWARD_EXPIRY", "12h", "forward_expiry_s", 43200.0),
        ("AUTORTHANC_FORWARD_EXPIRY", "90", "forward_expiry_s", 90.0),
        ("AUTORTHANC_UMASK", "007", "umask", 0o007),
        ("ORTHANC_URL", "http://localhost:8042/", "orthanc_url", "http://localhost:8042"),
        ("ORTHANC_URL", "https://pacs.example/orthanc/", "orthanc_url", "https://pacs.example/orthanc"),
        ("ORTHANC_URL", "http://[::1]:8042", "orthanc_url", "http://[::1]:8042"),
        ("ORTHANC_WEB_PORT", "8080", "orthanc_url", "http://127.0.0.1:8080"),
        ("ORTHANC_DICOM_MODALITIES", '{"p": ["P", "h", "104"]}', "dicom_modalities", {"p": ["P", "h", "104"]}),
        ("AUTORTHANC_LOG_LEVEL", "DEBUG", "log_level", "debug"),
    ],
)
def test_values_are_read(name: str, text: str, field: str, value: object) -> None:
    assert getattr(load_settings({}, {name: text}, SITE), field) == value


# --- Passwords


@pytest.mark.parametrize("content", [PASSWORD, f"{PASSWORD}\n", f"{PASSWORD}\r\n"])
def test_a_password_file_loses_one_line_break(tmp_path: Path, content: str) -> None:
    (tmp_path / "password").write_bytes(content.encode())
    settings = load_settings({}, {"ORTHANC_PASSWORD_FILE": "password"}, tmp_path)
    assert settings.password is not None
    assert settings.password.get_secret_value() == PASSWORD


def test_a_password_keeps_its_spaces_and_dollars(tmp_path: Path) -> None:
    password = from_file(tmp_path, "ORTHANC_PASSWORD=' $a#b\"c '\n").password
    assert password is not None
    assert password.get_secret_value() == ' $a#b"c '


@pytest.mark.parametrize("content", [None, b"", b"\n", b"\xff", b"two\nlines\n", b"x" * 5000])
def test_a_password_file_that_holds_no_password_is_a_problem(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "password").write_bytes(content)
    problem = only_problem_of({"ORTHANC_PASSWORD_FILE": "password"}, tmp_path)
    assert problem.startswith("ORTHANC_PASSWORD_FILE in the environment names ")


def test_a_password_and_a_password_file_in_one_place_are_a_problem(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("x")
    problem = only_problem_of({"ORTHANC_PASSWORD": PASSWORD, "ORTHANC_PASSWORD_FILE": "password"}, tmp_path)
    assert "both give a password" in problem
    assert PASSWORD not in problem


def test_a_password_in_the_environment_beats_a_file_named_in_the_env_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("ORTHANC_PASSWORD_FILE=password\n")
    (tmp_path / "password").write_text("other")
    password = load_settings({}, {"ORTHANC_PASSWORD": PASSWORD}, tmp_path).password
    assert password is not None
    assert password.get_secret_value() == PASSWORD


def test_no_password_shows_anywhere(tmp_path: Path) -> None:
    settings = load_settings({}, {"ORTHANC_PASSWORD": PASSWORD}, tmp_path)
    assert PASSWORD not in f"{settings} {settings!r} {settings.password}"
    (tmp_path / ".env").write_text(f"ORTHANC_PASSWORD=$x{PASSWORD}\nORTHANC_PASSWORD='{PASSWORD}' {PASSWORD}\n")
    environ = {"ORTHANC_PASSWORD": f"{PASSWORD}\x01", "ORTHANC_URL": f"http://user:{PASSWORD}@host"}
    assert PASSWORD not in "\n".join(problems_of(environ, tmp_path))


# --- Pairs


@pytest.mark.parametrize(
    ("spool", "output", "rules"),
    [("s", "s", "r"), ("s", "s/o", "r"), ("o/s", "o", "r"), ("s", "o", "o/r"), ("s", "r/o", "r"), ("s", "s/../s", "r")],
)
def test_folders_inside_one_another_are_a_problem(tmp_path: Path, spool: str, output: str, rules: str) -> None:
    environ = {
        "AUTORTHANC_SPOOL_PATH": spool,
        "ORTHANC_AUTOMATION_STORAGE_PATH": output,
        "ORTHANC_AUTOMATION_JSON_SCRIPTS_PATH": rules,
    }
    assert "neither inside the other" in only_problem_of(environ, tmp_path)


def test_links_do_not_hide_that_two_folders_are_one(tmp_path: Path) -> None:
    (tmp_path / "spool").mkdir()
    (tmp_path / "output").symlink_to("spool")
    assert "neither inside the other" in only_problem_of({}, tmp_path)


@pytest.mark.parametrize("name", ["AUTORTHANC_PSEUDONYM_KEY_FILE", "AUTORTHANC_AUDIT_LOG"])
def test_private_files_are_kept_out_of_the_output(name: str) -> None:
    assert "inside the output" in only_problem_of({name: "./output/x"})


def test_two_services_on_one_port_are_a_problem() -> None:
    assert "two different ports" in only_problem_of({"ORTHANC_WEB_PORT": "4006"})


@pytest.mark.parametrize("url", ["http://orthanc:8042", "http://10.0.0.1", "http://localhost.evil.example"])
def test_plain_http_to_another_machine_must_be_allowed(url: str) -> None:
    assert "in the clear" in only_problem_of({"ORTHANC_URL": url})
    allowed = load_settings({}, {"ORTHANC_URL": url, "AUTORTHANC_ALLOW_PLAIN_HTTP": "true"}, SITE)
    assert allowed.orthanc_url == url


def test_a_ca_file_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    environ = {"ORTHANC_URL": "https://pacs.example", "AUTORTHANC_CA_FILE": "ca.pem"}
    assert "expected a PEM file" in only_problem_of(environ, tmp_path)
    (tmp_path / "ca.pem").touch()
    assert "holds no certificate" in only_problem_of(environ, tmp_path)
    options = ("-newkey", "ed25519", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=test")
    subprocess.run(["openssl", "req", "-x509", *options], cwd=tmp_path, check=True, capture_output=True)
    assert load_settings({}, environ, tmp_path).ca_file == tmp_path / "ca.pem"


# --- The file


@pytest.mark.parametrize("value", ["a$b", '"a${UID}b"', "$$", "a # $b"])
def test_a_dollar_outside_single_quotes_is_refused_where_it_counts(value: str) -> None:
    problems = envfile.parse(f"OTHER=$x\nORTHANC_PASSWORD={value}\n", NAMES).problems
    assert len(problems) == (0 if value == "a # $b" else 1)
    assert all("ORTHANC_PASSWORD in .env line 2" in problem for problem in problems)


@pytest.mark.parametrize("value", [r"'a\\b'", r"'it\'s'", r'"a\nb"'])
def test_a_backslash_that_readers_take_differently_is_refused(value: str) -> None:
    (problem,) = envfile.parse(f"ORTHANC_PASSWORD={value}\n", NAMES).problems
    assert problem.startswith("ORTHANC_PASSWORD in .env line 1 holds a backslash")


@pytest.mark.parametrize(("value", "read"), [(r"'a\b'", r"a\b"), (r"a\\b", r"a\\b"), ("it's", "it's")])
def test_other_backslashes_and_quotes_stand_for_themselves(value: str, read: str) -> None:
    assert envfile.parse(f"ORTHANC_PASSWORD={value}\n", NAMES).values == {"ORTHANC_PASSWORD": read}


def test_nothing_is_expanded(tmp_path: Path) -> None:
    assert from_file(tmp_path, "ORTHANC_DISPLAY_NAME='${HOME}'\n").display_name == "${HOME}"


@pytest.mark.parametrize(
    ("line", "nearest"),
    [
        ("AUTORTHANC_POLL_INTERVALL_S=5", "AUTORTHANC_POLL_INTERVAL_S"),
        ("ORTHANC_PASWORD=x", "ORTHANC_PASSWORD"),
        ("ORTHANC_AETNAME=x", "ORTHANC_AET_NAME"),
        ("orthanc_aet_port=1", "ORTHANC_AET_PORT"),
    ],
)
def test_a_misspelled_variable_is_a_warning(tmp_path: Path, line: str, nearest: str) -> None:
    (warning,) = from_file(tmp_path, f"{line}\n").warnings
    assert warning.endswith(f"line 1 is not a variable of autorthanc-spool; did you mean {nearest}?")


@pytest.mark.parametrize("line", ["ORTHANC__STABLE_AGE=1", "PATH=x", "COMPOSE_PROJECT_NAME=x", "POSTGRES_PASSWORD=x"])
def test_variables_of_other_programs_are_left_alone(tmp_path: Path, line: str) -> None:
    assert from_file(tmp_path, f"{line}\n").warnings == ()


def test_a_variable_that_stands_twice_counts_as_written_last(tmp_path: Path) -> None:
    settings = from_file(tmp_path, "ORTHANC_AET_NAME=A\nORTHANC_AET_NAME=B\n")
    assert settings.aet_name == "B"
    assert settings.warnings == ("ORTHANC_AET_NAME is in .env line 1 and 2; line 2 counts.",)


@pytest.mark.parametrize("content", [b"\xffUID=1\n", None])
def test_a_file_that_cannot_be_read_is_a_problem(tmp_path: Path, content: bytes | None) -> None:
    if content is None:
        (tmp_path / ".env").mkdir()
    else:
        (tmp_path / ".env").write_bytes(content)
    assert only_problem_of({}, tmp_path).startswith(".env can't be ")


def test_a_name_without_a_value_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("OTHER\nORTHANC_PASSWORD\n")
    assert only_problem_of({}, tmp_path).startswith("ORTHANC_PASSWORD in .env line 2 has no value")


# --- Properties


@given(st.text())
def test_no_env_file_brings_more_than_problems(text: str) -> None:
    file = envfile.parse(text, NAMES)
    assert all(1 <= line <= text.count("\n") + text.count("\r") + 1 for line in file.lines.values())


@given(st.sampled_from(VARIABLES), st.text(max_size=30))
def test_no_text_brings_a_reader_down(variable: Any, text: str) -> None:
    with suppress(ValueError):
        variable.parse(text)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "ORTHANC_AET_PORT": st.integers(1, 4999).map(str),
            "AUTORTHANC_FORWARD_EXPIRY": st.from_regex(r"0\.00[0-9]{0,9}1[dhms]|[1-9][0-9]{0,2}[dhms]", fullmatch=True),
            "AUTORTHANC_POLL_INTERVAL_S": st.floats(1e-7, 86400).map(repr),
            "AUTORTHANC_UMASK": st.from_regex(r"0[0-7]{2}", fullmatch=True),
            "ORTHANC_PASSWORD": st.text("aB $'\"\\#é ", min_size=1).filter(str.strip),
            "ORTHANC_AUTHENTICATION_ENABLED": st.sampled_from(["true", "FALSE", "1", "No"]),
            "ORTHANC_DICOM_MODALITIES": st.sampled_from(["{}", '{"p": {"AET": "A", "Host": "ü", "Port": 1}}']),
        },
    )
)
def test_settings_survive_the_way_to_a_child_process(environ: dict[str, str]) -> None:
    settings = load_settings({}, environ, SITE)
    assert load_settings({}, environment_of(settings), Path("/elsewhere")) == settings


# --- What is shipped


def example_lines() -> dict[str, str]:
    """Give the lines of `.env.example` by variable, each with the sentence above it."""
    text = (ROOT / ".env.example").read_text()
    found = re.findall(r"^# (.+)\n#?([A-Z_]+)=(.*)$", text, re.MULTILINE)
    return {name: f"{sentence}|{value}" for sentence, name, value in found}


def test_the_example_file_explains_every_variable_and_no_other() -> None:
    lines = example_lines()
    assert set(lines) == {variable.name for variable in VARIABLES}
    for variable in VARIABLES:
        sentence, _, value = lines[variable.name].partition("|")
        assert sentence.startswith(variable.description)
        assert value == ("" if variable.is_secret else variable.default or variable.example)


def test_the_example_file_can_be_used_as_it_is(tmp_path: Path) -> None:
    settings = from_file(tmp_path, (ROOT / ".env.example").read_text())
    assert settings == load_settings({}, {}, tmp_path)


def test_the_documentation_lists_every_variable_and_no_other() -> None:
    rows = re.findall(
        r"^\| (`[A-Z_`<>br]+`) \| (.*) \| (.+) \|$", (ROOT / "docs/settings.md").read_text(), re.MULTILINE
    )
    documented = {names: (default, meaning) for names, default, meaning in rows}
    assert set(documented) == {"<br>".join(f"`{name}`" for name in variable.spellings) for variable in VARIABLES}
    for variable in VARIABLES:
        default, meaning = documented["<br>".join(f"`{name}`" for name in variable.spellings)]
        assert meaning == variable.description
        assert default.startswith(f"`{variable.default}`") or not variable.default


def test_places_that_rules_may_deliver_to_are_whole_paths_with_colons_between() -> None:
    found = load_settings({}, {"AUTORTHANC_DELIVER_ROOTS": "/mnt/share/:/mnt/b:/mnt/share"}, SITE)
    assert found.deliver_roots == (Path("/mnt/share"), Path("/mnt/b"))
    assert environment_of(found)["AUTORTHANC_DELIVER_ROOTS"] == "/mnt/share:/mnt/b"
    assert load_settings({}, {}, SITE).deliver_roots == ()


def test_a_place_that_rules_may_deliver_to_lies_outside_of_what_is_ours() -> None:
    inside = str(SITE / "output" / "share")
    assert "expected a folder outside of it" in only_problem_of({"AUTORTHANC_DELIVER_ROOTS": inside})
